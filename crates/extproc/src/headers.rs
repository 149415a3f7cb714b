//! Headers as Envoy sends them, as the core wants them, and the changes between the two.

use bytes::Bytes;
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
    pub(crate) fn read(sent: &[envoy::HeaderValue]) -> Self {
        let mut head = Self { headers: HeaderMap::with_capacity(sent.len()), ..Self::default() };
        for header in sent {
            match header.key.strip_prefix(':') {
                Some(pseudo) => head.set_pseudo(pseudo, value(header)),
                None => {
                    let name = HeaderName::from_bytes(header.key.as_bytes());
                    let value = if header.raw_value.is_empty() {
                        HeaderValue::from_str(&header.value)
                    } else {
                        HeaderValue::from_maybe_shared(header.raw_value.clone())
                    };
                    if let (Ok(name), Ok(value)) = (name, value) {
                        head.headers.append(name, value);
                    }
                }
            }
        }
        head
    }

    fn set_pseudo(&mut self, name: &str, value: &[u8]) {
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
const ENVOYS_OWN: [&str; 3] = ["content-length", "host", "transfer-encoding"];

/// The value of a header as Envoy sends it.
pub(crate) fn value(header: &envoy::HeaderValue) -> &[u8] {
    if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value }
}

/// The value of the first header with this name, in the order of `names`, as far as it is text.
pub(crate) fn texts<'a, const N: usize>(
    sent: &'a [envoy::HeaderValue],
    names: [&str; N],
) -> [Option<&'a str>; N] {
    let mut found = [None; N];
    for header in sent {
        if let Some(place) = names.iter().position(|name| *name == header.key) {
            let slot = &mut found[place];
            *slot = slot.or_else(|| std::str::from_utf8(value(header)).ok());
        }
    }
    found
}

/// The changes that make `to` of what Envoy has sent. Framing, host and pseudo headers are left alone. Heads are short: they are walked
/// through, since looking up costs more.
pub(crate) fn changes(sent: &[envoy::HeaderValue], to: &HeaderMap) -> envoy::HeaderMutation {
    let mut mutation = envoy::HeaderMutation::default();
    for header in sent {
        let name = header.key.as_str();
        let stays = name.starts_with(':')
            || ENVOYS_OWN.contains(&name)
            || to.keys().any(|kept| kept.as_str() == name)
            || mutation.remove_headers.iter().any(|removed| removed == name);
        if !stays {
            mutation.remove_headers.push(name.to_owned());
        }
    }
    for name in to.keys() {
        let same = |header: &&envoy::HeaderValue| header.key == name.as_str();
        let before = sent.iter().filter(same).map(value);
        if ENVOYS_OWN.contains(&name.as_str())
            || before.eq(to.get_all(name).iter().map(HeaderValue::as_bytes))
        {
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

    fn sent(headers: &[(&str, &'static str)]) -> Vec<envoy::HeaderValue> {
        let header = |&(key, raw): &(&str, &'static str)| envoy::HeaderValue {
            key: key.to_owned(),
            value: String::new(),
            raw_value: Bytes::from(raw),
        };
        headers.iter().map(header).collect()
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
        let mutation = changes(&sent(&from), &to);
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
        assert!(is_empty(&changes(&sent(&[("a", "1"), ("b", "x"), ("b", "y")]), &to)));
        assert_eq!(texts(&sent(&from), ["b", "d"]), [Some("2"), None]);
    }

    #[test]
    fn a_head_is_read_with_its_pseudo_headers() {
        let head = Head::read(&sent(&[(":method", "POST"), (":path", "/v1?x"), ("a", "1"), ("a", "2")]));
        assert_eq!((head.method.as_deref(), head.path.as_deref()), (Some("POST"), Some("/v1?x")));
        assert_eq!(head.headers.get_all("a").iter().count(), 2);
    }
}
