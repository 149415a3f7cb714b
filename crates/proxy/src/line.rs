//! A connection of HTTP/1.1 as both sides need it: what has come and was not taken, and how pieces go out. It has no task,
//! and holds no buffer while nothing comes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Sizes of the buffer that is read into: small at first, larger for a body that fills it.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// Most pieces that are written at once.
const SLICES_MAX: usize = 16;

/// Most bytes that are kept of what comes before its turn. Beyond that nothing is read.
const AHEAD_BYTES_MAX: usize = 16 << 10;

/// How many bytes are read at a time while none are expected.
const PEEK_BYTES: usize = 1 << 10;

/// What a connection runs over: TCP, a Unix socket, TLS on one of them.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection.
pub(crate) struct Line<T> {
    transport: T,
    /// What has come and has not been taken.
    pub(crate) buffer: BytesMut,
    read_bytes: usize,
    /// Whether something was written that may not have left.
    unflushed: bool,
}

impl<T: Transport> Line<T> {
    /// A new connection over `transport`.
    pub(crate) fn new(transport: T) -> Self {
        Self { transport, buffer: BytesMut::new(), read_bytes: READ_BYTES_MIN, unflushed: false }
    }

    /// Makes room for `bytes` bytes in one piece, those that have come among them.
    pub(crate) fn gather(&mut self, bytes: usize) {
        if self.buffer.capacity() < bytes {
            self.buffer.reserve(bytes.saturating_sub(self.buffer.len()));
        }
    }

    /// Reads what has come; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < self.read_bytes / 2 {
            self.buffer.reserve(self.read_bytes);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = pin!(self.transport.read_buf(&mut self.buffer)).poll(cx);
        match &read {
            Poll::Ready(Ok(count)) if *count == room => {
                self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
            }
            // Nobody knows when more comes, so no memory waits for it.
            Poll::Pending => self.release(),
            _ => {}
        }
        read
    }

    /// Reads what comes before its turn, as far as there is room for it. Completes when the other side has left.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.buffer.len() < AHEAD_BYTES_MAX {
            let mut room = [MaybeUninit::uninit(); PEEK_BYTES];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut self.transport).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    self.buffer.extend_from_slice(room.filled());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.release();
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }

    /// Writes all of `pieces`, and sees it off.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &mut Pieces) -> Poll<io::Result<()>> {
        while !pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = pieces.slices(&mut slices);
            let filled = slices.get(..count).unwrap_or_default();
            self.unflushed = true;
            match ready!(Pin::new(&mut self.transport).poll_write_vectored(cx, filled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => pieces.advance(count),
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more is written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    /// Gives the buffer back when nothing is in it.
    fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
    }
}

/// What is to be written, as pieces that are not joined.
#[derive(Debug, Default)]
pub(crate) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// Adds `piece` at the end.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.0.push_back(piece);
        }
    }

    /// Whether all is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills `slices` with what comes next; tells how many.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.0);
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.0.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.0.pop_front();
        }
    }
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}
