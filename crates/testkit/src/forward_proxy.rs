//! A forward proxy that leads every CONNECT to one place, or does not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the proxy does with a CONNECT.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Lead it here, whatever it asks for.
    Lead(SocketAddr),
    /// The same, for who shows this value of `Proxy-Authorization` alone.
    Guard(SocketAddr, String),
    /// Answer 403.
    Refuse,
    /// Answer nothing.
    Hang,
}

/// The proxy.
pub struct MockProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl MockProxy {
    /// Starts it on a free port, until the process ends.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(manner: Manner) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (manner, seen) = (manner.clone(), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &manner, &seen));
            }
        });
        Ok(Self { address, heads })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads that have arrived.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    let place = match manner {
        Manner::Lead(place) => place,
        Manner::Guard(place, value) if shows(&head, value) => place,
        Manner::Guard(..) => {
            let _ =
                stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
            return;
        }
        Manner::Refuse => {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
            return;
        }
        Manner::Hang => {
            std::thread::sleep(Duration::from_secs(30));
            return;
        }
    };
    let Ok(backend) = TcpStream::connect(place) else { return };
    if stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_err() {
        return;
    }
    let (Ok(from_client), Ok(to_backend)) = (stream.try_clone(), backend.try_clone()) else { return };
    std::thread::spawn(move || copy(from_client, to_backend));
    copy(backend, stream);
}

fn shows(head: &str, credential: &str) -> bool {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers
        .any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value.trim() == credential)
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
