//! Frames of a segment: length of the payload, its CRC-32, and the payload. Numbers are little-endian.

/// Bytes before a payload.
pub(crate) const HEAD_BYTES: usize = 8;

/// Longest payload. A length above it is no length.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// A frame whose payload is what `write` writes; empty if that is too long to be read again.
pub(crate) fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 << 10);
    write_frame(&mut bytes, write);
    bytes
}

/// Writes a frame as [`frame`] does, in the place of what is in `bytes`.
pub(crate) fn write_frame(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    write_unsealed(bytes, write);
    seal(bytes);
}

/// Writes a frame without what its head says of the payload, which may still change.
pub(crate) fn write_unsealed(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    bytes.clear();
    bytes.extend_from_slice(&[0; HEAD_BYTES]);
    write(bytes);
}

/// Says in the head what the payload is. Nothing is left of a frame that cannot be read again.
pub(crate) fn seal(bytes: &mut Vec<u8>) {
    let payload = bytes.get(HEAD_BYTES..).unwrap_or_default();
    let length = payload.len();
    if length == 0 || length > PAYLOAD_BYTES_MAX {
        bytes.clear();
        return;
    }
    let crc = crc32fast::hash(payload).to_le_bytes();
    // At most a million.
    let length = u32::try_from(length).unwrap_or_default().to_le_bytes();
    for (byte, value) in bytes.iter_mut().zip(length.into_iter().chain(crc)) {
        *byte = value;
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A whole frame: its payload, and how many bytes it has taken.
    Whole(&'a [u8], usize),
    /// The beginning of one, which may go on.
    Partial,
    /// No frame, whatever follows.
    Broken,
}

/// Reads the first frame of `bytes`.
pub(crate) fn next(bytes: &[u8]) -> Next<'_> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Next::Partial };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    // A machine that lost its power may leave zeros.
    if length == 0 || length > PAYLOAD_BYTES_MAX {
        return Next::Broken;
    }
    let Some((crc, rest)) = rest.split_first_chunk() else { return Next::Partial };
    match rest.get(..length) {
        None => Next::Partial,
        Some(payload) if crc32fast::hash(payload) == u32::from_le_bytes(*crc) => {
            Next::Whole(payload, HEAD_BYTES + length)
        }
        Some(_) => Next::Broken,
    }
}

/// The whole frames with which some bytes begin: gives their payloads.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'a> {
    /// What follows those that were given.
    pub(crate) rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let Next::Whole(payload, length) = next(self.rest) else { return None };
        self.rest = self.rest.get(length..).unwrap_or_default();
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = frame(|payload| payload.extend_from_slice(b"abc"));
        assert_eq!(next(&bytes), Next::Whole(b"abc", 11));
        for length in 0..bytes.len() {
            assert_eq!(next(&bytes[..length]), Next::Partial, "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let bytes = frame(|payload| payload.extend_from_slice(b"abc"));
        for at in 4..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(next(&bad), Next::Broken, "{at}");
        }
        assert_eq!(next(&[0; 64]), Next::Broken);
        assert_eq!(next(&[255; 64]), Next::Broken);
    }

    #[test]
    fn what_cannot_be_read_again_is_not_written() {
        assert!(frame(|_| {}).is_empty());
        assert!(frame(|payload| payload.resize(HEAD_BYTES + PAYLOAD_BYTES_MAX + 1, 1)).is_empty());
    }
}
