//! Headers as Envoy sends them, as the core wants them, and the changes between the two.

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_envoy::processor::{Header, HeaderChanges, Headers, Set};

/// A head as Envoy sends it: pseudo headers beside the others.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: Option<String>,
    /// With the query.
    pub(crate) path: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// Reads a head. What is no header by the rules of HTTP is left out; Envoy lets none of it through.
    pub(crate) fn read(sent: &Headers) -> Self {
        let mut head = Self { headers: HeaderMap::with_capacity(sent.len()), ..Self::default() };
        for header in sent.iter() {
            match header.name.strip_prefix(b":") {
                Some(pseudo) => head.set_pseudo(pseudo, header.value),
                None => {
                    let name = HeaderName::from_bytes(header.name);
                    let value = HeaderValue::from_maybe_shared(header.value_bytes());
                    if let (Ok(name), Ok(value)) = (name, value) {
                        head.headers.append(name, value);
                    }
                }
            }
        }
        head
    }

    fn set_pseudo(&mut self, name: &[u8], value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else { return };
        match name {
            b"method" => self.method = Some(text.to_owned()),
            b"path" => self.path = Some(text.to_owned()),
            b"authority" => self.authority = Some(text.to_owned()),
            b"status" => self.status = text.parse().ok(),
            _ => {}
        }
    }
}

/// What Envoy sees to by itself: the framing of a body, and the host.
const ENVOYS_OWN: [&str; 3] = ["content-length", "host", "transfer-encoding"];

fn is_envoys_own(name: &[u8]) -> bool {
    ENVOYS_OWN.iter().any(|own| own.as_bytes() == name)
}

/// The value of the first header with this name, in the order of `names`, as far as it is text.
pub(crate) fn texts<'a, const N: usize>(sent: &'a Headers, names: [&str; N]) -> [Option<&'a str>; N] {
    let mut found = [None; N];
    for header in sent.iter() {
        if let Some(place) = names.iter().position(|name| name.as_bytes() == header.name) {
            let slot = &mut found[place];
            *slot = slot.or_else(|| std::str::from_utf8(header.value).ok());
        }
    }
    found
}

/// The changes that make `to` of what Envoy has sent. Framing, host and pseudo headers are left alone. Heads are short: they are walked
/// through, since looking up costs more.
pub(crate) fn changes(sent: &Headers, to: &HeaderMap) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    let mut kept = to.keys().peekable();
    for Header { name, .. } in sent.iter() {
        let is_called = |kept: &&HeaderName| kept.as_str().as_bytes() == name;
        // What is kept stands in about the order in which it was sent, so the next one is mostly this one.
        let stays = name.starts_with(b":")
            || is_envoys_own(name)
            || kept.next_if(is_called).is_some()
            || to.keys().any(|kept| is_called(&kept));
        // One that comes twice may be removed twice.
        if !stays {
            changes.remove(name);
        }
    }
    for name in to.keys() {
        let key = name.as_str().as_bytes();
        let before = sent.iter().filter(|header| header.name == key).map(|header| header.value);
        if is_envoys_own(key) || before.eq(to.get_all(name).iter().map(HeaderValue::as_bytes)) {
            continue;
        }
        let mut how = Set::Overwrite;
        for value in to.get_all(name) {
            changes.set(key, value.as_bytes(), how);
            how = Set::Append;
        }
    }
    changes
}

/// Sets `name`, whatever it was before.
pub(crate) fn set(changes: &mut HeaderChanges, name: &str, value: impl AsRef<[u8]>) {
    changes.set(name.as_bytes(), value.as_ref(), Set::Overwrite);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tollgate_envoy::Message;
    use tollgate_envoy::processing as envoy;
    use tollgate_envoy::processor::{Asked, Incoming};

    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(header) {
            map.append(name, value);
        }
        map
    }

    /// As Envoy sends them.
    fn sent(headers: &[(&str, &'static str)]) -> Headers {
        let header = |&(key, raw): &(&str, &'static str)| envoy::HeaderValue {
            key: key.to_owned(),
            value: String::new(),
            raw_value: Bytes::from(raw),
        };
        let headers = Some(envoy::HeaderMap { headers: headers.iter().map(header).collect() });
        let head = envoy::HttpHeaders { headers, ..Default::default() };
        let request = Some(envoy::processing_request::Request::RequestHeaders(head));
        let message = envoy::ProcessingRequest { request, ..Default::default() }.encode_to_vec();
        match Incoming::decode(message.into()).unwrap().asked {
            Asked::RequestHeaders(head) => head.headers,
            other => panic!("expected a head, got {other:?}"),
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let from = [
            (":path", "/"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("c", "4"),
            ("content-length", "9"),
            ("host", "h"),
        ];
        let to = map(&[("a", "1"), ("b", "x"), ("b", "y")]);
        let mut expected = HeaderChanges::default();
        expected.remove(b"c");
        expected.remove(b"c");
        expected.set(b"b", b"x", Set::Overwrite);
        expected.set(b"b", b"y", Set::Append);
        assert_eq!(changes(&sent(&from), &to), expected);
        assert!(changes(&sent(&[("a", "1"), ("b", "x"), ("b", "y")]), &to).is_empty());
        assert_eq!(texts(&sent(&from), ["b", "d"]), [Some("2"), None]);
    }

    #[test]
    fn a_head_is_read_with_its_pseudo_headers() {
        let head = Head::read(&sent(&[(":method", "POST"), (":path", "/v1?x"), ("a", "1"), ("a", "2")]));
        assert_eq!((head.method.as_deref(), head.path.as_deref()), (Some("POST"), Some("/v1?x")));
        assert_eq!(head.headers.get_all("a").iter().count(), 2);
    }
}
