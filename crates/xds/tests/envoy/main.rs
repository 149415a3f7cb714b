//! A real Envoy, over its whole life: it starts, follows changes, rejects what is wrong, is left alone, and catches up.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail, and wait"
)]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use harness::{Envoy, Load, PATIENCE, ROUTER, ask, eventually, free_address, set};
use tollgate_xds::{Discovery, ResourceSet, Version};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// Long enough to see that something stays.
const GRACE: Duration = Duration::from_millis(500);

fn publish(discovery: &Discovery, set: ResourceSet) -> Version {
    let version = discovery.publish(set);
    eventually("it is acknowledged", || discovery.is_acknowledged(version));
    version
}

fn answers(address: SocketAddr, body: &str) {
    assert_eq!(ask(address).as_deref(), Ok(body));
}

#[test]
fn an_envoy_starts_follows_rejects_and_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = Envoy::socket(folder.path());
    let address = free_address();
    let discovery = Discovery::new(GRACE);
    let server = tollgate_xds::serve(&discovery, &socket).unwrap();
    let envoy = Envoy::start(folder);
    publish(&discovery, set(address, ROUTER, "one", "first"));
    eventually("the listener listens", || ask(address).is_ok());
    answers(address, "first");
    let status = discovery.status();
    assert_eq!(status.nodes.iter().map(|node| &*node.node).collect::<Vec<_>>(), ["node-1"]);

    // Flips, each with another cluster: no request fails, and no routes come before their cluster.
    let load = Load::start(address);
    for round in 0..20 {
        let (cluster, body) = if round % 2 == 0 { ("two", "second") } else { ("one", "first") };
        publish(&discovery, set(address, ROUTER, cluster, body));
        eventually("the answer is the new one", || ask(address).as_deref() == Ok(body));
    }
    assert!(load.finish() > 20);
    assert_eq!(discovery.counts().rejections, 0, "{}", envoy.log());

    // Something wrong: shown, and what was before serves on. What was right beside it is taken.
    let wrong =
        discovery.publish(set(address, "type.googleapis.com/envoy.config.route.v3.Route", "one", "third"));
    eventually("it is rejected", || discovery.counts().rejections > 0);
    eventually("the routes beside it are taken", || ask(address).as_deref() == Ok("third"));
    assert!(!discovery.is_acknowledged(wrong));
    let error = discovery.status().nodes[0].types[LISTENER].error.clone().unwrap();
    assert!(error.contains("listener"), "{error}");
    std::thread::sleep(2 * GRACE);
    assert_eq!(discovery.counts().rejections, 1, "it is not sent again");
    publish(&discovery, set(address, ROUTER, "one", "fourth"));
    answers(address, "fourth");
    assert_eq!(discovery.status().nodes[0].types[LISTENER].error, None);

    // The server goes: Envoy serves on.
    server.stop(PATIENCE);
    eventually("its stream ends", || discovery.status().nodes.is_empty());
    answers(address, "fourth");

    // Another server, which knows nothing of the first one: until it has a set, Envoy goes on with what it has.
    let discovery = Discovery::new(GRACE);
    let server = tollgate_xds::serve(&discovery, &socket).unwrap();
    let load = Load::start(address);
    eventually("Envoy comes again", || discovery.status().nodes.len() == 1);
    answers(address, "fourth");
    publish(&discovery, set(address, ROUTER, "one", "fourth"));
    assert_eq!(discovery.counts().resources, 0, "it has it all");
    publish(&discovery, set(address, ROUTER, "three", "fifth"));
    eventually("the answer is the new one", || ask(address).as_deref() == Ok("fifth"));
    assert_eq!(discovery.counts().resources, 2, "a cluster and routes");
    eventually("the old cluster is taken back", || discovery.counts().acceptances == 3);
    load.finish();
    assert!(discovery.status().nodes[0].types[CLUSTER].accepted.is_some());
    drop(server);
    answers(address, "fifth");
    assert!(envoy.folder().exists());
}
