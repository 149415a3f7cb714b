//! A streamed answer: frames in, frames out, with an observer beside them that never feeds the write path.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tollgate_chat::Loss;
use tollgate_dialect::{Corrupt, Observer, Reframer, Seen, StreamTranslator};
use tollgate_terms::BackendFault;
use tollgate_wire::inflate::Inflater;
use tollgate_wire::sse::{Frame, Piece};

/// Longest single event that is read, in bytes. Longer ones pass through a splice unread and break a translation.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;

/// Most bytes that one streamed answer may unpack to.
const INFLATED_BYTES_MAX: u64 = 1 << 30;

/// Most bytes that one chunk may unpack to, and in what portions it is unpacked, so that a bomb is seen before it is large.
const INFLATED_CHUNK_BYTES_MAX: usize = 8 << 20;
const PORTION_BYTES: usize = 512;

/// Most bytes of comments that are held back because no event has come yet.
const COMMENT_BYTES_MAX: usize = 16 << 10;

/// How frames become the client's.
pub(crate) enum Path {
    /// The client's dialect is the backend's: bytes go through.
    Splice {
        /// Whether the usage event was the gateway's own wish and is kept from the client.
        hides_usage: bool,
    },
    /// Through the hub.
    Hub(Box<StreamTranslator>),
}

/// A stream of events on its way through.
pub(crate) struct EventStream {
    events: Reframer,
    inflater: Option<Inflater>,
    path: Path,
    /// Whether anything has come that the client gets whatever follows.
    begun: bool,
    /// What came before that: comments, which keep a line alive and commit to nothing.
    comments: Vec<Bytes>,
    comment_bytes: usize,
    /// What made going on impossible.
    broken: Option<BackendFault>,
    /// Whether the backend itself has ended its answer with an error event.
    failed: bool,
    first_token_at: Option<Instant>,
    last_token_at: Option<Instant>,
}

/// What a piece of a stream comes to: bytes to send on, perhaps none, and what broke the stream behind them, if anything did.
pub(crate) type Passed = (Bytes, Result<(), BackendFault>);

impl EventStream {
    /// A stream whose chunks `events` makes events of.
    pub(crate) fn new(path: Path, events: Reframer, coding: Option<&str>) -> Result<Self, BackendFault> {
        let inflater = match coding {
            Some(coding) => {
                Inflater::new(coding, INFLATED_BYTES_MAX).map_err(|_| BackendFault::Unreadable)?
            }
            None => None,
        };
        Ok(Self {
            events,
            inflater,
            path,
            begun: false,
            comments: Vec::new(),
            comment_bytes: 0,
            broken: None,
            failed: false,
            first_token_at: None,
            last_token_at: None,
        })
    }

    /// Takes in a chunk of the backend's body. When an error comes first, that breaks it: nothing has been sent yet.
    pub(crate) fn push(&mut self, chunk: Bytes, observer: &mut Observer, now: Instant) -> Passed {
        let (chunk, unpacked) = self.unpack(chunk);
        let mut out =
            if self.events.is_verbatim() { Outgoing::verbatim(chunk.clone()) } else { Outgoing::new() };
        self.events.push(chunk);
        let passed = self.pass_all(observer, now, &mut out);
        (self.commit(out), passed.and(unpacked))
    }

    /// Takes in the end of the backend's body. Whether the answer is whole its observer tells.
    pub(crate) fn end(&mut self, observer: &mut Observer, now: Instant) -> Passed {
        let mut out = Outgoing::new();
        let ended = self.pass_end(observer, now, &mut out);
        self.begun = true;
        (self.commit(out), ended)
    }

    /// When the first and the last token so far came.
    pub(crate) fn token_times(&self) -> Option<(Instant, Instant)> {
        Some((self.first_token_at?, self.last_token_at?))
    }

    fn note_token(&mut self, now: Instant) {
        self.first_token_at.get_or_insert(now);
        self.last_token_at = Some(now);
    }

    /// Whether the client has been told by the backend that the answer failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// What the translation could not say.
    pub(crate) fn losses(&self) -> &[Loss] {
        match &self.path {
            Path::Splice { .. } => &[],
            Path::Hub(translator) => translator.losses(),
        }
    }

    fn unpack(&mut self, chunk: Bytes) -> Passed {
        let Some(inflater) = &mut self.inflater else { return (chunk, Ok(())) };
        let mut out = BytesMut::new();
        let mut unpacked = Ok(());
        for portion in chunk.chunks(PORTION_BYTES) {
            if inflater.push(portion, &mut out).is_err() {
                unpacked = Err(BackendFault::Unreadable);
            } else if out.len() > INFLATED_CHUNK_BYTES_MAX {
                unpacked = Err(BackendFault::TooLarge);
            }
            if unpacked.is_err() {
                self.inflater = None;
                break;
            }
        }
        (out.freeze(), unpacked)
    }

    /// What may go to the client now.
    fn commit(&mut self, out: Outgoing) -> Bytes {
        let bytes = out.into_bytes();
        if self.begun && self.comments.is_empty() {
            return bytes;
        }
        self.comments.push(bytes);
        if self.begun { tollgate_wire::join(&mut self.comments) } else { Bytes::new() }
    }

    /// Passes on what has come whole.
    fn pass_all(
        &mut self,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), BackendFault> {
        loop {
            self.skim(observer, now, out);
            let Some(piece) = self.next_piece()? else { return Ok(()) };
            self.pass(piece, observer, now, out)?;
        }
    }

    /// Passes on the events of text ahead that the observer knows by their shape, all at once.
    fn skim(&mut self, observer: &mut Observer, now: Instant, out: &mut Outgoing) {
        if let Path::Splice { .. } = self.path {
            let bytes = observer.skim(self.events.ahead());
            if bytes > 0 {
                out.pass(&self.events.skip(bytes));
                self.note_token(now);
            }
        }
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, BackendFault> {
        self.events.next().map_err(|corrupt| self.breaks(corrupt))
    }

    /// Notes that nothing can be read behind what was corrupt.
    fn breaks(&mut self, corrupt: Corrupt) -> BackendFault {
        let fault = match corrupt {
            Corrupt::TooLarge => BackendFault::TooLarge,
            Corrupt::Message(_) | Corrupt::Content => BackendFault::Unreadable,
            Corrupt::Truncated => BackendFault::Cut,
        };
        self.broken = Some(fault.clone());
        fault
    }

    fn pass_end(
        &mut self,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), BackendFault> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        if let Some(mut inflater) = self.inflater.take() {
            let mut rest = BytesMut::new();
            // The last event tells whether all is there, not the end of its packing.
            let _ = inflater.finish(&mut rest);
            self.events.push(rest.freeze());
            self.pass_all(observer, now, out)?;
        }
        let rest = self.events.finish().map_err(|corrupt| self.breaks(corrupt))?;
        match rest {
            Some(Piece::Tail(tail)) => self.pass_tail(&tail, observer, now, out)?,
            Some(piece) => self.pass(piece, observer, now, out)?,
            None => {}
        }
        if let Path::Hub(translator) = &mut self.path {
            let mut translated = BytesMut::new();
            let finished = translator.finish(&mut translated);
            out.write(translated.freeze());
            finished.map_err(|_| BackendFault::Cut)?;
        }
        Ok(())
    }

    fn pass(
        &mut self,
        piece: Piece,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), BackendFault> {
        let passed = match piece {
            Piece::Frame(frame) => self.pass_frame(&frame, observer, now, out),
            Piece::Oversize(raw) | Piece::Tail(raw) => match &self.path {
                Path::Splice { .. } => {
                    self.begun = true;
                    out.pass(&raw);
                    Ok(())
                }
                Path::Hub(_) => Err(BackendFault::TooLarge),
            },
        };
        passed.inspect_err(|fault| self.broken = Some(fault.clone()))
    }

    fn pass_frame(
        &mut self,
        frame: &Frame,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), BackendFault> {
        let seen = observer.frame(frame);
        match seen {
            Seen::Error if !self.begun => return Err(BackendFault::ErrorEvent),
            Seen::Content if observer.saw_output() => self.note_token(now),
            _ => {}
        }
        if !self.begun {
            self.comment_bytes += frame.raw.len();
            let says_nothing = seen == Seen::Other && frame.is_comment_only();
            self.begun = !says_nothing || self.comment_bytes > COMMENT_BYTES_MAX;
        }
        match &mut self.path {
            Path::Splice { hides_usage: true } if seen == Seen::UsageOnly => out.write(Bytes::new()),
            Path::Splice { .. } => out.pass(&frame.raw),
            Path::Hub(translator) => {
                let mut translated = BytesMut::new();
                let read = translator.frame(frame, &mut translated);
                let is_told = !translated.is_empty();
                out.write(translated.freeze());
                read.map_err(|_| BackendFault::Unreadable)?;
                if seen == Seen::Error && !is_told {
                    return Err(BackendFault::ErrorEvent);
                }
            }
        }
        self.failed |= seen == Seen::Error;
        Ok(())
    }

    /// Passes on an event without its blank line. It is none (WHATWG HTML 9.2.6), but servers end their last one that way.
    fn pass_tail(
        &mut self,
        tail: &Bytes,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), BackendFault> {
        let mut closed = BytesMut::from(tail.as_ref());
        closed.extend_from_slice(if tail.ends_with(b"\n") { b"\n" } else { b"\n\n" });
        let frame = Frame { raw: closed.freeze() };
        // Half an event of a stream that was cut: the in-band error that follows must not be glued to it.
        if !tollgate_dialect::is_whole(&frame.data()) {
            return Ok(());
        }
        self.pass(Piece::Frame(frame), observer, now, out)
    }
}

/// Bytes on their way to the client. Nothing is copied until something differs from what came in.
enum Outgoing {
    /// The first `bytes` bytes of what came in, as they are.
    Verbatim { chunk: Bytes, bytes: usize },
    /// These, one after the other.
    Pieces(Vec<Bytes>),
}

impl Outgoing {
    /// For frames that do not begin where `push` was given bytes.
    fn new() -> Self {
        Self::Pieces(Vec::new())
    }

    /// For frames that are `chunk`, from its beginning on.
    fn verbatim(chunk: Bytes) -> Self {
        Self::Verbatim { chunk, bytes: 0 }
    }

    /// Passes on the next frame.
    fn pass(&mut self, raw: &Bytes) {
        match self {
            Self::Verbatim { bytes, .. } => *bytes += raw.len(),
            Self::Pieces(pieces) => pieces.push(raw.clone()),
        }
    }

    /// Says `said` in place of the next frame.
    fn write(&mut self, said: Bytes) {
        if let Self::Verbatim { chunk, bytes } = self {
            *self = Self::Pieces(vec![chunk.slice(..*bytes)]);
        }
        if let Self::Pieces(pieces) = self {
            pieces.push(said);
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Verbatim { chunk, bytes } => chunk.slice(..bytes),
            Self::Pieces(mut pieces) => tollgate_wire::join(&mut pieces),
        }
    }
}
