//! What a filter in front of the gateway says of tokens whose signatures it has verified.

use serde_json::{Map, Value};

/// What a filter says of the tokens of one provider: head and claims of one that it has verified.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vouched {
    /// By which name it calls the provider: that of [`tollgate_config::provider_name`].
    pub provider: String,
    /// Its head.
    pub head: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
}

impl Vouched {
    /// Whether the token with this head and these claims is the one that was verified.
    pub(super) fn is_of(&self, head: &Map<String, Value>, claims: &Map<String, Value>) -> bool {
        is_same_object(&self.head, head) && is_same_object(&self.claims, claims)
    }
}

fn is_same_object(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
}

/// Whether two values are the same, where one was told with all numbers as those of `Struct` in protobuf: 64 bits of floating point.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a.to_bits() == b.to_bits())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => is_same_object(a, b),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vouched(head: Value, claims: Value) -> Vouched {
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Vouched { provider: "p".to_owned(), head: object(head), claims: object(claims) }
    }

    #[test]
    fn only_the_token_that_was_verified_is_believed() {
        let head = json!({ "alg": "RS256", "kid": "a" });
        let claims =
            json!({ "exp": 1_700_000_060, "scope": ["a", "b"], "org": { "team": "x", "level": 3.5 } });
        let told =
            json!({ "exp": 1_700_000_060.0, "scope": ["a", "b"], "org": { "team": "x", "level": 3.5 } });
        let believed = |vouched: &Vouched, head: &Value, claims: &Value| {
            vouched.is_of(head.as_object().unwrap(), claims.as_object().unwrap())
        };
        let verified = vouched(head.clone(), told);
        assert!(believed(&verified, &head, &claims));
        assert!(!believed(&verified, &json!({ "alg": "PS256", "kid": "a" }), &claims));
        for (path, value) in [
            ("/exp", json!(1_700_000_061)),
            ("/exp", json!("1700000060")),
            ("/scope", json!(["b", "a"])),
            ("/scope", json!(["a"])),
            ("/org/team", json!("y")),
            ("/org", json!({ "team": "x", "level": 3.5, "more": null })),
        ] {
            let mut other = claims.clone();
            *other.pointer_mut(path).unwrap() = value;
            assert!(!believed(&verified, &head, &other), "{other}");
        }
        assert!(!believed(&Vouched::default(), &head, &claims));
    }
}
