//! A connection whose frames leave together: HTTP/2 writes each longer frame by itself, and a processor has several ready at a time.
//!
//! What is written while the connection is polled is gathered, and sent by whoever polls it ([`Gathered::poll_send`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered before more is taken.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// The side of a connection that is read from and written to.
pub(super) struct Gathering<I>(Arc<Mutex<Shared<I>>>);

/// The side that sends what was written.
pub(super) struct Gathered<I>(Arc<Mutex<Shared<I>>>);

struct Shared<I> {
    stream: I,
    written: Vec<u8>,
    // Invariant: at most the length of what is written.
    sent: usize,
}

/// Both sides of `stream`.
pub(super) fn gather<I>(stream: I) -> (Gathering<I>, Gathered<I>) {
    let shared = Arc::new(Mutex::new(Shared { stream, written: Vec::new(), sent: 0 }));
    (Gathering(Arc::clone(&shared)), Gathered(shared))
}

impl<I> Gathering<I> {
    fn shared(&self) -> MutexGuard<'_, Shared<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: AsyncWrite + Unpin> Gathered<I> {
    /// Sends what was written since; ready when all of it is on its way.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_send(context)
    }
}

impl<I: AsyncWrite + Unpin> Shared<I> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.written.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent += bytes,
            }
        }
        self.written.clear();
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ready when there is room for more.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.written.len() < GATHERED_BYTES_MAX { Poll::Ready(Ok(())) } else { self.poll_send(context) }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gathering<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared().stream).poll_read(context, into)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gathering<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.shared();
        ready!(shared.poll_room(context))?;
        shared.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut shared = self.shared();
        ready!(shared.poll_room(context))?;
        slices.iter().for_each(|slice| shared.written.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready at once: who polls the connection sends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared();
        ready!(shared.poll_send(context))?;
        Pin::new(&mut shared.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    #[test]
    fn what_was_written_leaves_when_it_is_sent() {
        run(async {
            let (near, mut far) = duplex(1 << 10);
            let (mut gathering, gathered) = gather(near);
            gathering.write_all(b"one ").await.unwrap();
            let both = [IoSlice::new(b"two "), IoSlice::new(b"three")];
            assert_eq!(gathering.write_vectored(&both).await.unwrap(), 9);
            gathering.flush().await.unwrap();
            poll_fn(|context| {
                let mut into = [0];
                assert!(Pin::new(&mut far).poll_read(context, &mut ReadBuf::new(&mut into)).is_pending());
                Poll::Ready(())
            })
            .await;
            poll_fn(|context| gathered.poll_send(context)).await.unwrap();
            let mut text = [0; 13];
            far.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"one two three");
        });
    }

    #[test]
    fn no_more_is_gathered_than_there_is_room_for() {
        run(async {
            let (near, mut far) = duplex(1);
            let (mut gathering, gathered) = gather(near);
            gathering.write_all(&[7; GATHERED_BYTES_MAX]).await.unwrap();
            poll_fn(|context| {
                assert!(Pin::new(&mut gathering).poll_write(context, b"x").is_pending());
                assert!(gathered.poll_send(context).is_pending());
                Poll::Ready(())
            })
            .await;
            let closing = async {
                gathering.shutdown().await.unwrap();
                drop((gathering, gathered));
            };
            let mut all = Vec::new();
            let (_, read) = tokio::join!(closing, far.read_to_end(&mut all));
            read.unwrap();
            assert_eq!(all, [7; GATHERED_BYTES_MAX]);
        });
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error() {
        run(async {
            let (near, far) = duplex(8);
            let (mut gathering, gathered) = gather(near);
            drop(far);
            gathering.write_all(b"x").await.unwrap();
            assert!(poll_fn(|context| gathered.poll_send(context)).await.is_err());
        });
    }
}
