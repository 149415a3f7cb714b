//! Policies with mistakes. Nobody knows what they ask for, so what they are about is not served: to serve it without them
//! could show a credential in the clear, or the client's own to a stranger.

use std::collections::BTreeMap;

use tollgate_manifest::{PolicyTargetReference, Unread};

use crate::grant::Kind;
use crate::index::Index;

/// The policies of one kind that have mistakes, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct InvalidPolicies {
    by_target: BTreeMap<(String, String), String>,
    by_namespace: BTreeMap<String, String>,
}

impl InvalidPolicies {
    /// Sorts those of kind `policy`, which can be about objects of the kinds `about`, of which the first is meant here.
    pub(crate) fn new<const N: usize>(index: &Index<'_>, policy: Kind, about: [Kind; N]) -> Self {
        let mut sorted = Self::default();
        for policy in index.invalid_of(policy) {
            let namespace = &policy.metadata.namespace;
            let Some(targets) = targets(policy, &about) else {
                sorted.by_namespace.insert(namespace.clone(), reason(policy));
                continue;
            };
            let meant = targets
                .iter()
                .filter(|target| about.first().is_some_and(|kind| kind.is(&target.group, &target.kind)));
            for target in meant {
                sorted.by_target.insert((namespace.clone(), target.name.clone()), reason(policy));
            }
        }
        sorted
    }

    /// Why the object `name` must not be served, if a policy with mistakes is or may be about it.
    pub(crate) fn over(&self, namespace: &str, name: &str) -> Option<&str> {
        let key = (namespace.to_owned(), name.to_owned());
        self.by_target.get(&key).or_else(|| self.by_namespace.get(namespace)).map(String::as_str)
    }
}

/// What a policy with mistakes is about; `None` when that is not known for certain, be it that one target is of a kind that
/// it cannot be about.
pub(crate) fn targets<'a>(policy: &'a Unread, about: &[Kind]) -> Option<&'a [PolicyTargetReference]> {
    let is_possible =
        |target: &PolicyTargetReference| about.iter().any(|kind| kind.is(&target.group, &target.kind));
    policy.targets.as_deref().filter(|targets| targets.iter().all(is_possible))
}

/// What clients are told of it.
pub(crate) fn reason(object: &Unread) -> String {
    format!("{} \"{}/{}\" has mistakes", object.kind, object.metadata.namespace, object.metadata.name)
}
