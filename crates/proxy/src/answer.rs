//! The body of a response to a client. However it ends, it settles its exchange.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;
use tollgate_exchange::{Ending, Outcome, Step};
use tollgate_terms::{BackendFault, ClientFault, Fault, GatewayFault};

use crate::clock;
use crate::drain::Drain;
use crate::serving::InFlight;
use crate::settle::Running;
use crate::upstream::Lease;

/// Most bytes of a stream that are joined into one write.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// How often a stream lets other tasks run before it writes what it has, in case more is about to be ready: events
/// that came together leave in one write. Measured: one yield gains nothing, three gain 3.8 times on a burst.
const YIELDS_MAX: u8 = 3;

/// The body of a response to a client.
pub(crate) enum AnswerBody {
    /// All at hand.
    Whole(Box<WholeBody>),
    /// On its way from a backend.
    Stream(Box<StreamBody>),
}

impl AnswerBody {
    /// A body that belongs to no exchange.
    pub(crate) fn fixed(data: &'static [u8]) -> Self {
        let data = Some(Bytes::from_static(data));
        Self::Whole(Box::new(WholeBody { data, running: None, outcome: Outcome::Error, fault: None }))
    }
}

/// A body that is all at hand.
pub(crate) struct WholeBody {
    data: Option<Bytes>,
    running: Option<Running>,
    outcome: Outcome,
    fault: Option<&'static str>,
}

/// A body on its way from a backend.
pub(crate) struct StreamBody {
    incoming: Option<Incoming>,
    running: Running,
    lease: Option<Lease>,
    in_flight: Option<InFlight>,
    /// What was made before the head could be sent, or what is left to say at the end.
    ready: Bytes,
    yields: u8,
    idle: Option<IdleTimer>,
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Arc<Drain>,
    cut: Pin<Box<OwnedNotified>>,
    state: State,
    /// How the exchange ended, until its last bytes are counted.
    verdict: Option<(Outcome, Option<&'static str>)>,
}

/// How far a streamed body has come.
enum State {
    Streaming,
    /// The last bytes are out; nothing follows. An error makes the connection break off.
    Ended(Result<(), BrokenOff>),
}

/// The response cannot be completed, and its framing must show it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the response is broken off")]
pub(crate) struct BrokenOff;

/// Fires when nothing has come for a while. Re-armed only when it fires, so that an event costs no timer work.
struct IdleTimer {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

/// Everything that a streamed body takes over from the dispatch.
pub(crate) struct StreamParts {
    pub(crate) incoming: Incoming,
    pub(crate) running: Running,
    pub(crate) lease: Lease,
    pub(crate) in_flight: InFlight,
    pub(crate) ready: Bytes,
    pub(crate) idle_limit: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) drain: Arc<Drain>,
}

impl WholeBody {
    /// A body that, once sent, settles `running` with `outcome`.
    pub(crate) fn new(data: Bytes, running: Running, outcome: Outcome, fault: Option<&'static str>) -> Self {
        let data = (!data.is_empty()).then_some(data);
        Self { data, running: Some(running), outcome, fault }
    }

    fn take(&mut self) -> Option<Bytes> {
        let data = self.data.take()?;
        if let Some(running) = &mut self.running {
            running.add_body_bytes(data.len());
        }
        Some(data)
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        // A body that nobody took was never sent, and `Running` knows what its own drop means.
        if let (None, Some(running)) = (&self.data, &mut self.running) {
            running.settle(self.outcome, self.fault);
        }
    }
}

impl StreamBody {
    pub(crate) fn new(parts: StreamParts) -> Self {
        let now = clock::now();
        let idle = parts.idle_limit.map(|limit| IdleTimer {
            limit,
            last: now,
            sleep: Box::pin(tokio::time::sleep(limit)),
        });
        Self {
            incoming: Some(parts.incoming),
            running: parts.running,
            lease: Some(parts.lease),
            in_flight: Some(parts.in_flight),
            ready: parts.ready,
            yields: 0,
            idle,
            deadline: parts.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into()))),
            cut: parts.drain.cut_signal(),
            drain: parts.drain,
            state: State::Streaming,
            verdict: None,
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if let State::Ended(result) = &mut self.state {
            return Poll::Ready(match std::mem::replace(result, Ok(())) {
                Ok(()) => None,
                Err(broken) => Some(Err(broken)),
            });
        }
        let mut gathered = Gathered::new(std::mem::take(&mut self.ready));
        loop {
            if gathered.bytes >= WRITE_BYTES_MAX {
                return Poll::Ready(self.emit(gathered));
            }
            let polled = match &mut self.incoming {
                Some(incoming) => Pin::new(incoming).poll_frame(cx),
                None => Poll::Ready(None),
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if let Some(bytes) = self.on_chunk(chunk) {
                        gathered.push(bytes);
                    }
                    if matches!(self.state, State::Ended(_)) {
                        return Poll::Ready(self.emit(gathered));
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    gathered.push(self.break_off(&Fault::Backend(BackendFault::Cut)));
                    return Poll::Ready(self.emit(gathered));
                }
                Poll::Ready(None) => {
                    gathered.push(self.on_end());
                    return Poll::Ready(self.emit(gathered));
                }
                Poll::Pending => return self.on_pending(gathered, cx),
            }
        }
    }

    /// Nothing more is ready: wait a moment for more, write what is there, or see whether time is up.
    fn on_pending(
        &mut self,
        mut gathered: Gathered,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        if gathered.bytes > 0 {
            if self.yields < YIELDS_MAX {
                self.yields += 1;
                self.ready = gathered.join();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.yields = 0;
            return Poll::Ready(self.emit(gathered));
        }
        self.yields = 0;
        let Some(fault) = self.poll_limits(cx) else { return Poll::Pending };
        gathered.push(self.break_off(&fault));
        Poll::Ready(self.emit(gathered))
    }

    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Option<Fault> {
        if self.cut.as_mut().poll(cx).is_ready() || self.drain.is_cutting() {
            return Some(Fault::Gateway(GatewayFault::Draining));
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Some(Fault::Backend(BackendFault::Deadline));
        }
        let idle = self.idle.as_mut()?;
        idle.poll(cx).then_some(Fault::Backend(BackendFault::IdleTimeout))
    }

    fn on_chunk(&mut self, chunk: Bytes) -> Option<Bytes> {
        let now = clock::now();
        if let Some(idle) = &mut self.idle {
            idle.last = now;
        }
        match self.running.attempt()?.on_response_chunk(chunk, now) {
            Step::Forward(bytes) => Some(bytes),
            Step::Hold => None,
            Step::Retry(fault) => Some(self.break_off(&fault)),
            Step::Reply(_) | Step::Ask(_) => Some(self.break_off(&Fault::Gateway(GatewayFault::Internal))),
        }
    }

    fn on_end(&mut self) -> Bytes {
        let Some(attempt) = self.running.attempt() else { return Bytes::new() };
        let (bytes, fault) = attempt.on_response_end(clock::now());
        match fault {
            None => {
                if let Some(lease) = self.lease.take() {
                    lease.release();
                }
                self.end(Ending::Delivered, Ok(()));
            }
            // The in-band error is the end of the stream: the framing itself is whole.
            Some(fault) => self.end(Ending::Broken(fault), Ok(())),
        }
        bytes
    }

    /// Ends the stream because of `fault`: with an in-band error where the dialect has one, else by breaking off.
    fn break_off(&mut self, fault: &Fault) -> Bytes {
        let Some(attempt) = self.running.attempt() else { return Bytes::new() };
        if attempt.is_complete() {
            // The answer was all there; only the end of the connection was not as it should be.
            self.end(Ending::Delivered, Ok(()));
            return Bytes::new();
        }
        let bytes = attempt.on_stream_fault(fault);
        let result = if bytes.is_empty() { Err(BrokenOff) } else { Ok(()) };
        self.end(Ending::Broken(fault.clone()), result);
        bytes
    }

    fn end(&mut self, ending: Ending, result: Result<(), BrokenOff>) {
        self.state = State::Ended(result);
        self.incoming = None;
        self.lease = None;
        self.in_flight = None;
        self.settle(ending);
    }

    fn settle(&mut self, ending: Ending) {
        let fault = match &ending {
            Ending::Delivered => None,
            Ending::GivenUp(fault) | Ending::Broken(fault) => Some(fault.label()),
        };
        let Some(outcome) = self.running.end_attempt(ending) else { return };
        self.verdict = Some((outcome, fault.filter(|_| outcome != Outcome::Complete)));
    }

    /// Counts bytes that go out, and settles the exchange when they are the last.
    fn sent(&mut self, bytes: usize) {
        self.running.add_body_bytes(bytes);
        if let Some((outcome, fault)) = self.verdict.take() {
            self.running.settle(outcome, fault);
        }
    }

    fn emit(&mut self, gathered: Gathered) -> Option<Result<Bytes, BrokenOff>> {
        let bytes = gathered.join();
        if !bytes.is_empty() {
            return Some(Ok(bytes));
        }
        match &mut self.state {
            State::Ended(result) => std::mem::replace(result, Ok(())).err().map(Err),
            State::Streaming => None,
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.settle(Ending::Broken(Fault::Client(ClientFault::Gone)));
        self.sent(0);
    }
}

impl IdleTimer {
    /// Whether nothing has come for the whole limit.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let due = self.last + self.limit;
            if due <= clock::now() {
                return true;
            }
            self.sleep.as_mut().reset(due.into());
        }
        false
    }
}

/// Pieces that leave together.
struct Gathered {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Gathered {
    fn new(first: Bytes) -> Self {
        let bytes = first.len();
        Self { pieces: if bytes > 0 { vec![first] } else { Vec::new() }, bytes }
    }

    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn join(mut self) -> Bytes {
        if self.pieces.len() < 2 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        for piece in &self.pieces {
            joined.extend_from_slice(piece);
        }
        joined.freeze()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Whole(whole) => Poll::Ready(whole.take().map(|data| Ok(Frame::data(data)))),
            Self::Stream(stream) => {
                // A bug that panics ends this stream only.
                let polled = catch_unwind(AssertUnwindSafe(|| stream.poll_bytes(cx))).unwrap_or_else(|_| {
                    stream.running.telemetry.panicked();
                    let bytes = stream.break_off(&Fault::Gateway(GatewayFault::Internal));
                    Poll::Ready(Some(if bytes.is_empty() { Err(BrokenOff) } else { Ok(bytes) }))
                });
                let Poll::Ready(item) = polled else { return Poll::Pending };
                stream.sent(item.as_ref().and_then(|result| result.as_ref().ok()).map_or(0, Bytes::len));
                Poll::Ready(item.map(|result| result.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.data.is_none(),
            Self::Stream(stream) => matches!(stream.state, State::Ended(Ok(()))) && stream.ready.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => {
                SizeHint::with_exact(whole.data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
