//! Manifests.

use tollgate_manifest::{Source, parse as read, substitute};

use super::law;

/// Whatever is written, it is read or told, and every finding has a place.
pub(crate) fn parse(input: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(input).into_owned();
    let _ = substitute(&text, &|name| (name.len() % 2 == 0).then(|| name.to_lowercase()));
    let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let parsed = read(&[Source { file: "a.yaml".to_owned(), text }]);
    for finding in &parsed.findings {
        law(!finding.message.is_empty(), || "a finding without words".to_owned())?;
        law(finding.line >= 1 && finding.line <= lines.max(1) + 1, || format!("no such line: {finding}"))?;
    }
    Ok(())
}
