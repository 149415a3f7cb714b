//! Counters that gateways share, in a real Redis: what clients see while it is there, silent, or gone. Row F20 of the failure
//! matrix.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_config::bundle::{Enforcement, Limit, OnStoreFailure};
use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings};
use tollgate_suite::{
    Act, Beside, CHAT, PATIENCE, STREAM, ScriptedBackend, Tested, bundle, chat_request, completion,
    free_port, header, openai, sized, status,
};

use crate::limits::{good, limit, limited, total};

/// How long a gateway waits for it: as usual, and as long as none that is there takes, on a machine that does much else.
const HASTY: Duration = Duration::from_millis(50);
pub(crate) const PATIENT: Duration = Duration::from_secs(2);

/// A Redis, which ends with the test, and forgets nothing when it is killed before.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let mut redis = Self { child: Self::spawn(port, folder.path()), port, folder };
        redis.wait();
        redis
    }

    fn spawn(port: u16, folder: &Path) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            // What is written is safe from a kill at once.
            .args(["--appendonly", "yes", "--appendfsync", "no", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program redis-server, of Debian's package of that name")
    }

    fn wait(&mut self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < until, "no Redis");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill").success());
    }

    pub(crate) fn end(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
    }

    fn restart_after_end(&mut self) {
        self.child = Self::spawn(self.port, self.folder.path());
        self.wait();
    }

    /// The counters of a gateway that counts there, and waits for it so long.
    pub(crate) fn quotas(&self, deadline: Duration) -> Quotas {
        let place = RedisPlace::parse(&format!("redis://127.0.0.1:{}", self.port)).expect("a place");
        let quotas =
            Quotas::in_redis(&RedisSettings { deadline, ..RedisSettings::new(place) }).expect("counters");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        assert!(runtime.block_on(quotas.up(PATIENCE)), "the Redis answers");
        quotas
    }

    /// A gateway that counts there.
    pub(crate) fn gateway(&self, limits: Vec<Limit>, backend: &ScriptedBackend) -> Tested {
        Self::counting(&self.quotas(PATIENT), limits, backend)
    }

    fn counting(quotas: &Quotas, limits: Vec<Limit>, backend: &ScriptedBackend) -> Tested {
        let backends = vec![openai("b", backend.address)];
        Tested::start_counting(bundle(free_port(), limited(limits), backends), quotas)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn gateways_share_one_limit() {
    let (redis, backend) = (Redis::start(), good());
    let one = redis.gateway(vec![limit("shared", 3, None)], &backend);
    let two = redis.gateway(vec![limit("shared", 3, None)], &backend);
    let statuses = [&one, &two, &one, &two, &one].map(|gateway| status(&gateway.chat(CHAT)));
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

/// What is used is counted behind the answer, and seen by the other gateway a moment later.
#[test]
fn tokens_are_counted_for_all() {
    let (redis, backend) = (Redis::start(), good());
    let one = redis.gateway(vec![limit("tokens", 17, total())], &backend);
    let two = redis.gateway(vec![limit("tokens", 17, total())], &backend);
    assert_eq!(status(&one.chat(CHAT)), 200);
    let until = Instant::now() + PATIENCE;
    while status(&two.chat(CHAT)) != 429 {
        assert!(Instant::now() < until, "what one has used is not seen by the other");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_reservation_is_never_passed_by_two_gateways() {
    let redis = Redis::start();
    let slow = vec![
        Act::Pause(Duration::from_millis(500)),
        Act::Write(sized(200, "application/json", "", completion())),
    ];
    let backend = ScriptedBackend::start(vec![slow]);
    let text = r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
    let most = text.len() as u64 + 100;
    let bound = Limit { enforcement: Enforcement::Reserve, ..limit("reserved", 3 * most, total()) };
    let gateways = [0, 1].map(|_| Arc::new(redis.gateway(vec![bound.clone()], &backend)));
    let asking: Vec<_> = (0..10)
        .map(|nth| {
            let gateway = Arc::clone(&gateways[nth % 2]);
            std::thread::spawn(move || status(&gateway.chat(text)))
        })
        .collect();
    let statuses: Vec<u16> = asking.into_iter().map(|one| one.join().expect("a status")).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 7, "{statuses:?}");
}

/// A Redis that hangs has 50 ms, and after a few times none. Who wants it so is let in, and who does not is refused.
#[test]
fn a_redis_that_hangs_or_is_gone_holds_nobody_up() {
    let (mut redis, backend) = (Redis::start(), good());
    let hasty = |limit| Redis::counting(&redis.quotas(HASTY), vec![limit], &backend);
    let open = hasty(limit("open", 100, None));
    let closing = Limit { on_store_failure: OnStoreFailure::Closed, ..limit("closed", 100, None) };
    let closed = hasty(closing);
    assert_eq!((status(&open.chat(CHAT)), status(&closed.chat(CHAT))), (200, 200));
    for silence in ["hung", "gone"] {
        if silence == "hung" {
            redis.signal("-STOP");
        } else {
            redis.signal("-CONT");
            redis.end();
        }
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(status(&open.chat(CHAT)), 200, "{silence}");
            let refused = closed.chat(CHAT);
            assert_eq!(
                (status(&refused), header(&refused, "retry-after")),
                (503, Some("1")),
                "{silence}: {refused}"
            );
            assert!(began.elapsed() < Duration::from_millis(900), "{silence}: {:?}", began.elapsed());
        }
    }
    redis.restart_after_end();
    wait_until("it goes on", || status(&closed.chat(CHAT)) == 200);
    // Each gateway comes back in its own time, and counts then what it has let in meanwhile too.
    let mut let_in = 1 + 2 * 10;
    let until = Instant::now() + PATIENCE;
    loop {
        wait_until("all is counted", || open.metric("tollgate_quota_settlements_waiting") == 0);
        let_in += 1;
        let answer = open.chat(CHAT);
        let remaining = header(&answer, "x-ratelimit-remaining").map(str::to_owned);
        if remaining == Some((100 - let_in).to_string()) {
            break;
        }
        assert!(Instant::now() < until, "{remaining:?} are left after {let_in}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The client of a stream that is settled while the Redis is dead sees nothing of it, and its use is counted when the Redis is back.
#[test]
fn f20_what_is_settled_while_the_store_is_dead_is_counted_when_it_is_back() {
    let mut redis = Redis::start();
    let document = vec![Act::Write(sized(200, "application/json", "", completion()))];
    let backend = ScriptedBackend::start(vec![document.clone(), Beside::script(), document]);
    let tested = redis.gateway(vec![limit("tokens", 1000, total())], &backend);
    let waiting = || tested.metric("tollgate_quota_settlements_waiting");
    assert_eq!(status(&tested.chat(CHAT)), 200);
    backend.request();
    tested.log_lines(1);
    wait_until("the document is counted", || waiting() == 0);

    let stream = Beside::start(&tested, &backend, &chat_request(STREAM));
    redis.end();
    stream.is_whole();
    let line = &tested.log_lines(2)[1];
    assert_eq!(line["tollgate.outcome"], "complete", "{line}");
    assert_eq!(line["gen_ai.usage.total_tokens"], 18, "{line}");
    assert_eq!(waiting(), 1, "{}", tested.metrics());

    redis.restart_after_end();
    wait_until("the stream is counted", || waiting() == 0);
    for reason in ["full", "expired", "refused", "ended"] {
        let series = format!("tollgate_quota_unsettled_total{{reason=\"{reason}\",unit=\"tokens\"}}");
        assert_eq!(tested.metric(&series), 0, "{reason}");
    }
    assert_eq!(tested.metric("tollgate_quota_settled_total{unit=\"tokens\"}"), 36);
    let next = tested.chat(CHAT);
    assert_eq!(header(&next, "x-ratelimit-remaining"), Some("964"), "{next}");
}
