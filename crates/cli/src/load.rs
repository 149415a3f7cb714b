//! From files to something that can be served: variables, manifests, secrets, plan. Every mistake on the way is
//! collected, and none of them ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_config::prices::Catalog;
use tollgate_config::{Bundle, Diagnostic, Severity};
use tollgate_effects::Secrets;
use tollgate_manifest::{Located, Object, Position, Unset};
use tollgate_plan::World;
use tollgate_terms::Secret;

use crate::certificates;
use crate::finding::Finding;
use crate::sources::{self, Source};

/// A configuration as far as it could be made.
pub(crate) struct Loaded {
    /// What can be served.
    pub(crate) bundle: Bundle,
    /// The values that the bundle refers to.
    pub(crate) secrets: Secrets,
    /// Every mistake, by place.
    pub(crate) findings: Vec<Finding>,
    /// Some of the text could not be made objects of: what it meant is not known.
    pub(crate) is_unreadable: bool,
    /// The texts, as they were written.
    pub(crate) sources: Vec<Source>,
    /// How many objects there are in them.
    pub(crate) objects: usize,
    /// Files that Secrets take values from.
    pub(crate) files: BTreeSet<PathBuf>,
    /// What models cost; nothing is known unless somebody puts it here.
    pub(crate) prices: Arc<Catalog>,
    places: Places,
}

impl Loaded {
    /// Adds what was found later, with its place in the files.
    pub(crate) fn add(&mut self, diagnostics: Vec<Diagnostic>) {
        self.findings.extend(diagnostics.into_iter().map(|diagnostic| self.places.locate(diagnostic)));
        self.findings.sort();
        self.findings.dedup();
    }
}

/// Loads files and folders. Gateways that name no address listen on `default_address`.
pub(crate) fn paths(paths: &[PathBuf], default_address: IpAddr) -> Loaded {
    let (sources, findings) = sources::read(paths);
    load(sources, findings, default_address)
}

/// Loads one text, which is called `name` where a file would be named.
pub(crate) fn text(name: &str, text: &str, default_address: IpAddr) -> Loaded {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    load(vec![source], Vec::new(), default_address)
}

fn load(sources: Vec<Source>, mut findings: Vec<Finding>, default_address: IpAddr) -> Loaded {
    let texts: Vec<_> = sources.iter().map(|source| substituted(source, &mut findings)).collect();
    let parsed = tollgate_manifest::parse(&texts);
    findings.extend(parsed.findings.into_iter().map(Finding::from));
    let is_unreadable =
        findings.iter().any(|finding| finding.severity == Severity::Error && finding.object.is_empty());
    let mut objects = parsed.objects;
    let mut files = BTreeSet::new();
    for object in &mut objects {
        fill_secret(object, &mut files, &mut findings);
    }
    let count = objects.len();
    let places = Places::of(&objects);
    let unusable = certificates::unusable(&objects);
    let world = World { default_address, unusable, ..World::new(objects) };
    let plan = tollgate_plan::plan(&world);
    let secrets = Secrets::new(tollgate_plan::secrets(&world));
    let bundle = plan.bundle;
    let mut loaded = Loaded {
        bundle,
        secrets,
        findings,
        is_unreadable,
        sources,
        objects: count,
        files,
        prices: Arc::default(),
        places,
    };
    loaded.add(plan.diagnostics);
    loaded
}

/// The text with the environment's variables in it. It is shown to nobody: the values may be secret.
fn substituted(source: &Source, findings: &mut Vec<Finding>) -> tollgate_manifest::Source {
    let text = match tollgate_manifest::substitute(&source.text, &|name| std::env::var(name).ok()) {
        Ok(text) => text,
        Err(unset) => {
            findings.extend(unset.iter().map(|unset| unset_finding(source, unset)));
            source.text.clone()
        }
    };
    tollgate_manifest::Source { file: source.name.clone(), text }
}

fn unset_finding(source: &Source, unset: &Unset) -> Finding {
    Finding {
        line: usize::try_from(unset.position.line).ok(),
        column: usize::try_from(unset.position.column).ok(),
        ..Finding::of_file(source.name.clone(), unset.to_string())
    }
}

/// Puts into a Secret what its annotations say to take from the environment or from files.
fn fill_secret(object: &mut Located<Object>, files: &mut BTreeSet<PathBuf>, findings: &mut Vec<Finding>) {
    let Object::Secret(secret) = &object.value else { return };
    let mut values = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (key, variable) in secret.from_environment() {
        match std::env::var(variable) {
            Ok(value) if !value.trim().is_empty() => {
                values.insert(key.to_owned(), Secret::new(value));
            }
            _ => mistakes.push((format!("env/{key}"), format!("expected a value in variable {variable}"))),
        }
    }
    for (key, path) in secret.from_files() {
        let path = at_home(path);
        match sources::text_of(&path) {
            Ok(value) => {
                values.insert(key.to_owned(), Secret::new(value));
            }
            Err(error) => {
                mistakes.push((format!("file/{key}"), format!("cannot read {}: {error}", path.display())));
            }
        }
        files.insert(path);
    }
    for (note, message) in mistakes {
        let path = format!("metadata.annotations[\"substitution.aigw.run/{note}\"]");
        let severity = Severity::Error;
        let diagnostic = Diagnostic { object: object.value.to_string(), path, severity, message };
        findings.push(located(object, diagnostic));
    }
    if let Object::Secret(secret) = &mut object.value {
        secret.data.extend(values);
    }
}

/// A path with `~` at its beginning is in the home folder.
fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => Path::new(path).to_owned(),
    }
}

/// Where each object was written, by what diagnostics call it.
struct Places(BTreeMap<String, Located<()>>);

impl Places {
    fn of(objects: &[Located<Object>]) -> Self {
        Self(objects.iter().map(|object| (object.value.to_string(), object.with(()))).collect())
    }

    fn locate(&self, diagnostic: Diagnostic) -> Finding {
        match self.0.get(&diagnostic.object) {
            Some(place) => located(place, diagnostic),
            None => Finding::from(diagnostic),
        }
    }
}

fn located<T>(place: &Located<T>, diagnostic: Diagnostic) -> Finding {
    let position = position(place, &diagnostic.path);
    Finding {
        file: place.file().map(str::to_owned),
        line: position.and_then(|position| usize::try_from(position.line).ok()),
        column: position.and_then(|position| usize::try_from(position.column).ok()),
        ..Finding::from(diagnostic)
    }
}

/// Where a field was written. A value of a Secret may be written in three other places than its `data`.
fn position<T>(place: &Located<T>, path: &str) -> Option<Position> {
    let found = place.position(path);
    let Some(key) = path.strip_prefix("data[\"").and_then(|rest| rest.strip_suffix("\"]")) else {
        return found;
    };
    let elsewhere = ["env", "file"].map(|from| {
        (
            "metadata.annotations".to_owned(),
            format!("metadata.annotations[\"substitution.aigw.run/{from}/{key}\"]"),
        )
    });
    let written =
        [("data".to_owned(), path.to_owned()), ("stringData".to_owned(), format!("stringData[{key:?}]"))];
    written
        .into_iter()
        .chain(elsewhere)
        .find(|(around, path)| place.position(path) != place.position(around))
        .map_or(found, |(_, path)| place.position(&path))
}
