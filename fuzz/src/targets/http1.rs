//! Requests and responses of HTTP/1.1.

use bytes::BytesMut;
use tollgate_wire::http1::{BodyDecoder, Decoded, Framing, RequestHead, RequestReader, ResponseReader};

use super::law;

/// The requests that arrive in these pieces, one after the other: method, target, how many headers, body. And whether what
/// follows them is broken.
fn requests<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(RequestHead, Vec<u8>)>, bool) {
    let (mut buffer, mut reader) = (BytesMut::new(), RequestReader::default());
    let (mut requests, mut current): (Vec<(RequestHead, Vec<u8>)>, Option<BodyDecoder>) = (Vec::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let Some(decoder) = &mut current else {
                match reader.read(&mut buffer) {
                    Ok(Some(head)) => {
                        current = Some(BodyDecoder::new(head.framing));
                        requests.push((head, Vec::new()));
                        continue;
                    }
                    Ok(None) => break,
                    Err(_) => return (requests, true),
                }
            };
            match decoder.decode(&mut buffer) {
                Ok(Decoded::Data(data)) => {
                    requests
                        .iter_mut()
                        .next_back()
                        .into_iter()
                        .for_each(|(_, body)| body.extend_from_slice(&data));
                }
                Ok(Decoded::Nothing) => break,
                Ok(Decoded::End) => current = None,
                Err(_) => return (requests, true),
            }
        }
    }
    (requests, false)
}

/// Any split gives the same requests, each framed in one way, and no more comes out of them than went in.
pub(crate) fn request(input: &[u8]) -> Result<(), String> {
    let (whole, is_broken) = requests(std::iter::once(input));
    let shown = |requests: &[(RequestHead, Vec<u8>)]| format!("{requests:?}");
    for (head, body) in &whole {
        law(body.len() <= input.len(), || format!("{} bytes of {}", body.len(), input.len()))?;
        let framings = ["content-length", "transfer-encoding"].map(|name| head.headers.contains_key(name));
        law(framings != [true, true] && head.framing != Framing::UntilClose, || shown(&whole))?;
    }
    for size in [1, 7] {
        let (split, split_is_broken) = requests(input.chunks(size));
        // What is broken may be seen later when it comes in pieces, and not at all when more would have to come.
        let is_good =
            shown(&split) == shown(&whole) || (is_broken && shown(&whole).len() >= shown(&split).len());
        law(is_good && (is_broken || !split_is_broken), || {
            format!("in pieces of {size}: {}, whole: {}", shown(&split), shown(&whole))
        })?;
    }
    Ok(())
}

/// Head and body of a response that arrives in these pieces: status, framing, what came of the body, whether it is over.
type Read = Result<Option<(u16, Framing, Vec<u8>, bool)>, ()>;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut buffer, mut reader, mut response) = (BytesMut::new(), ResponseReader::default(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if response.is_none() {
            let head = reader.read(&mut buffer).map_err(|_| ())?;
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
        // What is broken may be seen later when it comes in pieces, and not at all when more of the head would have to come.
        let is_good = if whole.is_err() { matches!(split, Err(()) | Ok(None)) } else { split == whole };
        law(is_good, || format!("in pieces of {size}: {split:?}, whole: {whole:?}"))?;
    }
    Ok(())
}
