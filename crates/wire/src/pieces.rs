//! Bytes that come in pieces and leave as one.

use bytes::{Bytes, BytesMut};

/// Takes all of `pieces` out, as one. Copies nothing where at most one of them has anything in it.
pub fn join(pieces: &mut Vec<Bytes>) -> Bytes {
    pieces.retain(|piece| !piece.is_empty());
    if pieces.len() < 2 {
        return pieces.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces.drain(..) {
        joined.extend_from_slice(&piece);
    }
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_in_order_and_copies_only_what_it_must() {
        let one = Bytes::from_static(b"ab");
        let mut pieces = vec![Bytes::new(), one.clone(), Bytes::new()];
        assert_eq!(join(&mut pieces).as_ptr(), one.as_ptr());
        assert!(pieces.is_empty() && join(&mut pieces).is_empty());
        let mut pieces = vec![one, Bytes::new(), Bytes::from_static(b"c")];
        assert_eq!(join(&mut pieces), "abc");
        assert!(pieces.is_empty());
    }
}
