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
    let expected = body.size_hint().exact().unwrap_or(0);
    if expected > bytes_max {
        return Err(Incomplete::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Incomplete::Broken)?.into_data() else { continue };
        let so_far = first.len().max(rest.len()) as u64;
        if so_far + data.len() as u64 > bytes_max {
            return Err(Incomplete::TooLarge);
        }
        if so_far == 0 {
            first = data;
            continue;
        }
        if rest.capacity() - rest.len() < first.len() + data.len() {
            let at_hand = first.len() + rest.len() + data.len();
            rest.reserve(capacity(expected, at_hand) - rest.len());
        }
        rest.extend_from_slice(&std::mem::take(&mut first));
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Room for the whole body, as far as its length can be trusted.
fn capacity(expected: u64, at_hand: usize) -> usize {
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
