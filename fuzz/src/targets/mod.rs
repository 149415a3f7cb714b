//! What is fuzzed, and the laws that hold for any input.

mod dialect;
mod event_stream;
mod http1;
mod json;
mod manifest;
mod processor;
mod sse;
mod wire;

/// One target.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Runs one input; an error is a law that does not hold.
    pub(crate) run: fn(&[u8]) -> Result<(), String>,
}

/// All targets; each has a folder of its name in `corpus/`.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "json_scan", run: json::scan },
    Target { name: "json_splice", run: json::splice },
    Target { name: "sse_decode", run: sse::decode },
    Target { name: "sse_encode", run: sse::encode },
    Target { name: "event_stream", run: event_stream::decode },
    Target { name: "inflate", run: wire::inflate },
    Target { name: "multipart", run: wire::multipart },
    Target { name: "request", run: http1::request },
    Target { name: "response", run: http1::response },
    Target { name: "hostname", run: wire::hostname },
    Target { name: "inspect", run: dialect::inspect },
    Target { name: "observe", run: dialect::observe },
    Target { name: "translate", run: dialect::translate },
    Target { name: "reframe", run: dialect::reframe },
    Target { name: "error", run: dialect::error },
    Target { name: "manifest", run: manifest::parse },
    Target { name: "processor", run: processor::asked },
];

/// A law.
pub(crate) fn law(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}
