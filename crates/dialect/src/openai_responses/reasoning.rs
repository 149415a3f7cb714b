//! Reasoning on its way through the gateway and back.
//!
//! A model wants its reasoning back unchanged, and whoever asks it only carries it. Two ways lead through this dialect:
//!
//! - A server of this dialect gives an item with an id, a summary and `encrypted_content`, and refuses that content under
//!   another id ("item_id did not match the target item id"). Other dialects have one place for all that, the signature, so it
//!   holds both: `rs_1:gAAAAA...`. Reasoning with another signature is not its own and would be refused as well.
//! - Another provider's reasoning is told to a client of this dialect as an item whose `encrypted_content` is the signature, byte for
//!   byte. Clients may leave out ids when they send it back, so nothing rests on them.

use tollgate_chat::{BlockKind, Effect, LossKind, Losses, Origin};
use tollgate_wire::json::{Text, Value};

use crate::Invalid;
use crate::fields::{Fields, Members, loss, object};

/// What every id of a reasoning item begins with.
const ID: &str = "rs_";

/// What stands before the data of reasoning that only its provider can read: there is no text, and no signature beside it.
const REDACTED: &str = "redacted_thinking:";

/// What OpenAI's own encrypted content begins with: it is a Fernet token (github.com/fernet/spec), version 0x80 and a time before
/// the year 2106.
const FERNET: &str = "gAAAAA";

/// What stands between the texts of a summary, which are paragraphs.
pub(super) const PARAGRAPH: &str = "\n\n";

/// The signature under which others carry the reasoning of a server of this dialect. Without encrypted content, it tells that the text is
/// the reasoning itself and can be given back as it is.
fn seal(id: &str, encrypted: &str) -> String {
    let id = if id.starts_with(ID) && !id.contains(':') { id } else { ID };
    format!("{id}:{encrypted}")
}

/// Id, if there is one, and encrypted content; nothing where the signature is not from a server of this dialect.
fn unseal(signature: &str) -> Option<(Option<&str>, &str)> {
    let (id, encrypted) = signature.strip_prefix(ID)?.split_once(':')?;
    let whole = signature.get(..ID.len() + id.len())?;
    Some(((!id.is_empty()).then_some(whole), encrypted))
}

/// What an item of an answer is; nothing where it tells nothing.
pub(super) fn decode_item(item: &Value, origin: &Origin, losses: &mut Losses) -> Option<BlockKind> {
    let told = |key: &str| item.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(data) =
        told("encrypted_content").as_deref().and_then(|content| content.strip_prefix(REDACTED))
    {
        return Some(BlockKind::RedactedThinking { data: data.into() });
    }
    let (summary, content) = (texts(item.get("summary")), texts(item.get("content")));
    let is_open = summary.is_empty() && !content.is_empty();
    let encrypted = told("encrypted_content");
    let signature = (encrypted.is_some() || is_open)
        .then(|| seal(&told("id").unwrap_or_default(), &encrypted.unwrap_or_default()));
    let text = Text::from(either(summary, content, origin, losses));
    let signature = signature.map(Text::from);
    (!text.is_empty() || signature.is_some()).then_some(BlockKind::Thinking { text, signature })
}

/// Reads an item of a request; nothing where it is lost.
pub(super) fn decode_fields(item: &mut Fields, losses: &mut Losses) -> Result<Option<BlockKind>, Invalid> {
    let (summary, content) =
        (item.take("summary").unwrap_or_default(), item.take("content").unwrap_or_default());
    let signature = item.text("encrypted_content")?.filter(|content| !content.is_empty());
    if let Some(data) = signature.as_deref().and_then(|content| content.strip_prefix(REDACTED)) {
        return Ok(Some(BlockKind::RedactedThinking { data: data.into() }));
    }
    // A server of this dialect signed it before, and nobody else can read that; or nobody did, and a text alone cannot be given back.
    if signature.as_deref().is_none_or(|content| content.starts_with(FERNET)) {
        losses.push(loss(item.pointer.clone(), LossKind::Thinking, Effect::Meaning));
        return Ok(None);
    }
    let text = either(texts(Some(&summary)), texts(Some(&content)), &item.pointer, losses);
    Ok(Some(BlockKind::Thinking { text: text.into(), signature: signature.map(Text::from) }))
}

/// The summary, or the reasoning itself where there is none: what is signed is the text that was told first.
fn either(summary: String, content: String, origin: &Origin, losses: &mut Losses) -> String {
    match (summary.is_empty(), content.is_empty()) {
        (true, _) => content,
        (false, true) => summary,
        (false, false) => {
            losses.push(loss(format!("{origin}/content"), LossKind::Thinking, Effect::Meaning));
            summary
        }
    }
}

/// The texts of a summary or of reasoning.
fn texts(parts: Option<&Value>) -> String {
    let parts = parts.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts = parts.iter().filter_map(|part| part.get("text")?.as_str()).filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join(PARAGRAPH)
}

/// The item of an answer. `id` is for one that has none of its own.
pub(super) fn answer_item(id: String, text: &str, signature: Option<&str>) -> Value {
    let signature = signature.filter(|signature| !signature.is_empty());
    match signature.map(|signature| unseal(signature).unwrap_or((None, signature))) {
        // Only texts of a server of this dialect are known to be the reasoning itself.
        Some((own, "")) => encode_item(Some(own.map_or(id, str::to_owned)), &[], Some(text), None),
        told => {
            let own = told.and_then(|(own, _)| own).map(str::to_owned);
            let summary: &[&str] = if text.is_empty() { &[] } else { &[text] };
            encode_item(Some(own.unwrap_or(id)), summary, None, told.map(|(_, encrypted)| encrypted))
        }
    }
}

/// The item of an answer for reasoning that only its provider can read.
pub(super) fn redacted_item(id: String, data: &str) -> Value {
    encode_item(Some(id), &[], None, Some(&format!("{REDACTED}{data}")))
}

/// The item of a request; nothing where the reasoning is not from a server of this dialect.
pub(super) fn request_item(text: &str, signature: Option<&str>) -> Option<Value> {
    let (id, encrypted) = unseal(signature?)?;
    let id = id.map(str::to_owned);
    if encrypted.is_empty() {
        return Some(encode_item(id, &[], Some(text), None));
    }
    let summary: &[&str] = if text.is_empty() { &[] } else { &[text] };
    Some(encode_item(id, summary, None, Some(encrypted)))
}

fn encode_item(
    id: Option<String>,
    summary: &[&str],
    content: Option<&str>,
    encrypted: Option<&str>,
) -> Value {
    let summary: Vec<Value> =
        summary.iter().map(|text| object!({"type": "summary_text", "text": *text})).collect();
    let mut item = Members::default();
    item.set("type", Some("reasoning"));
    item.set("id", id);
    item.set("summary", Some(summary));
    item.set(
        "content",
        content.map(|text| Value::Array(vec![object!({"type": "reasoning_text", "text": text})])),
    );
    item.set("encrypted_content", encrypted);
    item.value()
}
