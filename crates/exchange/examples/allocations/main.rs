//! How many allocations a chat takes in the core, request and whole answer, for each pair of dialects. `cargo xtask bench` runs it.
//!
//! Prints a line of JSON for each pair. What counts is slower than the gateway's own allocator, so times are another program's.

#![expect(clippy::disallowed_methods, reason = "an exchange is told the time")]

#[expect(dead_code, reason = "times are another program's")]
#[path = "../translation/case/mod.rs"]
mod case;

use std::hint::black_box;
use std::io::Write;

use serde_json::json;
use tollgate_terms::Delivery;

use case::Case;

fn main() -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    for case in Case::all()? {
        // What is made once and kept is there before.
        chat(&case)?;
        let mut done = Ok(());
        let counted = allocation_counter::measure(|| done = chat(&case));
        done?;
        let line = json!({"pair": case.name(), "allocations": counted.count_total});
        writeln!(out, "{line}").map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// One chat with a whole answer.
fn chat(case: &Case) -> Result<(), String> {
    let head = case.pair.head(case.chat.len(), Delivery::Whole);
    let asked = case.pair.ask(head, case.chat.clone(), Delivery::Whole)?;
    black_box(case.pair.answer(asked, case.answer.clone())?);
    Ok(())
}
