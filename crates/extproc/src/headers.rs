//! Headers as Envoy sends them, as the core wants them, and the changes between the two.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_envoy::processing as envoy;
use tollgate_envoy::processing::HeaderAppendAction;

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
    pub(crate) fn read(sent: Option<envoy::HeaderMap>) -> Self {
        let mut head = Self::default();
        for header in sent.map(|sent| sent.headers).unwrap_or_default() {
            let value =
                if header.raw_value.is_empty() { Bytes::from(header.value) } else { header.raw_value };
            match header.key.strip_prefix(':') {
                Some(pseudo) => head.set_pseudo(pseudo, &value),
                None => {
                    let name = HeaderName::from_bytes(header.key.as_bytes());
                    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) {
                        head.headers.append(name, value);
                    }
                }
            }
        }
        head
    }

    fn set_pseudo(&mut self, name: &str, value: &Bytes) {
        let Ok(text) = std::str::from_utf8(value) else { return };
        match name {
            "method" => self.method = Some(text.to_owned()),
            "path" => self.path = Some(text.to_owned()),
            "authority" => self.authority = Some(text.to_owned()),
            "status" => self.status = text.parse().ok(),
            _ => {}
        }
    }
}

/// What Envoy sees to by itself: the framing of a body, and the host.
const ENVOYS_OWN: [HeaderName; 3] = [CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// The changes that make `to` of `from`. Framing and host are left alone.
pub(crate) fn changes(from: &HeaderMap, to: &HeaderMap) -> envoy::HeaderMutation {
    let mut mutation = envoy::HeaderMutation::default();
    for name in from.keys() {
        if !to.contains_key(name) && !ENVOYS_OWN.contains(name) {
            mutation.remove_headers.push(name.as_str().to_owned());
        }
    }
    for name in to.keys() {
        if ENVOYS_OWN.contains(name) || from.get_all(name).iter().eq(to.get_all(name).iter()) {
            continue;
        }
        let mut action = HeaderAppendAction::OverwriteIfExistsOrAdd;
        for value in to.get_all(name) {
            mutation.set_headers.push(option(name.as_str(), value.as_bytes(), action));
            action = HeaderAppendAction::AppendIfExistsOrAdd;
        }
    }
    mutation
}

/// Sets `name`, whatever it was before.
pub(crate) fn set(mutation: &mut envoy::HeaderMutation, name: &str, value: impl AsRef<[u8]>) {
    let set = option(name, value.as_ref(), HeaderAppendAction::OverwriteIfExistsOrAdd);
    mutation.set_headers.push(set);
}

/// Whether it changes nothing.
pub(crate) fn is_empty(mutation: &envoy::HeaderMutation) -> bool {
    mutation.set_headers.is_empty() && mutation.remove_headers.is_empty()
}

fn option(name: &str, value: &[u8], action: HeaderAppendAction) -> envoy::HeaderValueOption {
    envoy::HeaderValueOption {
        header: Some(envoy::HeaderValue {
            key: name.to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value),
        }),
        append_action: action.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(header) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn only_what_differs_is_changed() {
        let from = map(&[("a", "1"), ("b", "2"), ("c", "3"), ("content-length", "9"), ("host", "h")]);
        let to = map(&[("a", "1"), ("b", "x"), ("b", "y")]);
        let mutation = changes(&from, &to);
        assert_eq!(mutation.remove_headers, ["c"]);
        let sets: Vec<_> = mutation
            .set_headers
            .iter()
            .map(|set| (set.header.as_ref().unwrap().raw_value.clone(), set.append_action()))
            .collect();
        assert_eq!(
            sets,
            [
                (Bytes::from("x"), HeaderAppendAction::OverwriteIfExistsOrAdd),
                (Bytes::from("y"), HeaderAppendAction::AppendIfExistsOrAdd),
            ]
        );
        assert!(is_empty(&changes(&from, &from)));
    }

    #[test]
    fn a_head_is_read_with_its_pseudo_headers() {
        let header = |key: &str, raw: &'static str| envoy::HeaderValue {
            key: key.to_owned(),
            value: String::new(),
            raw_value: Bytes::from(raw),
        };
        let sent = envoy::HeaderMap {
            headers: vec![
                header(":method", "POST"),
                header(":path", "/v1?x"),
                header("a", "1"),
                header("a", "2"),
            ],
        };
        let head = Head::read(Some(sent));
        assert_eq!((head.method.as_deref(), head.path.as_deref()), (Some("POST"), Some("/v1?x")));
        assert_eq!(head.headers.get_all("a").iter().count(), 2);
    }
}
