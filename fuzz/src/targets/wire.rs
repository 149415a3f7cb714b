//! Content codings, forms and host names.

use bytes::{Bytes, BytesMut};
use tollgate_wire::inflate::Inflater;
use tollgate_wire::multipart as form;

use super::law;

/// Most bytes that an input may unpack to.
const OUT_BYTES_MAX: u64 = 64 * 1024;

/// Whatever comes, the output stays within its bound.
pub(crate) fn inflate(input: &[u8]) -> Result<(), String> {
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
        let Ok(Some(mut inflater)) = Inflater::new(coding, OUT_BYTES_MAX) else {
            return Err(format!("{coding} is not known"));
        };
        let mut out = BytesMut::new();
        let mut unpack = || {
            for chunk in input.chunks(100) {
                inflater.push(chunk, &mut out)?;
            }
            inflater.finish(&mut out)
        };
        let _ = unpack();
        law(out.len() as u64 <= OUT_BYTES_MAX, || format!("{coding}: {} bytes", out.len()))?;
    }
    Ok(())
}

/// Parts lie inside of the body, and one part can be replaced and read again.
pub(crate) fn multipart(input: &[u8]) -> Result<(), String> {
    const TYPE: &str = "multipart/form-data; boundary=b";
    let _ = form::boundary(&String::from_utf8_lossy(input));
    let Ok(parts) = form::scan(TYPE, input) else { return Ok(()) };
    let body = Bytes::copy_from_slice(input);
    for (at, part) in parts.iter().enumerate() {
        law(input.get(part.value.clone()).is_some(), || "a part outside of the body".to_owned())?;
        let replaced = form::replace(&body, part, Bytes::from_static(b"new")).concat();
        let again = form::scan(TYPE, &replaced).map_err(|error| format!("no form any more: {error}"))?;
        law(again.len() == parts.len(), || "another number of parts".to_owned())?;
        let value = again.get(at).and_then(|part| replaced.get(part.value.clone()));
        law(value == Some(b"new"), || "another value".to_owned())?;
    }
    Ok(())
}

/// Names meet whichever comes first, and a name meets itself.
pub(crate) fn hostname(input: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(input);
    let _ = tollgate_config::check_regular_expression(&text);
    let normal = tollgate_config::hostname::normalize(&text);
    let (one, two) = normal.split_once('/').unwrap_or((&normal, "*.example.com"));
    let both = tollgate_config::hostname::intersect(one, two);
    law(both == tollgate_config::hostname::intersect(two, one), || format!("{one} and {two}"))
}
