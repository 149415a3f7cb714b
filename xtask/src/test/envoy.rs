//! The step with a real Envoy: each golden of its resources is made the whole configuration of one, which says what it thinks of it.
//!
//! Must not know what the resources are for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bounded::Bounded;
use crate::{envoy, yaml};

/// Pairs of manifests and resources, and what these have in common.
const GOLDENS: &str = "crates/plan/tests/envoy";
const PARTS: &str = "parts.yaml";

/// Where configurations are written, with the certificate that stands for all of them.
const FOLDER: &str = "target/envoy/goldens";

/// The variable by which the binary and tests find Envoy.
const VARIABLE: &str = "TOLLGATE_ENVOY";

/// The variable that names the data plane.
const DATA_PLANE: &str = "TOLLGATE_DATA_PLANE";

/// Installs Envoy, and tells the commands to come where it is.
pub(super) fn install(bounded: &mut Bounded) -> Result<PathBuf> {
    let root = bounded.root().to_path_buf();
    let path =
        envoy::install(&root, |program, arguments| bounded.run(program, arguments)).context("Envoy")?;
    bounded.tell(VARIABLE, path.clone());
    Ok(path)
}

/// Makes Envoy the data plane of the commands to come.
pub(super) fn be_the_data_plane(bounded: &mut Bounded) -> Result<()> {
    install(bounded)?;
    bounded.tell(DATA_PLANE, "envoy".into());
    Ok(())
}

/// Has Envoy read every golden.
pub(super) fn validate(bounded: &mut Bounded) -> Result<()> {
    let envoy = install(bounded)?.to_string_lossy().into_owned();
    let goldens = bounded.root().join(GOLDENS);
    let folder = bounded.root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let certificate = certificate(bounded)?;
    let parts = read(&goldens.join(PARTS))?;
    let names = names(&goldens)?;
    if names.is_empty() {
        bail!("no goldens in {GOLDENS}");
    }
    for name in names {
        let outcome = configuration(&goldens.join(format!("{name}.out.yaml")), &parts, &certificate)
            .and_then(|configuration| {
                let path = folder.join(format!("{name}.json"));
                fs::write(&path, configuration.to_string())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                let path = path.to_string_lossy();
                bounded.run(&envoy, &["--mode", "validate", "--log-level", "warn", "--config-path", &path])
            });
        bounded.judge(&name, outcome);
    }
    Ok(())
}

/// What the goldens are called, in order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.context("cannot list the goldens")?.file_name();
        names.extend(file.to_string_lossy().strip_suffix(".out.yaml").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// A certificate as Envoy reads it, with its key: made anew each time, so that none is kept anywhere.
fn certificate(bounded: &mut Bounded) -> Result<Value> {
    let (chain, key) = (format!("{FOLDER}/chain.pem"), format!("{FOLDER}/key.pem"));
    let kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let about = ["-days", "2", "-subj", "/CN=example.com", "-out", &chain, "-keyout", &key];
    bounded.run("openssl", &[&["req"][..], &kind, &about].concat()).context("a certificate")?;
    let file = |path: &str| json!({ "filename": bounded.root().join(path) });
    Ok(json!({ "certificate_chain": file(&chain), "private_key": file(&key) }))
}

/// The bootstrap with the resources of a golden in it.
fn configuration(golden: &Path, parts: &Value, certificate: &Value) -> Result<Value> {
    let mut resources = read(golden)?;
    expand(&mut resources, parts);
    let routes = bodies(&resources, "route_configurations")?;
    let mut listeners = Value::Array(bodies(&resources, "listeners")?);
    inline(&mut listeners, &routes)?;
    let secrets = members(&resources, "secrets")?
        .iter()
        .map(|need| json!({ "name": need.get("name"), "tls_certificate": certificate }))
        .collect::<Vec<_>>();
    Ok(json!({
        "node": { "id": "golden", "cluster": "golden" },
        "static_resources": {
            "listeners": listeners,
            "clusters": bodies(&resources, "clusters")?,
            "secrets": secrets,
        },
    }))
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut documents = yaml::documents(&text).with_context(|| path.display().to_string())?;
    documents.pop().with_context(|| format!("{} is empty", path.display()))
}

/// Puts the parts back where their names stand.
fn expand(value: &mut Value, parts: &Value) {
    let part = value
        .as_str()
        .and_then(|text| text.strip_prefix('<')?.strip_suffix('>'))
        .and_then(|name| parts.get(name));
    if let Some(part) = part {
        *value = part.clone();
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| expand(member, parts)),
        Value::Array(items) => items.iter_mut().for_each(|item| expand(item, parts)),
        _ => {}
    }
}

fn members<'a>(resources: &'a Value, kind: &str) -> Result<&'a Vec<Value>> {
    resources.get(kind).and_then(Value::as_array).with_context(|| format!("no {kind}"))
}

/// The bodies of resources of one kind. In a bootstrap their place says what they are.
fn bodies(resources: &Value, kind: &str) -> Result<Vec<Value>> {
    let body = |resource: &Value| {
        let mut body = resource.get("body").and_then(Value::as_object).cloned()?;
        body.shift_remove("@type");
        Some(Value::Object(body))
    };
    members(resources, kind)?
        .iter()
        .map(|resource| body(resource).with_context(|| format!("one of {kind} has no body")))
        .collect()
}

/// What listeners would ask for over discovery they get at once: routes in themselves, secrets from beside them.
fn inline(value: &mut Value, routes: &[Value]) -> Result<()> {
    match value {
        Value::Object(members) => {
            members.shift_remove("sds_config");
            if let Some(asked) = members.shift_remove("rds") {
                members.insert("route_config".to_owned(), asked_for(&asked, routes)?);
            }
            members.values_mut().try_for_each(|member| inline(member, routes))
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| inline(item, routes)),
        _ => Ok(()),
    }
}

fn asked_for(asked: &Value, routes: &[Value]) -> Result<Value> {
    let name = asked.get("route_config_name").context("routes without a name")?;
    let found = routes.iter().find(|routes| routes.get("name") == Some(name));
    found.cloned().with_context(|| format!("no route configuration {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_parts_routes_and_secrets_in_their_places() {
        let mut value =
            json!({ "rds": { "route_config_name": "a" }, "filters": "<filters>", "sds_config": {} });
        expand(&mut value, &json!({ "filters": [1] }));
        let routes = [json!({ "name": "b" }), json!({ "name": "a", "x": 1 })];
        assert!(inline(&mut value, &routes).is_ok());
        assert_eq!(value, json!({ "filters": [1], "route_config": { "name": "a", "x": 1 } }));
        assert!(inline(&mut json!({ "rds": { "route_config_name": "c" } }), &routes).is_err());
    }
}
