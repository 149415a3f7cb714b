//! One connection of HTTP/1.1: its requests, one after the other.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response};
use tollgate_exchange::Refusal;
use tollgate_wire::http1::{
    BodyDecoder, Decoded, Malformed, Mistake, RequestHead, RequestReader, Unreadable,
};

use super::request::Incoming;
use super::response::{Asked, Outgoing, Sent};
use crate::answer::AnswerBody;
use crate::line::{Line, Transport};
use crate::overdue::Overdue;
use crate::service::{self, Client};
use crate::worker::Worker;

/// How long, and for how many bytes, what a client still sends is read over after the last response, so that it can read that
/// one: closing a connection on unread bytes takes back what was written (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 64 << 10;

/// One connection.
struct Connection<'a, T> {
    worker: &'a Arc<Worker>,
    client: Client,
    line: Line<T>,
    reader: RequestReader,
    overdue: Overdue,
}

/// What came of waiting for a request.
enum Came {
    Request(RequestHead),
    /// Something that is none.
    Unreadable(Unreadable),
    /// A part of one, and then nothing for too long.
    Part,
    /// Nothing, and nothing is waited for any more.
    Nothing,
}

/// What follows a response.
enum After {
    /// The next request.
    Next,
    /// The end, in order.
    Close,
    /// The end at once.
    Drop,
}

/// Serves the connection until it ends.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    client: Client,
    transport: impl Transport,
) -> Result<(), io::Error> {
    let (line, reader, overdue) = (Line::new(transport), RequestReader::default(), Overdue::default());
    let mut connection = Connection { worker, client, line, reader, overdue };
    let mut draining = pin!(worker.drain.begun());
    loop {
        let after = match connection.next(draining.as_mut()).await? {
            Came::Request(head) => connection.answer(head).await?,
            Came::Unreadable(Unreadable { mistake, asked }) => {
                let refusal = match mistake {
                    Mistake::Malformed(Malformed(what)) => Refusal::Malformed { what },
                    Mistake::TooLarge => Refusal::HeadTooLarge,
                    Mistake::TwoFramings => Refusal::AmbiguousLength,
                };
                connection.refuse(&refusal, asked).await?
            }
            Came::Part => connection.refuse(&Refusal::HeadTimeout, None).await?,
            Came::Nothing => After::Close,
        };
        match after {
            After::Next => {}
            After::Close => return connection.close().await,
            After::Drop => return Ok(()),
        }
    }
}

impl<T: Transport> Connection<'_, T> {
    /// Waits for the next request.
    async fn next(&mut self, mut draining: Pin<&mut impl Future<Output = ()>>) -> io::Result<Came> {
        self.overdue.restart();
        poll_fn(|cx| {
            loop {
                match self.reader.read(&mut self.line.buffer) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Came::Request(head))),
                    Err(unreadable) => return Poll::Ready(Ok(Came::Unreadable(unreadable))),
                    Ok(None) => {}
                }
                match self.line.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Came::Nothing)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            let has_begun = !self.line.buffer.is_empty();
            let drain = &self.worker.drain;
            if !has_begun && (drain.has_begun() || draining.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(Came::Nothing));
            }
            match self.overdue.poll(cx, self.worker.request_head_timeout) {
                Poll::Ready(()) if has_begun => Poll::Ready(Ok(Came::Part)),
                Poll::Ready(()) => Poll::Ready(Ok(Came::Nothing)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Answers a request.
    async fn answer(&mut self, head: RequestHead) -> io::Result<After> {
        let RequestHead { method, target, version, headers, framing, keeps_alive, awaits_continue } = head;
        let is_head = method == Method::HEAD;
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut()) = (method, target);
        (*request.version_mut(), *request.headers_mut()) = (version, headers);
        let mut body = Incoming::new(&mut self.line, BodyDecoder::new(framing), awaits_continue);
        // Boxed, so that an idle connection does not carry the room that a busy one needs.
        let responded = Box::pin(service::respond(self.worker, &self.client, request, &mut body)).await;
        let rest = body.into_rest();
        let Some(response) = responded else { return Ok(After::Drop) };
        let keeps_alive = keeps_alive && rest.is_some() && !self.worker.drain.has_begun();
        let asked = Asked { version, is_head, keeps_alive };
        match (self.send(Outgoing::new(response, asked, &self.worker.date)).await?, rest) {
            (Some(Sent::KeepsAlive), Some(rest)) => self.read_over(rest).await,
            (Some(Sent::KeepsAlive | Sent::Closes), _) => Ok(After::Close),
            (Some(Sent::BrokenOff) | None, _) => Ok(After::Drop),
        }
    }

    /// Answers what is no request, or not all of one.
    async fn refuse(&mut self, refusal: &Refusal, asked: Option<(Method, String)>) -> io::Result<After> {
        let response: Response<AnswerBody> = service::refuse_head(self.worker, &self.client, refusal, asked);
        let asked = Asked { version: http::Version::HTTP_11, is_head: false, keeps_alive: false };
        self.send(Outgoing::new(response, asked, &self.worker.date)).await?;
        Ok(After::Close)
    }

    /// Sends a response; `None` when the client has left before its end.
    async fn send(&mut self, mut outgoing: Outgoing) -> io::Result<Option<Sent>> {
        poll_fn(|cx| {
            loop {
                let gathered = outgoing.poll_gather(cx);
                match self.line.poll_write(cx, &mut outgoing.pieces) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
                if let Some(sent) = outgoing.sent() {
                    return Poll::Ready(Ok(Some(sent)));
                }
                if gathered.is_pending() {
                    // What may take long waits without a timer that it has no use for.
                    self.overdue = Overdue::default();
                    break;
                }
            }
            self.line.poll_left(cx).map(|()| Ok(None))
        })
        .await
    }

    /// Reads over what is left of a body that nobody wants.
    async fn read_over(&mut self, mut rest: BodyDecoder) -> io::Result<After> {
        let over = poll_fn(|cx| {
            loop {
                match rest.decode(&mut self.line.buffer) {
                    Ok(Decoded::Data(_)) => continue,
                    Ok(Decoded::End) => return Poll::Ready(After::Next),
                    Ok(Decoded::Nothing) => {}
                    Err(_) => return Poll::Ready(After::Close),
                }
                match self.line.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(After::Drop),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        Ok(tokio::time::timeout(self.worker.request_head_timeout, over).await.unwrap_or(After::Drop))
    }

    /// Ends the connection, so that the client can read the last response to its end.
    async fn close(&mut self) -> io::Result<()> {
        let close = async {
            poll_fn(|cx| self.line.poll_shutdown(cx)).await?;
            let mut bytes = self.line.buffer.len();
            while bytes < LINGER_BYTES_MAX {
                self.line.buffer.clear();
                match poll_fn(|cx| self.line.poll_fill(cx)).await? {
                    0 => break,
                    count => bytes += count,
                }
            }
            Ok(())
        };
        tokio::time::timeout(LINGER, close).await.unwrap_or(Ok(()))
    }
}
