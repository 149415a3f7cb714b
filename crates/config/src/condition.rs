//! Conditions on headers, ready to be checked.

use http::{HeaderMap, HeaderName};
use regex::bytes::{Regex, RegexBuilder};
use tollgate_terms::ModelName;

use crate::bundle::{HeaderMatch, TextMatch};

/// The header that stands for the model in the body. What a client sends in it is never read.
pub const MODEL_HEADER: &str = "x-ai-eg-model";

/// What the names of the gateway's own headers begin with.
const OWN_HEADERS: &str = "x-ai-eg-";

/// Whether a condition on the header `name`, in lower case, can ever hold: clients cannot speak for the gateway, and only the
/// model is known under its names.
pub fn can_hold(name: &str) -> bool {
    !name.starts_with(OWN_HEADERS) || name == MODEL_HEADER
}

/// Largest compiled regular expression, in bytes of automaton; as large as a few hundred alternatives of plain text.
const REGULAR_EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// One condition of a match.
#[derive(Debug)]
pub struct Condition {
    subject: Subject,
    test: Test,
}

/// What a condition looks at.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    Model,
    Header(HeaderName),
}

/// What a text must be.
#[derive(Debug)]
pub(crate) enum Test {
    Exact(String),
    RegularExpression(Regex),
    /// The condition could not be compiled, and its rule is broken. It holds for every value, so that no request
    /// that was meant for this rule slips through to a broader one.
    Unreadable,
}

/// What a condition asks of the value of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// The very same text.
    Exact(&'a str),
    /// A match of the whole value with this regular expression.
    RegularExpression(&'a str),
    /// Any value, as long as there is one: what was written could not be compiled.
    Any,
}

/// A condition, or why it cannot be compiled along with what stands in for it.
pub(crate) type Compiled = Result<Condition, (Option<Condition>, String)>;

impl Condition {
    /// Compiles a condition. On error there may still be a condition that catches whatever the real one could have.
    pub(crate) fn compile(written: &HeaderMatch) -> Compiled {
        let subject = match written.name.as_str() {
            MODEL_HEADER => Subject::Model,
            name => Subject::Header(crate::header_name(name).map_err(|reason| (None, reason))?),
        };
        match Test::compile(&written.value) {
            Ok(test) => Ok(Self { subject, test }),
            Err(reason) => Err((Some(Self { subject, test: Test::Unreadable }), reason)),
        }
    }

    /// The header that the condition is about, in lower case; [`MODEL_HEADER`] is the model.
    pub fn header(&self) -> &str {
        match &self.subject {
            Subject::Model => MODEL_HEADER,
            Subject::Header(name) => name.as_str(),
        }
    }

    /// What it asks of the header.
    pub fn expected(&self) -> Expected<'_> {
        self.test.expected()
    }

    /// The one model that the condition allows, if it is of that sort.
    pub(crate) fn exact_model(&self) -> Option<&str> {
        match (&self.subject, &self.test) {
            (Subject::Model, Test::Exact(model)) => Some(model),
            _ => None,
        }
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.test, Test::Unreadable)
    }

    pub(crate) fn is_on_same_header(&self, other: &Self) -> bool {
        self.subject == other.subject
    }

    /// Whether the condition holds for a request; one about the model never does where there is none.
    pub(crate) fn holds(&self, headers: &HeaderMap, model: Option<&ModelName>) -> bool {
        let Subject::Header(name) = &self.subject else {
            return model.is_some_and(|model| self.test.accepts(model.as_str().as_bytes()));
        };
        let mut values = headers.get_all(name).iter();
        let Some(first) = values.next() else { return false };
        if values.next().is_none() {
            return self.test.accepts(first.as_bytes());
        }
        // Field lines of one name are one value, joined by commas: RFC 9110 section 5.3.
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        self.test.accepts(&lines.join(&b","[..]))
    }
}

impl Test {
    /// Compiles what is written.
    pub(crate) fn compile(written: &TextMatch) -> Result<Self, String> {
        match written {
            TextMatch::Exact(text) => Ok(Self::Exact(text.clone())),
            TextMatch::RegularExpression(pattern) => compile(pattern).map(Self::RegularExpression),
        }
    }

    /// What it asks for.
    pub(crate) fn expected(&self) -> Expected<'_> {
        match self {
            Self::Exact(text) => Expected::Exact(text),
            Self::RegularExpression(regex) => Expected::RegularExpression(as_written(regex)),
            Self::Unreadable => Expected::Any,
        }
    }

    /// Whether it is so.
    pub(crate) fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == value,
            Self::RegularExpression(regex) => regex.is_match(value),
            Self::Unreadable => true,
        }
    }
}

/// Proves that `pattern` can be compiled.
///
/// # Errors
/// A sentence that says why it cannot: bad syntax, or too large when compiled.
pub fn check_regular_expression(pattern: &str) -> Result<(), String> {
    compile(pattern).map(|_| ())
}

/// Compiles a pattern that has to match the whole value, as RE2 and so Envoy read it: classes are ASCII.
fn compile(pattern: &str) -> Result<Regex, String> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(REGULAR_EXPRESSION_BYTES_MAX)
            .dfa_size_limit(REGULAR_EXPRESSION_BYTES_MAX)
            .build()
            .map_err(|error| reason(&error))
    };
    // Alone first: `a)(b` becomes valid once it stands in a group.
    build(pattern)?;
    build(&format!("{WHOLE_BEGIN}{pattern}{WHOLE_END}"))
}

/// What makes a pattern match the whole of a value.
const WHOLE_BEGIN: &str = r"\A(?:";
const WHOLE_END: &str = r")\z";

/// The pattern from which [`compile`] made `regex`.
fn as_written(regex: &Regex) -> &str {
    let whole = regex.as_str();
    whole.strip_prefix(WHOLE_BEGIN).and_then(|rest| rest.strip_suffix(WHOLE_END)).unwrap_or(whole)
}

fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!(
                "expected a regular expression of at most {REGULAR_EXPRESSION_BYTES_MAX} bytes when compiled"
            )
        }
        // The last line of the library's drawing says what is wrong; the lines before point at it.
        other => {
            let drawing = other.to_string();
            let last = drawing.lines().last().unwrap_or_default();
            format!("expected a regular expression: {}", last.trim_start_matches("error: "))
        }
    }
}
