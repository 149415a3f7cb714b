//! A PostgreSQL server for one test, in a folder of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// A server at work, ended with the test.
pub(crate) struct Server {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
    account: Option<(u32, u32)>,
}

impl Server {
    /// Makes an empty database and serves it.
    ///
    /// Fails with what is missing where there is no server to be started.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let account = account();
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).expect("a folder of its own");
        }
        let mut initdb = command("initdb", account);
        initdb.args(["--auth", "trust", "--username", "tollgate", "--no-sync", "--encoding", "UTF8"]);
        let made = initdb.arg("--pgdata").arg(folder.path().join("data")).output().expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let process = serve(folder.path(), port, account);
        let server = Self { process, folder, port, account };
        server.wait();
        server
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://tollgate@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // Its own way to end at once: it takes its children with it.
        self.signal("-QUIT");
        self.process.wait().expect("an end");
    }

    /// Starts it again, with what it holds.
    pub(crate) fn restart(&mut self) {
        self.process = serve(self.folder.path(), self.port, self.account);
        self.wait();
    }

    /// Stops all of it as it is: connections stay, and nothing is answered any more.
    pub(crate) fn stop(&self) {
        // First whoever starts others.
        self.signal("-STOP");
        self.children("-STOP");
    }

    /// Lets it go on where it was stopped.
    pub(crate) fn go_on(&self) {
        self.children("-CONT");
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
    }

    fn children(&self, signal: &str) {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            // It may have ended by now.
            let _ = Command::new("kill").args([signal, child]).stderr(Stdio::null()).status();
        }
    }

    fn wait(&self) {
        let until = Instant::now() + START_MAX;
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        let url = self.url();
        while let Err(error) = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)) {
            assert!(Instant::now() < until, "PostgreSQL does not answer: {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go_on();
        self.signal("-QUIT");
        let _ = self.process.wait();
    }
}

fn serve(folder: &Path, port: u16, account: Option<(u32, u32)>) -> Child {
    let mut command = command("postgres", account);
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-p", &port.to_string()]);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "log_min_messages=fatal"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres")
}

fn command(program: &str, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(find(program));
    command.current_dir("/");
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}

/// The program, where the system looks or where Debian puts it.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let mut found = std::env::split_paths(&path).chain(debian).map(|folder| folder.join(program));
    found.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "no {program}: the tests with PostgreSQL need a server; on Debian, `apt-get install postgresql`"
        )
    })
}

/// Whom it runs as: never as root, which it refuses.
fn account() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    let of = |user: &str| Some((id(&["-u", user])?, id(&["-g", user])?));
    of("postgres").or_else(|| of("nobody"))
}
