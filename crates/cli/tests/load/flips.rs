//! A configuration that changes all the time: no request fails, and each is served by one configuration from its head to its last byte.

use std::time::Instant;

use crate::backend::Backend;
use crate::clients::{Clients, Seen, Tally};
use crate::gateway::{File, Process, eventually, free_address};

/// How many changes, unless `TOLLGATE_FLIPS` says so.
const FLIPS: usize = 20;

fn flips() -> usize {
    std::env::var("TOLLGATE_FLIPS").map_or(FLIPS, |count| count.parse().expect("a number of flips"))
}

/// Flips between two configurations that differ in everything: backend, model and header.
fn flip(arguments: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Backend::start("old"), Backend::start("new"));
    let address = free_address();
    let file = File::new(folder.path(), "gateway.yaml", address.port());
    file.write("old", old.port);
    let gateway = Process::tollgate(&[arguments, &["--access-log", "off", file.path()]].concat());
    let clients = Clients::start(address);
    let (began, count) = (Instant::now(), flips());
    for round in 0..count {
        if round % 2 == 0 {
            file.write("new", new.port)
        } else {
            file.write("old", old.port)
        }
        // 1 is the configuration of the start.
        let version = format!("\"version\": {},", round + 2);
        eventually("it is served", || gateway.tells("/config").contains(&version));
    }
    let took = began.elapsed();
    let asked = clients.finish();
    println!("{arguments:?}: {count} flips in {took:.1?}: {}", Tally::of(&asked));
    let failed: Vec<_> = asked.iter().filter(|asked| !asked.is_good()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), asked.len(), failed.first());
    for which in ["old", "new"] {
        assert!(asked.iter().any(|asked| asked.seen == Seen::Good(which.to_owned())), "{which}");
    }
    assert_eq!(old.unprocessed() + new.unprocessed(), 0);
}

#[test]
fn no_request_fails_while_the_configuration_flips() {
    flip(&["run", "--workers", "1"]);
}

#[test]
fn no_request_fails_while_the_configuration_flips_behind_an_envoy() {
    flip(&["run", "--workers", "1", "--data-plane", "envoy"]);
}
