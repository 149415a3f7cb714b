//! How long a client may take nothing of what is ready for it. A body is asked for more only when the client takes what
//! it has, so somebody else has to watch the clock: the connection itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The patience with a client whose stream has no idle limit of its own (Envoy's default for streams).
const DEFAULT: Duration = Duration::from_secs(300);

/// The patience with the client of one connection, or of one stream of it.
#[derive(Debug)]
pub(crate) struct Patience {
    limit_ms: AtomicU64,
    over: AtomicBool,
    /// That of the connection of this stream.
    connection: Option<Arc<Self>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { limit_ms: AtomicU64::new(millis(DEFAULT)), over: AtomicBool::new(false), connection: None }
    }
}

impl Patience {
    /// That of a stream on a connection.
    pub(crate) fn of_stream(connection: &Arc<Self>) -> Self {
        Self { connection: Some(Arc::clone(connection)), ..Self::default() }
    }

    /// Sets it for the response that is being sent; `None` is the default.
    pub(crate) fn set(&self, limit: Option<Duration>) {
        self.limit_ms.store(millis(limit.unwrap_or(DEFAULT)), Ordering::Relaxed);
    }

    /// Whether it has come to an end.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
            || self.connection.as_ref().is_some_and(|connection| connection.is_over())
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// How long it lasts.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms.load(Ordering::Relaxed))
    }
}

fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

/// A client's connection. Writing fails when the client has taken nothing for too long.
pub(crate) struct Watched<S> {
    stream: S,
    patience: Arc<Patience>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// Watches `stream`.
    pub(crate) fn new(stream: S, patience: Arc<Patience>) -> Self {
        Self { stream, patience, stalled: None }
    }

    /// What became of an attempt to write.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.patience.limit();
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        self.patience.end();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}
