//! A real Redis, which ends with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings};

/// A server on a port of its own.
pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(port: u16, folder: &Path, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("these tests need the program redis-server, of Debian's package of that name: {error}")
        })
}

impl Server {
    /// Starts one, with more arguments.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = start(port, folder.path(), &arguments);
        let server = Self { child, port, folder, arguments };
        server.wait();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What `redis-cli` says.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let said = Command::new("redis-cli").args(["-p", &port]).args(words).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// The sum of all counters of one slot whose names end so.
    pub(crate) fn counted(&self, end: &str) -> u64 {
        let keys = self.ask(&["KEYS", &format!("*:{end}")]);
        keys.lines()
            .filter(|key| !key.is_empty())
            .map(|key| self.ask(&["GET", key]).parse::<u64>().unwrap())
            .sum()
    }

    fn wait(&self) {
        for _ in 0..200 {
            if self.ask(&["PING"]) == "PONG" {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("no Redis");
    }

    /// One of a cluster. Its second port is free too: the usual one is 10,000 higher, and may be none.
    pub(crate) fn of_cluster() -> Self {
        Self::new(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()])
    }

    /// One that copies another.
    pub(crate) async fn replica_of(&self) -> Self {
        let replica = Self::new(&["--replicaof", "127.0.0.1", &self.port.to_string()]);
        replica.says(&["INFO", "replication"], "master_link_status:up").await;
        replica
    }

    /// Waits until it says so.
    pub(crate) async fn says(&self, words: &[&str], expected: &str) {
        for _ in 0..600 {
            if self.ask(words).contains(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never {expected}: {}", self.ask(words));
    }

    /// A sentinel, which watches another and its replica.
    pub(crate) async fn sentinel_of(master: &Self, replica: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "sentinel monitor limits 127.0.0.1 {} 1\nsentinel down-after-milliseconds limits 500\n\
             sentinel failover-timeout limits 2000\n",
            master.port
        );
        std::fs::write(&file, text).unwrap();
        let port = free_port();
        let child = Command::new("redis-server")
            .arg(&file)
            .args(["--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port, folder, arguments: Vec::new() };
        server.wait();
        // It has to know of the replica before it can promote it.
        server.says(&["SENTINEL", "REPLICAS", "limits"], &replica.port.to_string()).await;
        server
    }

    /// Ends it at once.
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it at once, and starts it again with nothing in it.
    pub(crate) fn restart(&mut self, pause: Duration) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::thread::sleep(pause);
        self.child = start(self.port, self.folder.path(), &self.arguments);
        self.wait();
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// A gateway that uses it, once it does.
    pub(crate) async fn quotas(&self) -> Quotas {
        quotas_at(self.port, Duration::from_millis(50)).await
    }

    /// One that gets its answers also from a machine that is busy.
    pub(crate) async fn patient_quotas(&self) -> Quotas {
        quotas_at(self.port, Duration::from_secs(5)).await
    }
}

/// A gateway that uses whatever is at a port.
pub(crate) async fn quotas_at(port: u16, deadline: Duration) -> Quotas {
    let place = RedisPlace::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
    let quotas = Quotas::in_redis(&RedisSettings { deadline, ..RedisSettings::new(place) }).unwrap();
    assert!(quotas.up(Duration::from_secs(5)).await, "no connection");
    quotas
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
