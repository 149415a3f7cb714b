//! A gateway that is configured by nothing but its environment.

#![expect(clippy::expect_used, reason = "a test may end at once")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tollgate_testkit::forward_proxy::{Manner, MockProxy};

/// A gateway with these variables, and where its clients connect.
struct Running(Child, String);

impl Running {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", "--port", "0", "--admin-address", "127.0.0.1:0", "--access-log", "off"])
            .args(["--workers", "1"])
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut errors = BufReader::new(process.stderr.take().expect("standard error"));
        let (mut line, mut said) = (String::new(), String::new());
        let client = loop {
            line.clear();
            assert!(errors.read_line(&mut line).expect("a line") > 0, "it ended: {said}");
            said.push_str(&line);
            let mut addresses = line.split("http://").skip(1);
            if let (Some(client), Some(_admin)) = (addresses.next(), addresses.next()) {
                break client.split([' ', ')', ',']).next().unwrap_or_default().to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        assert!(!said.contains("s3cret"), "{said}");
        Self(process, client)
    }

    fn chat(&self) -> String {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let mut stream = TcpStream::connect(&self.1).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let length = body.len();
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn providers_are_asked_through_the_proxy_that_the_environment_names() {
    let proxy = MockProxy::start(Manner::Refuse).expect("a proxy");
    let url = format!("http://gateway:s3cret@{}", proxy.address());
    let variables = [
        ("OPENAI_API_KEY", "sk-1"),
        ("OPENAI_BASE_URL", "https://models.invalid/v1"),
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", "other.invalid"),
    ];
    let answer = Running::start(&variables).chat();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let heads = proxy.heads();
    assert!(heads[0].starts_with("CONNECT models.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("Proxy-Authorization: Basic Z2F0ZXdheTpzM2NyZXQ=\r\n"), "{heads:?}");

    let before = heads.len();
    let around = [&variables[..3], &[("NO_PROXY", "invalid")]].concat();
    let answer = Running::start(&around).chat();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(proxy.heads().len(), before);
}
