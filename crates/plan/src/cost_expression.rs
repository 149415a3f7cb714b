//! Expressions in CEL that compute what a request costs: what they see, and whether they can be evaluated at all.

use cel::{Context, Program, Value};

/// Texts that an expression sees.
const TEXTS: [&str; 3] = ["model", "backend", "route_name"];
/// Unsigned numbers that an expression sees.
const NUMBERS: [&str; 6] = [
    "input_tokens",
    "cached_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
];
/// Calls that give a variable of their own to their argument.
const BINDING: [&str; 5] = [".all(", ".exists(", ".exists_one(", ".filter(", ".map("];

/// Compiles `text` and evaluates it once with zeros, as Envoy AI Gateway does when it loads one.
///
/// # Errors
/// Why it can cost nothing: it is no CEL, sees what is not there, or gives something else than an integer that is not negative.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let program = Program::compile(text).map_err(|errors| {
        let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
        // What could have stood there instead is nearly every token of the language.
        let first = first.split_once(" expecting ").map_or(first, |(first, _)| first);
        let first = first.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ");
        format!("is not CEL: {first}")
    })?;
    let is_unknown = |name: &&str| !TEXTS.contains(name) && !NUMBERS.contains(name);
    if !BINDING.iter().any(|call| text.contains(call)) {
        let references = program.references();
        let mut unknown: Vec<_> = references.variables().into_iter().filter(is_unknown).collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            let known: Vec<_> = TEXTS.into_iter().chain(NUMBERS).collect();
            return Err(format!("unknown variable {name:?}: expected one of {}", known.join(", ")));
        }
    }
    let mut context = Context::default();
    for name in TEXTS {
        context.add_variable_from_value(name, "");
    }
    for name in NUMBERS {
        context.add_variable_from_value(name, 0_u64);
    }
    match program.execute(&context) {
        Ok(Value::UInt(_)) => Ok(()),
        Ok(Value::Int(value)) if value >= 0 => Ok(()),
        Ok(Value::Int(value)) => Err(format!("is {value} when no token was used: expected 0 or more")),
        Ok(_) => Err("expected an integer as its result".to_owned()),
        Err(error) => Err(format!("cannot be evaluated when no token was used: {error}")),
    }
}
