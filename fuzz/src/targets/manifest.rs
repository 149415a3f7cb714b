//! Manifests.

use tollgate_manifest::{Source, parse as read, substitute};

use super::law;

/// Whatever is written, it is read or told, and every finding has a place.
pub(crate) fn parse(input: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(input).into_owned();
    let _ = substitute(&text, &|name| (name.len() % 2 == 0).then(|| name.to_lowercase()));
    // YAML ends a line at more characters than others do.
    let breaks = text.chars().filter(|letter| "\n\r\u{85}\u{2028}\u{2029}".contains(*letter)).count();
    let lines = u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1);
    let parsed = read(&[Source { file: "a.yaml".to_owned(), text }]);
    for finding in &parsed.findings {
        law(!finding.message.is_empty(), || "a finding without words".to_owned())?;
        law(finding.line >= 1 && finding.line <= lines + 1, || format!("no such line: {finding}"))?;
    }
    Ok(())
}
