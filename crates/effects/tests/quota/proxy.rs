//! A way to a server that can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes on both ways.
pub(crate) struct Proxy {
    port: u16,
    swallows: Arc<AtomicBool>,
}

impl Proxy {
    /// One to a port of this machine.
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let swallows = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&swallows);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, Arc::clone(&state)));
            }
        });
        Self { port, swallows }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next answer is not passed on, and its connection is cut.
    pub(crate) fn swallow_then_cut(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, to: u16, swallows: Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answers = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if swallows.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                return;
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = requests => {}, () = answers => {} }
}
