//! Numbers that routes publish: what expressions see, and that one which gives nothing hurts nobody.

#![expect(clippy::panic, clippy::disallowed_methods, reason = "a test may end at once, and measures time")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tollgate_config::bundle::{Cost, CostError, CostExpression, CostFacts, CostKind};
use tollgate_policy::cost::{errors, value, value_or_total};
use tollgate_terms::Usage;

const USAGE: Usage = Usage {
    input_tokens: 100,
    cached_input_tokens: 40,
    cache_creation_input_tokens: 7,
    output_tokens: 20,
    reasoning_tokens: 5,
    provider_total_tokens: Some(125),
};

fn facts(usage: &Usage) -> CostFacts<'_> {
    CostFacts { model: "small", backend: "default/b", route: "default/r", usage }
}

fn cel(text: &str) -> CostKind {
    CostKind::Cel(CostExpression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn each_kind_is_its_number() {
    let table = [
        (CostKind::InputToken, 100),
        (CostKind::CachedInputToken, 40),
        (CostKind::CacheCreationInputToken, 7),
        (CostKind::OutputToken, 20),
        (CostKind::ReasoningToken, 5),
        (CostKind::TotalToken, 125),
        (cel("input_tokens"), 100),
        (cel("cached_input_tokens"), 40),
        (cel("cache_creation_input_tokens"), 7),
        (cel("output_tokens"), 20),
        (cel("reasoning_tokens"), 5),
        (cel("total_tokens"), 125),
        (cel("int(total_tokens)"), 125),
        (cel("uint(double(cached_input_tokens) * 0.1) + 1u"), 5),
        (cel("model == 'small' && backend == 'default/b' && route_name == 'default/r' ? 1u : 0u"), 1),
        (cel("[1u, 2u].exists(x, x > input_tokens) ? 1u : 0u"), 0),
        (cel("18446744073709551615u"), u64::MAX),
    ];
    for (kind, expected) in table {
        assert_eq!(value(&kind, &facts(&USAGE)), Ok(expected), "{kind:?}");
    }
}

/// ACC-11: whatever an expression gives, all tokens stand in for what is no cost, and it is told once.
#[test]
fn acc_11_what_is_no_cost_is_told_and_counted_as_all_tokens() {
    let table = [
        ("0 - int(input_tokens)", CostError::Negative),
        ("input_tokens > 0u ? -1 : 0", CostError::Negative),
        ("input_tokens > 0u ? -9223372036854775807 - 1 : 0", CostError::Negative),
        ("input_tokens > 0u ? model : 0u", CostError::NoInteger),
        ("input_tokens > 0u ? 1.5 : 0u", CostError::NoInteger),
        ("input_tokens > 0u ? true : 0u", CostError::NoInteger),
        ("input_tokens > 0u ? null : 0u", CostError::NoInteger),
        ("input_tokens > 0u ? [1u] : 0u", CostError::NoInteger),
        ("input_tokens > 0u ? 1u / (output_tokens - output_tokens) : 0u", CostError::Unevaluable),
        ("input_tokens > 0u ? 1u % (output_tokens - output_tokens) : 0u", CostError::Unevaluable),
        ("output_tokens - input_tokens", CostError::Unevaluable),
        ("input_tokens * 18446744073709551615u", CostError::Unevaluable),
        ("input_tokens > 0u ? 18446744073709551615u + input_tokens : 0u", CostError::Unevaluable),
        ("input_tokens > 0u ? int(18446744073709551615u) : 0", CostError::Unevaluable),
        ("input_tokens > 0u ? uint(-1.0) : 0u", CostError::Unevaluable),
        ("input_tokens > 0u ? uint(1e300) : 0u", CostError::Unevaluable),
        ("input_tokens > 0u ? uint(model) : 0u", CostError::Unevaluable),
        ("input_tokens > 0u ? [1u][5] : 0u", CostError::Unevaluable),
        ("input_tokens > 0u ? (-9223372036854775807 - 1) / -1 : 0", CostError::Unevaluable),
    ];
    for (text, expected) in table {
        let kind = cel(text);
        assert_eq!(value(&kind, &facts(&USAGE)), Err(expected), "{text}");
        assert_eq!(value_or_total(&kind, &facts(&USAGE)), 125, "{text}");
        let costs =
            [Cost { key: "a".to_owned(), kind }, Cost { key: "b".to_owned(), kind: CostKind::TotalToken }];
        assert_eq!(errors(&costs, &facts(&USAGE)), [expected], "{text}");
    }
}

#[test]
fn an_expression_is_written_as_its_text() {
    let kind = cel("input_tokens + 1u");
    let text = serde_json::to_string(&kind).expect("JSON");
    assert_eq!(text, r#"{"Cel":"input_tokens + 1u"}"#);
    assert_eq!(serde_json::from_str::<CostKind>(&text).expect("the same"), kind);
    assert!(serde_json::from_str::<CostKind>(r#"{"Cel":"input_tokens +"}"#).is_err());
}

#[test]
fn an_expression_is_evaluated_quickly() {
    let kind = cel("model == 'small' ? input_tokens * 3u + output_tokens * 15u : total_tokens");
    let rounds = 1000;
    let began = Instant::now();
    for _ in 0..rounds {
        assert_eq!(std::hint::black_box(value(&kind, &facts(&USAGE))), Ok(600));
    }
    let each = began.elapsed() / rounds;
    assert!(each < Duration::from_millis(1), "{each:?}");
}

proptest! {
    #[test]
    fn any_usage_has_a_cost_by_any_kind(numbers in any::<[u64; 5]>(), total in any::<Option<u64>>()) {
        let [input_tokens, cached_input_tokens, cache_creation_input_tokens, output_tokens, reasoning_tokens] = numbers;
        let usage = Usage {
            input_tokens,
            cached_input_tokens,
            cache_creation_input_tokens,
            output_tokens,
            reasoning_tokens,
            provider_total_tokens: total,
        };
        for text in ["input_tokens - cached_input_tokens + output_tokens * 4u", "int(input_tokens) - int(output_tokens)"] {
            let kind = cel(text);
            let expected = value(&kind, &facts(&usage)).unwrap_or(usage.total_tokens());
            prop_assert_eq!(value_or_total(&kind, &facts(&usage)), expected);
        }
    }
}
