//! A connection of HTTP/1.1, driven by whoever uses it.
//!
//! hyper hands out a future that does the work of a connection. Usually it becomes a task of its own, and every piece of a
//! response costs two switches between tasks. Here the user of the connection polls it, which has one more merit: when
//! nothing comes out, nothing has arrived, so it is known without waiting that what has been gathered can leave.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::body::UpstreamBody;

/// A connection that takes one request at a time.
pub(super) struct Http1 {
    sender: SendRequest<UpstreamBody>,
    /// `None` when it has ended.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Http1 {
    /// A connection whose work is done by polling `work`.
    pub(super) fn new(
        sender: SendRequest<UpstreamBody>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { sender, work: Some(Box::pin(work)) }
    }

    /// Does what can be done now: writes what is left of a request, reads what has come of a response.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.work, cx);
    }

    /// Whether a request can be sent now. Notices that the backend has closed the connection.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.work.is_some() && self.sender.is_ready()
    }

    /// Sends a request, and waits for the head of the response.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no HTTP.
    pub(super) async fn send(
        &mut self,
        request: Request<UpstreamBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut answer = pin!(self.sender.send_request(request));
        let work = &mut self.work;
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Pending => {
                drive(work, cx);
                answer.as_mut().poll(cx)
            }
            ready => ready,
        })
        .await
    }
}

fn drive(work: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>, cx: &mut Context<'_>) {
    if let Some(running) = work
        && running.as_mut().poll(cx).is_ready()
    {
        *work = None;
    }
}
