//! Responses of HTTP/1.1.

use bytes::BytesMut;
use tollgate_wire::http1::{BodyDecoder, Decoded, Framing, read_head};

use super::law;

/// Head and body of a response that arrives in these pieces: status, framing, what came of the body, whether it is over.
type Read = Result<Option<(u16, Framing, Vec<u8>, bool)>, ()>;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut buffer, mut response) = (BytesMut::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if response.is_none() {
            let head = read_head(&mut buffer).map_err(|_| ())?;
            response = head.map(|head| {
                let decoder = BodyDecoder::new(head.framing);
                (head.status.as_u16(), head.framing, Vec::new(), decoder)
            });
        }
        let Some((_, _, body, decoder)) = &mut response else { continue };
        while let Decoded::Data(data) = decoder.decode(&mut buffer).map_err(|_| ())? {
            body.extend_from_slice(&data);
        }
    }
    Ok(response.map(|(status, framing, body, decoder)| (status, framing, body, decoder.is_over())))
}

/// Any split gives the same response, and no more comes out of it than went in.
pub(crate) fn response(input: &[u8]) -> Result<(), String> {
    let whole = read(std::iter::once(input));
    if let Ok(Some((_, _, body, _))) = &whole {
        law(body.len() <= input.len(), || format!("{} bytes of {}", body.len(), input.len()))?;
    }
    for size in [1, 7] {
        let split = read(input.chunks(size));
        // Where something is wrong, what is read first decides how much of the rest is looked at.
        if let (Ok(whole), Ok(split)) = (&whole, &split) {
            law(whole == split, || format!("in pieces of {size}: {split:?}, whole: {whole:?}"))?;
        } else {
            law(whole.is_err() == split.is_err(), || {
                format!("in pieces of {size}: {split:?}, whole: {whole:?}")
            })?;
        }
    }
    Ok(())
}
