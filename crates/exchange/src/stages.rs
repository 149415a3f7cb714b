//! The table of stages: what happens to a request between its routing and its dispatch to one backend.
//!
//! A new policy is a new row here. Each arm of [`run`] calls into the crate that knows how.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tollgate_chat::{Effect, Loss, LossKind, Losses};
use tollgate_config::CompiledTarget;
use tollgate_config::bundle::Envelope;
use tollgate_dialect::{Invalid, SpliceEdits};
use tollgate_terms::{Delivery, Dialect};
use tollgate_wire::json::{self, Document, Edit, Map, Path};

use crate::explain;
use crate::headers;
use crate::refusal::Refusal;
use crate::routed::{ClientRequest, Routed};

/// What is done for each attempt, in this order. The credential comes last and from outside: see `Need`.
pub(crate) const DISPATCH: [Stage; 4] = [Stage::Speak, Stage::MutateBody, Stage::Address, Stage::Headers];

/// One stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Say the request in the backend's dialect: by pointed edits of the client's bytes, or through the hub.
    Speak,
    /// Make the configured changes to the body as the backend will get it.
    MutateBody,
    /// Find the path.
    Address,
    /// Clean the client's headers, add what the host requires, make the configured changes.
    Headers,
}

/// The request to one backend, complete but for its authority, which belongs to the connection.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers, without `host` and `content-length`.
    pub headers: HeaderMap,
    /// Body, as pieces of which most share the client's own bytes.
    pub body: Vec<Bytes>,
}

impl UpstreamRequest {
    /// Length of the body in bytes.
    pub fn body_bytes(&self) -> u64 {
        self.body.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// A request on its way through the stages.
pub(crate) struct Draft<'a> {
    pub(crate) routed: &'a Routed,
    pub(crate) client: &'a ClientRequest,
    pub(crate) target: &'a CompiledTarget,
    pub(crate) dialect: Dialect,
    /// Whether the provider is asked for a usage that the client did not ask for.
    pub(crate) asks_usage: bool,
    /// What a translated answer repeats of the request.
    pub(crate) repeated: Bytes,
    /// The bound that the answer gets.
    pub(crate) answer_tokens_max: Option<u64>,
    /// What the host wants to be different in the body.
    pub(crate) envelope: Envelope,
    pub(crate) losses: Vec<Loss>,
    /// A translated body, until it is written.
    pub(crate) translated: Option<Map>,
    pub(crate) request: UpstreamRequest,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        routed: &'a Routed,
        client: &'a ClientRequest,
        target: &'a CompiledTarget,
        dialect: Dialect,
    ) -> Self {
        let request = UpstreamRequest {
            method: client.method.clone(),
            path: String::new(),
            headers: HeaderMap::new(),
            body: Vec::new(),
        };
        let envelope = target.backend.schema.envelope(&routed.call(target, dialect), &client.headers);
        let mut losses = Losses::default();
        envelope.refused.iter().for_each(|flag| losses.push_once(refused(flag)));
        let losses = losses.into_vec();
        Self {
            routed,
            client,
            target,
            dialect,
            asks_usage: false,
            repeated: Bytes::new(),
            answer_tokens_max: None,
            envelope,
            losses,
            translated: None,
            request,
        }
    }

    fn is_splice(&self) -> bool {
        self.dialect == self.routed.dialect
    }

    /// The edit of the client's body that bounds the answer.
    fn bound(&self) -> Option<Edit> {
        tollgate_dialect::bound_answer(self.routed.dialect, self.answer_tokens_max?)
    }
}

/// Runs one stage.
pub(crate) fn run(stage: Stage, draft: &mut Draft<'_>) -> Result<(), Refusal> {
    match stage {
        Stage::Speak => speak(draft),
        Stage::MutateBody => mutate_body(draft),
        Stage::Address => address(draft),
        Stage::Headers => {
            set_headers(draft);
            Ok(())
        }
    }
}

/// The loss of a wish in a header for which the host has no place.
fn refused(flag: &str) -> Loss {
    Loss { pointer: flag.to_owned(), kind: LossKind::UnknownField, effect: Effect::Meaning }
}

fn speak(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let (routed, client) = (draft.routed, draft.client);
    if draft.is_splice() {
        draft.asks_usage = routed.delivery == Delivery::Stream && !routed.usage_wanted;
        let keeps_model = !draft.envelope.remove.contains(&"model");
        let led_to = routed.detoured.as_ref().map(|_| &routed.model);
        let model = draft.target.model_override.as_ref().or(led_to);
        let edits = SpliceEdits {
            model: model.filter(|_| keeps_model),
            ask_usage: draft.asks_usage,
            host: host_edits(&draft.envelope),
            bound: draft.bound(),
            body_set: &draft.target.mutation.body_set,
            body_remove: &draft.target.mutation.body_remove,
        };
        draft.request.body =
            tollgate_dialect::splice_request(routed.dialect, &client.body, &client.facts, edits);
        return explain::check(routed.rule.on_loss, &draft.losses).map_err(Refusal::Invalid);
    }
    client.facts.check_density(client.body.len()).map_err(Refusal::Invalid)?;
    let model = routed.upstream_model(draft.target);
    let bounded = draft.bound().map(|bound| tollgate_dialect::edited(&client.body, &client.facts, bound));
    let encoded = tollgate_dialect::translate_request(
        routed.dialect,
        draft.dialect,
        routed.operation,
        bounded.as_ref().map_or_else(|| client.facts.document(&client.body), Document::from),
        model,
        routed.delivery,
    )
    .map_err(Refusal::Invalid)?;
    draft.losses.extend(encoded.losses);
    explain::check(routed.rule.on_loss, &draft.losses).map_err(Refusal::Invalid)?;
    draft.translated = Some(encoded.body);
    draft.repeated = tollgate_dialect::repeated(routed.dialect, &client.body, &client.facts);
    Ok(())
}

/// What the host wants to be different, as edits of the body.
fn host_edits(envelope: &Envelope) -> Vec<Edit> {
    let removed = envelope.remove.iter().map(|key| Edit::Remove { path: Path::top(key) });
    let set = envelope.set.iter().filter_map(|(keys, value)| {
        let path = match **keys {
            [key] => Path::top(key),
            [key, inner] => Path::inner(key, inner),
            _ => return None,
        };
        Some(Edit::Set { path, value: Bytes::from(value.clone()) })
    });
    removed.chain(set).collect()
}

/// A spliced body already has its mutations: all edits of the client's bytes are made in one pass. A translated one is edited before it is written.
fn mutate_body(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let Some(mut body) = draft.translated.take() else { return Ok(()) };
    let mutation = &draft.target.mutation;
    if let Some((member, model)) = &draft.envelope.within {
        body = tollgate_dialect::wrap(body, member, model);
    }
    let mut edits = host_edits(&draft.envelope);
    edits.extend(tollgate_dialect::body_edits(&mutation.body_set, &mutation.body_remove));
    json::edit(&mut body, edits)
        .map_err(|malformed| Refusal::Invalid(Invalid::from_malformed(&malformed)))?;
    let body = body.to_bytes_of_about(tollgate_dialect::translated_bytes(draft.client.body.len()));
    let body = draft.envelope.blob.map(|path| tollgate_dialect::as_blob(&body, path)).unwrap_or(body);
    draft.request.body = vec![body];
    Ok(())
}

fn address(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let path = draft.target.backend.schema.path(&draft.routed.call(draft.target, draft.dialect));
    draft.request.path = path
        .ok_or(Refusal::NotServed { operation: draft.routed.operation.metric_name(draft.routed.dialect) })?;
    Ok(())
}

fn set_headers(draft: &mut Draft<'_>) {
    let mut outgoing = draft.client.headers.clone();
    headers::clean_request(&mut outgoing);
    if draft.is_splice() && draft.routed.delivery == Delivery::Whole {
        // The client's own accept-encoding goes through: an answer that is not changed need not be unpacked.
    } else {
        headers::ask_identity(&mut outgoing);
    }
    if !draft.is_splice() {
        headers::declare_json(&mut outgoing);
        // The client's key is for the vendor whose dialect it speaks, and this backend is another's.
        headers::remove_credentials(&mut outgoing);
    }
    draft.target.backend.schema.adjust_headers(&mut outgoing);
    let mutation = &draft.target.mutation;
    for name in &mutation.headers_remove {
        outgoing.remove(name);
    }
    for (name, value) in &mutation.headers_set {
        outgoing.insert(name, value.clone());
    }
    draft.request.headers = outgoing;
}
