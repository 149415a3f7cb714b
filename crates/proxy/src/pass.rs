//! A request of a plain rule: it goes to one backend as it comes, and the response comes back in the same way.

use std::time::Instant;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response};
use http_body::SizeHint;
use tollgate_exchange::{BodyFraming, Passage, Refusal};
use tollgate_terms::{BackendFault, Fault, GatewayFault};

use crate::answer::AnswerBody;
use crate::clock;
use crate::passed::{PassedBody, PassedParts};
use crate::service::{RequestBody, fail, refuse, response};
use crate::settle::Running;
use crate::upstream::{Stopped, Unanswered, Upload};
use crate::worker::Worker;

/// Passes a request on. `None` when the client has left.
pub(crate) async fn pass(
    worker: &Worker,
    mut running: Box<Running>,
    mut passage: Passage,
    framing: BodyFraming,
    body: &mut impl RequestBody,
) -> Option<Response<AnswerBody>> {
    match tollgate_effects::admit(&mut passage, &worker.quotas).await {
        Ok(admitted) => running.admit(admitted),
        Err(refusal) => return Some(refuse(running, &refusal)),
    }
    let Some(backend) = passage.choose(rand::random()) else {
        return Some(refuse(running, &passage.nowhere()));
    };
    let Some(in_flight) = running.serving.backend(backend).enter(backend) else {
        return Some(fail(running, &Fault::Gateway(GatewayFault::Overloaded)));
    };
    running.exchange()?.pass_to(&backend.name);
    let deadline = deadline(&mut running, &passage);
    let first_byte = passage.timeouts().first_byte;
    let mut upload = Upload::new(body, framing, worker.request_body_timeout, first_byte);
    let asked = worker.pools.pass(backend, passage.request(), &mut upload);
    let answered = match deadline {
        None => asked.await,
        Some(deadline) => tokio::time::timeout_at(deadline.into(), asked)
            .await
            .unwrap_or(Err(Unanswered::Failed(BackendFault::Deadline))),
    };
    running.exchange()?.add_request_bytes(upload.bytes);
    let (parts, inbound) = match answered {
        Ok(answered) => answered.into_parts(),
        Err(Unanswered::Stale) => return Some(fail(running, &Fault::Backend(BackendFault::Reset))),
        Err(Unanswered::Failed(fault)) => return Some(fail(running, &Fault::Backend(fault))),
        Err(Unanswered::Stopped(Stopped::Broken)) => return Some(refuse(running, &Refusal::BodyBroken)),
        Err(Unanswered::Stopped(Stopped::Slow)) => return Some(refuse(running, &Refusal::BodyTimeout)),
        Err(Unanswered::Stopped(Stopped::Unanswered)) => {
            return Some(fail(running, &Fault::Backend(BackendFault::FirstByteTimeout)));
        }
        Err(Unanswered::Stopped(Stopped::Gone)) => return None,
    };
    let told = told_length(&passage.request().method, &parts.headers);
    let head = passage.on_response_head(parts.status, parts.headers);
    running.set_status(head.status.as_u16());
    let body = PassedBody::new(PassedParts {
        inbound,
        running,
        in_flight,
        told,
        idle_limit: passage.timeouts().stream_idle,
        deadline,
        drain: std::sync::Arc::clone(&worker.drain),
    });
    Some(response(head.status, head.headers, AnswerBody::Passed(Box::new(body))))
}

/// Until when the last byte of the response has to be there. There is only one try, so its bound is one on the whole.
fn deadline(running: &mut Running, passage: &Passage) -> Option<Instant> {
    let timeouts = passage.timeouts();
    let limit = [timeouts.request, timeouts.per_try].into_iter().flatten().min()?;
    let arrived = running.exchange().map_or_else(clock::now, |exchange| exchange.arrived());
    arrived.checked_add(limit)
}

/// What is told of the length of a body that does not come, because only its head was asked for.
fn told_length(method: &Method, headers: &HeaderMap) -> Option<SizeHint> {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    (method == Method::HEAD).then(|| told.map_or_else(SizeHint::default, SizeHint::with_exact))
}
