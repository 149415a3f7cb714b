//! Event streams.

use bytes::{Bytes, BytesMut};
use tollgate_wire::sse::{self, Decoder, Piece};

use super::law;

/// Longest frame that is taken as one.
const FRAME_BYTES_MAX: usize = 256;

/// Pieces: kind, and bytes.
fn pieces(chunks: &[&[u8]]) -> Vec<(&'static str, Vec<u8>)> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let mut out = Vec::new();
    let mut take = |piece: Piece| match piece {
        Piece::Frame(frame) => out.push(("frame", frame.raw.to_vec())),
        Piece::Oversize(raw) => out.push(("oversize", raw.to_vec())),
        Piece::Tail(raw) => out.push(("tail", raw.to_vec())),
    };
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = decoder.next() {
            take(piece);
        }
    }
    while let Some(piece) = decoder.finish() {
        take(piece);
    }
    out
}

/// Any split gives the same frames, and no byte is lost or made up.
pub(crate) fn decode(input: &[u8]) -> Result<(), String> {
    let whole = pieces(&[input]);
    let frames = |pieces: &[(&'static str, Vec<u8>)]| -> Vec<Vec<u8>> {
        pieces.iter().filter(|(kind, _)| *kind == "frame").map(|(_, raw)| raw.clone()).collect()
    };
    let bytes = |pieces: &[(&'static str, Vec<u8>)]| -> Vec<u8> {
        pieces.iter().flat_map(|(_, raw)| raw.clone()).collect()
    };
    law(bytes(&whole) == input, || "bytes were lost".to_owned())?;
    let single: Vec<&[u8]> = input.chunks(1).collect();
    let middle = input.split_at(input.len() / 2);
    for split in [single, vec![middle.0, middle.1], input.chunks(7).collect()] {
        let parts = pieces(&split);
        law(bytes(&parts) == input, || "bytes were lost in a split".to_owned())?;
        law(frames(&parts) == frames(&whole), || "a split changes the frames".to_owned())?;
    }
    Ok(())
}

/// What is written is read again, as one event.
pub(crate) fn encode(input: &[u8]) -> Result<(), String> {
    let mut out = BytesMut::new();
    sse::encode(&mut out, Some("name\nevent: other"), input);
    let mut decoder = Decoder::new(usize::MAX);
    decoder.push(out.freeze());
    let Some(Piece::Frame(frame)) = decoder.next() else { return Err("no frame".to_owned()) };
    law(decoder.next().is_none(), || "more than one event".to_owned())?;
    law(frame.event().is_some_and(|event| event.starts_with(b"name")), || "another event".to_owned())?;
    // Line ends become LF: a stream has no other way to carry them.
    let normal = String::from_utf8_lossy(input).replace("\r\n", "\n").replace('\r', "\n");
    let read = String::from_utf8_lossy(&frame.data()).into_owned();
    law(read == normal, || format!("{read:?} instead of {normal:?}"))
}
