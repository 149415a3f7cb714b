//! Goldens of Envoy's resources: `envoy/*.in.yaml`, and what an Envoy is programmed with to serve it.
//!
//! What is the same everywhere stands once, in `envoy/parts.yaml`, and `<name>` in its place.

#![expect(clippy::expect_used, reason = "a test may end at once")]

mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Map, Value, json};
use tollgate_config::Bundle;
use tollgate_config::bundle::SecretRef;
use tollgate_manifest::{Source, parse};
use tollgate_plan::envoy::{
    AccessLog, Fleet, Identity, Patience, Place, Proof, Resources, hand_callers_over, hand_over, resources,
    service_configuration,
};
use tollgate_plan::{World, plan};
use tollgate_terms::Secret;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy")
}

fn fleet() -> Fleet {
    Fleet {
        snapshot: "0123456789abcdef".to_owned(),
        processor: Place::Unix { path: "/run/tollgate/extproc.sock".to_owned() },
        rate_limits: None,
        access_log: AccessLog::Stdout,
        patience: Patience::default(),
    }
}

/// The resources of the manifests in `text`, as one value. Each is what Envoy's definitions say that it has to be.
fn programmed(file: &str, text: String, fleet: &Fleet) -> Value {
    checked(file, resources(&planned(file, text), fleet))
}

fn planned(file: &str, text: String) -> Bundle {
    let parsed = parse(&[Source { file: file.to_owned(), text }]);
    assert!(parsed.findings.is_empty(), "{file}: {:?}", parsed.findings);
    plan(&World::new(parsed.objects)).bundle
}

fn checked(file: &str, made: Resources) -> Value {
    for resource in made.listeners.iter().chain(&made.route_configurations).chain(&made.clusters) {
        let encoded = tollgate_envoy::to_any(&resource.body);
        assert!(encoded.is_ok(), "{file}: {}: {:?}", resource.name, encoded.err());
    }
    serde_json::to_value(made).expect("resources are JSON")
}

/// What goldens are called whose limits a rate limit service counts.
const SERVED: &str = "served_";

/// The same, where a rate limit service counts; with what it is configured with, and what stays with the processor.
fn served(file: &str, text: String) -> Value {
    let place = Place::Tcp { host: "127.0.0.1".to_owned(), port: 8081, tls: None };
    let mut bundle = planned(file, text);
    let stayed = hand_over(&mut bundle);
    let made = resources(&bundle, &Fleet { rate_limits: Some(place), ..fleet() });
    let mut made = checked(file, Resources { diagnostics: stayed, ..made });
    made["service"] = service_configuration(&bundle);
    made
}

/// What goldens are called of whose callers filters of Envoy look at something first.
const HANDED: &str = "handed_";

/// The same, where they do; with what stays with the processor.
fn handed(file: &str, text: String) -> Value {
    let parsed = parse(&[Source { file: file.to_owned(), text }]);
    let world = World::new(parsed.objects);
    let secrets: BTreeMap<_, _> = tollgate_plan::secrets(&world).into_iter().collect();
    let mut bundle = plan(&world).bundle;
    let secret = |key: &SecretRef| secrets.get(key).map(Secret::expose);
    let stayed = hand_callers_over(&mut bundle, &[Proof::Keys, Proof::Tokens], secret);
    let made = resources(&bundle, &fleet());
    // Every place of a secret has its name in it.
    for slot in &made.slots {
        let of = made.route_configurations.iter().find(|it| it.name == slot.resource).expect("the place");
        let named = of.body.pointer(&slot.pointer).and_then(Value::as_str).expect("a name");
        assert!(named.contains(&slot.secret.name), "{file}: {named}");
    }
    let text = serde_json::to_string(&made).expect("resources are JSON");
    for secret in secrets.values() {
        assert!(!text.contains(secret.expose()), "{file}");
    }
    checked(file, Resources { diagnostics: stayed, ..made })
}

/// The values under `name`, wherever they are.
fn find<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if key == name {
                    found.push(member);
                }
                find(member, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find(item, name, found)),
        _ => {}
    }
}

/// What stands once: members that every connection manager and every cluster has.
const PARTS: [&str; 4] =
    ["access_log", "local_reply_config", "early_header_mutation_extensions", "http_filters"];

/// The parts, by name. There are two sets of filters, those of listeners and those of clusters. The processor's cluster stands once as well.
fn parts(resources: &Value) -> Map<String, Value> {
    let mut parts = Map::new();
    if let Some(first) = resources["clusters"].get(0) {
        parts.insert("cluster of the processor".to_owned(), first.clone());
    }
    for name in PARTS {
        for (place, within) in [("listener", "listeners"), ("cluster", "clusters")] {
            let mut found = Vec::new();
            find(&resources[within], name, &mut found);
            if let Some(first) = found.first() {
                parts.insert(format!("{name} of a {place}"), (*first).clone());
            }
        }
    }
    parts
}

/// Puts names in the place of parts.
fn abridge(value: &mut Value, parts: &Map<String, Value>) {
    if let Some((name, _)) = parts.iter().find(|(_, part)| *part == value) {
        *value = format!("<{name}>").into();
        return;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| abridge(member, parts)),
        Value::Array(items) => items.iter_mut().for_each(|item| abridge(item, parts)),
        _ => {}
    }
}

fn compare(golden: &Path, got: &str) {
    if env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(golden, got).expect("the golden is written");
    }
    let want = fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(got, want, "{}: run `cargo xtask bless` to accept", golden.display());
}

#[test]
fn programs_envoy() {
    let read = |file: &str| fs::read_to_string(folder().join(file)).expect("the input");
    let mut parts = parts(&programmed("route.in.yaml", read("route.in.yaml"), &fleet()));
    let handed_keys = handed("handed_keys.in.yaml", read("handed_keys.in.yaml"));
    let mut found = Vec::new();
    find(&handed_keys["listeners"], "local_reply_config", &mut found);
    if let Some(first) = found.first() {
        parts.insert("local_reply_config of a listener with callers".to_owned(), (*first).clone());
    }
    compare(&folder().join("parts.yaml"), &yaml::encode(&Value::Object(parts.clone())));
    let mut seen = 0;
    for entry in fs::read_dir(folder()).expect("the folder of goldens") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let Some(name) = file.strip_suffix(".in.yaml") else { continue };
        seen += 1;
        let mut got = if name.starts_with(SERVED) {
            served(&file, read(&file))
        } else if name.starts_with(HANDED) {
            handed(&file, read(&file))
        } else {
            programmed(&file, read(&file), &fleet())
        };
        abridge(&mut got, &parts);
        compare(&folder().join(format!("{name}.out.yaml")), &yaml::encode(&got));
    }
    assert!(seen > 0);
}

#[test]
fn finds_a_processor_over_tcp_and_leaves_the_log_out() {
    let text = fs::read_to_string(folder().join("route.in.yaml")).expect("the input");
    let processor = Place::Tcp { host: "processor.example".to_owned(), port: 9002, tls: None };
    let fleet = Fleet { processor, access_log: AccessLog::Off, ..fleet() };
    let made = programmed("route.in.yaml", text, &fleet);
    let cluster = &made["clusters"][0]["body"];
    assert_eq!(cluster["type"], "STRICT_DNS");
    let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
    assert_eq!(*address, json!({ "socket_address": { "address": "processor.example", "port_value": 9002 } }));
    let mut found = Vec::new();
    find(&made, "access_log", &mut found);
    let broken_off = |log: &Value| log[0]["name"] == "envoy.access_loggers.http_grpc" && log[1].is_null();
    assert!(found.iter().all(|log| broken_off(log)), "{found:?}");
}

#[test]
fn shows_a_processor_on_the_network_who_it_is() {
    let text = fs::read_to_string(folder().join("route.in.yaml")).expect("the input");
    let [authorities, chain, key] = ["/tls/ca.crt", "/tls/tls.crt", "/tls/tls.key"].map(str::to_owned);
    let tls = Some(Identity { authorities, chain, key, followed: None });
    let processor = Place::Tcp { host: "10.0.0.1".to_owned(), port: 9002, tls };
    let made = programmed("route.in.yaml", text, &Fleet { processor, ..fleet() });
    let cluster = &made["clusters"][0]["body"];
    assert_eq!(cluster["type"], "STATIC");
    let tls = &cluster["transport_socket"]["typed_config"];
    assert_eq!(tls["common_tls_context"]["tls_certificates"][0]["private_key"]["filename"], "/tls/tls.key");
    let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
    assert_eq!(names[0], json!({ "san_type": "IP_ADDRESS", "matcher": { "exact": "10.0.0.1" } }));
    assert!(tls["sni"].is_null(), "an address is no server name");
}
