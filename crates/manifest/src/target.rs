//! What a policy with mistakes is about, as far as that can be read in spite of them.

use crate::gateway_api::PolicyTargetReference;
use crate::node::{Content, Node};

/// The targets of a document; `None` where it names none, or not all of them can be told for certain.
pub(crate) fn read(document: &Node) -> Option<Vec<PolicyTargetReference>> {
    let spec = document.get("spec")?;
    // Whose labels it means is as uncertain as all the rest.
    if spec.get("targetSelectors").is_some() {
        return None;
    }
    let listed = match spec.get("targetRefs").map(|listed| &listed.content) {
        None => &[][..],
        Some(Content::List(items)) => items,
        Some(_) => return None,
    };
    let targets: Vec<_> =
        spec.get("targetRef").into_iter().chain(listed).map(target).collect::<Option<_>>()?;
    (!targets.is_empty()).then_some(targets)
}

fn target(node: &Node) -> Option<PolicyTargetReference> {
    let text = |key| node.get(key).and_then(Node::text).map(str::to_owned);
    let section_name = match node.get("sectionName") {
        None => None,
        Some(section) => Some(section.text()?.to_owned()),
    };
    Some(PolicyTargetReference {
        group: text("group")?,
        kind: text("kind")?,
        name: text("name")?,
        section_name,
    })
}
