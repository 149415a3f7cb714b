//! Goldens of parsing: `golden/parse/*.in.yaml`, and the findings and objects that come of each.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use tollgate_manifest::{Located, Object, Source, parse};

/// Findings as lines of comments, then each object as one line of JSON without what is absent.
fn outcome(file: &str, text: String) -> String {
    let parsed = parse(&[Source { file: file.to_owned(), text }]);
    let findings: String = parsed.findings.iter().map(|finding| format!("# {finding}\n")).collect();
    let objects: String = parsed.objects.iter().map(|object| format!("{}\n", described(object))).collect();
    findings + &objects
}

fn described(object: &Located<Object>) -> String {
    let position = object.position("").map(|position| position.to_string()).unwrap_or_default();
    let mut value = json(&object.value);
    prune(&mut value);
    format!("- {{at: {position:?}, object: {:?}, says: {value}}}", object.value.to_string())
}

fn json(object: &Object) -> Value {
    let value = match object {
        Object::Gateway(object) => serde_json::to_value(object),
        Object::GatewayClass(object) => serde_json::to_value(object),
        Object::HttpRoute(object) => serde_json::to_value(object),
        Object::ReferenceGrant(object) => serde_json::to_value(object),
        Object::AiGatewayRoute(object) => serde_json::to_value(object),
        Object::AiServiceBackend(object) => serde_json::to_value(object),
        Object::BackendSecurityPolicy(object) => serde_json::to_value(object),
        Object::GatewayConfig(object) => serde_json::to_value(object),
        Object::Backend(object) => serde_json::to_value(object),
        Object::BackendTlsPolicy(object) => serde_json::to_value(object),
        Object::BackendTrafficPolicy(object) => serde_json::to_value(object),
        Object::QuotaPolicy(object) => serde_json::to_value(object),
        Object::Budget(object) => serde_json::to_value(object),
        Object::ClientTrafficPolicy(object) => serde_json::to_value(object),
        Object::SecurityPolicy(object) => serde_json::to_value(object),
        Object::ConfigMap(object) => serde_json::to_value(object),
        Object::Namespace(object) => serde_json::to_value(object),
        Object::Secret(secret) => {
            let lengths: Value =
                secret.data.iter().map(|(key, value)| (key.clone(), json!(value.expose().len()))).collect();
            let from_environment: Vec<_> = secret.from_environment().collect();
            let from_files: Vec<_> = secret.from_files().collect();
            return json!({
                "type": secret.kind,
                "lengths": lengths,
                "fromEnvironment": from_environment,
                "fromFiles": from_files,
            });
        }
        Object::Unsupported(_) => return json!("unsupported"),
        Object::Invalid(unread) => {
            let about = |targets| json!({ "invalid": targets });
            return unread.targets.as_ref().map_or_else(|| json!("invalid"), about);
        }
    };
    let mut value = value.expect("an object is JSON");
    let metadata = value.as_object_mut().and_then(|object| object.shift_remove("metadata"));
    for note in ["labels", "annotations", "creationTimestamp"] {
        if let Some(note_value) = metadata.as_ref().and_then(|metadata| metadata.get(note)) {
            value[note] = note_value.clone();
        }
    }
    value
}

/// Removes what is null or empty.
fn prune(value: &mut Value) {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, value| !is_nothing(value));
        }
        _ => {}
    }
}

#[test]
fn reads_objects_and_tells_every_mistake() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/parse");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).expect("the folder of goldens") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some(stem) = name.strip_suffix(".in.yaml") else { continue };
        seen += 1;
        let got = outcome(&name, fs::read_to_string(&path).expect("the input"));
        let golden = folder.join(format!("{stem}.out.yaml"));
        if env::var_os("TOLLGATE_BLESS").is_some() {
            fs::write(&golden, &got).expect("the golden is written");
        }
        let want = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, want, "{name}: run `cargo xtask bless` to accept");
        assert!(!got.contains("sk-"), "a key is in the outcome of {name}");
    }
    assert!(seen > 0);
}
