//! Where in the head of a request a key or token may be.

use std::borrow::Cow;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use tollgate_config::bundle::Place;

use super::Caller;

/// There are two where there must be one: which of them counts would be a guess.
pub(super) struct Twice;

/// What is at `place`. `None` where there is nothing.
pub(super) fn find<'a>(place: &Place, caller: &Caller<'a>) -> Option<Result<Cow<'a, str>, Twice>> {
    match place {
        Place::Header { name, prefix } => {
            let mut values = caller.headers.get_all(name.as_str()).iter();
            let first = values.next()?;
            if values.next().is_some() {
                return Some(Err(Twice));
            }
            let value = first.to_str().ok()?.trim_ascii();
            let value = if prefix.is_empty() { value } else { without_prefix(value, prefix)? };
            Some(Ok(Cow::Borrowed(value)))
        }
        Place::Query(name) => {
            only(parameters(caller.query).filter(|(key, _)| key == name).map(|(_, value)| value))
        }
        Place::Cookie(name) => {
            let cookies = caller.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
            let pairs =
                cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
            only(pairs.filter(|(key, _)| key == name).map(|(_, value)| Cow::Borrowed(value)))
        }
    }
}

/// The rest of `text` behind `prefix`, in whichever case that is written: names of schemes have none (RFC 9110 section 11.1).
pub(super) fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| rest.trim_ascii())
}

/// Takes the parameters and cookies of `places` out; returns the query without them.
pub(super) fn take_out<'p>(
    places: impl Iterator<Item = &'p Place>,
    query: Option<&str>,
    headers: &mut HeaderMap,
) -> Option<String> {
    let mut query = query.map(str::to_owned);
    for place in places {
        match place {
            Place::Header { .. } => {}
            Place::Query(name) => {
                let keeps = |pair: &&str| decoded(pair.split('=').next().unwrap_or_default()) != *name;
                query = query
                    .map(|query| query.split('&').filter(keeps).collect::<Vec<_>>().join("&"))
                    .filter(|query| !query.is_empty());
            }
            Place::Cookie(name) => take_cookie(name, headers),
        }
    }
    query
}

fn take_cookie(name: &str, headers: &mut HeaderMap) {
    let lines: Vec<String> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| {
            let pairs = line.to_str().ok()?.split(';').map(str::trim);
            let others = pairs.filter(|pair| pair.split('=').next().is_none_or(|key| key.trim() != name));
            Some(others.collect::<Vec<_>>().join("; "))
        })
        .filter(|line| !line.is_empty())
        .collect();
    headers.remove(COOKIE);
    for line in lines {
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.append(COOKIE, line);
        }
    }
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    pairs.filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decoded(key), decoded(value)))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn only<'a>(mut values: impl Iterator<Item = Cow<'a, str>>) -> Option<Result<Cow<'a, str>, Twice>> {
    let first = values.next()?;
    Some(if values.next().is_some() { Err(Twice) } else { Ok(first) })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn found(place: &Place, query: &str, headers: &HeaderMap) -> Option<Result<String, ()>> {
        let method = Method::GET;
        let caller = Caller {
            method: &method,
            path: "/",
            query: Some(query),
            headers,
            address: "",
            now_s: 0,
            vouched: &[],
        };
        find(place, &caller).map(|found| found.map(Cow::into_owned).map_err(|Twice| ()))
    }

    #[test]
    fn finds_what_is_there_once() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("bEARER  abc "));
        headers.append("cookie", HeaderValue::from_static("a=1; key=c"));
        headers.append("cookie", HeaderValue::from_static("key2=d"));
        let bearer = Place::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() };
        assert_eq!(found(&bearer, "", &headers), Some(Ok("abc".to_owned())));
        let basic = Place::Header { name: "authorization".to_owned(), prefix: "Basic ".to_owned() };
        assert_eq!(found(&basic, "", &headers), None);
        assert_eq!(found(&Place::Cookie("key".to_owned()), "", &headers), Some(Ok("c".to_owned())));
        let query = Place::Query("key".to_owned());
        assert_eq!(found(&query, "a=b&key=x%2Fy", &headers), Some(Ok("x/y".to_owned())));
        assert_eq!(found(&query, "key=a&ke%79=b", &headers), Some(Err(())));
        headers.append("authorization", HeaderValue::from_static("Bearer other"));
        assert_eq!(found(&bearer, "", &headers), Some(Err(())));
    }

    #[test]
    fn what_is_read_is_taken_out() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; key=c; b=2"));
        headers.append("cookie", HeaderValue::from_static("key=d"));
        let places = [Place::Query("key".to_owned()), Place::Cookie("key".to_owned())];
        let query = take_out(places.iter(), Some("a=b&k%65y=x&c=d"), &mut headers);
        assert_eq!(query.as_deref(), Some("a=b&c=d"));
        let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
        assert_eq!(take_out(places.iter(), Some("key=x"), &mut headers), None);
    }
}
