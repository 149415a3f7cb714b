//! Authorization: which callers are let in.

use std::net::IpAddr;

use tollgate_config::bundle::{AccessRule, Authorization, Network, Permission, TokenCondition};
use tollgate_config::check_access_expression;
use tollgate_manifest::{AuthorizationAction, AuthorizationRule, JwtPrincipal};

use super::Policy;

impl<'a> Policy<'a, '_> {
    pub(super) fn authorization(&mut self, written: &'a tollgate_manifest::Authorization) -> Authorization {
        let rules = written.rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| self.rule(at, rule)).collect();
        // As in Envoy Gateway.
        Authorization { rules, otherwise: written.default_action.map_or(Permission::Deny, permission) }
    }

    fn rule(&mut self, at: usize, written: &'a AuthorizationRule) -> AccessRule {
        let path = format!("spec.authorization.rules[{at}]");
        let principal = written.principal.as_ref();
        let mut networks = Vec::new();
        for (nth, text) in principal.iter().flat_map(|principal| &principal.client_cidrs).enumerate() {
            match network(text) {
                Some(network) => networks.push(network),
                None => {
                    let message = format!("{text:?} is no network: expected such as 10.0.0.0/8");
                    self.mistake(format!("{path}.principal.clientCIDRs[{nth}]"), message);
                }
            }
        }
        let mut headers = Vec::new();
        for (nth, header) in principal.iter().flat_map(|principal| &principal.headers).enumerate() {
            let name = self.header(&format!("{path}.principal.headers[{nth}].name"), &header.name);
            headers.extend(name.map(|name| (name, header.values.clone())));
        }
        let token = principal.and_then(|principal| principal.jwt.as_ref());
        if let Some(cel) = &written.cel
            && let Err(message) = check_access_expression(cel)
        {
            self.mistake(format!("{path}.cel"), message);
        }
        AccessRule {
            name: written.name.clone().unwrap_or_else(|| at.to_string()),
            permission: permission(written.action),
            networks,
            token: token.map(|token| self.token(&path, token)),
            headers,
            methods: written.operation.iter().flat_map(|operation| operation.methods.clone()).collect(),
            cel: written.cel.clone(),
        }
    }

    fn token(&mut self, path: &str, written: &JwtPrincipal) -> TokenCondition {
        let mut providers = self.item.spec.jwt.iter().flat_map(|jwt| &jwt.providers);
        if !providers.any(|provider| provider.name == written.provider) {
            let message = format!("no provider {:?} in spec.jwt", written.provider);
            self.mistake(format!("{path}.principal.jwt.provider"), message);
        }
        let claims = written.claims.iter().map(|claim| (claim.name.clone(), claim.values.clone()));
        TokenCondition {
            provider: written.provider.clone(),
            claims: claims.collect(),
            scopes: written.scopes.clone(),
        }
    }
}

fn permission(action: AuthorizationAction) -> Permission {
    match action {
        AuthorizationAction::Allow => Permission::Allow,
        AuthorizationAction::Deny => Permission::Deny,
    }
}

/// A network as it is written; an address alone is one of itself.
fn network(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        None => (text, None),
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = bits.unwrap_or(width);
    (prefix_bits <= width).then_some(Network { address, prefix_bits })
}
