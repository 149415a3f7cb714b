//! Parts that are killed or hang under load: what clients see meanwhile, and when it is good again.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::apart::{Apart, Files};
use crate::backend::Backend;
use crate::clients::{Asked, Clients, Kind, Seen, Tally, ask_once};
use crate::gateway::{File, Process, eventually, free_address, signal};

/// How long a part is away.
const AWAY: Duration = Duration::from_secs(1);

/// Before and after, so that there is something to compare with.
const CALM: Duration = Duration::from_millis(500);

/// No request takes longer than this, whatever happens to a part: Envoy waits 10 s for its processor.
const LONGEST: Duration = Duration::from_secs(13);

/// What clients saw, told in one line; fails when it is something that must never be.
fn judge(what: &str, recovered: Duration, asked: &[Asked], unprocessed: u64) {
    println!("{what}: good again after {} ms; clients saw: {}", recovered.as_millis(), Tally::of(asked));
    let wrong: Vec<_> = asked.iter().filter(|asked| matches!(asked.seen, Seen::Wrong(_))).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:?}");
    assert_eq!(unprocessed, 0, "{what}: a backend was asked with nobody's work done");
    assert!(asked.iter().all(|asked| asked.took < LONGEST), "{what}");
}

fn all_good(asked: &[Asked]) {
    let failed: Vec<_> = asked.iter().filter(|asked| !asked.is_good()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), asked.len(), failed.first());
}

/// The process that another one has started.
fn child_of(process: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let children =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children.collect::<String>().split_whitespace().next()?.parse().ok()
}

#[test]
fn an_envoy_that_is_killed_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start("old");
    let address = free_address();
    let file = File::new(folder.path(), "gateway.yaml", address.port());
    file.write("old", backend.port);
    let plane = ["run", "--workers", "1", "--data-plane", "envoy", "--access-log", "off", file.path()];
    let gateway = Process::tollgate(&plane);
    let clients = Clients::start(address);
    thread::sleep(CALM);
    signal(child_of(gateway.id()).expect("an Envoy"), "-KILL");
    let killed = Instant::now();
    eventually("a request is served", || {
        let asked = ask_once(address, Kind::Document);
        asked.is_good() && asked.began > killed + Duration::from_millis(50)
    });
    let recovered = killed.elapsed();
    thread::sleep(CALM);
    judge("Envoy killed, in one process", recovered, &clients.finish(), backend.unprocessed());
    assert!(recovered < Duration::from_secs(10));
    assert!(gateway.tells("/xds").contains("\"is_current\": true"));
}

#[test]
fn an_envoy_that_is_killed_gets_everything_again() {
    let mut apart = Apart::start(Files::Same);
    let clients = Clients::start(apart.address);
    thread::sleep(CALM);
    apart.envoy_dies_for(AWAY);
    let recovered = apart.wait_until_good();
    thread::sleep(CALM);
    let asked = clients.finish();
    judge("Envoy killed for 1 s", recovered, &asked, apart.unprocessed());
    assert!(asked.iter().all(|asked| matches!(asked.seen, Seen::Good(_) | Seen::Refused | Seen::Cut)));
}

#[test]
fn without_its_processor_an_envoy_answers_with_errors() {
    let mut apart = Apart::start(Files::Same);
    let clients = Clients::start(apart.address);
    thread::sleep(CALM);
    let killed = Instant::now();
    apart.processor_dies_for(AWAY);
    let recovered = apart.wait_until_good();
    thread::sleep(CALM);
    let asked = clients.finish();
    judge("external processor killed for 1 s", recovered, &asked, apart.unprocessed());
    // Those that were going on are broken off. Envoy says so within the second that it waits before it closes a connection.
    let going_on = |asked: &&Asked| asked.began < killed && asked.ended() > killed + CALM / 5;
    for broken_off in asked.iter().filter(going_on) {
        assert!(matches!(broken_off.seen, Seen::Cut | Seen::Error(503)), "{broken_off:?}");
        assert!(broken_off.ended() < killed + 2 * AWAY, "{broken_off:?}");
    }
    let meanwhile = |asked: &&Asked| asked.began > killed + CALM / 5 && asked.ended() < killed + AWAY;
    let meanwhile: Vec<_> = asked.iter().filter(meanwhile).collect();
    assert!(!meanwhile.is_empty());
    assert!(meanwhile.iter().all(|asked| asked.seen == Seen::Error(503)), "{meanwhile:?}");
    assert!(asked.iter().all(|asked| asked.seen != Seen::Refused));
}

#[test]
fn without_its_control_plane_an_envoy_serves_on() {
    let mut apart = Apart::start(Files::Same);
    let clients = Clients::start(apart.address);
    thread::sleep(CALM);
    apart.control_dies_for(AWAY);
    let seen = apart.change();
    let asked = clients.finish();
    judge("control plane killed for 1 s", seen, &asked, apart.unprocessed());
    all_good(&asked);
    eventually("it knows that Envoy is current", || {
        apart.control.tells("/xds").contains("\"is_current\": true")
    });
}

#[test]
fn with_a_control_plane_that_hangs_an_envoy_serves_on() {
    let apart = Apart::start(Files::Same);
    let clients = Clients::start(apart.address);
    thread::sleep(CALM);
    signal(apart.control.id(), "-STOP");
    thread::sleep(3 * AWAY);
    signal(apart.control.id(), "-CONT");
    let seen = apart.change();
    let asked = clients.finish();
    judge("control plane hung for 3 s", seen, &asked, apart.unprocessed());
    all_good(&asked);
}

#[test]
fn with_a_processor_that_hangs_clients_get_an_error_in_bounded_time() {
    let apart = Apart::start(Files::Same);
    let clients = Clients::start(apart.address);
    thread::sleep(CALM);
    let hung = Instant::now();
    signal(apart.processor.id(), "-STOP");
    thread::sleep(LONGEST);
    signal(apart.processor.id(), "-CONT");
    let resumed = Instant::now();
    let recovered = apart.wait_until_good();
    thread::sleep(CALM);
    let asked = clients.finish();
    judge("external processor hung for 13 s", recovered, &asked, apart.unprocessed());
    let meanwhile = |asked: &&Asked| asked.ended() > hung + CALM && asked.ended() < resumed;
    let meanwhile: Vec<_> = asked.iter().filter(meanwhile).collect();
    assert!(meanwhile.iter().all(|asked| matches!(asked.seen, Seen::Error(_) | Seen::Cut)), "{meanwhile:?}");
    assert!(meanwhile.iter().any(|asked| matches!(asked.seen, Seen::Error(_))), "{meanwhile:?}");
}

#[test]
fn no_request_fails_while_the_parts_follow_one_file() {
    let apart = Apart::start(Files::Same);
    let clients = Clients::start(apart.address);
    for round in 0..20 {
        let (which, port) = if round % 2 == 0 { ("new", apart.new.port) } else { ("old", apart.old.port) };
        apart.file.write(which, port);
        let version = format!("\"version\": {},", round + 2);
        for part in [&apart.control, &apart.processor] {
            eventually("it is read", || part.tells("/config").contains(&version));
        }
    }
    let asked = clients.finish();
    judge("20 flips, parts apart", Duration::ZERO, &asked, apart.unprocessed());
    all_good(&asked);
}

#[test]
fn a_processor_behind_the_control_plane_holds_requests_and_then_refuses_them() {
    let apart = Apart::start(Files::Two);
    let clients = Clients::start(apart.address);
    thread::sleep(CALM);
    apart.file.write("new", apart.new.port);
    thread::sleep(AWAY);
    apart.other.write("new", apart.new.port);
    let serves = |which: &str| ask_once(apart.address, Kind::Document).seen == Seen::Good(which.to_owned());
    eventually("the change is seen", || serves("new"));
    let asked = clients.finish();
    judge("processor 1 s behind", Duration::ZERO, &asked, apart.unprocessed());
    all_good(&asked);
    // It never serves by another configuration than Envoy has routed by. As soon as it has it, it serves again.
    let third = Backend::start("third");
    apart.file.write("third", third.port);
    let refused = || ask_once(apart.address, Kind::Document).seen == Seen::Error(503);
    let behind = eventually("it is refused", refused);
    assert!(behind < Duration::from_secs(5), "{behind:?}");
    apart.other.write("third", third.port);
    eventually("the change is seen", || serves("third"));
}

#[test]
fn what_an_envoy_rejects_is_taken_back_and_told() {
    let mut apart = Apart::start(Files::Same);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let clients = Clients::start(apart.address);
    apart.file.listen_on(taken.local_addr().expect("an address").port());
    apart.file.write("new", apart.new.port);
    let tells = |text: &str| apart.control.tells("/metrics").contains(text);
    eventually("it is refused", || tells("tollgate_config_reloads_total{result=\"refused\"} 1"));
    assert!(tells("tollgate_xds_rejections_total{type=\"Listener\"} 1"));
    let page = apart.control.tells("/xds");
    assert!(page.contains("\"last_error\": {") && page.contains("Address already in use"), "{page}");
    eventually("Envoy is back at what was good", || {
        apart.control.tells("/xds").contains("\"is_current\": true")
    });
    thread::sleep(CALM);
    let asked = clients.finish();
    judge("a listener rejected", Duration::ZERO, &asked, apart.unprocessed());
    all_good(&asked);
    assert!(asked.iter().all(|asked| asked.seen == Seen::Good("old".to_owned())));
    assert!(tells("tollgate_xds_rejections_total{type=\"Listener\"} 1"), "it is not sent again");
    apart.file.listen_on(apart.address.port());
    apart.change();
}

#[test]
fn a_processor_that_ends_finishes_what_runs() {
    let mut apart = Apart::start(Files::Same);
    let address = apart.address;
    let stream = thread::spawn(move || ask_once(address, Kind::Stream));
    // In the middle of it.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(apart.processor.end(), Some(0));
    assert!(stream.join().expect("a client").is_good());
    assert_eq!(ask_once(address, Kind::Document).seen, Seen::Error(503));
}
