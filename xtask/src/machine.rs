//! Programs on cores, their ports and their memory.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::{command, release};

/// The core of the load and of the backend.
pub(crate) const LOAD_CORE: usize = 0;

/// The core that the measured program has for itself.
const MEASURED_CORE: usize = LOAD_CORE + 1;

/// Nothing here waits longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A program to be started.
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    core: usize,
}

/// Ten thousand streams are twenty thousand sockets of the gateway, more than most machines allow at first.
const RAISE_OPEN_FILES: &str = "ulimit -n 65536 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"";

/// How many files each program may have open.
pub(crate) fn open_files_max() -> Result<u64> {
    let script = format!("{RAISE_OPEN_FILES}; ulimit -n");
    let said = Command::new("sh").args(["-c", &script]).output().context("cannot start a shell")?;
    let said = String::from_utf8_lossy(&said.stdout);
    said.trim().parse().with_context(|| format!("the shell says {said:?} of open files"))
}

/// A program that runs; it ends when dropped.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Held open: some programs run until it ends.
    _input: ChildStdin,
}

impl Program {
    pub(crate) fn new(path: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { path, arguments, core: LOAD_CORE }
    }

    pub(crate) fn on_core(self, core: usize) -> Self {
        Self { core, ..self }
    }

    pub(crate) fn start(self) -> Result<Running> {
        let script = format!("{RAISE_OPEN_FILES}; exec taskset --cpu-list \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, &self.core.to_string()])
            .arg(&self.path)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let out = BufReader::new(child.stdout.take().context("no output")?);
        let input = child.stdin.take().context("no input")?;
        Ok(Running { child, out, _input: input })
    }
}

impl Running {
    /// Id of the process; `exec` keeps it through shell and taskset.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait_for_line(&mut self, begin: &str) -> Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        if line.starts_with(begin) { Ok(line) } else { bail!("expected {begin:?}, got {line:?}") }
    }

    /// Asks it to end as an operator does, and waits until it has.
    fn end(mut self) -> Result<()> {
        command::said("kill", &["-TERM", &self.id().to_string()])?;
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= until {
                bail!("it has not ended in {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program on the measured core.
pub(crate) fn measured(program: Program) -> Program {
    program.on_core(MEASURED_CORE)
}

/// The stand-ins, on the core of the load.
pub(crate) fn testkit(root: &Path, arguments: &[&str]) -> Program {
    Program::new(root.join("target/release/tollgate-testkit"), arguments)
}

/// Runs a program to its end and reads the line of JSON that it prints.
pub(crate) fn json_line<T: DeserializeOwned>(program: Program) -> Result<T> {
    let mut running = program.start()?;
    let line = running.wait_for_line("{")?;
    Ok(serde_json::from_str(&line)?)
}

/// Runs a program to its end and reads each line that it prints as JSON.
pub(crate) fn json_lines<T: DeserializeOwned>(program: Program) -> Result<Vec<T>> {
    let mut running = program.start()?;
    let mut text = String::new();
    running.out.read_to_string(&mut text)?;
    let status = running.child.wait()?;
    if !status.success() {
        bail!("a program has ended with {status}");
    }
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Memory of a process that is in RAM, in bytes.
pub(crate) fn resident_bytes(id: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}

/// Resources that send every model to the backend at `port`, under `policies`, which are about the Gateway `bench` and may be none. The port of the
/// gateway is a variable.
pub(crate) fn write_resources(root: &Path, port: u16, policies: &str) -> Result<PathBuf> {
    let name = if policies.is_empty() { "gateway" } else { "accounts" };
    let gateway = gateway_and_route("[{backendRefs: [{name: mock}]}]", policies);
    write(root, name, &format!("{gateway}{}{policies}", backend("mock", "OpenAI", port)))
}

/// The same, but that the model `claude` is sent to a backend there that speaks Anthropic's dialect.
pub(crate) fn write_two_dialects(root: &Path, port: u16, policies: &str) -> Result<PathBuf> {
    let rules = "
  - {matches: [{headers: [{name: x-ai-eg-model, value: claude}]}], backendRefs: [{name: claude}]}
  - {backendRefs: [{name: mock}]}";
    let backends = [backend("mock", "OpenAI", port), backend("claude", "Anthropic", port)].concat();
    let name = if policies.is_empty() { "translation" } else { "translation-accounts" };
    write(root, name, &format!("{}{backends}{policies}", gateway_and_route(rules, policies)))
}

/// Resources that send a request to the one of `backends`, each with its schema and port, that its header `x-backend` names, or to the last.
pub(crate) fn write_backends(root: &Path, backends: &[(&str, &str, u16)]) -> Result<PathBuf> {
    let rule = |(name, _, _): &(&str, &str, u16)| {
        format!(
            "
  - {{matches: [{{headers: [{{name: x-backend, value: {name}}}]}}], backendRefs: [{{name: {name}}}]}}"
        )
    };
    let mut rules: String = backends.iter().map(rule).collect();
    if let Some((name, _, _)) = backends.last() {
        rules.push_str(&format!("\n  - {{backendRefs: [{{name: {name}}}]}}"));
    }
    let backends: String = backends.iter().map(|(name, schema, port)| backend(name, schema, *port)).collect();
    write(root, "backends", &format!("{}{backends}", gateway_and_route(&rules, "")))
}

/// A Gateway with one route. Policies bring a GatewayConfig that it names.
fn gateway_and_route(rules: &str, policies: &str) -> String {
    let annotations = if policies.is_empty() {
        ""
    } else {
        ", annotations: {aigateway.envoyproxy.io/gateway-config: bench}"
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: bench{annotations}}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, protocol: HTTP, port: ${{BENCH_PORT}}}}]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: bench}}
spec:
  parentRefs: [{{name: bench}}]
  rules: {rules}
"
    )
}

fn backend(name: &str, schema: &str, port: u16) -> String {
    format!(
        "---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: {name}}}
spec: {{schema: {{name: {schema}}}, backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: {name}}}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: {name}}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {port}}}}}]}}
"
    )
}

fn write(root: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let folder = root.join("target/bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, text)?;
    Ok(path)
}

/// A server under measurement.
pub(crate) struct Server {
    running: Running,
    pub(crate) port: u16,
    /// From its start to the first answer with status 200.
    pub(crate) first_answer: Duration,
}

impl Server {
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn end(self) -> Result<()> {
        self.running.end()
    }
}

/// Time that the threads of a process have worked so far, to the nanosecond: the times in `stat` are counted in hundredths of a second, which is a
/// fifth of what a processor works in one measure.
pub(crate) fn worked(id: u32) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{id}/task"))?;
    // One that has ended since is none.
    let times = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    times
        .map(|times| {
            let nanoseconds = times.split(' ').next().and_then(|text| text.parse().ok());
            Ok(Duration::from_nanos(nanoseconds.context("no time in schedstat")?))
        })
        .sum()
}

/// The process that `id` has started.
pub(crate) fn child_of(id: u32) -> Result<u32> {
    let children = (fs::read_dir(format!("/proc/{id}/task"))?)
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect::<String>();
    children.split_whitespace().next().and_then(|id| id.parse().ok()).context("no child")
}

/// The gateway, with one worker and its access log off: Envoy has none either.
pub(crate) fn gateway(root: &Path, resources: &Path) -> Result<Server> {
    gateway_on(root, resources, &["--data-plane", "embedded"])
}

/// The same on a data plane.
pub(crate) fn gateway_on(root: &Path, resources: &Path, plane: &[&str]) -> Result<Server> {
    start_gateway(&root.join(release::GATEWAY), resources, plane)
}

/// The same by another build.
pub(crate) fn start_gateway(program: &Path, resources: &Path, plane: &[&str]) -> Result<Server> {
    let (port, admin) = (free_port()?, free_port()?);
    let text = fs::read_to_string(resources)?.replace("${BENCH_PORT}", &port.to_string());
    let path = resources.with_file_name(format!("gateway-{port}.yaml"));
    fs::write(&path, text)?;
    let admin = format!("127.0.0.1:{admin}");
    let path = path.to_string_lossy().into_owned();
    let mut arguments =
        vec!["run", "--workers", "1", "--access-log", "off", "--admin-address", &admin, &path];
    arguments.extend(plane);
    serve(measured(Program::new(program.to_path_buf(), &arguments)), port)
}

/// Starts a server and waits until it answers a chat.
pub(crate) fn serve(program: Program, port: u16) -> Result<Server> {
    let began = Instant::now();
    let mut running = program.start()?;
    while !answers(port) {
        if began.elapsed() > PATIENCE {
            bail!("no answer at port {port}");
        }
        if let Some(status) = running.child.try_wait()? {
            bail!("the server has ended with {status}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Server { running, port, first_answer: began.elapsed() })
}

fn answers(port: u16) -> bool {
    let body = r#"{"model":"m","messages":[]}"#;
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\
             authorization: Bearer any\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.ends_with("200"))
}
