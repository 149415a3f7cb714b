//! Images, documents and audio: data in place, and addresses that the provider opens.
//!
//! Source: `google.genai.types.Blob` and `FileData`. Both need a media type.

use tollgate_chat::{BlockKind, DocumentSource, Effect, ImageSource, LossKind, Losses, Origin};
use tollgate_wire::json::{Text, Value};

use super::names;
use crate::Invalid;
use crate::data::standard_base64;
use crate::fields::{Fields, Members, loss, object};

/// Data in place.
fn inline(media_type: String, data: Text) -> Value {
    object!({"inlineData": object!({"mimeType": media_type, "data": data})})
}

/// A file elsewhere, of the type that its address tells, or else of `usual`.
fn file(uri: String, usual: &str) -> Value {
    let media_type = guess(&uri).unwrap_or(usual);
    object!({"fileData": object!({"mimeType": media_type, "fileUri": uri})})
}

/// An image.
pub(super) fn image(origin: &Origin, source: ImageSource) -> Result<Value, Invalid> {
    match source {
        ImageSource::Base64 { media_type, data } => Ok(inline(media_type, data)),
        ImageSource::Url(url) if url.starts_with("data:") => {
            Err(Invalid::unprocessable("only base64 can stand in a data URI", origin))
        }
        ImageSource::Url(url) => Ok(file(url, IMAGE_USUAL)),
    }
}

/// A document. A text is a text there too, under its title.
pub(super) fn document(
    origin: &Origin,
    source: DocumentSource,
    title: Option<String>,
) -> Result<Value, Invalid> {
    let (kind, mut value) = match source {
        DocumentSource::Text(text) => {
            let text = title.map_or_else(|| text.clone(), |title| format!("{title}\n\n{text}").into());
            return Ok(object!({"text": text}));
        }
        DocumentSource::Base64 { media_type, data } => ("inlineData", inline(media_type, data)),
        DocumentSource::Url(url) => ("fileData", file(url, DOCUMENT_USUAL)),
        // Files of the provider have addresses for ids.
        DocumentSource::File(id) if id.contains("://") => ("fileData", file(id, DOCUMENT_USUAL)),
        DocumentSource::File(_) => {
            return Err(Invalid::unprocessable(
                "the backend of this model knows files by their URI, not by an id",
                origin,
            ));
        }
    };
    if let (Some(title), Some(members)) = (title, value.get_mut(kind).and_then(Value::as_object_mut)) {
        members.insert("displayName", title.into());
    }
    Ok(value)
}

/// Audio. OpenAI's names of formats are the ends of media types, but for raw samples.
pub(super) fn audio(data: Text, format: &str) -> Value {
    let format = if format == "pcm16" { "pcm" } else { format };
    inline(format!("audio/{format}"), data)
}

/// How closely to look at a part.
pub(super) fn resolution(detail: &str) -> Option<Value> {
    let level = match detail {
        "low" => "MEDIA_RESOLUTION_LOW",
        "high" => "MEDIA_RESOLUTION_HIGH",
        _ => return None,
    };
    let mut resolution = Members::default();
    resolution.set("level", Some(level));
    Some(resolution.value())
}

/// Reads data in place.
pub(super) fn decode_inline(blob: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    let media_type = blob.needed_text("mimeType")?;
    let data = standard_base64(blob.needed_written("data")?);
    let title = blob.text("displayName")?;
    Ok(match media_type.split('/').next() {
        Some("image") => {
            lose_title(blob, title, losses);
            BlockKind::Image { source: ImageSource::Base64 { media_type, data }, detail: None }
        }
        Some("audio") => {
            lose_title(blob, title, losses);
            let format = media_type.strip_prefix("audio/").unwrap_or_default();
            let format = match format {
                "mpeg" => "mp3",
                "x-wav" | "wave" => "wav",
                other => other,
            };
            BlockKind::Audio { data, format: format.to_owned() }
        }
        Some("video") => {
            let value = object!({"inlineData": object!({"mimeType": media_type, "data": data})});
            BlockKind::Foreign { name: "inlineData".to_owned(), value }
        }
        _ => {
            let source = DocumentSource::Base64 { media_type, data };
            BlockKind::Document { source, title, context: None, cites: false }
        }
    })
}

/// Reads the address of a file. The hub knows its type by its end only.
pub(super) fn decode_file(file: &mut Fields, losses: &mut Losses) -> Result<BlockKind, Invalid> {
    let uri = file.needed_text("fileUri")?;
    let told = file.text("mimeType")?;
    let title = file.text("displayName")?;
    let media_type = told.as_deref().or_else(|| guess(&uri)).unwrap_or(DOCUMENT_USUAL);
    let kind = media_type.split('/').next().unwrap_or_default();
    let usual = if kind == "image" { IMAGE_USUAL } else { DOCUMENT_USUAL };
    let is_media = matches!(kind, "audio" | "video");
    if !is_media && media_type != guess(&uri).unwrap_or(usual) {
        losses.push(loss(file.at("mimeType"), LossKind::Media, Effect::Meaning));
    }
    Ok(match kind {
        "image" => {
            lose_title(file, title, losses);
            BlockKind::Image { source: ImageSource::Url(uri), detail: None }
        }
        "audio" | "video" => {
            let value = object!({"fileData": object!({"mimeType": media_type, "fileUri": uri})});
            BlockKind::Foreign { name: "fileData".to_owned(), value }
        }
        _ => {
            let source = DocumentSource::Url(uri);
            BlockKind::Document { source, title, context: None, cites: false }
        }
    })
}

fn lose_title(media: &Fields, title: Option<String>, losses: &mut Losses) {
    if title.is_some() {
        losses.push(loss(media.at("displayName"), LossKind::Media, Effect::Meaning));
    }
}

/// How closely to look at a part, in the hub's words.
pub(super) fn decode_resolution(part: &mut Fields, losses: &mut Losses) -> Result<Option<String>, Invalid> {
    let Some(mut resolution) = names::member(part, "mediaResolution")? else { return Ok(None) };
    let level = resolution.text("level")?;
    let pointer = resolution.at("level");
    resolution.lose_rest(losses);
    Ok(match level.as_deref() {
        None | Some("MEDIA_RESOLUTION_UNSPECIFIED") => None,
        Some("MEDIA_RESOLUTION_LOW") => Some("low".to_owned()),
        Some("MEDIA_RESOLUTION_HIGH") => Some("high".to_owned()),
        Some(_) => {
            losses.push(loss(pointer, LossKind::Media, Effect::Cost));
            None
        }
    })
}

/// The type of an image whose address does not tell it.
const IMAGE_USUAL: &str = "image/jpeg";
/// The type of a document whose address does not tell it.
const DOCUMENT_USUAL: &str = "application/pdf";

/// The media type that the end of an address tells.
fn guess(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "bmp" => "image/bmp",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "text/xml",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "mov" => "video/mov",
        "webm" => "video/webm",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_by_the_end_of_the_path() {
        for (uri, media_type) in [
            ("https://example.com/a.PNG?size=1.pdf", Some("image/png")),
            ("gs://bucket/folder.d/report.pdf", Some("application/pdf")),
            ("https://example.com/a.jpeg#x", Some("image/jpeg")),
            ("https://example.com", None),
            ("https://example.com/picture", None),
            ("", None),
        ] {
            assert_eq!(guess(uri), media_type, "{uri}");
        }
    }
}
