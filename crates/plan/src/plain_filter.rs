//! Filters of an HTTPRoute's rule: what is changed on the way.

use tollgate_config::bundle::{HeaderEdit, PathRewrite, Redirect};
use tollgate_config::{header_name, header_value};
use tollgate_manifest::{
    HttpHeader, HttpHeaderFilter, HttpPathModifier, HttpPathModifierType, HttpRouteFilterType, HttpRouteRule,
    PathMatchType,
};

use crate::findings::{Findings, ObjectId};
use crate::mutation::{Place, checked, is_owned};

/// What the filters of a rule come to.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) request_headers: HeaderEdit,
    pub(crate) response_headers: HeaderEdit,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) hostname: Option<String>,
    pub(crate) path: Option<PathRewrite>,
    /// Why the rule cannot be served, if so.
    pub(crate) broken: Option<String>,
}

/// Resolves the filters of `rule`, which stands at `path` of `route`.
///
/// What cannot be done breaks the rule: whoever wrote it may rely on it. Only a copy of requests is missed by nobody who sends them.
pub(crate) fn resolve(
    route: &ObjectId,
    path: &str,
    rule: &HttpRouteRule,
    findings: &mut Findings,
) -> Filters {
    let mut filters = Filters::default();
    let mut broken = None;
    for (at, filter) in rule.filters.iter().enumerate() {
        let place = Place { object: route, path: &format!("{path}.filters[{at}].") };
        let not_served = |name: &str| Err(format!("{name} is not served"));
        let in_place = |field: &str| format!("{}{field}", place.path);
        match filter.kind {
            HttpRouteFilterType::RequestHeaderModifier => {
                let place = Place { path: &in_place("requestHeaderModifier."), ..place };
                filters.request_headers =
                    edit(place, filter.request_header_modifier.as_ref(), &mut broken, findings);
            }
            HttpRouteFilterType::ResponseHeaderModifier => {
                let place = Place { path: &in_place("responseHeaderModifier."), ..place };
                filters.response_headers =
                    edit(place, filter.response_header_modifier.as_ref(), &mut broken, findings);
            }
            HttpRouteFilterType::RequestRedirect => {
                let Some(written) = &filter.request_redirect else { continue };
                if !rule.backend_refs.is_empty() {
                    let message = "must not be used together with backendRefs";
                    checked::<()>(
                        place,
                        in_place("requestRedirect"),
                        Err(message.to_owned()),
                        &mut broken,
                        findings,
                    );
                }
                let in_place = in_place("requestRedirect.path");
                filters.redirect = Some(Redirect {
                    scheme: written.scheme.clone(),
                    hostname: written.hostname.clone(),
                    port: written.port,
                    path: written.path.as_ref().and_then(|modifier| {
                        checked(place, in_place, rewrite(rule, modifier), &mut broken, findings)
                    }),
                    status: written.status_code,
                });
            }
            HttpRouteFilterType::UrlRewrite => {
                let Some(written) = &filter.url_rewrite else { continue };
                filters.hostname = written.hostname.clone();
                filters.path = written.path.as_ref().and_then(|modifier| {
                    checked(
                        place,
                        in_place("urlRewrite.path"),
                        rewrite(rule, modifier),
                        &mut broken,
                        findings,
                    )
                });
            }
            HttpRouteFilterType::RequestMirror => {
                findings.warning(route, in_place("type"), "RequestMirror is not served: nothing is copied");
            }
            HttpRouteFilterType::ExtensionRef => {
                checked::<()>(place, in_place("type"), not_served("ExtensionRef"), &mut broken, findings);
            }
            HttpRouteFilterType::Cors => {
                checked::<()>(place, in_place("type"), not_served("CORS"), &mut broken, findings);
            }
            HttpRouteFilterType::ExternalAuth => {
                checked::<()>(place, in_place("type"), not_served("ExternalAuth"), &mut broken, findings);
            }
        }
    }
    Filters { broken, ..filters }
}

fn edit(
    place: Place<'_>,
    written: Option<&HttpHeaderFilter>,
    broken: &mut Option<String>,
    findings: &mut Findings,
) -> HeaderEdit {
    let Some(written) = written else { return HeaderEdit::default() };
    let mut pairs = |field: &str, headers: &[HttpHeader]| {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (at, header) in headers.iter().enumerate() {
            let path = format!("{}{field}[{at}]", place.path);
            if is_owned(place, &format!("{path}.name"), &header.name, findings) {
                continue;
            }
            let name = checked(place, format!("{path}.name"), header_name(&header.name), broken, findings);
            let value =
                checked(place, format!("{path}.value"), header_value(&header.value), broken, findings);
            if let (Some(name), Some(_)) = (name, value) {
                pairs.push((name.as_str().to_owned(), header.value.clone()));
            }
        }
        pairs
    };
    let (set, add) = (pairs("set", &written.set), pairs("add", &written.add));
    let mut remove = Vec::new();
    for (at, name) in written.remove.iter().enumerate() {
        let path = format!("{}remove[{at}]", place.path);
        if is_owned(place, &path, name, findings) {
            continue;
        }
        if let Some(name) = checked(place, path, header_name(name), broken, findings) {
            remove.push(name.as_str().to_owned());
        }
    }
    HeaderEdit { set, add, remove }
}

fn rewrite(rule: &HttpRouteRule, written: &HttpPathModifier) -> Result<PathRewrite, String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (rewrite, path) = match written.kind {
        HttpPathModifierType::ReplaceFullPath => {
            let path = text(&written.replace_full_path);
            (PathRewrite::Full(path.clone()), path)
        }
        HttpPathModifierType::ReplacePrefixMatch => {
            let is_prefix =
                |kind: Option<PathMatchType>| kind.is_none_or(|kind| kind == PathMatchType::PathPrefix);
            if !rule.matches.iter().all(|one| is_prefix(one.path.as_ref().map(|path| path.kind))) {
                return Err("replacePrefixMatch needs matches of type PathPrefix".to_owned());
            }
            let path = text(&written.replace_prefix_match);
            (PathRewrite::Prefix(path.clone()), if path.is_empty() { "/".to_owned() } else { path })
        }
    };
    // Whatever else can stand in a path of a request.
    let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if path.starts_with('/') && path.bytes().all(is_path) {
        Ok(rewrite)
    } else {
        Err(format!("expected a path without a query, found {path:?}"))
    }
}
