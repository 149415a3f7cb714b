//! A Redis whose place is taken by another: what was counted may be gone, and never is there more than was settled. Part of ACC-08.

use std::time::Duration;

use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings};

use crate::metric::value;
use crate::proxy::Proxy;
use crate::redis::{LOST, Load, Mode, TOKENS, settled};
use crate::server::{Server, quotas_at};
use crate::variants::counts;

/// What each attempt uses, and how many may be on their way when something happens.
const USE: u64 = 40;
const ON_THEIR_WAY: u64 = 10;

fn quotas(address: &str) -> Quotas {
    Quotas::in_redis(&RedisSettings::new(RedisPlace::parse(address).unwrap())).unwrap()
}

/// Attempts until so many in a row were checked.
async fn until_checked(load: &mut Load, quotas: &Quotas, name: &str) {
    let mut in_a_row = 0;
    for round in 0..10_000 {
        let before = load.unchecked;
        load.run(quotas, &format!("{name}-{round}"), 1, Duration::from_millis(2)).await;
        in_a_row = if load.unchecked == before { in_a_row + 1 } else { 0 };
        if in_a_row == 50 && quotas.is_up() {
            return;
        }
    }
    panic!("nobody is asked any more");
}

#[tokio::test]
async fn one_whose_empty_replica_takes_over_never_has_more_than_was_settled() {
    for mode in [Mode::Open, Mode::Closed] {
        let mut first = Server::new(&[]);
        let second = first.replica_of().await;
        let proxy = Proxy::start(first.port()).await;
        let quotas = quotas_at(proxy.port(), Duration::from_millis(50)).await;
        let mut load = Load { mode, ..Load::default() };
        load.run(&quotas, "before", 200, Duration::ZERO).await;
        settled(&quotas).await;
        let before = load.used;
        assert_eq!(first.counted("a"), before);
        second.says(&["INFO", "replication"], "master_sync_in_progress:0").await;
        first.end();
        load.run(&quotas, "away", 50, Duration::from_millis(4)).await;
        assert!(load.unchecked >= 40, "{}", load.unchecked);
        second.ask(&["REPLICAOF", "NO", "ONE"]);
        second.ask(&["FLUSHALL"]);
        proxy.lead_to(second.port());
        until_checked(&mut load, &quotas, "after").await;
        settled(&quotas).await;
        load.print(&format!("failed over to an empty one, {mode:?}"));
        let counted = second.counted("a");
        // All was settled, some of it where nobody looks any more. Nothing is there that was not.
        assert_eq!((value(&quotas, TOKENS), value(&quotas, LOST)), (load.used, 0));
        assert!(counted <= load.used, "{counted}");
        assert!(counted + before + USE * ON_THEIR_WAY >= load.used, "{counted}");
        let admitted = value(&quotas, "tollgate_quota_admitted_unchecked_total");
        assert_eq!(admitted, if matches!(mode, Mode::Open) { load.unchecked } else { 0 });
    }
}

#[tokio::test]
async fn sentinels_say_who_is_asked_after_a_failover_under_load() {
    let mut first = Server::new(&[]);
    let second = first.replica_of().await;
    let sentinel = Server::sentinel_of(&first, &second).await;
    let quotas = quotas(&format!("redis+sentinel://127.0.0.1:{}/limits", sentinel.port()));
    counts(&quotas).await;
    let mut load = Load::default();
    load.run(&quotas, "before", 200, Duration::from_millis(1)).await;
    settled(&quotas).await;
    // Two lots of three by `counts`.
    assert_eq!(first.counted("a"), load.used + 6);
    first.end();
    let mut rounds = 0;
    while !second.ask(&["INFO", "replication"]).contains("role:master") {
        load.run(&quotas, &format!("while-{rounds}"), 10, Duration::from_millis(2)).await;
        rounds += 1;
        assert!(rounds < 2000, "no failover");
    }
    until_checked(&mut load, &quotas, "after").await;
    settled(&quotas).await;
    load.print("sentinel, failed over");
    assert!(load.unchecked > 0);
    // `counts` has used 12 in all, of two limits. What the first had not told its replica yet is gone with it.
    assert_eq!((value(&quotas, TOKENS), value(&quotas, LOST)), (load.used + 12, 0));
    let counted = second.counted("a");
    assert!(counted <= load.used + 6, "{counted}");
    assert!(counted + USE * ON_THEIR_WAY >= load.used + 6, "{counted} of {}", load.used);
}

#[tokio::test]
async fn a_cluster_of_one_counts() {
    let server = Server::of_cluster();
    server.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.says(&["CLUSTER", "INFO"], "cluster_state:ok").await;
    counts(&quotas(&format!("redis+cluster://127.0.0.1:{}", server.port()))).await;
    assert_eq!(server.counted("a"), 6);
}

#[tokio::test]
async fn a_cluster_counts_all_on_one_node_and_follows_it() {
    let nodes = [(); 3].map(|()| Server::of_cluster());
    let at = |node: &Server| format!("127.0.0.1:{}", node.port());
    let all = [at(&nodes[0]), at(&nodes[1]), at(&nodes[2])];
    let made = std::process::Command::new("redis-cli")
        .args(["--cluster", "create", &all[0], &all[1], &all[2], "--cluster-yes"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for node in &nodes {
        node.says(&["CLUSTER", "INFO"], "cluster_state:ok").await;
    }
    let quotas = quotas(&format!("redis+cluster://{}", all.join(",")));
    counts(&quotas).await;
    let mut load = Load::default();
    load.run(&quotas, "before", 100, Duration::ZERO).await;
    settled(&quotas).await;
    let counted = |nodes: &[Server; 3]| nodes.each_ref().map(|node| node.counted("a"));
    let before = counted(&nodes);
    assert_eq!(before.iter().sum::<u64>(), load.used + 6);
    let owner = before.iter().position(|counted| *counted > 0).unwrap();
    assert_eq!(before[owner], load.used + 6, "one node has all: {before:?}");
    let slot = nodes[owner].ask(&["CLUSTER", "KEYSLOT", "{tollgate}"]);
    // Its slot moves to the next node, with what is in it.
    let (from, to) = (&nodes[owner], &nodes[(owner + 1) % 3]);
    let (from_id, to_id) = (from.ask(&["CLUSTER", "MYID"]), to.ask(&["CLUSTER", "MYID"]));
    to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    loop {
        let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        let port = to.port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        assert_eq!(from.ask(&[&migrate[..], &keys].concat()), "OK");
    }
    for node in [to, from, &nodes[(owner + 2) % 3]] {
        assert_eq!(node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]), "OK");
    }
    until_checked(&mut load, &quotas, "after").await;
    settled(&quotas).await;
    load.print("cluster of three, slot moved");
    assert_eq!(to.counted("a"), load.used + 6);
    assert_eq!((value(&quotas, TOKENS), value(&quotas, LOST)), (load.used + 12, 0));
}
