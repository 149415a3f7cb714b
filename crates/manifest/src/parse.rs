//! Sources to objects: each document finds its kind, is checked against it, and decoded.

use std::sync::Arc;

use serde_json::Value;

use crate::check::check;
use crate::finding::{Finding, Findings, Severity};
use crate::kind::{self, KINDS, Kind, NOT_SERVED, OWN_GROUP, Scope, TOLLGATE};
use crate::kubernetes::{DEFAULT_NAMESPACE, Metadata};
use crate::node::{Content, Node};
use crate::object::{Object, Unread, label};
use crate::position::{Located, Path};
use crate::suggest::{hint, nearest};
use crate::twin::{self, Read};
use crate::{target, yaml};

/// A text that holds manifests, and the name to show for it.
#[derive(Clone)]
pub struct Source {
    /// Name of the file, or what stands for it.
    pub file: String,
    /// YAML; several documents are cut by lines with `---`.
    pub text: String,
}

/// What the sources hold.
#[derive(Clone, Default)]
pub struct Parsed {
    /// Every object, in the order written, those that are not served or have mistakes included.
    pub objects: Vec<Located<Object>>,
    /// Every mistake, by source and position.
    pub findings: Vec<Finding>,
}

/// Reads every object of every source. Never fails as a whole: what is wrong is told, the rest is read.
pub fn parse(sources: &[Source]) -> Parsed {
    let (mut read_objects, mut all_findings) = (Vec::new(), Vec::new());
    for source in sources {
        let file: Arc<str> = source.file.as_str().into();
        let read = yaml::read(&source.text);
        let mut findings = Findings::new(&file);
        for mistake in read.mistakes {
            findings.error(mistake.position, Path::Root, mistake.message);
        }
        for document in &read.documents {
            read_document(document, &file, &mut findings, &mut read_objects);
        }
        let mut list = findings.list;
        list.sort_by_key(|finding| (finding.line, finding.column));
        all_findings.append(&mut list);
    }
    let (objects, twins) = twin::refuse(read_objects);
    all_findings.extend(twins);
    Parsed { objects, findings: all_findings }
}

/// Reads a document, or each item of a `List`, as `kubectl get` prints it.
fn read_document(node: &Node, file: &Arc<str>, findings: &mut Findings, objects: &mut Vec<Read>) {
    let is_list = text_at(node, "kind") == "List" && text_at(node, "apiVersion") == "v1";
    if let (true, Some(Content::List(items))) = (is_list, node.get("items").map(|items| &items.content)) {
        for item in items {
            objects.extend(read_object(item, file, findings));
        }
    } else {
        objects.extend(read_object(node, file, findings));
    }
}

fn read_object(node: &Node, file: &Arc<str>, findings: &mut Findings) -> Option<Read> {
    findings.object.clear();
    if !matches!(node.content, Content::Map(_)) {
        findings.error(
            node.position,
            Path::Root,
            format!("expected a Kubernetes object, got {}", node.noun()),
        );
        return None;
    }
    let mut is_named = true;
    for field in ["apiVersion", "kind"] {
        let text = node.get(field).and_then(Node::text).unwrap_or_default();
        if text.is_empty() {
            let position = node.get(field).map_or(node.position, |node| node.position);
            findings.error(position, Path::Root.key(field), "is required, and a string");
            is_named = false;
        }
    }
    if !is_named {
        return None;
    }
    let mut unread = unread(node);
    findings.object = label(&unread.kind, &unread.metadata.namespace, &unread.metadata.name);
    let errors_before = findings.errors();
    let object = match find_kind(&unread, node, findings) {
        Some(kind) => read_kind(kind, node, &unread, findings),
        // In a version or by a name that is a mistake, it still asks for something.
        None if findings.errors() > errors_before => {
            unread = as_meant(unread);
            Object::Invalid(unread.clone())
        }
        None => Object::Unsupported(unread.clone()),
    };
    Some(Read { object: Located::new(object, file, node.place()), unread })
}

fn text_at<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or_default()
}

/// What can be said of any object: group, kind, name.
fn unread(node: &Node) -> Unread {
    let metadata = node.get("metadata");
    let text = |key| metadata.map(|metadata| text_at(metadata, key)).unwrap_or_default().to_owned();
    let (api_version, kind) = (text_at(node, "apiVersion").to_owned(), text_at(node, "kind").to_owned());
    let (group, _) = group_and_version(&api_version);
    let in_cluster =
        KINDS.iter().any(|known| known.group == group && known.name == kind && known.scope == Scope::Cluster);
    let namespace = match text("namespace") {
        _ if in_cluster => String::new(),
        namespace if namespace.is_empty() => DEFAULT_NAMESPACE.to_owned(),
        namespace => namespace,
    };
    let metadata = Metadata { name: text("name"), namespace, ..Metadata::default() };
    Unread { api_version, kind, metadata, targets: target::read(node) }
}

pub(crate) fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The kind of a document, or a finding that says why there is none.
fn find_kind<'a>(unread: &Unread, node: &Node, findings: &mut Findings) -> Option<&'a Kind> {
    let (group, version) = group_and_version(&unread.api_version);
    let name = unread.kind.as_str();
    let known: Vec<_> = KINDS.iter().filter(|kind| kind.group == group && kind.name == name).collect();
    if let Some(kind) = known.iter().find(|kind| kind.versions.contains(&version)) {
        return Some(kind);
    }
    let at = |field| node.get(field).map_or(node.position, |node| node.position);
    if !known.is_empty() {
        let versions: Vec<_> = known.iter().flat_map(|kind| kind.versions).copied().collect();
        let message =
            format!("version {version:?} of {name} is not read: expected {}", versions.join(" or "));
        findings.error(at("apiVersion"), Path::Root.key("apiVersion"), message);
    } else if NOT_SERVED.contains(&(group, name)) {
        findings.warning(at("kind"), Path::Root.key("kind"), format!("{name} is not served yet"));
    } else if kind::is_elsewhere(group) && nearest(name, names_in(group)).is_none() {
        findings.warning(
            at("kind"),
            Path::Root.key("kind"),
            format!("{name} is not for a gateway and is ignored"),
        );
    } else {
        let (severity, message) = unknown_kind(group, name);
        findings.push(severity, at("kind"), "kind".to_owned(), message);
    }
    None
}

fn names_in(group: &str) -> impl Iterator<Item = &'static str> {
    let read = KINDS.iter().filter(move |kind| kind.group == group).map(|kind| kind.name);
    let others = NOT_SERVED.iter().filter(move |kind| kind.0 == group).map(|kind| kind.1);
    read.chain(others)
}

/// The kind that was probably meant by an unknown one in a group of gateways: the same name in another group, or nearly the
/// same in this one.
fn meant(group: &str, name: &str) -> Option<&'static Kind> {
    if !kind::is_of_gateways(group) {
        return None;
    }
    let elsewhere = KINDS.iter().find(|kind| kind.name == name);
    elsewhere.or_else(|| {
        let near = nearest(name, names_in(group))?;
        KINDS.iter().find(|kind| kind.group == group && kind.name == near)
    })
}

/// An object of an unknown kind as one of the kind that was probably meant.
fn as_meant(unread: Unread) -> Unread {
    let (group, version) = group_and_version(&unread.api_version);
    match meant(group, &unread.kind) {
        Some(kind) => {
            Unread { api_version: format!("{}/{version}", kind.group), kind: kind.name.to_owned(), ..unread }
        }
        None => unread,
    }
}

/// Our own group has no kinds that we do not know, so there it is a mistake; elsewhere where it is likely one.
fn unknown_kind(group: &str, name: &str) -> (Severity, String) {
    let is_mistake = [OWN_GROUP, TOLLGATE].contains(&group) || meant(group, name).is_some();
    let severity = if is_mistake { Severity::Error } else { Severity::Warning };
    let elsewhere = KINDS.iter().find(|kind| kind.name == name);
    let hint = match elsewhere {
        Some(kind) => format!("; {name} is in {:?}", format!("{}/{}", kind.group, kind.versions.join("|"))),
        None => hint(name, names_in(group)),
    };
    let group = if group.is_empty() { "the core group".to_owned() } else { format!("{group:?}") };
    (severity, format!("unknown kind {name:?} in {group}{hint}"))
}

fn read_kind(kind: &Kind, node: &Node, unread: &Unread, findings: &mut Findings) -> Object {
    if let Some(message) = kind.deprecation {
        let position = node.get("apiVersion").map_or(node.position, |node| node.position);
        findings.warning(position, Path::Root.key("apiVersion"), message);
    }
    let errors_before = findings.errors();
    let mut document = check(node, kind.schema(), Path::Root, findings);
    if findings.errors() > errors_before {
        return Object::Invalid(unread.clone());
    }
    if let (Scope::Cluster, Some(Value::Object(metadata))) = (kind.scope, document.get_mut("metadata")) {
        metadata.insert("namespace".to_owned(), "".into());
    }
    match (kind.decode)(document) {
        Ok(object) => object,
        Err((path, message)) => {
            let position =
                Located::new((), &findings.file, node.place()).position(&path).unwrap_or(node.position);
            findings.push(Severity::Error, position, path, message);
            Object::Invalid(unread.clone())
        }
    }
}
