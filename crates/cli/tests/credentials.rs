//! Credentials of the process's surroundings and of files, in the real binary: where they come from, and that a change is taken in time.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How soon a Secret that changed has to be used.
const SOON: Duration = Duration::from_secs(5);

const ANSWER: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

const KEYS: &str = "<R><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
    <SessionToken>tok</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></R>";

/// Answers every request with `answer`, and tells what it was asked.
fn service(answer: &str) -> (SocketAddr, Receiver<String>) {
    changing(&Arc::new(Mutex::new(answer.to_owned())))
}

/// The same, with the answer of the moment.
fn changing(answer: &Arc<Mutex<String>>) -> (SocketAddr, Receiver<String>) {
    let answer = Arc::clone(answer);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (sender, answer) = (sender.clone(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some(request) = read_request(&mut stream) {
                    let _ = sender.send(request);
                    let answer = answer.lock().expect("a lock").clone();
                    let length = answer.len();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                    );
                    if stream.get_mut().write_all((head + &answer).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

/// Head and body of a request with a length.
fn read_request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        request.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(request + &String::from_utf8_lossy(&body))
}

/// A gateway with three models: `role` by the default chain, `file` by a credentials file, `kept` by a key that AWS Secrets Manager
/// keeps.
struct Running {
    process: Child,
    address: String,
}

impl Running {
    fn start(folder: &Path, backend: SocketAddr, variables: &[(&str, &str)]) -> Self {
        let file = folder.join("gateway.yaml");
        fs::write(&file, manifest(folder, backend)).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", "--port", "0", "--admin-address", "127.0.0.1:0", "--access-log", "off"])
            .args(["--workers", "1"])
            .arg(&file)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).expect("a line") > 0, "it has ended");
        }
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([' ', ',']).next());
        Self { process, address: address.expect("an address").to_owned() }
    }

    fn chat(&self, model: &str) -> String {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let length = body.len();
        let mut stream = TcpStream::connect(&self.address).expect("a listener");
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn manifest(folder: &Path, backend: SocketAddr) -> String {
    let file = folder.join("credentials");
    let shared = format!(
        r#"apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ai}}
spec: {{gatewayClassName: tollgate, listeners: [{{name: http, port: 8080, protocol: HTTP}}]}}
---
apiVersion: v1
kind: Secret
metadata:
  name: keys
  annotations: {{substitution.aigw.run/file/credentials: {file:?}}}
---
apiVersion: v1
kind: Secret
metadata:
  name: kept
  annotations:
    tollgate.dev/aws-secret: arn:aws:secretsmanager:eu-west-1:123456789012:secret:gateway-a1b2c3
    tollgate.dev/aws-refresh: 1s
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: here}}
spec: {{endpoints: [{{ip: {{address: {}, port: {}}}}}]}}
"#,
        backend.ip(),
        backend.port(),
    );
    let each = [
        ("role", "type: AWSCredentials, awsCredentials: {region: eu-west-1}"),
        (
            "file",
            "type: AWSCredentials, awsCredentials: {region: eu-west-1, credentialsFile: {secretRef: {name: keys}}}",
        ),
        ("kept", "type: APIKey, apiKey: {secretRef: {name: kept}}"),
    ];
    each.into_iter().fold(shared, |text, (name, source)| {
        text + &format!(
            r#"---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: {name}}}
spec: {{schema: {{name: OpenAI}}, backendRef: {{name: here, kind: Backend, group: gateway.envoyproxy.io}}}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: BackendSecurityPolicy
metadata: {{name: {name}}}
spec: {{targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: {name}}}], {source}}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: ai}}]
  rules:
  - matches: [{{headers: [{{name: x-ai-eg-model, value: {name}}}]}}]
    backendRefs: [{{name: {name}}}]
"#
        )
    })
}

fn keys(id: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s\n")
}

#[test]
fn keys_come_from_the_surroundings_of_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("credentials"), keys("AKIDFILE")).expect("a file");
    let token = folder.path().join("token");
    fs::write(&token, "jwt\n").expect("a file");
    let ((backend, asked), (sts, exchanged)) = (service(ANSWER), service(KEYS));
    let endpoint = format!("http://{sts}");
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().expect("a path")),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ai"),
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
    ];
    let gateway = Running::start(folder.path(), backend, &variables);
    assert!(exchanged.try_recv().is_err(), "nothing is asked before it is needed");
    for _ in 0..2 {
        let answer = gateway.chat("role");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let request = asked.recv_timeout(SOON).expect("a request");
        assert!(
            request.contains("Credential=ASIAROLE/") && request.contains("x-amz-security-token: tok"),
            "{request}"
        );
    }
    let exchange = exchanged.recv_timeout(SOON).expect("an exchange");
    assert!(exchange.ends_with("WebIdentityToken=jwt"), "{exchange}");
    assert!(exchanged.try_recv().is_err(), "what is good is not asked for again");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures")]
fn a_credentials_file_that_changes_is_used_in_time_and_no_request_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("credentials");
    fs::write(&file, keys("AKIDBEFORE")).expect("a file");
    let (backend, asked) = service(ANSWER);
    let gateway = Running::start(folder.path(), backend, &[]);
    let shown = || {
        let answer = gateway.chat("file");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        asked.recv_timeout(SOON).expect("a request")
    };
    assert!(shown().contains("Credential=AKIDBEFORE/"));
    fs::write(&file, keys("AKIDAFTER")).expect("a file");
    let changed = Instant::now();
    while !shown().contains("Credential=AKIDAFTER/") {
        assert!(changed.elapsed() < SOON, "the change was not taken");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures")]
fn a_key_that_aws_secrets_manager_keeps_is_used_and_so_is_its_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("credentials"), keys("AKIDFILE")).expect("a file");
    let kept = |key: &str| format!(r#"{{"SecretString":"{{\"apiKey\":\"{key}\"}}"}}"#);
    let answer = Arc::new(Mutex::new(kept("before")));
    let ((backend, asked), (manager, fetches)) = (service(ANSWER), changing(&answer));
    let endpoint = format!("http://{manager}");
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDASK"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.as_str()),
    ];
    let gateway = Running::start(folder.path(), backend, &variables);
    let shown = || {
        let answer = gateway.chat("kept");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let request = asked.recv_timeout(SOON).expect("a request");
        let key = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        key.unwrap_or_default().to_owned()
    };
    assert!(fetches.try_recv().is_err(), "nothing is asked before it is needed");
    assert_eq!(shown(), "before");
    let fetch = fetches.recv_timeout(SOON).expect("a fetch");
    assert!(fetch.contains("Credential=AKIDASK/") && fetch.contains("/eu-west-1/secretsmanager/"), "{fetch}");
    assert!(
        fetch.ends_with(
            r#"{"SecretId":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:gateway-a1b2c3"}"#
        )
    );
    // What cannot be read changes nothing.
    "no JSON".clone_into(&mut answer.lock().expect("a lock"));
    fetches.recv_timeout(SOON).expect("a fetch");
    fetches.recv_timeout(SOON).expect("a fetch");
    assert_eq!(shown(), "before");
    *answer.lock().expect("a lock") = kept("after");
    let changed = Instant::now();
    loop {
        match shown().as_str() {
            "before" => assert!(changed.elapsed() < 2 * SOON, "the change was not taken"),
            key => break assert_eq!(key, "after"),
        }
    }
}
