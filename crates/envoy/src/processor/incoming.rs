//! What Envoy asks.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;

use crate::Struct;
use crate::protobuf::{Fields, Malformed, Value};

/// A message of Envoy's (`ProcessingRequest`).
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What it asks.
    pub asked: Asked,
    message: Bytes,
}

/// What Envoy asks.
#[derive(Debug, Clone)]
pub enum Asked {
    /// What becomes of the head of a request.
    RequestHeaders(Head),
    /// What becomes of the body of a request.
    RequestBody(Body),
    /// What becomes of the head of a response.
    ResponseHeaders(Head),
    /// What becomes of a piece of the body of a response.
    ResponseBody(Body),
    /// What becomes of the trailers of a response.
    ResponseTrailers,
    /// Something that no filter is set to ask.
    Other,
}

/// A head.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// With the pseudo headers.
    pub headers: Headers,
    /// Whether there is no body.
    pub is_end: bool,
}

/// A body, or a piece of one.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether nothing comes behind it.
    pub is_end: bool,
}

/// Headers in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// The list as it lies on the wire.
    list: Bytes,
    // Invariant: within the list.
    places: Vec<Place>,
}

/// Where in a list a header is.
#[derive(Debug, Clone)]
struct Place {
    name: Range<u32>,
    value: Range<u32>,
}

/// One header.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// In lower case, with a colon before it if it is a pseudo header.
    pub name: &'a [u8],
    /// Any bytes.
    pub value: &'a [u8],
    list: &'a Bytes,
}

impl Incoming {
    /// Reads a message. Of what is told more than once, the last counts.
    ///
    /// # Errors
    /// When it is not in protobuf.
    pub fn decode(message: Bytes) -> Result<Self, Malformed> {
        let mut asked = Asked::Other;
        for field in Fields(&message) {
            let (number, value) = field?;
            asked = match number {
                2 => Asked::RequestHeaders(Head::decode(&message, value)?),
                3 => Asked::ResponseHeaders(Head::decode(&message, value)?),
                4 => Asked::RequestBody(Body::decode(&message, value)?),
                5 => Asked::ResponseBody(Body::decode(&message, value)?),
                7 => Asked::ResponseTrailers,
                _ => continue,
            };
        }
        Ok(Self { asked, message })
    }

    /// What dynamic metadata says under `namespace`, as far as the filter was set to tell it. The last counts, as everywhere.
    pub fn metadata(&self, namespace: &str) -> Option<Struct> {
        let metadata = Fields(&self.message).last(METADATA).ok()??.bytes().ok()?;
        let entries = Fields(metadata).map_while(Result::ok).filter(|(number, _)| *number == NAMESPACES);
        let named = entries.filter_map(|(_, it)| entry(it).ok());
        let (_, members) = named.filter(|(name, _)| *name == namespace.as_bytes()).last()?;
        Struct::decode(members).ok()
    }

    /// The attribute called `name`, if it is a text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let of_filters =
            Fields(&self.message).map_while(Result::ok).filter(|(number, _)| *number == ATTRIBUTES);
        let mut structs = of_filters.filter_map(|(_, filter)| entry(filter).ok());
        structs.find_map(|(_, members)| member(members, name))
    }
}

/// The field of a message that has the dynamic metadata, and the field of that which has those of a namespace.
const METADATA: u64 = 8;
const NAMESPACES: u64 = 1;

/// The field of a message that has the attributes, by the filter that was asked to send them.
const ATTRIBUTES: u64 = 9;

/// Key and value of an entry of a map.
fn entry(entry: Value<'_>) -> Result<(&[u8], &[u8]), Malformed> {
    let entry = entry.bytes()?;
    let part = |number| Fields(entry).last(number)?.map_or(Ok(&[][..]), Value::bytes);
    Ok((part(1)?, part(2)?))
}

/// The member called `name` of a `Struct`, if it is a text.
fn member<'a>(members: &'a [u8], name: &str) -> Option<&'a str> {
    let mut entries = Fields(members).map_while(Result::ok).filter_map(|(_, member)| entry(member).ok());
    let (_, value) = entries.find(|(key, _)| *key == name.as_bytes())?;
    let text = Fields(value).last(3).ok()??.bytes().ok()?;
    std::str::from_utf8(text).ok()
}

impl Head {
    fn decode(message: &Bytes, value: Value<'_>) -> Result<Self, Malformed> {
        let mut head = Self::default();
        for field in Fields(value.bytes()?) {
            match field? {
                (1, value) => head.headers = Headers::decode(message.slice_ref(value.bytes()?))?,
                (3, value) => head.is_end = value.flag()?,
                _ => {}
            }
        }
        Ok(head)
    }
}

impl Body {
    fn decode(message: &Bytes, value: Value<'_>) -> Result<Self, Malformed> {
        let mut body = Self::default();
        for field in Fields(value.bytes()?) {
            match field? {
                (1, value) => body.bytes = message.slice_ref(value.bytes()?),
                (2, value) => body.is_end = value.flag()?,
                _ => {}
            }
        }
        Ok(body)
    }
}

impl Headers {
    fn decode(list: Bytes) -> Result<Self, Malformed> {
        let mut places = Vec::with_capacity(HEADERS_USUAL);
        let mut fields = Fields(&list);
        while let Some(field) = fields.next() {
            if let (1, Value::Bytes(header)) = field? {
                let end = list.len() - fields.0.len();
                places.push(Place::find(header, end - header.len())?);
            }
        }
        Ok(Self { list, places })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> + Clone {
        let part =
            |range: &Range<u32>| self.list.get(range.start as usize..range.end as usize).unwrap_or_default();
        self.places.iter().map(move |Place { name, value }| Header {
            name: part(name),
            value: part(value),
            list: &self.list,
        })
    }
}

/// For how many headers there is room at first.
const HEADERS_USUAL: usize = 16;

/// How name and raw value of a header begin: fields 1 and 3 of `HeaderValue`, of bytes.
const NAME_KEY: u8 = 1 << 3 | 2;
const RAW_VALUE_KEY: u8 = 3 << 3 | 2;

impl Place {
    /// Finds name and value of the header that lies at `start` of its list.
    fn find(header: &[u8], start: usize) -> Result<Self, Malformed> {
        match Self::find_short(header, start) {
            Some(place) => Ok(place),
            None => Self::find_any(header, start),
        }
    }

    /// The same for what nearly all headers look like: a name and raw bytes, each shorter than 128 bytes.
    fn find_short(header: &[u8], start: usize) -> Option<Self> {
        let (&[NAME_KEY, name_bytes @ 0..0x80], rest) = header.split_first_chunk()? else { return None };
        let (&[RAW_VALUE_KEY, value_bytes @ 0..0x80], value) =
            rest.get(usize::from(name_bytes)..)?.split_first_chunk()?
        else {
            return None;
        };
        if value.len() != usize::from(value_bytes) {
            return None;
        }
        let name_start = place_of(start).ok()? + 2;
        let name_end = name_start + u32::from(name_bytes);
        let value_start = name_end + 2;
        Some(Self { name: name_start..name_end, value: value_start..value_start + u32::from(value_bytes) })
    }

    fn find_any(header: &[u8], start: usize) -> Result<Self, Malformed> {
        let mut place = Self { name: 0..0, value: 0..0 };
        let mut fields = Fields(header);
        while let Some(field) = fields.next() {
            let (number, value) = field?;
            let Value::Bytes(bytes) = value else { continue };
            let end = start + header.len() - fields.0.len();
            let range = place_of(end - bytes.len())?..place_of(end)?;
            match number {
                1 => place.name = range,
                // Envoy sends raw bytes, unless it is told otherwise.
                2 | 3 if !bytes.is_empty() => place.value = range,
                _ => {}
            }
        }
        Ok(place)
    }
}

fn place_of(index: usize) -> Result<u32, Malformed> {
    u32::try_from(index).map_err(|_| Malformed)
}

impl Header<'_> {
    /// The value, which shares the memory of the message.
    pub fn value_bytes(&self) -> Bytes {
        self.list.slice_ref(self.value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use prost::Message;

    use super::*;
    use crate::processing::processing_request::Request;
    use crate::processing::{HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest};
    use crate::value;

    fn read(request: Request, attributes: HashMap<String, Struct>) -> Incoming {
        let message = ProcessingRequest { request: Some(request), attributes, ..Default::default() };
        Incoming::decode(message.encode_to_vec().into()).unwrap()
    }

    fn header(key: &str, value: &str, raw_value: &'static [u8]) -> HeaderValue {
        HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: Bytes::from_static(raw_value) }
    }

    #[test]
    fn a_head_is_read_with_its_headers_in_order() {
        let long: &'static [u8] = &[b'x'; 200];
        let headers = vec![
            header(":path", "", b"/v1"),
            header("a", "1", b""),
            header("b", "", long),
            header("c", "", b""),
        ];
        let headers = Some(HeaderMap { headers });
        let sent = HttpHeaders { headers, end_of_stream: true, ..Default::default() };
        for is_request in [true, false] {
            let request = if is_request { Request::RequestHeaders } else { Request::ResponseHeaders };
            let (Asked::RequestHeaders(head) | Asked::ResponseHeaders(head)) =
                read(request(sent.clone()), HashMap::new()).asked
            else {
                panic!("expected a head");
            };
            assert!(head.is_end);
            let all: Vec<(&[u8], &[u8])> =
                head.headers.iter().map(|header| (header.name, header.value)).collect();
            let expected: [(&[u8], &[u8]); 4] = [(b":path", b"/v1"), (b"a", b"1"), (b"b", long), (b"c", b"")];
            assert_eq!(all, expected);
            assert_eq!(head.headers.iter().nth(2).unwrap().value_bytes(), long);
        }
    }

    #[test]
    fn a_body_is_read_with_its_end() {
        let body = HttpBody { body: Bytes::from_static(b"{}"), end_of_stream: true, ..Default::default() };
        let read = |request| match read(request, HashMap::new()).asked {
            Asked::RequestBody(body) => ("request", body.bytes, body.is_end),
            Asked::ResponseBody(body) => ("response", body.bytes, body.is_end),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(Request::RequestBody(body.clone())), ("request", Bytes::from_static(b"{}"), true));
        assert_eq!(read(Request::ResponseBody(body)), ("response", Bytes::from_static(b"{}"), true));
        assert_eq!(read(Request::ResponseBody(HttpBody::default())), ("response", Bytes::new(), false));
    }

    #[test]
    fn trailers_of_requests_are_not_asked_for() {
        let trailers = HttpTrailers::default();
        assert!(matches!(
            read(Request::ResponseTrailers(trailers.clone()), HashMap::new()).asked,
            Asked::ResponseTrailers
        ));
        assert!(matches!(read(Request::RequestTrailers(trailers), HashMap::new()).asked, Asked::Other));
    }

    #[test]
    fn attributes_are_found_by_their_names() {
        let value = |kind| crate::Value { kind: Some(kind) };
        let members = BTreeMap::from([
            ("port".to_owned(), value(value::Kind::NumberValue(1.0))),
            ("source.address".to_owned(), value(value::Kind::StringValue("127.0.0.1:9".to_owned()))),
        ]);
        let attributes =
            HashMap::from([("envoy.filters.http.ext_proc".to_owned(), Struct { fields: members })]);
        let message = read(Request::RequestHeaders(HttpHeaders::default()), attributes);
        assert_eq!(message.attribute("source.address"), Some("127.0.0.1:9"));
        assert_eq!(message.attribute("port"), None);
        assert_eq!(message.attribute("source"), None);
    }

    #[test]
    fn metadata_is_found_by_its_namespace() {
        let text = |text: &str| Struct {
            fields: BTreeMap::from([(
                "a".to_owned(),
                crate::Value { kind: Some(value::Kind::StringValue(text.to_owned())) },
            )]),
        };
        let filter_metadata = HashMap::from([("one".to_owned(), text("1")), ("two".to_owned(), text("2"))]);
        let metadata = crate::services::envoy::config::core::v3::Metadata {
            filter_metadata,
            typed_filter_metadata: HashMap::new(),
        };
        let request = Some(Request::RequestHeaders(HttpHeaders::default()));
        let message = ProcessingRequest { request, metadata_context: Some(metadata), ..Default::default() };
        let message = Incoming::decode(message.encode_to_vec().into()).unwrap();
        assert_eq!(message.metadata("two"), Some(text("2")));
        assert_eq!(message.metadata("three"), None);
        assert_eq!(
            read(Request::RequestHeaders(HttpHeaders::default()), HashMap::new()).metadata("two"),
            None
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let broken: [&'static [u8]; 3] = [&[0x12, 5, 0], &[0x12, 2, 0x0a, 9], &[0x12, 4, 0x0a, 2, 0x0a, 9]];
        for bytes in broken {
            assert_eq!(Incoming::decode(Bytes::from_static(bytes)).err(), Some(Malformed), "{bytes:?}");
        }
    }
}
