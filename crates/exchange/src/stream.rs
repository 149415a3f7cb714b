//! A streamed answer: frames in, frames out, with an observer beside them that never feeds the write path.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tollgate_chat::Loss;
use tollgate_dialect::{Observer, Seen, StreamTranslator};
use tollgate_terms::BackendFault;
use tollgate_wire::inflate::Inflater;
use tollgate_wire::sse::{Decoder, Frame, Piece};

/// Longest single event that is read, in bytes. Longer ones pass through a splice unread and break a translation.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Most bytes that one streamed answer may unpack to.
const INFLATED_BYTES_MAX: u64 = 1 << 30;

/// Most bytes that one chunk may unpack to, and in what portions it is unpacked, so that a bomb is seen before it is large.
const INFLATED_CHUNK_BYTES_MAX: usize = 8 << 20;
const PORTION_BYTES: usize = 512;

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
    decoder: Decoder,
    inflater: Option<Inflater>,
    path: Path,
    begun: bool,
    /// Whether the backend itself has ended its answer with an error event.
    failed: bool,
    first_token_at: Option<Instant>,
    last_token_at: Option<Instant>,
}

/// What a piece of a stream leads to.
pub(crate) enum Passed {
    /// Send this on. Empty when nothing is complete yet.
    Bytes(Bytes),
    /// The very first event is an error: nothing has been sent yet.
    ErrorFirst,
}

impl EventStream {
    pub(crate) fn new(path: Path, coding: Option<&str>) -> Result<Self, BackendFault> {
        let inflater = match coding {
            Some(coding) => {
                Inflater::new(coding, INFLATED_BYTES_MAX).map_err(|_| BackendFault::Unreadable)?
            }
            None => None,
        };
        Ok(Self {
            decoder: Decoder::new(FRAME_BYTES_MAX),
            inflater,
            path,
            begun: false,
            failed: false,
            first_token_at: None,
            last_token_at: None,
        })
    }

    /// Takes in a chunk of the backend's body.
    pub(crate) fn push(
        &mut self,
        chunk: Bytes,
        observer: &mut Observer,
        now: Instant,
    ) -> Result<Passed, BackendFault> {
        let chunk = self.inflate(chunk)?;
        let mut out =
            if self.decoder.is_empty() { Outgoing::verbatim(chunk.clone()) } else { Outgoing::new() };
        self.decoder.push(chunk);
        while let Some(piece) = self.decoder.next() {
            if let Passed::ErrorFirst = self.pass(piece, observer, now, &mut out)? {
                return Ok(Passed::ErrorFirst);
            }
        }
        Ok(Passed::Bytes(out.into_bytes()))
    }

    /// Takes in the end of the backend's body.
    pub(crate) fn end(&mut self, observer: &mut Observer, now: Instant) -> Result<Bytes, BackendFault> {
        let mut out = Outgoing::new();
        if let Some(mut inflater) = self.inflater.take() {
            let mut rest = BytesMut::new();
            inflater.finish(&mut rest).map_err(|_| BackendFault::Cut)?;
            self.decoder.push(rest.freeze());
            while let Some(piece) = self.decoder.next() {
                self.pass(piece, observer, now, &mut out)?;
            }
        }
        match self.decoder.finish() {
            // An event without its blank line is none (WHATWG HTML 9.2.6), but servers end their last one that way.
            Some(Piece::Tail(tail)) if !tail.is_empty() => self.pass_tail(&tail, observer, now, &mut out)?,
            Some(piece) => {
                self.pass(piece, observer, now, &mut out)?;
            }
            None => {}
        }
        if let Path::Hub(translator) = &mut self.path {
            let mut translated = BytesMut::new();
            translator.finish(&mut translated).map_err(|_| BackendFault::Cut)?;
            out.write(translated.freeze());
        }
        Ok(out.into_bytes())
    }

    /// When the first and the last token so far came.
    pub(crate) fn token_times(&self) -> Option<(Instant, Instant)> {
        Some((self.first_token_at?, self.last_token_at?))
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

    fn inflate(&mut self, chunk: Bytes) -> Result<Bytes, BackendFault> {
        let Some(inflater) = &mut self.inflater else { return Ok(chunk) };
        let mut out = BytesMut::new();
        for portion in chunk.chunks(PORTION_BYTES) {
            inflater.push(portion, &mut out).map_err(|_| BackendFault::Unreadable)?;
            if out.len() > INFLATED_CHUNK_BYTES_MAX {
                return Err(BackendFault::TooLarge);
            }
        }
        Ok(out.freeze())
    }

    fn pass(
        &mut self,
        piece: Piece,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<Passed, BackendFault> {
        match piece {
            Piece::Frame(frame) => self.pass_frame(&frame, observer, now, out),
            Piece::Oversize(raw) | Piece::Tail(raw) => match &self.path {
                Path::Splice { .. } => {
                    self.begun = true;
                    out.pass(&raw);
                    Ok(Passed::Bytes(Bytes::new()))
                }
                Path::Hub(_) => Err(BackendFault::TooLarge),
            },
        }
    }

    fn pass_frame(
        &mut self,
        frame: &Frame,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<Passed, BackendFault> {
        let seen = observer.frame(frame);
        match seen {
            Seen::Error if !self.begun => return Ok(Passed::ErrorFirst),
            Seen::Error => self.failed = true,
            Seen::Content if observer.saw_output() => {
                self.first_token_at.get_or_insert(now);
                self.last_token_at = Some(now);
            }
            _ => {}
        }
        // Comments before the first event keep a line alive; they commit to nothing.
        self.begun |= !matches!(seen, Seen::Other) || !frame.is_comment_only();
        match &mut self.path {
            Path::Splice { hides_usage: true } if seen == Seen::UsageOnly => out.write(Bytes::new()),
            Path::Splice { .. } => out.pass(&frame.raw),
            Path::Hub(translator) => {
                let mut translated = BytesMut::new();
                translator.frame(frame, &mut translated).map_err(|_| BackendFault::Unreadable)?;
                out.write(translated.freeze());
            }
        }
        Ok(Passed::Bytes(Bytes::new()))
    }

    fn pass_tail(
        &mut self,
        tail: &Bytes,
        observer: &mut Observer,
        now: Instant,
        out: &mut Outgoing,
    ) -> Result<(), BackendFault> {
        let mut closed = BytesMut::with_capacity(tail.len() + 2);
        closed.extend_from_slice(tail);
        closed.extend_from_slice(b"\n\n");
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        decoder.push(closed.freeze());
        let Some(Piece::Frame(frame)) = decoder.next() else { return Ok(()) };
        if observer.frame(&frame) == Seen::Other {
            // Half an event of a stream that was cut: the in-band error that follows must not be glued to it.
            return Ok(());
        }
        match &mut self.path {
            Path::Splice { .. } => out.pass(tail),
            Path::Hub(translator) => {
                let mut translated = BytesMut::new();
                translator.frame(&frame, &mut translated).map_err(|_| BackendFault::Unreadable)?;
                out.write(translated.freeze());
                self.last_token_at = self.last_token_at.map(|_| now);
            }
        }
        Ok(())
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
