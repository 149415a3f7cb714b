//! A PostgreSQL that takes connections and never says anything, as one that is stopped: whoever asks is told so, and nobody else notices.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Backend, Gateway, command, whole};

fn get(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).expect("a listener");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("sent");
    whole(stream)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures")]
fn a_silent_database_holds_up_nobody() {
    let backend = Backend::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (file, ledger) = (folder.path().join("gateway.yaml"), folder.path().join("ledger"));
    backend.write(&file);
    // Connections are made by the kernel, and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://tollgate@{}/postgres", silent.local_addr().expect("an address"));
    let mut command_line = command(&ledger, &file);
    let gateway = Gateway::started(command_line.env("TOLLGATE_LEDGER_POSTGRES", url));
    let began = Instant::now();
    for _ in 0..5 {
        assert!(whole(gateway.ask("hi", "")).starts_with("HTTP/1.1 200"));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| get(&gateway.admin, "/usage"))).collect();
        // Health is not asked of a database.
        assert!(get(&gateway.admin, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        for answer in asked {
            let answer = answer.join().expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        }
    });
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // Whoever fills it has waited as long.
    let failing =
        || get(&gateway.admin, "/metrics").contains("\ntollgate_ledger_failing{what=\"index\"} 1\n");
    while !failing() {
        assert!(began.elapsed() < Duration::from_secs(15), "{}", get(&gateway.admin, "/metrics"));
        thread::sleep(Duration::from_millis(100));
    }
    // A question that is still asked does not hold up the end either.
    let mut asked = TcpStream::connect(&gateway.admin).expect("a listener");
    write!(asked, "GET /usage HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    gateway.end("-TERM");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Nothing is lost: another database is filled with all of it.
    let gateway = Gateway::start(&ledger, &file);
    gateway.usage("", 5);
    gateway.end("-TERM");
}
