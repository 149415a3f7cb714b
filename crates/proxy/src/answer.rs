//! The body of a response to a client. However it ends, it settles its exchange.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_exchange::{Ending, Outcome, Step};
use tollgate_terms::{BackendFault, Fault, GatewayFault};

use crate::clock;
use crate::drain::Drain;
use crate::limits::Limits;
use crate::passed::PassedBody;
use crate::serving::InFlight;
use crate::settle::Running;
use crate::upstream::Inbound;

/// Most bytes of a stream that are joined into one write.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// How often a stream on a connection that another task drives lets that task run, without anything new coming, before it
/// writes what it has: events that came together leave in one write.
const YIELDS_MAX: u8 = 3;

/// The body of a response to a client.
pub(crate) enum AnswerBody {
    /// All at hand.
    Whole(Box<WholeBody>),
    /// On its way from a backend.
    Stream(Box<StreamBody>),
    /// The same, for a request of a plain rule.
    Passed(Box<PassedBody>),
}

impl AnswerBody {
    /// A body that belongs to no exchange.
    pub(crate) fn unowned(data: Bytes) -> Self {
        let data = (!data.is_empty()).then_some(data);
        Self::Whole(Box::new(WholeBody { data, running: None, outcome: Outcome::Error, fault: None }))
    }

    /// Takes what is at hand out: a response that only tells of its body is complete without it.
    pub(crate) fn skip(&mut self) {
        match self {
            Self::Whole(whole) => whole.data = None,
            Self::Passed(passed) => passed.skip(),
            Self::Stream(_) => {}
        }
    }

    /// Takes back what was taken out and not sent.
    pub(crate) fn give_back(&mut self, rest: Bytes) {
        if let Self::Whole(whole) = self {
            whole.data = Some(rest);
        }
    }
}

/// A body that is all at hand.
pub(crate) struct WholeBody {
    data: Option<Bytes>,
    running: Option<Box<Running>>,
    outcome: Outcome,
    fault: Option<&'static str>,
}

/// A body on its way from a backend.
pub(crate) struct StreamBody {
    inbound: Option<Inbound>,
    running: Box<Running>,
    in_flight: Option<InFlight>,
    /// What leaves with the next write.
    gathered: Gathered,
    yields: u8,
    /// What leaves together with the head.
    first: Option<Polled>,
    limits: Limits,
    state: State,
    /// How the exchange ended, until its last bytes are counted.
    verdict: Option<(Outcome, Option<&'static str>)>,
}

/// What a poll of a streamed body gives: bytes, a break, or the end.
type Polled = Option<Result<Bytes, BrokenOff>>;

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

/// Everything that a streamed body takes over from the dispatch.
pub(crate) struct StreamParts {
    pub(crate) inbound: Inbound,
    pub(crate) running: Box<Running>,
    pub(crate) in_flight: InFlight,
    pub(crate) ready: Bytes,
    pub(crate) idle_limit: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) drain: Arc<Drain>,
}

impl WholeBody {
    /// A body that, once sent, settles `running` with `outcome`.
    pub(crate) fn new(
        data: Bytes,
        running: Box<Running>,
        outcome: Outcome,
        fault: Option<&'static str>,
    ) -> Self {
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
        parts.running.patience.set(parts.idle_limit);
        Self {
            inbound: Some(parts.inbound),
            running: parts.running,
            in_flight: Some(parts.in_flight),
            gathered: Gathered::new(parts.ready),
            yields: 0,
            first: None,
            limits: Limits::new(parts.idle_limit, parts.deadline, parts.drain),
            state: State::Streaming,
            verdict: None,
        }
    }

    /// Gathers what can leave together with the head, so that a short answer takes one write.
    pub(crate) async fn begin(mut self) -> Self {
        self.first = Some(std::future::poll_fn(|cx| self.poll_guarded(cx)).await);
        self
    }

    /// A bug that panics ends this stream only.
    fn poll_guarded(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        catch_unwind(AssertUnwindSafe(|| self.poll_bytes(cx))).unwrap_or_else(|_| {
            self.running.telemetry.panicked();
            let bytes = self.break_off(Fault::Gateway(GatewayFault::Internal));
            self.gathered.push(bytes);
            Poll::Ready(self.emit())
        })
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        if let State::Ended(result) = &mut self.state {
            return Poll::Ready(std::mem::replace(result, Ok(())).err().map(Err));
        }
        // What is gathered in one poll has come at one time.
        let mut now = None;
        while self.gathered.bytes < WRITE_BYTES_MAX {
            let polled = match &mut self.inbound {
                Some(inbound) => Pin::new(inbound).poll_frame(cx),
                None => Poll::Ready(None),
            };
            let bytes = match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.yields = 0;
                    self.on_chunk(chunk, *now.get_or_insert_with(clock::now)).unwrap_or_default()
                }
                Poll::Ready(Some(Err(_))) => self.break_off(Fault::Backend(BackendFault::Cut)),
                Poll::Ready(None) => self.on_end(),
                Poll::Pending if self.is_more_likely(cx) => return Poll::Pending,
                Poll::Pending if self.gathered.bytes > 0 => break,
                Poll::Pending => match self.limits.poll(cx) {
                    None => return Poll::Pending,
                    Some(fault) => self.break_off(fault),
                },
            };
            self.gathered.push(bytes);
            if matches!(self.state, State::Ended(_)) {
                break;
            }
        }
        Poll::Ready(self.emit())
    }

    /// Whether to wait a moment for more before writing what is there.
    fn is_more_likely(&mut self, cx: &Context<'_>) -> bool {
        let lags_behind = self.inbound.as_ref().is_some_and(Inbound::lags_behind);
        let waits = lags_behind && self.gathered.bytes > 0 && self.yields < YIELDS_MAX;
        if waits {
            self.yields += 1;
            cx.waker().wake_by_ref();
        }
        waits
    }

    fn on_chunk(&mut self, chunk: Bytes, now: Instant) -> Option<Bytes> {
        self.limits.touch(now);
        match self.running.attempt()?.on_response_chunk(chunk, now) {
            Step::Forward(bytes) => Some(bytes),
            Step::Hold => None,
            Step::Retry(fault) => Some(self.break_off(fault)),
            Step::Reply(_) | Step::Ask(_) => Some(self.break_off(Fault::Gateway(GatewayFault::Internal))),
        }
    }

    fn on_end(&mut self) -> Bytes {
        let Some(attempt) = self.running.attempt() else { return Bytes::new() };
        let (bytes, fault) = attempt.on_response_end(clock::now());
        match fault {
            None => {
                if let Some(inbound) = self.inbound.take() {
                    inbound.release();
                }
                self.end(Ending::Delivered, Ok(()));
            }
            // The in-band error is the end of the stream: the framing itself is whole.
            Some(fault) => self.end(Ending::Broken(fault), Ok(())),
        }
        bytes
    }

    /// Ends the stream because of `fault`: with an in-band error where the dialect has one, else by breaking off.
    fn break_off(&mut self, fault: Fault) -> Bytes {
        let Some(attempt) = self.running.attempt() else {
            // It was a bug in settling. An end without a cut would look like a good one.
            self.state = State::Ended(Err(BrokenOff));
            self.verdict = Some((Outcome::of(&fault), Some(fault.label())));
            return Bytes::new();
        };
        let (bytes, fault) = attempt.on_stream_fault(fault, clock::now());
        let is_told = !bytes.is_empty() || attempt.has_failed();
        match fault {
            None => self.end(Ending::Delivered, Ok(())),
            Some(fault) => self.end(Ending::Broken(fault), if is_told { Ok(()) } else { Err(BrokenOff) }),
        }
        bytes
    }

    fn end(&mut self, ending: Ending, result: Result<(), BrokenOff>) {
        self.state = State::Ended(result);
        self.inbound = None;
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

    fn emit(&mut self) -> Polled {
        self.yields = 0;
        let bytes = self.gathered.join();
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
        // All was made and only not sent. Anything else `Running` knows by itself.
        self.sent(0);
    }
}

/// Pieces that leave together.
#[derive(Default)]
struct Gathered {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Gathered {
    fn new(first: Bytes) -> Self {
        let mut gathered = Self::default();
        gathered.push(first);
        gathered
    }

    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Takes everything out, as one piece.
    fn join(&mut self) -> Bytes {
        self.bytes = 0;
        tollgate_wire::join(&mut self.pieces)
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
            Self::Passed(passed) => passed.poll_bytes(cx),
            Self::Stream(stream) => {
                let item = match stream.first.take() {
                    Some(first) => first,
                    None => ready!(stream.poll_guarded(cx)),
                };
                stream.sent(item.as_ref().and_then(|result| result.as_ref().ok()).map_or(0, Bytes::len));
                Poll::Ready(item.map(|result| result.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.data.is_none(),
            Self::Passed(passed) => passed.is_over(),
            Self::Stream(stream) => matches!(stream.state, State::Ended(Ok(()))) && stream.first.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => {
                SizeHint::with_exact(whole.data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Self::Passed(passed) => passed.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
