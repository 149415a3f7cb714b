//! Bodies that are wanted whole: gathered up to a limit, without copying when they come in one piece.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// Largest buffer made at once on the word of a `content-length`. Beyond it memory follows the bytes that arrive.
const TRUSTED_BYTES: usize = 64 << 10;

/// Most bytes that are made room for, on the word of a `content-length`, for each one that has arrived.
const TRUSTED_FACTOR: usize = 16;

/// Why a body is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incomplete {
    /// It is larger than the limit.
    TooLarge,
    /// It ended early, or its framing is broken.
    Broken,
}

/// Gathers a body of at most `bytes_max` bytes.
pub(crate) async fn collect<B>(mut body: B, bytes_max: u64) -> Result<Bytes, Incomplete>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut gathered = Whole::new(&body, bytes_max)?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Incomplete::Broken)?.into_data() {
            gathered.push(data)?;
        }
    }
    Ok(gathered.into_bytes())
}

/// A body that is being gathered.
pub(crate) struct Whole {
    bytes_max: u64,
    expected: u64,
    first: Bytes,
    rest: BytesMut,
}

impl Whole {
    /// Begins to gather `body`.
    pub(crate) fn new<B: Body>(body: &B, bytes_max: u64) -> Result<Self, Incomplete> {
        let expected = body.size_hint().exact().unwrap_or(0);
        if expected > bytes_max {
            return Err(Incomplete::TooLarge);
        }
        Ok(Self { bytes_max, expected, first: Bytes::new(), rest: BytesMut::new() })
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), Incomplete> {
        let Self { bytes_max, expected, first, rest } = self;
        let so_far = first.len().max(rest.len());
        if so_far as u64 + data.len() as u64 > *bytes_max {
            return Err(Incomplete::TooLarge);
        }
        if so_far == 0 {
            *first = data;
            return Ok(());
        }
        if rest.capacity() - rest.len() < first.len() + data.len() {
            rest.reserve(trusted_bytes(*expected, so_far + data.len()) - rest.len());
        }
        rest.extend_from_slice(&std::mem::take(first));
        rest.extend_from_slice(&data);
        Ok(())
    }

    /// The body, as one piece.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Room for a body of `expected` bytes of which so many are `at_hand`, as far as its length can be trusted.
pub(crate) fn trusted_bytes(expected: u64, at_hand: usize) -> usize {
    let trusted = TRUSTED_BYTES.max(at_hand.saturating_mul(TRUSTED_FACTOR));
    usize::try_from(expected).unwrap_or(usize::MAX).min(trusted).max(at_hand)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn body(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn joins_pieces_up_to_the_limit() {
        assert_eq!(collect(body(&["ab", "", "cd"]), 4).await, Ok(Bytes::from_static(b"abcd")));
        assert_eq!(collect(body(&["ab", "cd"]), 3).await, Err(Incomplete::TooLarge));
        assert_eq!(collect(body(&[]), 0).await, Ok(Bytes::new()));
    }
}
