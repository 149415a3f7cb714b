//! Which callers are let in: the first rule that is for one decides. A rule that cannot be evaluated lets nobody in.

use std::collections::HashMap;
use std::net::IpAddr;

use cel::{Context, Program};
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_config::CompiledAccess;
use tollgate_config::bundle::{AccessRule, Network, Permission, TokenCondition};
use tollgate_terms::Principal;

use super::{Caller, Proved, token};

/// Whether the caller is let in.
pub(super) fn permits(
    access: &CompiledAccess,
    caller: &Caller<'_>,
    principal: &Principal,
    proved: Option<&Proved<'_>>,
) -> bool {
    let Some((mut rules, authorization)) = access.authorization() else { return true };
    let decided = rules.find_map(|(rule, program)| {
        if !is_for(rule, caller, proved) {
            return None;
        }
        match program.map_or(Ok(true), |program| evaluate(program, caller, principal, proved)) {
            Ok(true) => Some(rule.permission),
            Ok(false) => None,
            Err(()) => Some(Permission::Deny),
        }
    });
    decided.unwrap_or(authorization.otherwise) == Permission::Allow
}

/// Whether everything but the expression of a rule holds.
fn is_for(rule: &AccessRule, caller: &Caller<'_>, proved: Option<&Proved<'_>>) -> bool {
    let is_near = rule.networks.is_empty()
        || caller.ip().is_some_and(|address| rule.networks.iter().any(|network| covers(network, address)));
    let has_method =
        rule.methods.is_empty() || rule.methods.iter().any(|method| method == caller.method.as_str());
    let has_token =
        rule.token.as_ref().is_none_or(|wanted| proved.is_some_and(|proved| is_like(proved, wanted)));
    is_near
        && has_method
        && has_token
        && rule.headers.iter().all(|(name, values)| has_header(caller, name, values))
}

/// Whether a header has one of `values` as all of its value. Lines of one name are one value (RFC 9110 section 5.3).
fn has_header(caller: &Caller<'_>, name: &str, values: &[String]) -> bool {
    let lines: Vec<&[u8]> = caller.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    !lines.is_empty() && values.iter().any(|value| value.as_bytes() == lines.join(&b","[..]))
}

fn is_like(proved: &Proved<'_>, wanted: &TokenCondition) -> bool {
    let has_claim = |(path, values): &(String, Vec<String>)| {
        token::claim(&proved.claims, path).is_some_and(|claim| has_one(claim, values))
    };
    let has_scope = |scope: &String| match proved.claims.get("scope") {
        Some(Value::String(scopes)) => scopes.split(' ').any(|one| one == scope),
        Some(Value::Array(scopes)) => scopes.iter().any(|one| one.as_str() == Some(scope)),
        _ => false,
    };
    proved.provider == wanted.provider
        && wanted.claims.iter().all(has_claim)
        && wanted.scopes.iter().all(has_scope)
}

fn has_one(claim: &Value, values: &[String]) -> bool {
    let is_one = |text: &str| values.iter().any(|value| value == text);
    match claim {
        Value::String(text) => is_one(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).any(is_one),
        Value::Bool(_) | Value::Number(_) => is_one(&claim.to_string()),
        Value::Null | Value::Object(_) => false,
    }
}

/// Whether `address` is in `network`. One of IPv4 in the clothes of IPv6 is one of IPv4.
pub(super) fn covers(network: &Network, address: IpAddr) -> bool {
    let share = |a: u128, b: u128, width: u32| {
        let apart = width.saturating_sub(u32::from(network.prefix_bits));
        apart >= width || a >> apart == b >> apart
    };
    match (network.address.to_canonical(), address.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => share(u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => share(a.to_bits(), b.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[derive(Serialize)]
struct SeenRequest<'a> {
    method: &'a str,
    path: &'a str,
    headers: HashMap<&'a str, String>,
}

#[derive(Serialize)]
struct SeenPrincipal<'a> {
    user: &'a str,
    team: &'a str,
    application: &'a str,
    key_id: &'a str,
}

#[derive(Serialize)]
struct SeenToken<'a> {
    claims: &'a Map<String, Value>,
    provider: &'a str,
}

#[derive(Serialize)]
struct SeenSource {
    address: String,
}

/// Whether the expression holds; an error when it cannot be evaluated, or is neither true nor false.
fn evaluate(
    program: &Program,
    caller: &Caller<'_>,
    principal: &Principal,
    proved: Option<&Proved<'_>>,
) -> Result<bool, ()> {
    let mut headers: HashMap<&str, String> = HashMap::new();
    for (name, value) in caller.headers {
        let line = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|lines| {
                lines.push(',');
                lines.push_str(&line);
            })
            .or_insert_with(|| line.clone().into_owned());
    }
    let none = Map::new();
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let [user, team, application, key_id] =
        [&principal.user, &principal.team, &principal.application, &principal.key_id].map(text);
    let seen = SeenPrincipal { user: &user, team: &team, application: &application, key_id: &key_id };
    let request = SeenRequest { method: caller.method.as_str(), path: caller.path, headers };
    let token = SeenToken {
        claims: proved.map_or(&none, |proved| &proved.claims),
        provider: proved.map_or("", |proved| proved.provider),
    };
    let source = SeenSource { address: caller.ip().map(|address| address.to_string()).unwrap_or_default() };
    let mut context = Context::default();
    context.add_variable("request", request).map_err(drop)?;
    context.add_variable("principal", seen).map_err(drop)?;
    context.add_variable("jwt", token).map_err(drop)?;
    context.add_variable("source", source).map_err(drop)?;
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => Ok(holds),
        Ok(_) | Err(_) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_what_begins_like_them() {
        for (network, prefix_bits, address, is_in) in [
            ("10.1.0.0", 16, "10.1.255.1", true),
            ("10.1.0.0", 16, "10.2.0.1", false),
            ("0.0.0.0", 0, "9.9.9.9", true),
            ("0.0.0.0", 0, "::1", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 32, "::ffff:10.1.2.3", true),
            ("2001:db8::", 32, "2001:db8:1::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "::1", true),
        ] {
            let network = Network { address: network.parse().unwrap(), prefix_bits };
            assert_eq!(covers(&network, address.parse().unwrap()), is_in, "{network:?} {address}");
        }
    }
}
