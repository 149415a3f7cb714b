//! Processes of the binary, the file that they follow, and what their admin addresses say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{HEADER, KEY};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A process, ended with the test.
pub(crate) struct Process {
    child: Child,
    /// Its address for operators, if it has one.
    pub(crate) admin: Option<SocketAddr>,
}

impl Process {
    /// Starts the binary, and waits until it says that it is ready.
    pub(crate) fn tollgate(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(arguments)
            .args(["--admin-address", "127.0.0.1:0", "--log-level", "off"])
            .env_remove("TOLLGATE_DATA_PLANE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut errors = BufReader::new(child.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::stderr()));
        let admin = line.split("admin http://").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
        assert!(admin.is_some(), "no ready line: {line}");
        Self { child, admin }
    }

    /// Starts any other program.
    pub(crate) fn other(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self { child: command.spawn().expect("a program"), admin: None }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits for its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        signal(self.child.id(), "-TERM");
        self.child.wait().expect("an end").code()
    }

    /// What its admin address says.
    pub(crate) fn tells(&self, path: &str) -> String {
        get(self.admin.expect("an admin address"), path).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // With SIGTERM first, so that it ends its own children.
        signal(self.child.id(), "-CONT");
        signal(self.child.id(), "-TERM");
        let until = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal. That there is nobody any more is no failure.
pub(crate) fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
    sent.expect("kill");
}

/// The body of the answer to one GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
}

/// Waits until something is so; how long that took.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

/// An address that is free, and that no connection gets by chance before it is used: systems give those ports from 32768 on.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    let ports = std::iter::repeat_with(|| {
        let number = NEXT.fetch_add(1, Ordering::SeqCst) + std::process::id() * 31;
        u16::try_from(20_000 + number % 12_000).expect("a port")
    });
    let mut addresses = ports.take(12_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    addresses.find(is_free).expect("a free port")
}

/// A file with a configuration that changes.
pub(crate) struct File {
    path: PathBuf,
    listen: u16,
}

impl File {
    pub(crate) fn new(folder: &Path, name: &str, listen: u16) -> Self {
        Self { path: folder.join(name), listen }
    }

    /// Another port from the next change on.
    pub(crate) fn listen_on(&mut self, port: u16) {
        self.listen = port;
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// Writes the configuration called `which`, with the backend at `port`, in one step as editors do.
    pub(crate) fn write(&self, which: &str, port: u16) {
        let listen = self.listen;
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ai}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, protocol: HTTP, port: {listen}}}]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: ai}}
spec:
  parentRefs: [{{name: ai, kind: Gateway, group: gateway.networking.k8s.io}}]
  rules: [{{backendRefs: [{{name: model, modelNameOverride: {which}}}]}}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: model}}
spec:
  schema: {{name: OpenAI}}
  backendRef: {{name: model, kind: Backend, group: gateway.envoyproxy.io}}
  headerMutation: {{set: [{{name: {HEADER}, value: {which}}}]}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: model}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {port}}}}}]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: BackendSecurityPolicy
metadata: {{name: model}}
spec:
  type: APIKey
  apiKey: {{secretRef: {{name: model}}}}
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: model}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: model}}
stringData: {{apiKey: {KEY}}}
"
        );
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, &self.path).expect("renamed");
    }
}
