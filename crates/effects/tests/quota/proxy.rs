//! A way to a server that can be cut, led elsewhere, or made long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Passes bytes on both ways.
pub(crate) struct Proxy {
    port: u16,
    way: Arc<Way>,
}

struct Way {
    to: AtomicU16,
    swallows: AtomicBool,
    delay_ms: AtomicU64,
}

impl Proxy {
    /// One to a port of this machine.
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way =
            Arc::new(Way { to: to.into(), swallows: AtomicBool::default(), delay_ms: AtomicU64::default() });
        let state = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, Arc::clone(&state)));
            }
        });
        Self { port, way }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next answer is not passed on, and its connection is cut.
    pub(crate) fn swallow_then_cut(&self) {
        self.way.swallows.store(true, Ordering::SeqCst);
    }

    /// New connections go to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.way.to.store(port, Ordering::SeqCst);
    }

    /// Answers arrive so much later.
    pub(crate) fn delay(&self, time: Duration) {
        self.way.delay_ms.store(time.as_millis().try_into().unwrap(), Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, way: Arc<Way>) {
    let to = way.to.load(Ordering::SeqCst);
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (sender, mut queue) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let requests = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answers = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            if way.swallows.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                return;
            }
            let at = Instant::now() + Duration::from_millis(way.delay_ms.load(Ordering::SeqCst));
            sender.send((at, buffer[..length].to_vec())).unwrap();
        }
    };
    let arrivals = async {
        while let Some((at, bytes)) = queue.recv().await {
            // Even a sleep until now takes a millisecond.
            if at > Instant::now() {
                sleep_until(at).await;
            }
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = requests => {}, () = answers => {}, () = arrivals => {} }
}
