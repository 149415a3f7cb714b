//! The address for operators: metrics, health, and what is being served. It serves no client traffic and knows what
//! it tells only as texts, so no secret can come through it that was not in one of them.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// Longest wait for a request on a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest document that is posted.
const POSTED_MAX: usize = 1 << 20;

/// A text that is made when it is asked for.
pub type TextSource = Arc<dyn Fn() -> String + Send + Sync>;

/// A document of JSON that is made for the query of a URL, which may take a while; or what is wrong with the query or the way to an answer.
pub type QuerySource = Arc<dyn Fn(&str) -> Result<String, QueryError> + Send + Sync>;

/// What answers a document of JSON that is posted: a status, and another document.
pub type PostSource = Arc<dyn Fn(Bytes) -> Posted + Send + Sync>;

/// The answer to a document that was posted, once it is there.
pub type Posted = Pin<Box<dyn Future<Output = (StatusCode, String)> + Send>>;

/// What a rate limit service tells beside its metrics.
#[derive(Clone)]
pub struct RateLimitPages {
    /// `POST /json`: whether a request is let in.
    pub json: PostSource,
    /// `/rlconfig`: the limits, as text.
    pub config: TextSource,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryError {
    /// The query says nothing that is understood.
    Query(String),
    /// Whoever knows does not answer.
    Unavailable(String),
}

/// What the admin address tells.
#[derive(Clone)]
pub struct AdminState {
    /// `/metrics`, in the OpenMetrics text format.
    pub metrics: TextSource,
    /// `/readyz`: whether new requests are welcome. False while starting and while draining.
    pub ready: Arc<AtomicBool>,
    /// `/config`: the served configuration as JSON, without secret values.
    pub config: TextSource,
    /// `/xds`: how far Envoys are, as JSON; not there where none is programmed.
    pub xds: Option<TextSource>,
    /// `/usage`: what was used, as JSON; not there where nobody keeps account.
    pub usage: Option<QuerySource>,
    /// `/json` and `/rlconfig`; not there where no rate limit service is.
    pub rate_limits: Option<RateLimitPages>,
}

/// The admin address at work. Dropping it ends it.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminHandle {
    /// Where it listens, with the port that was found if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the admin thread panicked");
        }
    }
}

/// Serves `state` on `address`, on a thread of its own: busy workers do not delay a health check.
///
/// # Errors
/// When the address cannot be bound, or the thread cannot be made.
pub fn serve(address: SocketAddr, state: AdminState) -> io::Result<AdminHandle> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                result = accept(listener, state) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the admin address is not served any more");
                    }
                }
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    })?;
    Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread) })
}

async fn accept(listener: TcpListener, state: AdminState) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let hosts = Hosts::of(listener.local_addr()?.ip());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or a connection that is gone already: neither may end the admin address.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move {
                if let Some(pages) = state.rate_limits.as_ref().filter(|_| request.uri().path() == "/json") {
                    return Ok(answer_posted(pages, hosts, request).await);
                }
                let request = head_of(request);
                let slow = request.uri().path() == "/usage";
                let answered = move || answer(&state, hosts, &request);
                // A database may take its time, and nobody else's: health is asked for meanwhile.
                Ok::<_, Infallible>(if slow { elsewhere(answered).await } else { answered() })
            }
        });
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            // An error here is the caller's connection breaking; it concerns nobody else.
            let _ended = http.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

/// Which names a caller may use for this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosts {
    /// Any: it is bound where others can reach it anyhow.
    Any,
    /// Only names of this machine. Otherwise a web page could make its own host name resolve to 127.0.0.1 and read
    /// the configuration through the browser of whoever opens it (DNS rebinding).
    Local,
}

impl Hosts {
    fn of(address: IpAddr) -> Self {
        if address.is_loopback() { Self::Local } else { Self::Any }
    }

    fn allow(self, host: Option<&HeaderValue>) -> bool {
        let Some(host) = host.and_then(|host| host.to_str().ok()) else { return self == Self::Any };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self == Self::Any || ["127.0.0.1", "[::1]"].contains(&name) || name.eq_ignore_ascii_case("localhost")
    }
}

fn head_of<B>(request: Request<B>) -> Request<()> {
    request.map(drop)
}

async fn elsewhere(
    answered: impl FnOnce() -> Response<Full<Bytes>> + Send + 'static,
) -> Response<Full<Bytes>> {
    let failed = |_| error(StatusCode::INTERNAL_SERVER_ERROR, "internal error of the gateway");
    tokio::task::spawn_blocking(answered).await.unwrap_or_else(failed)
}

fn answer<B>(state: &AdminState, hosts: Hosts, request: &Request<B>) -> Response<Full<Bytes>> {
    if !hosts.allow(request.headers().get(HOST)) {
        return misdirected();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD", "only GET and HEAD are served here");
    }
    match (request.uri().path(), &state.xds, &state.usage, &state.rate_limits) {
        ("/xds", Some(xds), ..) => reply(StatusCode::OK, "application/json", xds()),
        ("/usage", _, Some(usage), _) => answer_query(usage(request.uri().query().unwrap_or_default())),
        ("/rlconfig", _, _, Some(pages)) => reply(StatusCode::OK, "text/plain", (pages.config)()),
        (path, ..) => answer_to(state, path),
    }
}

fn not_allowed(allowed: &'static str, message: &'static str) -> Response<Full<Bytes>> {
    let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, message);
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    refused
}

fn misdirected() -> Response<Full<Bytes>> {
    let message = "this address answers to localhost, 127.0.0.1 and [::1] only";
    error(StatusCode::MISDIRECTED_REQUEST, message)
}

async fn answer_posted(
    pages: &RateLimitPages,
    hosts: Hosts,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if !hosts.allow(request.headers().get(HOST)) {
        return misdirected();
    }
    if *request.method() != Method::POST {
        return not_allowed("POST", "only POST is served here");
    }
    let body = Limited::new(request.into_body(), POSTED_MAX).collect();
    match tokio::time::timeout(HEAD_TIMEOUT, body).await {
        Ok(Ok(body)) => {
            let (status, document) = (pages.json)(body.to_bytes()).await;
            reply(status, "application/json", document)
        }
        Ok(Err(failed)) if failed.is::<LengthLimitError>() => {
            error(StatusCode::PAYLOAD_TOO_LARGE, "a document of 1 MiB at most is read here")
        }
        Ok(Err(_)) => error(StatusCode::BAD_REQUEST, "the document did not come whole"),
        Err(_) => error(StatusCode::REQUEST_TIMEOUT, "the document took too long to come"),
    }
}

fn answer_query(answer: Result<String, QueryError>) -> Response<Full<Bytes>> {
    let (status, message) = match answer {
        Ok(document) => return reply(StatusCode::OK, "application/json", document),
        Err(QueryError::Query(message)) => (StatusCode::BAD_REQUEST, message),
        Err(QueryError::Unavailable(message)) => (StatusCode::SERVICE_UNAVAILABLE, message),
    };
    let body = serde_json::json!({ "error": { "message": message } });
    reply(status, "application/json", format!("{body}\n"))
}

fn answer_to(state: &AdminState, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            reply(StatusCode::OK, kind, (state.metrics)())
        }
        "/healthz" | "/health" => reply(StatusCode::OK, "text/plain", "ok\n"),
        "/readyz" if state.ready.load(Ordering::Acquire) => reply(StatusCode::OK, "text/plain", "ready\n"),
        "/readyz" => reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "not ready\n"),
        "/config" => reply(StatusCode::OK, "application/json", (state.config)()),
        _ => error(
            StatusCode::NOT_FOUND,
            "served here: /metrics, /healthz, /readyz, /config; /xds with Envoys; /usage with a ledger; \
             /json and /rlconfig of a rate limit service",
        ),
    }
}

/// An error whose `message` needs no escaping.
fn error(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    reply(status, "application/json", format!("{{\"error\":{{\"message\":\"{message}\"}}}}\n"))
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn start(ready: &Arc<AtomicBool>) -> AdminHandle {
        let state = AdminState {
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            ready: Arc::clone(ready),
            config: Arc::new(|| "{\"version\":1}".to_owned()),
            xds: None,
            usage: Some(Arc::new(|query| match query {
                "by=team" => Ok("{\"rows\":[]}".to_owned()),
                "" => Err(QueryError::Unavailable("the \"database\" is away".to_owned())),
                _ => Err(QueryError::Query(format!("not {query}"))),
            })),
            rate_limits: Some(RateLimitPages {
                json: Arc::new(|body| {
                    let status =
                        if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::TOO_MANY_REQUESTS };
                    Box::pin(async move { (status, format!("{}", body.len())) })
                }),
                config: Arc::new(|| "d.user: unlimited\n".to_owned()),
            }),
        };
        serve(SocketAddr::from(([127, 0, 0, 1], 0)), state).expect("a free port")
    }

    /// Status and body of one request.
    fn ask(admin: &AdminHandle, line: &str, host: &str) -> (u16, String) {
        ask_with(admin, line, host, "")
    }

    fn ask_with(admin: &AdminHandle, line: &str, host: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(admin.address()).expect("a listener");
        let head = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        write!(stream, "{head}{body}").expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    #[test]
    fn tells_metrics_and_configuration() {
        let admin = start(&Arc::default());
        assert_eq!(ask(&admin, "GET /metrics", "localhost"), (200, "# EOF\n".to_owned()));
        assert_eq!(ask(&admin, "GET /config", "localhost:1064"), (200, "{\"version\":1}".to_owned()));
        assert_eq!(ask(&admin, "HEAD /config", "localhost"), (200, String::new()));
    }

    #[test]
    fn asks_who_keeps_account() {
        let admin = start(&Arc::default());
        assert_eq!(ask(&admin, "GET /usage?by=team", "localhost"), (200, "{\"rows\":[]}".to_owned()));
        let (status, body) = ask(&admin, "GET /usage", "localhost");
        assert_eq!((status, body.contains("\\\"database\\\" is away")), (503, true), "{body}");
        assert_eq!(ask(&admin, "GET /usage?x", "localhost").0, 400);
        assert_eq!(ask(&admin, "GET /usage?by=team", "rebound.example").0, 421);
    }

    #[test]
    fn asks_whoever_limits_rates() {
        let admin = start(&Arc::default());
        assert_eq!(ask(&admin, "GET /rlconfig", "localhost"), (200, "d.user: unlimited\n".to_owned()));
        assert_eq!(ask(&admin, "GET /json", "localhost").0, 405);
        assert_eq!(ask(&admin, "POST /json", "rebound.example").0, 421);
        assert_eq!(ask(&admin, "POST /json", "localhost"), (400, "0".to_owned()));
        let host = |length: usize| format!("localhost\r\ncontent-length: {length}");
        let posted = |length: usize| ask_with(&admin, "POST /json", &host(length), &"x".repeat(length)).0;
        assert_eq!((posted(1 << 20), posted((1 << 20) + 1)), (429, 413));
    }

    #[test]
    fn is_ready_only_when_told_so() {
        let ready = Arc::new(AtomicBool::new(false));
        let admin = start(&ready);
        assert_eq!(ask(&admin, "GET /healthz", "localhost").0, 200);
        assert_eq!(ask(&admin, "GET /readyz", "localhost").0, 503);
        ready.store(true, Ordering::Release);
        assert_eq!(ask(&admin, "GET /readyz", "localhost").0, 200);
    }

    #[test]
    fn refuses_other_paths_methods_and_names() {
        let admin = start(&Arc::default());
        let (status, body) = ask(&admin, "GET /config/", "localhost");
        assert_eq!((status, body.contains("/readyz")), (404, true));
        assert_eq!(ask(&admin, "POST /config", "localhost").0, 405);
        assert_eq!(ask(&admin, "GET /config", "rebound.example:1064").0, 421);
        assert_eq!(ask(&admin, "GET /config", "127.0.0.1.example").0, 421);
        assert_eq!(ask(&admin, "GET /config", "").0, 421);
    }

    #[test]
    fn answers_to_every_name_of_this_machine_and_to_any_where_others_reach_it() {
        let header = |name| HeaderValue::from_static(name);
        for name in ["localhost", "LocalHost:80", "127.0.0.1:1064", "[::1]", "[::1]:1064"] {
            assert!(Hosts::Local.allow(Some(&header(name))), "{name}");
        }
        assert!(!Hosts::Local.allow(None));
        assert!(Hosts::Any.allow(None) && Hosts::Any.allow(Some(&header("gateway.example"))));
        assert_eq!(Hosts::of([10, 0, 0, 1].into()), Hosts::Any);
    }
}
