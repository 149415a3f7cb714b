//! Rules in CEL that hold for a value, as Kubernetes evaluates them: `self` is the value, with its defaults.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use cel::{Context, Program};
use serde::Deserialize;
use serde_json::Value;

use crate::scalar::GatewayDuration;

/// A rule, and what to say when it does not hold.
#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) rule: String,
    pub(crate) message: String,
    #[serde(skip)]
    program: OnceLock<Option<Program>>,
}

impl Rule {
    /// Whether the rule holds. One that cannot be evaluated does not.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        self.evaluate(value) == Some(true)
    }

    fn evaluate(&self, value: &Value) -> Option<bool> {
        let program = self.program.get_or_init(|| Program::compile(&self.rule).ok()).as_ref()?;
        let mut context = Context::default();
        // Milliseconds stand for durations: all that rules do with one is to compare it.
        let duration = |text: Arc<String>| -> i64 {
            GatewayDuration::parse(&text)
                .map_or(0, |parsed| i64::try_from(parsed.get().as_millis()).unwrap_or(i64::MAX))
        };
        context.add_function("duration", duration).ok()?;
        context.add_variable_from_value("self", to_cel(value));
        match program.execute(&context).ok()? {
            cel::Value::Bool(holds) => Some(holds),
            _ => None,
        }
    }
}

fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => cel::Value::Int(integer),
            (None, Some(integer)) => cel::Value::UInt(integer),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_cel).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), to_cel(value))).collect::<HashMap<_, _>>().into()
        }
    }
}
