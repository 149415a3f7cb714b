//! Custom resource definitions of our own groups, made of the same schemas that check manifests.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/>

use serde_json::{Value, json};

use crate::kind::{KINDS, Kind, OWN_GROUP, TOLLGATE};

/// What a definition says beside the schemas of its versions.
struct Names {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    /// Whether it is a policy of the kind that attaches to objects directly (GEP-2648).
    is_policy: bool,
    /// Most conditions in its status.
    conditions_max: Option<u32>,
}

const NAMES: [Names; 6] = [
    Names {
        group: OWN_GROUP,
        kind: "AIGatewayRoute",
        plural: "aigatewayroutes",
        short: &[],
        is_policy: false,
        conditions_max: None,
    },
    Names {
        group: OWN_GROUP,
        kind: "AIServiceBackend",
        plural: "aiservicebackends",
        short: &[],
        is_policy: false,
        conditions_max: None,
    },
    Names {
        group: OWN_GROUP,
        kind: "BackendSecurityPolicy",
        plural: "backendsecuritypolicies",
        short: &[],
        is_policy: true,
        conditions_max: None,
    },
    Names {
        group: OWN_GROUP,
        kind: "GatewayConfig",
        plural: "gatewayconfigs",
        short: &["gwconfig"],
        is_policy: false,
        conditions_max: Some(8),
    },
    Names {
        group: OWN_GROUP,
        kind: "QuotaPolicy",
        plural: "quotapolicies",
        short: &[],
        is_policy: true,
        conditions_max: None,
    },
    Names {
        group: TOLLGATE,
        kind: "Budget",
        plural: "budgets",
        short: &[],
        is_policy: true,
        conditions_max: None,
    },
];

/// One definition for each kind of our groups, with all of its versions.
pub fn crds() -> Vec<Value> {
    NAMES.iter().map(definition).collect()
}

fn definition(names: &Names) -> Value {
    let mut versions: Vec<&Kind> =
        KINDS.iter().filter(|kind| kind.group == names.group && kind.name == names.kind).collect();
    versions.sort_by_key(|kind| kind.versions);
    let versions: Value = versions.iter().map(|kind| version(kind, names)).collect();
    let mut metadata = json!({ "name": format!("{}.{}", names.plural, names.group) });
    if names.is_policy {
        insert(&mut metadata, "labels", json!({ "gateway.networking.k8s.io/policy": "direct" }));
    }
    let mut listed = json!({
        "kind": names.kind,
        "listKind": format!("{}List", names.kind),
        "plural": names.plural,
        "singular": names.kind.to_lowercase(),
    });
    if !names.short.is_empty() {
        insert(&mut listed, "shortNames", json!(names.short));
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": { "group": names.group, "names": listed, "scope": "Namespaced", "versions": versions },
    })
}

fn version(kind: &Kind, names: &Names) -> Value {
    let mut version = json!({
        "name": kind.versions.first(),
        "served": true,
        "storage": kind.deprecation.is_none(),
    });
    if let Some(warning) = kind.deprecation {
        insert(&mut version, "deprecated", json!(true));
        insert(&mut version, "deprecationWarning", json!(warning));
    }
    insert(&mut version, "subresources", json!({ "status": {} }));
    insert(
        &mut version,
        "additionalPrinterColumns",
        json!([{ "name": "Status", "type": "string", "jsonPath": ".status.conditions[-1:].type" }]),
    );
    insert(&mut version, "schema", json!({ "openAPIV3Schema": document(kind, names) }));
    version
}

fn document(kind: &Kind, names: &Names) -> Value {
    let mut spec = (kind.body)();
    let mut spec = spec.pointer_mut("/properties/spec").map(Value::take).unwrap_or_default();
    for_kubernetes(&mut spec);
    json!({
        "type": "object",
        "description": spec.get("description"),
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of this object." },
            "kind": { "type": "string", "description": "Kind of this object." },
            "metadata": { "type": "object" },
            "spec": spec,
            "status": status(names),
        },
        "required": ["spec"],
    })
}

/// What only our own check understands goes; fields that are known and not served may hold anything.
fn for_kubernetes(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.shift_remove("x-tollgate-removed");
    schema.shift_remove("x-tollgate-ignored");
    schema.shift_remove("x-tollgate-refused");
    let not_served = schema.shift_remove("x-tollgate-not-served");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(for_kubernetes);
        for field in not_served.iter().flat_map(Value::as_array).flatten().filter_map(Value::as_str) {
            let anything =
                json!({ "description": "Not served.", "x-kubernetes-preserve-unknown-fields": true });
            properties.insert(field.to_owned(), anything);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            for_kubernetes(inner);
        }
    }
}

fn status(names: &Names) -> Value {
    let mut conditions = json!({
        "type": "array",
        "description": "Whether the object is served, and why not.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": condition(),
    });
    if let Some(max) = names.conditions_max {
        insert(&mut conditions, "maxItems", json!(max));
    }
    json!({
        "type": "object",
        "description": "What became of the object.",
        "properties": { "conditions": conditions },
    })
}

/// `metav1.Condition`.
fn condition() -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": {
                "type": "string",
                "maxLength": 316,
                "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            },
            "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
            "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            "lastTransitionTime": { "type": "string", "format": "date-time" },
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "message": { "type": "string", "maxLength": 32768 },
        },
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    })
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}
