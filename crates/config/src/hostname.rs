//! Host names as Gateway API means them: exact, or `*.` and a suffix that stands behind one or more labels.

use std::borrow::Cow;

/// The name in a `Host` header or authority: without port and final dot, lower case.
pub fn normalize(host: &str) -> Cow<'_, str> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The more specific of two host name patterns, if a host exists that both cover. Both are lower case.
///
/// Source: Gateway API, `HTTPRoute.spec.hostnames`: a route serves the intersection with its listener's host name.
pub fn intersect<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if covers(a, b) {
        Some(b)
    } else if covers(b, a) {
        Some(a)
    } else {
        None
    }
}

/// Whether every host of pattern `inner` is one of pattern `outer`.
fn covers(outer: &str, inner: &str) -> bool {
    match outer.strip_prefix('*') {
        None => outer == inner,
        Some(suffix) => {
            let inner = inner.strip_prefix('*').unwrap_or(inner);
            inner == suffix && outer.len() > 1 && inner.starts_with('.')
                || inner.len() > suffix.len() && inner.ends_with(suffix)
        }
    }
}

/// The suffixes of `name` that a wildcard could have, longest first: `.b.example`, then `.example` for `a.b.example`.
pub(crate) fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').filter(|(at, _)| *at > 0).filter_map(|(at, _)| name.get(at..))
}

/// The name in a `Host` header or authority, as it is but for the port.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of a bare IPv6 address are not before a port.
        Some((name, port)) if is_port(port) && (name.ends_with(']') || !name.contains(':')) => name,
        _ => host,
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_case_port_and_final_dot_away() {
        for (host, name) in [
            ("API.example.com:8080", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("[::1]:80", "[::1]"),
            ("::1", "::1"),
            ("", ""),
        ] {
            assert_eq!(normalize(host), name);
        }
    }

    #[test]
    fn intersects_as_gateway_api_says() {
        for (a, b, both) in [
            ("a.example", "a.example", Some("a.example")),
            ("*.example", "a.example", Some("a.example")),
            ("a.b.example", "*.example", Some("a.b.example")),
            ("*.example", "*.b.example", Some("*.b.example")),
            ("*.example", "*.example", Some("*.example")),
            ("*.example", "example", None),
            ("*.example", "notexample", None),
            ("*.a.example", "*.b.example", None),
            ("a.example", "b.example", None),
        ] {
            assert_eq!(intersect(a, b), both, "{a} and {b}");
            assert_eq!(intersect(b, a), both, "{b} and {a}");
        }
    }

    #[test]
    fn offers_suffixes_from_the_longest() {
        assert_eq!(suffixes("a.b.example").collect::<Vec<_>>(), [".b.example", ".example"]);
        assert_eq!(suffixes("localhost").count(), 0);
        assert_eq!(suffixes(".example").count(), 0);
    }
}
