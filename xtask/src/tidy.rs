//! `cargo xtask tidy`: the rules of the tree that the compiler cannot check.
//!
//! Every check is a function of a `Repository` that was read beforehand, and returns what it found.
//! Must not run the project's code.

mod code;
mod dependencies;
mod documents;
mod failures;
mod files;
mod layers;
mod licence;
mod repository;
mod version;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::Outcome;
use repository::Repository;

/// One broken rule, and where.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.message)
    }
}

type Check = fn(&Repository) -> Vec<Finding>;

/// The checks, by name.
const CHECKS: &[(&str, Check)] = &[
    ("layers", layers::depend_downwards),
    ("purity", layers::pure_crates_reach_nothing),
    ("lints", layers::crates_inherit_lints),
    ("length", files::are_short),
    ("headers", files::say_what_they_are_for),
    ("names", files::have_nouns_for_names),
    ("paths", files::name_no_machine),
    ("lock files", files::lock_only_with_cargo),
    ("vendors", words::core_names_no_vendor),
    ("attributes", words::nothing_is_allowed_or_ignored),
    ("unsafe code", words::code_is_checked_by_the_compiler),
    ("code map", documents::code_map_is_complete),
    ("features", documents::features_are_those_of_the_goldens),
    ("failures", failures::are_tested),
    ("dependency reasons", documents::dependencies_are_explained),
    ("sources", dependencies::come_from_the_registry),
    ("licences", dependencies::are_licensed_to_us),
    ("banned", dependencies::are_not_banned),
    ("versions", dependencies::are_new_enough),
];

/// Runs every check and prints what each found.
pub fn run(root: &Path) -> Result<Outcome> {
    let repository = Repository::read(root)?;
    let mut found = 0;
    for (name, check) in CHECKS {
        for finding in check(&repository) {
            println!("{name}: {finding}");
            found += 1;
        }
    }
    if found > 0 {
        println!("tidy: {found} broken rules");
        return Ok(Outcome::Bad);
    }
    println!("tidy: {} rules hold over {} files", CHECKS.len(), repository.files.len());
    Ok(Outcome::Good)
}
