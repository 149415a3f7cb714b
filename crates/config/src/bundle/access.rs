//! Who may call: how callers prove who they are, and which of them are let in.
//!
//! Keys that are secret are references; `effects` follows them, and fetches what has to be fetched.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_terms::Principal;

use super::{Endpoint, Network, SecretRef, UpstreamTls};

/// What one SecurityPolicy asks of callers. All of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// They show an API key; `None` if they need not.
    pub api_keys: Option<ApiKeys>,
    /// They show a token; `None` if they need not.
    pub jwt: Option<Jwt>,
    /// Which of them are let in; `None` is all.
    pub authorization: Option<Authorization>,
    /// What of this filters of Envoy look at before the gateway does.
    #[serde(default, skip_serializing_if = "HandedOver::is_nothing")]
    pub handed_over: HandedOver,
}

/// What of a policy filters of Envoy look at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// Its API keys: whoever shows none of them does not come to the gateway, which looks for whose it is.
    pub api_keys: bool,
    /// The signatures of its tokens: the gateway does not verify them again, and takes no token that was not verified.
    pub tokens: bool,
}

impl HandedOver {
    /// Whether the gateway does all by itself.
    pub fn is_nothing(&self) -> bool {
        !self.api_keys && !self.tokens
    }
}

/// API keys, and where they are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKeys {
    /// Whose keys are good.
    pub clients: Vec<ApiClient>,
    /// Where a key may be; the first place with one counts.
    pub places: Vec<Place>,
    /// The header in which backends are told the id of the client, lower case.
    pub client_id_header: Option<String>,
}

/// A client and its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiClient {
    /// The key. Its value may be a hash of it instead, `sha256:` and hexadecimal digits.
    pub key: SecretRef,
    /// Who the client is.
    pub principal: Principal,
}

/// A place in the head of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A header.
    Header {
        /// Its name, lower case.
        name: String,
        /// What stands before it in the value; of a value without this nothing is read.
        prefix: String,
    },
    /// A parameter of the query.
    Query(String),
    /// A cookie.
    Cookie(String),
}

/// Tokens, by whom they are issued, and where they are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jwt {
    /// Whether who shows none goes on without. A bad one is always refused.
    pub optional: bool,
    /// Who issues them; one of them is enough.
    pub providers: Vec<JwtProvider>,
}

/// Who issues tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JwtProvider {
    /// Its name in the policy.
    pub name: String,
    /// What `iss` must be; `None` is anything.
    pub issuer: Option<String>,
    /// Of these, `aud` must have one; none is anything.
    pub audiences: Vec<String>,
    /// Its keys.
    pub keys: KeySource,
    /// Where a token may be.
    pub places: Vec<Place>,
    /// Headers in which backends are told claims, lower case, each with the path of its claim.
    pub claim_headers: Vec<(String, String)>,
    /// Paths of the claims that name the user, the team and the application; the first that is there counts.
    pub names: PrincipalClaims,
}

/// Paths of the claims that say who a caller is; of each list the first that is there counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PrincipalClaims {
    /// The person or service.
    pub user: Vec<String>,
    /// The team.
    pub team: Vec<String>,
    /// The application.
    pub application: Vec<String>,
}

/// Where the keys of an issuer are, as a JSON Web Key Set (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeySource {
    /// At an address, from which they are fetched again and again.
    Remote {
        /// The address.
        uri: String,
        /// For how long they are good.
        refresh: Duration,
        /// Where that address is, if not where its name leads to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<KeyHost>,
    },
    /// As written. Public keys alone: what is written here is shown to operators.
    Written(String),
    /// In a Secret, which may have keys that both sides share.
    Secret(SecretRef),
}

/// Who answers for the address of a key set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyHost {
    /// Where it is: the first that can be reached. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards it; `None` is that of the address, by the authorities of the system.
    pub tls: Option<UpstreamTls>,
}

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Authorization {
    /// The first that is for a caller decides.
    pub rules: Vec<AccessRule>,
    /// What becomes of a caller for which there is none.
    pub otherwise: Permission,
}

/// Whether a caller is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// A rule on callers. All of its conditions must hold; a list that is empty is no condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessRule {
    /// Its name, or its place in the policy.
    pub name: String,
    /// What becomes of those that it is for.
    pub permission: Permission,
    /// The client's address is in one of these.
    pub networks: Vec<Network>,
    /// The token is like this.
    pub token: Option<TokenCondition>,
    /// Each of these headers has one of its values.
    pub headers: Vec<(String, Vec<String>)>,
    /// The method is one of these.
    pub methods: Vec<String>,
    /// This expression in CEL is true. If it cannot be evaluated, the caller is not let in.
    pub cel: Option<String>,
}

/// A condition on the token that a caller has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenCondition {
    /// By whom it was issued, by the name in the policy.
    pub provider: String,
    /// Claims, by their paths: each has one of its values, be it in a list.
    pub claims: Vec<(String, Vec<String>)>,
    /// Scopes that it must all have.
    pub scopes: Vec<String>,
}

impl Access {
    /// Every place that it reads.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let of_keys = self.api_keys.iter().flat_map(|api_keys| &api_keys.places);
        let of_tokens = self.jwt.iter().flat_map(|jwt| &jwt.providers).flat_map(|provider| &provider.places);
        of_keys.chain(of_tokens)
    }
}
