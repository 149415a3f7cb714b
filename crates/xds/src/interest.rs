//! Which names of one type a node wants.

use std::collections::BTreeSet;

use crate::order::has_wildcard;

/// Stands for every name.
pub(crate) const EVERY: &str = "*";

/// What a node wants of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// Everything there is.
    pub(crate) every: bool,
    /// These, whether they are there or not.
    pub(crate) names: BTreeSet<String>,
}

impl Interest {
    /// What a first request means that names nothing: everything, of those types for which that is usual.
    pub(crate) fn without_names(type_url: &str) -> Self {
        Self { every: has_wildcard(type_url), names: BTreeSet::new() }
    }

    /// Whether a resource of this name is wanted.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.every || self.names.contains(name)
    }

    /// How many names were given.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Wants this name too.
    pub(crate) fn add(&mut self, name: String) {
        if name == EVERY {
            self.every = true;
        } else {
            self.names.insert(name);
        }
    }

    /// Does not want this name any more.
    pub(crate) fn remove(&mut self, name: &str) {
        if name == EVERY {
            self.every = false;
        } else {
            self.names.remove(name);
        }
    }
}

impl FromIterator<String> for Interest {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let mut interest = Self::default();
        names.into_iter().for_each(|name| interest.add(name));
        interest
    }
}
