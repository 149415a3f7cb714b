//! The processor on a Unix socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tollgate_envoy::processing::external_processor_server::ExternalProcessorServer;

use crate::processor::Processor;

/// Largest message: a whole request body in an envelope.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Flow control windows. A body is one message, and the peer is on the same machine.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Most requests at a time on one of Envoy's connections.
const STREAMS_MAX: u32 = 1 << 16;

/// A processor that serves. Dropping it ends it at once.
pub struct Server {
    path: PathBuf,
    stop: Option<watch::Sender<bool>>,
    workers: Vec<JoinHandle<()>>,
}

/// Serves `processor` on a Unix socket at `path`, which only the owner may use, on so many threads. A socket that is left there is
/// removed.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve(processor: &Processor, path: &Path, workers: usize) -> io::Result<Server> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let (stop, stopped) = watch::channel(false);
    let workers = (0..workers.max(1))
        .map(|number| {
            let (listener, processor, stopped) = (listener.try_clone()?, processor.clone(), stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new().name(format!("extproc-{number}")).spawn(move || {
                if let Err(error) = runtime.block_on(accept(listener, processor, stopped)) {
                    tracing::error!(%error, "the external processor cannot accept connections");
                }
            })
        })
        .collect::<io::Result<Vec<_>>>()?;
    Ok(Server { path: path.to_owned(), stop: Some(stop), workers })
}

async fn accept(
    listener: StdListener,
    processor: Processor,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = stopped.changed() => return Ok(()),
        };
        tokio::spawn(connection(stream, processor.clone()));
    }
}

async fn connection(stream: UnixStream, processor: Processor) {
    let service = ExternalProcessorServer::new(processor)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let served = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of Envoy's ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a thread of the external processor panicked");
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket of the external processor is gone already");
        }
    }
}
