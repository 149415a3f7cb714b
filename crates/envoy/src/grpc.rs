//! Services of gRPC on a Unix socket, as Envoy calls them: HTTP/2 by hyper, on threads with a runtime each.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};

/// Flow control windows. A message may be a whole body, and the peer is on the same machine.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Most calls at a time on one connection.
const CALLS_MAX: u32 = 1 << 16;

/// How long nothing is accepted after that failed.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A server at work. Dropping it cuts its connections and removes its socket.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Option<watch::Sender<()>>,
    workers: Vec<JoinHandle<()>>,
}

/// Serves `service` at `path`, which only the owner may connect to, on so many threads called `name`. A socket that was left there is
/// replaced.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be made.
pub fn serve<S>(service: &S, path: &Path, name: &str, workers: usize) -> io::Result<Server>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let (stop, stopped) = watch::channel(());
    let workers = (0..workers.max(1))
        .map(|number| {
            let (listener, service, stopped) = (listener.try_clone()?, service.clone(), stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || runtime.block_on(accept(listener, service, stopped)))
        })
        .collect::<io::Result<Vec<_>>>()?;
    Ok(Server { path: path.to_owned(), stop: Some(stop), workers })
}

async fn accept<S>(listener: StdListener, service: S, mut stopped: watch::Receiver<()>)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a socket cannot be listened on"),
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, service.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: they come back.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = stopped.changed() => return,
        }
    }
}

async fn connection<S>(stream: UnixStream, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let served = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(CALLS_MAX)
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
                tracing::error!("a thread of a gRPC server panicked");
            }
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the socket of a gRPC server was gone already");
        }
    }
}
