//! One mistake in a configuration, and how it is shown: where it is, what was expected, and the line itself.

use std::fmt::{self, Write};

use serde::Serialize;
use tollgate_config::{Diagnostic, Severity};

use crate::confidential::may_hold_secret;
use crate::paint::{Paint, Tint, harmless};
use crate::sources::Source;

/// Most letters of a line that are shown.
const EXCERPT_LETTERS_MAX: usize = 120;

/// Something to tell the author of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    /// The file, if it is in one.
    pub(crate) file: Option<String>,
    /// Line in the file, from 1.
    pub(crate) line: Option<usize>,
    /// Letter in the line, from 1.
    pub(crate) column: Option<usize>,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// The object: `Kind namespace/name`; empty where none is known.
    pub(crate) object: String,
    /// The field of the object; empty for the whole.
    pub(crate) path: String,
    /// What was expected.
    pub(crate) message: String,
}

/// Findings, counted by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
}

impl Finding {
    /// A file that cannot be read at all.
    pub(crate) fn of_file(file: String, message: String) -> Self {
        Self {
            file: Some(file),
            line: None,
            column: None,
            severity: Severity::Error,
            object: String::new(),
            path: String::new(),
            message,
        }
    }

    /// Appends the finding, with its line out of `sources`.
    pub(crate) fn write(&self, out: &mut String, sources: &[Source], paint: Paint) {
        // Writing to a String does not fail.
        let _ = self.try_write(out, sources, paint);
    }

    fn try_write(&self, out: &mut String, sources: &[Source], paint: Paint) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(out, "{}: ", paint.tint(Tint::Strong, place))?;
        }
        let severity = match self.severity {
            Severity::Error => paint.tint(Tint::Bad, "error"),
            Severity::Warning => paint.tint(Tint::Doubtful, "warning"),
        };
        writeln!(out, "{severity}: {}", paint.tint(Tint::Strong, harmless(&self.message)))?;
        let line = self.source_line(sources);
        if let (Some(number), Some(text)) = (self.line, line) {
            write_excerpt(out, paint, number, self.column.unwrap_or(1), text)?;
        }
        if !self.object.is_empty() {
            let subject = [harmless(&self.object), harmless(&self.path)].join(" ");
            writeln!(
                out,
                "  {} {}",
                paint.tint(Tint::Faint, "in"),
                paint.tint(Tint::Faint, subject.trim_end())
            )?;
        }
        Ok(())
    }

    /// `file:line:column`, as far as it is known: the form that editors and terminals make links of.
    pub(crate) fn place(&self) -> Option<String> {
        let mut place = harmless(self.file.as_deref()?);
        for number in [self.line, self.column].into_iter().flatten() {
            let _ = write!(place, ":{number}");
        }
        Some(place)
    }

    /// The line as written, unless it may be one of a Secret.
    fn source_line<'a>(&self, sources: &'a [Source]) -> Option<&'a str> {
        if self.object.starts_with("Secret ") {
            return None;
        }
        let file = self.file.as_deref()?;
        let source = sources.iter().find(|source| source.name == file)?;
        let line = self.line?.checked_sub(1)?;
        source.text.lines().nth(line).filter(|_| !may_hold_secret(&source.text, line))
    }
}

impl fmt::Display for Finding {
    /// On one line, for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.place().as_deref(), Some(&self.object), Some(&self.path)].into_iter().flatten() {
            if !part.is_empty() {
                write!(f, "{}: ", harmless(part))?;
            }
        }
        f.write_str(&harmless(&self.message))
    }
}

impl Tally {
    /// Counts.
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        Self { errors, warnings: findings.len() - errors }
    }
}

impl fmt::Display for Tally {
    /// Such as `2 errors and 1 warning`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.errors, self.warnings) {
            (0, 0) => f.write_str("no mistakes"),
            (errors, 0) => f.write_str(&counted(errors, "error")),
            (0, warnings) => f.write_str(&counted(warnings, "warning")),
            (errors, warnings) => {
                write!(f, "{} and {}", counted(errors, "error"), counted(warnings, "warning"))
            }
        }
    }
}

impl From<Diagnostic> for Finding {
    /// A finding whose place is not known, or that was written nowhere.
    fn from(diagnostic: Diagnostic) -> Self {
        let Diagnostic { object, path, severity, message } = diagnostic;
        Self { file: None, line: None, column: None, severity, object, path, message }
    }
}

impl From<tollgate_manifest::Finding> for Finding {
    fn from(finding: tollgate_manifest::Finding) -> Self {
        Self {
            file: Some(finding.file),
            line: usize::try_from(finding.line).ok(),
            column: usize::try_from(finding.column).ok(),
            severity: match finding.severity {
                tollgate_manifest::Severity::Warning => Severity::Warning,
                tollgate_manifest::Severity::Error => Severity::Error,
            },
            object: finding.object,
            path: finding.path,
            message: finding.message,
        }
    }
}

/// `1 file`, `2 files`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The line, and below it a caret where the mistake begins and as long as the word there.
fn write_excerpt(out: &mut String, paint: Paint, number: usize, column: usize, line: &str) -> fmt::Result {
    let letters: Vec<char> = harmless(line).chars().collect();
    let at = column.saturating_sub(1).min(letters.len());
    // A long line is shown from a little before the mistake.
    let start =
        if letters.len() <= EXCERPT_LETTERS_MAX { 0 } else { at.saturating_sub(EXCERPT_LETTERS_MAX / 2) };
    let shown: String = letters.iter().skip(start).take(EXCERPT_LETTERS_MAX).collect();
    let ends = |letter: &&char| !letter.is_whitespace() && !",:}]".contains(**letter);
    let width = letters.iter().skip(at).take_while(ends).count().clamp(1, EXCERPT_LETTERS_MAX / 2);
    let number = number.to_string();
    let margin = " ".repeat(number.len());
    let bar = paint.tint(Tint::Faint, "|");
    writeln!(out, "  {} {bar} {}", paint.tint(Tint::Faint, number), shown.trim_end())?;
    let caret = paint.tint(Tint::Bad, "^".repeat(width));
    writeln!(out, "  {margin} {bar} {}{caret}", " ".repeat(at - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: usize, column: usize, text: &str) -> String {
        let finding = Finding {
            line: Some(line),
            column: Some(column),
            object: "Gateway default/a".to_owned(),
            path: "spec.listeners".to_owned(),
            ..Finding::of_file("a.yaml".to_owned(), "expected a list".to_owned())
        };
        let text = format!("{text}\nkind: Gateway\n");
        let sources = [Source { name: "a.yaml".to_owned(), text }];
        let mut out = String::new();
        finding.write(&mut out, &sources, Paint::Plain);
        out
    }

    #[test]
    fn the_caret_is_below_the_word() {
        let expected = "\
a.yaml:2:14: error: expected a list
  2 |   listeners: one, two
    |              ^^^
  in Gateway default/a spec.listeners
";
        assert_eq!(shown(2, 14, "spec:\n  listeners: one, two\n"), expected);
    }

    #[test]
    fn places_outside_of_the_text_do_no_harm() {
        assert!(shown(9, 1, "a\n").starts_with("a.yaml:9:1: error"));
        assert!(shown(1, 99, "a\n").contains('^'));
        assert!(shown(1, 0, "").starts_with("a.yaml:1:0: error"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let text = format!("{}wrong{}", "x ".repeat(500), " y".repeat(500));
        let out = shown(1, 1001, &text);
        assert!(out.contains("wrong") && out.lines().all(|line| line.len() < 140), "{out}");
    }

    #[test]
    fn findings_are_counted_in_words() {
        assert_eq!(Tally { errors: 1, warnings: 0 }.to_string(), "1 error");
        assert_eq!(Tally { errors: 2, warnings: 1 }.to_string(), "2 errors and 1 warning");
        assert_eq!(Tally::default().to_string(), "no mistakes");
    }
}
