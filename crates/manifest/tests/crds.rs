//! Goldens of the custom resource definitions, and the rules of Kubernetes for structural schemas.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may end at once")]

use std::path::Path;
use std::{env, fs};

use serde_json::Value;
use tollgate_manifest::crds;

#[test]
fn definitions_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/crds");
    for definition in crds() {
        let name = definition["metadata"]["name"].as_str().expect("a name");
        let golden = folder.join(format!("{name}.json"));
        let got = serde_json::to_string_pretty(&definition).expect("JSON") + "\n";
        if env::var_os("TOLLGATE_BLESS").is_some() {
            fs::create_dir_all(&folder).expect("the folder is made");
            fs::write(&golden, &got).expect("the golden is written");
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        assert!(got == want, "{name}: run `cargo xtask bless` and look at the difference");
    }
}

#[test]
fn one_version_is_stored_and_others_are_deprecated() {
    for definition in crds() {
        let versions = definition["spec"]["versions"].as_array().expect("versions");
        let names: Vec<_> =
            versions.iter().map(|version| version["name"].as_str().expect("a name")).collect();
        let stored: Vec<_> = versions.iter().map(|version| version["storage"] == true).collect();
        let deprecated: Vec<_> = versions.iter().map(|version| version["deprecated"] == true).collect();
        if names == ["v1alpha1"] {
            assert_eq!((stored, deprecated), (vec![true], vec![false]));
        } else {
            assert_eq!(names, ["v1alpha1", "v1beta1"]);
            assert_eq!((stored, deprecated), (vec![false, true], vec![true, false]));
        }
    }
}

#[test]
fn schemas_are_structural() {
    for definition in crds() {
        let name = definition["metadata"]["name"].to_string();
        for version in definition["spec"]["versions"].as_array().expect("versions") {
            assert_structural(&version["schema"]["openAPIV3Schema"], &name);
        }
    }
}

const KNOWN: &[&str] = &[
    "type",
    "description",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "pattern",
    "format",
    "default",
    "nullable",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
];

/// Everything has a type or may be anything, nothing is referred to, and list maps have keys that are always there.
fn assert_structural(schema: &Value, path: &str) {
    let schema = schema.as_object().unwrap_or_else(|| panic!("{path}: no schema"));
    for key in schema.keys() {
        assert!(KNOWN.contains(&key.as_str()), "{path}: {key} is not for Kubernetes");
    }
    let is_any = schema.contains_key("x-kubernetes-preserve-unknown-fields")
        || schema.contains_key("x-kubernetes-int-or-string");
    assert!(schema.get("type").is_some_and(Value::is_string) || is_any, "{path}: has no type");
    let format = schema.get("format").and_then(Value::as_str);
    assert!(matches!(format, None | Some("int32" | "int64" | "date-time")), "{path}: format {format:?}");
    if let Some(keys) = schema.get("x-kubernetes-list-map-keys") {
        let items = &schema["items"];
        for key in keys.as_array().expect("keys") {
            let is_required = items["required"].as_array().is_some_and(|required| required.contains(key));
            let has_default = items["properties"][key.as_str().expect("a name")].get("default").is_some();
            assert!(is_required || has_default, "{path}: list key {key} may be absent");
        }
    }
    assert!(!(schema.contains_key("properties") && schema.contains_key("additionalProperties")), "{path}");
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        let known = schema["properties"].get(required.as_str().expect("a name"));
        assert!(known.is_some(), "{path}: requires unknown {required}");
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        assert_structural(inner, &format!("{path}.{name}"));
        let has_words = inner.get("description").is_some_and(Value::is_string);
        assert!(
            has_words || name == "metadata" || path.contains("status"),
            "{path}.{name}: has no description"
        );
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(inner) {
            assert_structural(inner, &format!("{path}[]"));
        }
    }
}
