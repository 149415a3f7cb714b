//! Expressions in CEL that compute what a request costs, compiled: what they see, and whether they can be evaluated at all.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Program, Value};
use serde::{Deserialize, Serialize};
use tollgate_terms::Usage;

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

/// The functions and operators of CEL.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression in CEL over what a request used. It is written as its text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CostExpression {
    text: Arc<str>,
    // Invariant: `text`, compiled; it gives a number when no token was used.
    program: Arc<Program>,
}

/// What an expression sees of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct CostFacts<'a> {
    /// The model asked of the backend.
    pub model: &'a str,
    /// The backend, `namespace/name`.
    pub backend: &'a str,
    /// The route, `namespace/name`.
    pub route: &'a str,
    /// Tokens.
    pub usage: &'a Usage,
}

/// Why an expression gives no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CostError {
    /// It is negative.
    #[error("the cost is negative")]
    Negative,
    /// It is no integer.
    #[error("the cost is no integer")]
    NoInteger,
    /// It cannot be evaluated, such as a division by zero, or a number that is too large or too small.
    #[error("the cost cannot be evaluated")]
    Unevaluable,
}

impl CostError {
    /// The error as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::NoInteger => "no_integer",
            Self::Unevaluable => "unevaluable",
        }
    }
}

impl CostExpression {
    /// Compiles `text` and evaluates it once with zeros, as Envoy AI Gateway does when it loads one.
    ///
    /// # Errors
    /// Why it can cost nothing: it is no CEL, sees what is not there, or gives something else than an integer that is not negative.
    pub fn compile(text: &str) -> Result<Self, String> {
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
            // What could have stood there instead is nearly every token of the language.
            let first = first.split_once(" expecting ").map_or(first, |(first, _)| first);
            let first = first.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ");
            format!("is not CEL: {first}")
        })?;
        knows_its_variables(text, &program)?;
        let nothing = CostFacts { model: "", backend: "", route: "", usage: &Usage::default() };
        match program.execute(&context(&nothing)) {
            Ok(Value::UInt(_)) => {}
            Ok(Value::Int(value)) if value >= 0 => {}
            Ok(Value::Int(value)) => {
                return Err(format!("is {value} when no token was used: expected 0 or more"));
            }
            Ok(_) => return Err("expected an integer as its result".to_owned()),
            Err(error) => return Err(format!("cannot be evaluated when no token was used: {error}")),
        }
        Ok(Self { text: text.into(), program: Arc::new(program) })
    }

    /// The expression as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it gives for an attempt.
    ///
    /// # Errors
    /// When that is no number, or a negative one.
    pub fn evaluate(&self, facts: &CostFacts<'_>) -> Result<u64, CostError> {
        match self.program.execute(&context(facts)) {
            Ok(Value::UInt(value)) => Ok(value),
            Ok(Value::Int(value)) => u64::try_from(value).map_err(|_| CostError::Negative),
            Ok(_) => Err(CostError::NoInteger),
            Err(_) => Err(CostError::Unevaluable),
        }
    }
}

impl PartialEq for CostExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<String> for CostExpression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::compile(&text)
    }
}

impl From<CostExpression> for String {
    fn from(expression: CostExpression) -> Self {
        expression.text.as_ref().to_owned()
    }
}

fn knows_its_variables(text: &str, program: &Program) -> Result<(), String> {
    if BINDING.iter().any(|call| text.contains(call)) {
        return Ok(());
    }
    let is_unknown = |name: &&str| !TEXTS.contains(name) && !NUMBERS.contains(name);
    let references = program.references();
    let mut unknown: Vec<_> = references.variables().into_iter().filter(is_unknown).collect();
    unknown.sort_unstable();
    let Some(name) = unknown.first() else { return Ok(()) };
    let known: Vec<_> = TEXTS.into_iter().chain(NUMBERS).collect();
    Err(format!("unknown variable {name:?}: expected one of {}", known.join(", ")))
}

fn context(facts: &CostFacts<'_>) -> Context<'static, 'static> {
    let CostFacts { model, backend, route, usage } = facts;
    let numbers = [
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_creation_input_tokens,
        usage.output_tokens,
        usage.total_tokens(),
        usage.reasoning_tokens,
    ];
    let mut context = Context::with_env(Arc::clone(&STANDARD));
    for (name, text) in TEXTS.into_iter().zip([model, backend, route]) {
        context.add_variable_from_value(name, *text);
    }
    for (name, number) in NUMBERS.into_iter().zip(numbers) {
        context.add_variable_from_value(name, number);
    }
    context
}
