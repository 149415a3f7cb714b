//! Zstandard (RFC 8878), one block at a time: a block of four bytes can unpack to 128 KiB, so whoever unpacks all the
//! blocks at hand before looking at the limit has lost.

use ruzstd::decoding::FrameDecoder;

use super::InflateError;

/// Largest window that is accepted: what browsers accept (RFC 9659).
const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// Largest frame header (RFC 8878 section 3.1.1.1).
const HEADER_BYTES_MAX: usize = 18;

/// Largest block, unpacked.
const BLOCK_BYTES_MAX: usize = 128 << 10;

pub(super) struct Zstd {
    decoder: FrameDecoder,
    begun: bool,
    /// Bytes that do not make a whole header or block yet.
    held: Vec<u8>,
    bytes_left: u64,
}

impl Zstd {
    pub(super) fn new(out_bytes_max: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        Self { decoder, begun: false, held: Vec::new(), bytes_left: out_bytes_max }
    }

    pub(super) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        self.held.extend_from_slice(chunk);
        let mut used = 0;
        while let Some(read) = self.step(used, out)? {
            used += read;
        }
        self.held.drain(..used.min(self.held.len()));
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Vec<u8>, InflateError> {
        if !self.begun || !self.decoder.is_finished() {
            return Err(InflateError::Truncated);
        }
        Ok(Vec::new())
    }

    /// Reads a header or one block from `held`, behind `used` bytes. `None` when more is needed.
    fn step(&mut self, used: usize, out: &mut Vec<u8>) -> Result<Option<usize>, InflateError> {
        let source = self.held.get(used..).unwrap_or_default();
        if !self.begun {
            let mut rest = source;
            return match self.decoder.init(&mut rest) {
                Ok(()) => {
                    self.begun = true;
                    Ok(Some(source.len() - rest.len()))
                }
                Err(_) if source.len() < HEADER_BYTES_MAX => Ok(None),
                Err(_) => Err(InflateError::Corrupt),
            };
        }
        if self.decoder.is_finished() {
            // What stands behind the frame, its checksum first, is of no interest.
            return Ok((!source.is_empty()).then_some(source.len()));
        }
        let Some(block) = block_length(source).filter(|&length| length <= source.len()) else {
            return Ok(None);
        };
        let block = source.get(..block).unwrap_or_default();
        let mut target = vec![0; BLOCK_BYTES_MAX];
        let (read, mut written) =
            self.decoder.decode_from_to(block, &mut target).map_err(|_| InflateError::Corrupt)?;
        loop {
            let unpacked = target.get(..written).unwrap_or_default();
            self.bytes_left =
                self.bytes_left.checked_sub(unpacked.len() as u64).ok_or(InflateError::TooLarge)?;
            out.extend_from_slice(unpacked);
            if written == 0 {
                return Ok(Some(read.max(1)));
            }
            written =
                std::io::Read::read(&mut self.decoder, &mut target).map_err(|_| InflateError::Corrupt)?;
        }
    }
}

/// Length of the block at the beginning of `source`, its header included (RFC 8878 section 3.1.1.2).
fn block_length(source: &[u8]) -> Option<usize> {
    let &[a, b, c, ..] = source else { return None };
    let header = u32::from_le_bytes([a, b, c, 0]);
    let size = usize::try_from(header >> 3).ok()?;
    let is_run = (header >> 1) & 3 == 1;
    Some(3 + if is_run { 1 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a window of 1 MiB and no content size or checksum, and these blocks.
    fn frame(blocks: &[(bool, u32, &[u8])]) -> Vec<u8> {
        let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
        for (index, (is_run, size, data)) in blocks.iter().enumerate() {
            let last = u32::from(index + 1 == blocks.len());
            let header = size << 3 | u32::from(*is_run) << 1 | last;
            out.extend_from_slice(&header.to_le_bytes()[..3]);
            out.extend_from_slice(data);
        }
        out
    }

    #[test]
    fn unpacks_one_byte_at_a_time() {
        let packed = frame(&[(false, 3, b"abc"), (true, 4, b"x")]);
        let mut zstd = Zstd::new(100);
        let mut out = Vec::new();
        for byte in &packed {
            zstd.push(&[*byte], &mut out).expect("a good frame");
        }
        zstd.finish().expect("the end of the frame");
        assert_eq!(out, b"abcxxxx");
    }

    #[test]
    fn stops_a_bomb_before_it_is_unpacked() {
        let blocks: Vec<(bool, u32, &[u8])> = vec![(true, 131_072, b"x"); 1000];
        let mut zstd = Zstd::new(1 << 20);
        assert_eq!(zstd.push(&frame(&blocks), &mut Vec::new()), Err(InflateError::TooLarge));
    }

    #[test]
    fn tells_a_frame_that_ends_too_early() {
        let packed = frame(&[(false, 3, b"abc"), (true, 4, b"x")]);
        let mut zstd = Zstd::new(100);
        zstd.push(&packed[..packed.len() - 1], &mut Vec::new()).expect("a good beginning");
        assert_eq!(zstd.finish(), Err(InflateError::Truncated));
    }
}
