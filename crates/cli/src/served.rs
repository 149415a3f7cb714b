//! What `/config` tells: the configuration that is served, which one it is, and what is wrong with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tollgate_config::Bundle;

use crate::finding::Finding;

/// Stands for a header value that may well be a credential.
const REDACTED: &str = "[redacted]";

/// The configuration that is served, as JSON, shared with the admin address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(Arc<Mutex<Page>>);

#[derive(Debug, Default)]
struct Page {
    version: u64,
    text: String,
}

#[derive(Serialize)]
struct Content<'a> {
    /// 1 for the configuration of the start, one more for each that was taken since.
    version: u64,
    /// The same for equal configurations.
    hash: String,
    findings: &'a [Finding],
    bundle: &'a Bundle,
}

impl Served {
    /// Replaces what is told; returns the version.
    pub(crate) fn replace(&self, bundle: &Bundle, findings: &[Finding]) -> u64 {
        let bundle = redacted(bundle);
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page.version += 1;
        let content = Content { version: page.version, hash: hash(&bundle), findings, bundle: &bundle };
        page.text = serde_json::to_string_pretty(&content).unwrap_or_default();
        page.version
    }

    /// The JSON text.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

fn hash(bundle: &Bundle) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(bundle).unwrap_or_default().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A bundle refers to secrets and holds none, but for those that somebody wrote into a header mutation by hand.
fn redacted(bundle: &Bundle) -> Bundle {
    let mut bundle = bundle.clone();
    let rules = bundle.routes.iter_mut().flat_map(|route| &mut route.rules);
    for target in rules.flat_map(|rule| &mut rule.targets) {
        for (name, value) in &mut target.mutation.headers_set {
            if is_confidential(name) {
                REDACTED.clone_into(value);
            }
        }
    }
    bundle
}

fn is_confidential(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    ["auth", "key", "token", "secret", "cookie", "password"].iter().any(|word| header.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_have_equal_hashes_and_new_versions() {
        let served = Served::default();
        assert_eq!(served.replace(&Bundle::default(), &[]), 1);
        let first = served.text();
        assert_eq!(served.replace(&Bundle::default(), &[]), 2);
        assert_eq!(first.replace("\"version\": 1", "\"version\": 2"), served.text());
    }

    #[test]
    fn headers_that_carry_credentials_are_known_by_their_names() {
        for name in ["authorization", "X-Api-Key", "x-auth", "cookie", "x-amz-security-token"] {
            assert!(is_confidential(name), "{name}");
        }
        assert!(!is_confidential("openai-organization"));
    }
}
