//! Connections of clients that speak HTTP/2: each request is a stream, and each stream has a task and its own time. A client that
//! takes nothing of one stream does not keep the others waiting, nor the backend of that one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::answer::{AnswerBody, BrokenOff};
use crate::line::Transport;
use crate::overdue::Overdue;
use crate::patience::Patience;
use crate::service::{self, Client};
use crate::worker::Worker;

/// Most bytes of the headers of a request, with 32 more for each (RFC 9113 section 6.5.2). The core takes an eighth of this and refuses the rest in
/// words; what is beyond hyper answers by itself, with a 431 and nothing else.
const HEADER_BYTES_MAX: u32 = 512 << 10;

/// Most requests at a time on one connection (Envoy's advice for the edge).
const STREAMS_MAX: u32 = 100;

/// Flow control windows (Envoy's advice for the edge).
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Most response bytes buffered per stream for a slow client.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Most bytes that are handed out at a time: what a client has to take before its patience begins anew.
const PIECE_BYTES_MAX: usize = 16 << 10;

tokio::task_local! {
    /// The stream that a task is for.
    static STREAM: Arc<Stream>;
}

/// Serves the connection until it ends.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    client: Client,
    transport: impl Transport + 'static,
) -> io::Result<()> {
    let owner = Arc::clone(worker);
    let tasks = Tasks { connection: Arc::clone(&client.patience) };
    let service = service_fn(move |request| respond(Arc::clone(&owner), client.clone(), request));
    let connection = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(60))
        .serve_connection(TokioIo::new(transport), service);
    tokio::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return served.map_err(io::Error::other),
        () = worker.drain.begun() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(io::Error::other)
}

async fn respond(
    worker: Arc<Worker>,
    client: Client,
    request: Request<Incoming>,
) -> Result<Response<StreamedBody>, Canceled> {
    let stream = STREAM.try_with(Arc::clone).map_err(|_| Canceled)?;
    let client = Client { patience: Arc::clone(&stream.patience), ..client };
    let (parts, mut body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    // Boxed, so that an idle connection does not carry the room that a busy one needs.
    let response = Box::pin(service::respond(&worker, &client, request, &mut body)).await.ok_or(Canceled)?;
    Ok(response.map(|body| StreamedBody { body, rest: Bytes::new(), stream }))
}

/// Nobody waits for the answer.
#[derive(Debug, thiserror::Error)]
#[error("the client has left")]
struct Canceled;

/// What is known of one stream.
struct Stream {
    patience: Arc<Patience>,
    /// Pieces that were handed out.
    pieces: AtomicU64,
    /// Whether the last of them still waits for the client to make room.
    waits: AtomicBool,
}

/// Runs streams, each as a task of its own.
#[derive(Clone)]
struct Tasks {
    connection: Arc<Patience>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let stream = Arc::new(Stream {
            patience: Arc::new(Patience::of_stream(&self.connection)),
            pieces: AtomicU64::new(0),
            waits: AtomicBool::new(false),
        });
        tokio::spawn(STREAM.scope(Arc::clone(&stream), watch(stream, future)));
    }
}

/// Completes with `future`, or when the client has taken nothing for too long: what is dropped then is reset.
async fn watch(stream: Arc<Stream>, future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let mut overdue = Overdue::default();
    let mut pieces = 0;
    std::future::poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !stream.waits.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let before = std::mem::replace(&mut pieces, stream.pieces.load(Ordering::Relaxed));
        if before != pieces {
            overdue.restart();
        }
        ready!(overdue.poll(cx, stream.patience.limit()));
        stream.patience.end();
        Poll::Ready(())
    })
    .await;
}

/// The body of a response, in pieces that a slow client takes one after the other.
struct StreamedBody {
    body: AnswerBody,
    /// What was taken out of `body` and not handed out.
    rest: Bytes,
    stream: Arc<Stream>,
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        // Whoever asks for more has got rid of the piece before.
        this.stream.waits.store(false, Ordering::Relaxed);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
                ended => return Poll::Ready(ended),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        this.stream.waits.store(!piece.is_empty(), Ordering::Relaxed);
        this.stream.pieces.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before anything is taken out.
        self.body.size_hint()
    }
}

impl Drop for StreamedBody {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            self.body.give_back(std::mem::take(&mut self.rest));
        }
    }
}
