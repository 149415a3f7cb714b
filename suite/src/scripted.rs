//! Backends that follow a script to the byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::message::header;

/// One step of a scripted backend, after it has read the request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Write these bytes.
    Write(Vec<u8>),
    /// Do nothing for a while.
    Pause(Duration),
    /// Close in order (FIN).
    Close,
    /// Close in disorder (RST).
    Reset,
    /// Hold the connection until the other side closes it, and tell.
    AwaitClose,
}

/// A backend that answers its n-th request by its n-th script, and further ones by the last.
pub struct ScriptedBackend {
    /// Where it listens.
    pub address: SocketAddr,
    /// Raw requests, in the order of their arrival.
    pub requests: Receiver<String>,
    /// One message whenever an `AwaitClose` saw the other side close.
    pub closed: Receiver<Instant>,
}

impl ScriptedBackend {
    /// Starts it on a free port.
    pub fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (request_sender, requests) = channel();
        let (closed_sender, closed) = channel();
        let scripts = Arc::new(Mutex::new((0_usize, scripts)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (scripts, requests, closed) =
                    (Arc::clone(&scripts), request_sender.clone(), closed_sender.clone());
                std::thread::spawn(move || follow(stream, &scripts, &requests, &closed));
            }
        });
        Self { address, requests, closed }
    }

    /// The next request that arrived.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).expect("a request at the backend")
    }
}

fn follow(
    mut stream: TcpStream,
    scripts: &Mutex<(usize, Vec<Vec<Act>>)>,
    requests: &Sender<String>,
    closed: &Sender<Instant>,
) {
    stream.set_nodelay(true).expect("nodelay");
    while let Some(request) = read_message(&mut stream) {
        let script = {
            let mut state = scripts.lock().expect("the scripts");
            let number = state.0.min(state.1.len() - 1);
            state.0 += 1;
            state.1[number].clone()
        };
        let _ = requests.send(request);
        for act in script {
            match act {
                Act::Write(bytes) => {
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
                Act::Pause(length) => std::thread::sleep(length),
                Act::Close => {
                    let _ = stream.shutdown(Shutdown::Write);
                    return;
                }
                Act::Reset => {
                    let socket = socket2::Socket::from(stream);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    return;
                }
                Act::AwaitClose => {
                    let mut byte = [0];
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    if !matches!(stream.read(&mut byte), Err(ref error) if error.kind() == std::io::ErrorKind::WouldBlock)
                    {
                        let _ = closed.send(Instant::now());
                    }
                    return;
                }
            }
        }
    }
}

/// One whole request, or `None` at the end of the connection.
fn read_message(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let length = header(&text, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            let is_whole = match header(&text, "transfer-encoding") {
                None => bytes.len() >= end + 4 + length,
                Some(_) => text.ends_with("\r\n0\r\n\r\n"),
            };
            if is_whole {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
