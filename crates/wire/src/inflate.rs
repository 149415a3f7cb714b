//! Content codings, undone as the bytes come, never twice and never without a limit.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use bytes::{BufMut, BytesMut};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use self::zstd::Zstd;

mod zstd;

/// Size of the brotli decoder's own buffer.
const BROTLI_BUFFER_BYTES: usize = 16 << 10;

/// Most codings on top of each other. Nobody has a use for more than one.
const LAYERS_MAX: usize = 2;

/// A coding that is not known, or too many of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsupported content-encoding {0:?}")]
pub struct Unsupported(pub String);

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The data is not what its coding says.
    #[error("corrupt compressed data")]
    Corrupt,
    /// It ends too early.
    #[error("truncated compressed data")]
    Truncated,
    /// It unpacks to more than the limit.
    #[error("compressed data unpacks to more than the limit")]
    TooLarge,
}

/// Undoes the codings of one body.
pub struct Inflater {
    layer: Layer,
    /// The coding that was applied before, undone after.
    inner: Option<Box<Inflater>>,
    bytes_left: u64,
}

enum Layer {
    Gzip(MultiGzDecoder<Sink>),
    Deflate(Deflate),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(Box<Zstd>),
}

/// `deflate` is zlib (RFC 9110 section 8.4.1.2), but some servers send the bare format.
enum Deflate {
    Undecided { out_bytes_max: u64 },
    Zlib(ZlibDecoder<Sink>),
    Raw(DeflateDecoder<Sink>),
}

impl Inflater {
    /// An inflater for the value of a `content-encoding` header that gives out at most `out_bytes_max` bytes. `None`
    /// when there is nothing to undo.
    ///
    /// # Errors
    /// [`Unsupported`] when a coding is not known, or there are too many.
    pub fn new(content_encoding: &str, out_bytes_max: u64) -> Result<Option<Self>, Unsupported> {
        let codings: Vec<&str> = content_encoding
            .split(',')
            .map(str::trim)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
            .collect();
        if codings.len() > LAYERS_MAX {
            return Err(Unsupported(content_encoding.to_owned()));
        }
        let mut inflater = None;
        for coding in codings {
            let layer = Layer::new(coding, out_bytes_max)?;
            // The coding named last was applied last, so it is undone first.
            inflater = Some(Self { layer, inner: inflater.map(Box::new), bytes_left: out_bytes_max });
        }
        Ok(inflater)
    }

    /// Unpacks `chunk` as far as it goes, up to a mistake in it too.
    ///
    /// # Errors
    /// When the data is corrupt, or unpacks to more than the limit. The inflater is of no use afterwards.
    pub fn push(&mut self, chunk: &[u8], out: &mut BytesMut) -> Result<(), InflateError> {
        let mut unpacked = Vec::new();
        let pushed = self.layer.push(chunk, &mut unpacked);
        self.give(&unpacked, out)?;
        pushed
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As [`Inflater::push`], and when the data ends too early.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<(), InflateError> {
        let unpacked = self.layer.finish()?;
        self.give(&unpacked, out)?;
        match &mut self.inner {
            Some(inner) => inner.finish(out),
            None => Ok(()),
        }
    }

    fn give(&mut self, unpacked: &[u8], out: &mut BytesMut) -> Result<(), InflateError> {
        self.bytes_left = self.bytes_left.checked_sub(unpacked.len() as u64).ok_or(InflateError::TooLarge)?;
        match &mut self.inner {
            Some(inner) => inner.push(unpacked, out),
            None => {
                out.put_slice(unpacked);
                Ok(())
            }
        }
    }
}

impl Layer {
    fn new(coding: &str, out_bytes_max: u64) -> Result<Self, Unsupported> {
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Ok(Self::Gzip(MultiGzDecoder::new(Sink::new(out_bytes_max)))),
            "deflate" => Ok(Self::Deflate(Deflate::Undecided { out_bytes_max })),
            "br" => Ok(Self::Brotli(Box::new(DecompressorWriter::new(
                Sink::new(out_bytes_max),
                BROTLI_BUFFER_BYTES,
            )))),
            "zstd" => Ok(Self::Zstd(Box::new(Zstd::new(out_bytes_max)))),
            _ => Err(Unsupported(coding.to_owned())),
        }
    }

    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        if chunk.is_empty() {
            return Ok(());
        }
        match self {
            Self::Gzip(decoder) => {
                let written = write(decoder, chunk);
                out.append(&mut decoder.get_mut().data);
                written
            }
            Self::Deflate(deflate) => deflate.push(chunk, out),
            Self::Brotli(decoder) => {
                let written = write(decoder, chunk);
                out.append(&mut decoder.get_mut().data);
                written
            }
            Self::Zstd(zstd) => zstd.push(chunk, out),
        }
    }

    fn finish(&mut self) -> Result<Vec<u8>, InflateError> {
        match self {
            Self::Gzip(decoder) => {
                decoder.try_finish().map_err(|error| ended(&error))?;
                Ok(decoder.get_mut().take())
            }
            Self::Deflate(deflate) => deflate.finish(),
            Self::Brotli(decoder) => {
                decoder.close().map_err(|error| ended(&error))?;
                Ok(decoder.get_mut().take())
            }
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl Deflate {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        if let Self::Undecided { out_bytes_max } = *self {
            // A zlib header's first byte names method 8 and a window of at most 32 KiB (RFC 1950 section 2.2).
            let is_zlib = chunk.first().is_some_and(|byte| byte & 0x0f == 8 && byte >> 4 <= 7);
            *self = if is_zlib {
                Self::Zlib(ZlibDecoder::new(Sink::new(out_bytes_max)))
            } else {
                Self::Raw(DeflateDecoder::new(Sink::new(out_bytes_max)))
            };
        }
        match self {
            Self::Zlib(decoder) => {
                let written = write(decoder, chunk);
                out.append(&mut decoder.get_mut().data);
                written
            }
            Self::Raw(decoder) => {
                let written = write(decoder, chunk);
                out.append(&mut decoder.get_mut().data);
                written
            }
            Self::Undecided { .. } => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<Vec<u8>, InflateError> {
        match self {
            Self::Zlib(decoder) => {
                decoder.try_finish().map_err(|error| ended(&error))?;
                Ok(decoder.get_mut().take())
            }
            Self::Raw(decoder) => {
                decoder.try_finish().map_err(|error| ended(&error))?;
                Ok(decoder.get_mut().take())
            }
            Self::Undecided { .. } => Err(InflateError::Truncated),
        }
    }
}

/// Takes what a decoder writes, up to a limit.
struct Sink {
    data: Vec<u8>,
    bytes_left: u64,
}

impl Sink {
    fn new(bytes_max: u64) -> Self {
        Self { data: Vec::new(), bytes_left: bytes_max }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.data)
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.bytes_left = self.bytes_left.checked_sub(data.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        self.data.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives `chunk` to a decoder, and lets it give out all that this tells: what a server has flushed waits for nothing.
fn write(decoder: &mut impl Write, chunk: &[u8]) -> Result<(), InflateError> {
    let written = decoder.write_all(chunk).and_then(|()| decoder.flush());
    written.map_err(|error| {
        // What came before a mistake leaves a decoder with the next write only.
        let _ = decoder.write(&[0]);
        fault(&error)
    })
}

fn fault(error: &io::Error) -> InflateError {
    match error.kind() {
        io::ErrorKind::StorageFull => InflateError::TooLarge,
        _ => InflateError::Corrupt,
    }
}

fn ended(error: &io::Error) -> InflateError {
    match error.kind() {
        io::ErrorKind::StorageFull => InflateError::TooLarge,
        _ => InflateError::Truncated,
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"hello hello hello hello hello";

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).expect("packed");
        encoder.finish().expect("packed")
    }

    fn unpack(coding: &str, chunks: &[&[u8]], limit: u64) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::new(coding, limit).expect("a known coding").expect("a coding");
        let mut out = BytesMut::new();
        for chunk in chunks {
            inflater.push(chunk, &mut out)?;
        }
        inflater.finish(&mut out)?;
        Ok(out.to_vec())
    }

    #[test]
    fn undoes_every_coding_one_byte_at_a_time() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(TEXT).expect("packed");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(TEXT).expect("packed");
        for (coding, packed) in [
            ("gzip", gzip(TEXT)),
            ("deflate", zlib.finish().expect("packed")),
            ("deflate", raw.finish().expect("packed")),
            ("gzip, gzip", gzip(&gzip(TEXT))),
        ] {
            let bytes: Vec<&[u8]> = packed.chunks(1).collect();
            assert_eq!(unpack(coding, &bytes, 1000).as_deref(), Ok(TEXT), "{coding}");
            assert_eq!(
                unpack(coding, &[&packed[..packed.len() - 5]], 1000),
                Err(InflateError::Truncated),
                "{coding}"
            );
        }
    }

    #[test]
    fn gives_out_at_once_what_a_server_has_flushed() {
        fn flushed<W: Write>(mut encoder: W, packed: fn(&W) -> &Vec<u8>) -> Vec<Vec<u8>> {
            let mut sent = 0;
            let mut flush = |text: &[u8]| {
                encoder.write_all(text).expect("packed");
                encoder.flush().expect("packed");
                let chunk = packed(&encoder).get(sent..).unwrap_or_default().to_vec();
                sent += chunk.len();
                chunk
            };
            // More than fits into the decoder's own buffer.
            vec![flush(TEXT), flush(TEXT), flush(&TEXT.repeat(10_000)), flush(TEXT)]
        }
        let fast = Compression::fast;
        for (coding, chunks) in [
            ("gzip", flushed(GzEncoder::new(Vec::new(), fast()), GzEncoder::get_ref)),
            ("deflate", flushed(ZlibEncoder::new(Vec::new(), fast()), ZlibEncoder::get_ref)),
            ("deflate", flushed(DeflateEncoder::new(Vec::new(), fast()), DeflateEncoder::get_ref)),
        ] {
            let mut inflater = Inflater::new(coding, 1 << 20).expect("a known coding").expect("a coding");
            for (chunk, times) in chunks.iter().zip([1, 1, 10_000, 1]) {
                let mut out = BytesMut::new();
                inflater.push(chunk, &mut out).expect("unpacked");
                assert!(out == TEXT.repeat(times), "{coding}: {} bytes instead of {times} texts", out.len());
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_of_good_or_bad_data_unpacks_to_the_same(
            text in "[ab]{0,300}",
            mistakes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
            end in any::<prop::sample::Index>(),
        ) {
            let mut packed = gzip(text.as_bytes());
            for (at, byte) in mistakes {
                let at = at.index(packed.len());
                packed[at] = byte;
            }
            packed.truncate(end.index(packed.len() * 2).min(packed.len()));
            let unpack = |chunks: &[&[u8]]| {
                let mut inflater = Inflater::new("gzip", 1000).expect("a known coding").expect("a coding");
                let mut out = BytesMut::new();
                let mut pushed = chunks.iter().map(|chunk| inflater.push(chunk, &mut out));
                let pushed = pushed.find(Result::is_err).unwrap_or(Ok(()));
                let ended = pushed.and_then(|()| inflater.finish(&mut out));
                (out, ended)
            };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(packed.len() + 1)).collect();
            cuts.sort_unstable();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([packed.len()]);
            let chunks: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &packed[start..end]).collect();
            let bytes: Vec<&[u8]> = packed.chunks(1).collect();
            prop_assert_eq!(unpack(&[&packed]), unpack(&chunks));
            prop_assert_eq!(unpack(&[&packed]), unpack(&bytes));
        }
    }
}
