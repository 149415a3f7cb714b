//! Versions, as far as a minimum needs them.

/// The first three numbers of a version.
pub(super) type Numbers = [u64; 3];

/// Reads `1.2.3`, `1.2` or `1.2.3-alpha.1+build`; what is not a number counts as 0.
pub(super) fn numbers(version: &str) -> Numbers {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn numbers_compare_as_numbers() {
        assert!(numbers("0.103.13") > numbers("0.103.9"));
        assert!(numbers("1.0.0") > numbers("0.99"));
        assert_eq!(numbers("1.2.3-alpha.4+x"), [1, 2, 3]);
    }
}
