//! An answer on its way: whole, or in frames with a pause between them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Frame;
use serde_json::Value;
use tokio::time::Sleep;

use super::fault::{self, Fault};
use super::oracle::{Attendance, Served};
use super::place::Provider;

/// Pause between frames of an ordinary stream: enough for each to be a packet of its own.
const PAUSE: Duration = Duration::from_millis(2);
/// Pause between frames of a slow stream.
const PAUSE_SLOW: Duration = Duration::from_millis(200);
/// Pause before a connection breaks: a proxy that hears of it throws away what it has not passed on yet.
const PAUSE_BREAK: Duration = Duration::from_millis(100);

/// What to answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    frames: VecDeque<Bytes>,
    is_stream: bool,
    pause: Duration,
    /// Whether the connection breaks after the last frame.
    breaks: bool,
    /// What it says that it took, while nothing has spoilt it.
    served: Option<Served>,
}

impl Reply {
    pub(super) fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            frames: VecDeque::from([body.into()]),
            is_stream: false,
            pause: Duration::ZERO,
            breaks: false,
            served: None,
        }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::whole(status, "application/json", value.to_string())
    }

    /// A stream of events, each with its blank line.
    pub(super) fn events(frames: Vec<String>) -> Self {
        let frames = frames.into_iter().map(Bytes::from);
        Self::frames("text/event-stream", frames).with_header("cache-control", "no-cache")
    }

    /// A stream in any framing.
    pub(super) fn frames(content_type: &str, frames: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", content_type.to_owned())],
            frames: frames.into_iter().collect(),
            is_stream: true,
            pause: PAUSE,
            breaks: false,
            served: None,
        }
    }

    /// A stream of events in another framing. What is no stream stays as it is.
    pub(super) fn rewrapped(self, content_type: &str, wrap: impl FnOnce(Vec<Bytes>) -> Vec<Bytes>) -> Self {
        if self.is_stream { Self::frames(content_type, wrap(self.frames.into())) } else { self }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Notes what an ordinary answer says that it took.
    pub(super) fn serving(mut self, served: Served) -> Self {
        self.served = Some(served).filter(|_| self.status == 200);
        self
    }

    /// Spoils an ordinary answer.
    pub(super) fn broken_by(mut self, fault: Fault, provider: Provider) -> Self {
        match fault {
            Fault::Slow => self.pause = PAUSE_SLOW,
            Fault::Cut => {
                self.breaks = true;
                self.served = None;
                if self.is_stream {
                    self.break_off();
                } else if let Some(body) = self.frames.front_mut() {
                    self.headers.push(("content-length", body.len().to_string()));
                    *body = body.slice(..body.len() / 2);
                }
            }
            Fault::Error if self.is_stream => {
                self.break_off();
                self.served = None;
                self.frames.push_back(fault::event(provider));
            }
            _ => {}
        }
        self
    }

    /// Leaves out the second half of a stream.
    fn break_off(&mut self) {
        self.frames.truncate((self.frames.len() / 2).max(4));
    }

    pub(super) fn into_response(self, attendance: Attendance) -> Response<Body> {
        if let Some(served) = self.served {
            attendance.serves(served);
        }
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let length =
            (!self.is_stream && !self.breaks).then(|| self.frames.iter().map(Bytes::len).sum::<usize>());
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        let body =
            Body { frames: self.frames, pause: self.pause, breaks: self.breaks, sleep: None, attendance };
        response.body(body).unwrap_or_else(|_| Response::new(Body::nothing()))
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    frames: VecDeque<Bytes>,
    pause: Duration,
    breaks: bool,
    sleep: Option<Pin<Box<Sleep>>>,
    attendance: Attendance,
}

impl Body {
    fn nothing() -> Self {
        Self {
            frames: VecDeque::new(),
            pause: Duration::ZERO,
            breaks: false,
            sleep: None,
            attendance: Attendance::nobody(),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if let Some(sleep) = &mut this.sleep {
            std::task::ready!(sleep.as_mut().poll(context));
            this.sleep = None;
        }
        match this.frames.pop_front() {
            Some(frame) => {
                let is_last = this.frames.is_empty() && this.breaks;
                let pause = if is_last { this.pause.max(PAUSE_BREAK) } else { this.pause };
                if !pause.is_zero() {
                    this.sleep = Some(Box::pin(tokio::time::sleep(pause)));
                }
                if this.frames.is_empty() && !this.breaks {
                    this.attendance.complete();
                }
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            None => {
                this.attendance.complete();
                if this.breaks {
                    return Poll::Ready(Some(Err(io::Error::other("broken on purpose"))));
                }
                Poll::Ready(None)
            }
        }
    }
}
