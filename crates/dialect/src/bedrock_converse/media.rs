//! Images, documents and audio of a `Converse` request.
//!
//! Source: botocore, `bedrock-runtime` service model, `ImageBlock`, `DocumentBlock` and `AudioBlock`.

use std::collections::{HashMap, HashSet};

use tollgate_chat::{DocumentSource, ImageSource, Origin};
use tollgate_wire::json::{Text, Value};

use crate::Invalid;
use crate::fields::{Members, object};

/// Longest name of a document.
const NAME_CHARACTERS_MAX: usize = 200;

/// Longest number behind a name, with what is around it.
const NUMBER_CHARACTERS_MAX: usize = 12;

/// The name of a document that has none: the API needs one.
const NAME_DEFAULT: &str = "document";

/// An image.
pub(super) fn image(origin: &Origin, source: ImageSource) -> Result<Value, Invalid> {
    let (format, source) = match source {
        ImageSource::Base64 { media_type, data } => {
            (image_format(origin, &media_type)?, object!({"bytes": data}))
        }
        ImageSource::Url(url) if is_bucket(&url) => {
            let format = image_format(origin, &format!("image/{}", extension(&url)))?;
            (format, bucket(&url))
        }
        ImageSource::Url(url) if url.starts_with("data:") => {
            return Err(Invalid::unprocessable("only base64 can stand in a data URI", origin));
        }
        ImageSource::Url(_) => {
            let message =
                "the backend of this model takes images in the request or from a bucket (s3://), not by URL";
            return Err(Invalid::unprocessable(message, origin));
        }
    };
    Ok(object!({"image": object!({"format": format, "source": source})}))
}

fn image_format(origin: &Origin, media_type: &str) -> Result<&'static str, Invalid> {
    match media_type.to_ascii_lowercase().as_str() {
        "image/png" => Ok("png"),
        // Not registered, but what many files and clients say.
        "image/jpeg" | "image/jpg" => Ok("jpeg"),
        "image/gif" => Ok("gif"),
        "image/webp" => Ok("webp"),
        other => Err(Invalid::unprocessable(
            format!("the backend of this model takes images as png, jpeg, gif or webp, not as {other:?}"),
            origin,
        )),
    }
}

/// Audio.
pub(super) fn audio(origin: &Origin, data: Text, format: &str) -> Result<Value, Invalid> {
    const KNOWN: [&str; 15] = [
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga",
        "pcm", "webm",
    ];
    let format = if format == "pcm16" { "pcm" } else { format };
    if !KNOWN.contains(&format) {
        let message = format!("the backend of this model takes no audio as {format:?}");
        return Err(Invalid::unprocessable(message, origin));
    }
    Ok(object!({"audio": object!({"format": format, "source": object!({"bytes": data})})}))
}

/// The names that documents of a request have so far: no two may be the same.
#[derive(Debug, Default)]
pub(super) struct DocumentNames {
    taken: HashSet<String>,
    /// The last number that was put behind a name.
    numbers: HashMap<String, usize>,
}

impl DocumentNames {
    /// A document: format, name and source.
    pub(super) fn document(
        &mut self,
        origin: &Origin,
        source: DocumentSource,
        title: Option<String>,
    ) -> Result<Members, Invalid> {
        let (format, source) = document_source(origin, source)?;
        let mut document = Members::default();
        document.set("format", format);
        document.set("name", Some(self.take(title.as_deref().unwrap_or_default(), format)));
        document.set("source", Some(source));
        Ok(document)
    }

    /// A name that the API takes and that is not taken.
    fn take(&mut self, title: &str, format: Option<&str>) -> String {
        // Cut, so that every number finds room behind it and names that begin alike count together.
        let mut stem = plain_name(title, format);
        stem.truncate(NAME_CHARACTERS_MAX - NUMBER_CHARACTERS_MAX);
        let mut name = stem.clone();
        while !self.taken.insert(name.clone()) {
            let number = self.numbers.entry(stem.clone()).or_insert(1);
            *number += 1;
            name = format!("{stem} ({number})");
        }
        name
    }
}

/// A title in the characters that a name may have: letters, digits, hyphens, parentheses, brackets, and single spaces, which stand
/// for all others. The end of a file's name is told by its format.
fn plain_name(title: &str, format: Option<&str>) -> String {
    let end = format.map(|format| format!(".{format}")).unwrap_or_default();
    let title = title.strip_suffix(&end).unwrap_or(title);
    let mut name = String::new();
    for character in title.chars() {
        let is_fit = character.is_ascii_alphanumeric() || "-()[]".contains(character);
        let character = if is_fit { character } else { ' ' };
        let repeats = character == ' ' && name.ends_with(' ');
        if !repeats && name.len() < NAME_CHARACTERS_MAX {
            name.push(character);
        }
    }
    let name = name.trim();
    if name.is_empty() { NAME_DEFAULT.to_owned() } else { name.to_owned() }
}

/// Format, where it is known, and source.
fn document_source(
    origin: &Origin,
    source: DocumentSource,
) -> Result<(Option<&'static str>, Value), Invalid> {
    match source {
        DocumentSource::Base64 { media_type, data } => {
            let format = document_format(&media_type).ok_or_else(|| {
                let message =
                    format!("the backend of this model takes no documents of the type {media_type:?}");
                Invalid::unprocessable(message, origin)
            })?;
            Ok((Some(format), object!({"bytes": data})))
        }
        DocumentSource::Text(text) => Ok((Some("txt"), object!({"text": text}))),
        DocumentSource::Url(url) if is_bucket(&url) => Ok((known_format(&extension(&url)), bucket(&url))),
        DocumentSource::Url(_) => {
            let message = "the backend of this model takes documents in the request or from a bucket (s3://), not by URL";
            Err(Invalid::unprocessable(message, origin))
        }
        DocumentSource::File(_) => {
            Err(Invalid::unprocessable("the backend of this model knows no files by id", origin))
        }
    }
}

fn document_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type.to_ascii_lowercase().as_str() {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/html" => "html",
        "text/plain" => "txt",
        "text/markdown" => "md",
        _ => return None,
    })
}

fn known_format(extension: &str) -> Option<&'static str> {
    let known = ["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"];
    known.into_iter().find(|format| *format == extension)
}

fn is_bucket(url: &str) -> bool {
    url.starts_with("s3://")
}

fn bucket(url: &str) -> Value {
    object!({"s3Location": object!({"uri": url})})
}

/// What stands behind the last dot of a file's name, in small letters.
fn extension(url: &str) -> String {
    let file = url.rsplit('/').next().unwrap_or_default();
    file.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_differ() {
        let mut names = DocumentNames::default();
        for (title, name) in [
            ("", "document"),
            ("report.pdf", "report"),
            ("report.pdf", "report (2)"),
            ("report", "report (3)"),
            ("../../a_b  c\u{e9}.tar.gz", "a b c tar gz"),
            ("\u{4e00}", "document (2)"),
            ("[draft] (1)", "[draft] (1)"),
        ] {
            assert_eq!(names.take(title, Some("pdf")), name, "{title}");
        }
        let long = "x".repeat(300);
        let (one, two) = (names.take(&long, None), names.take(&long, None));
        assert!(one != two && one.len() <= NAME_CHARACTERS_MAX && two.len() <= NAME_CHARACTERS_MAX);
        // Titles that differ behind the cut count together, so that none is tried for long.
        for number in 0..10_000 {
            let name = names.take(&format!("{}{number:08}", "x".repeat(192)), None);
            assert!(name.len() <= NAME_CHARACTERS_MAX, "{name}");
        }
    }
}
