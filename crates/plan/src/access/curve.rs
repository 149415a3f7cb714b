//! Points of the curves on which signatures are made: whether a key is one. Envoy refuses all of a listener whose only key is none.
//!
//! Source: NIST SP 800-186, section 3.2.1: y² = x³ - 3x + b, modulo p.

use num_bigint::BigUint;

/// P-256.
const P_256: [&str; 2] = [
    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
];

/// P-384.
const P_384: [&str; 2] = [
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
];

/// Whether a point, told by the bytes of its two numbers, is on the curve of this name; `None` where the curve is not known.
pub(super) fn has_point(curve: &str, x: &[u8], y: &[u8]) -> Option<bool> {
    let [p, b] = match curve {
        "P-256" => P_256,
        "P-384" => P_384,
        _ => return None,
    };
    let number = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16);
    let (p, b) = (number(p)?, number(b)?);
    let (x, y) = (BigUint::from_bytes_be(x), BigUint::from_bytes_be(y));
    if x >= p || y >= p {
        return Some(false);
    }
    let minus_three = &p - 3_u8;
    let right = &x * &x * &x + minus_three * &x + b;
    Some(&y * &y % &p == right % p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Vec<u8> {
        BigUint::parse_bytes(text.as_bytes(), 16).unwrap().to_bytes_be()
    }

    #[test]
    fn tells_the_points_of_a_curve() {
        // The base points.
        let small = (
            number("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
            number("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        );
        let large = (
            number(
                "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
            ),
            number(
                "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
            ),
        );
        assert_eq!(has_point("P-256", &small.0, &small.1), Some(true));
        assert_eq!(has_point("P-384", &large.0, &large.1), Some(true));
        assert_eq!(has_point("P-256", &small.1, &small.0), Some(false));
        assert_eq!(has_point("P-384", &large.0, &small.0), Some(false));
        assert_eq!(has_point("P-256", &[0xff; 32], &small.1), Some(false));
        assert_eq!(has_point("secp256k1", &small.0, &small.1), None);
    }
}
