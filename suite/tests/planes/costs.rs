//! What requests cost, in money and in numbers that routes publish: the same on every data plane.

use tollgate_config::bundle::{Cost, CostExpression, CostKind, Enforcement, Measure, Rule, Unpriced};
use tollgate_terms::ModelName;

use crate::limits::{limit, limited};
use tollgate_suite::{
    Act, CHAT, STREAM, ScriptedBackend, Tested, body, bundle, chunk, completion, delta, free_port, is_envoy,
    json, last_chunk, openai, rule, sized, status, stream_end, stream_head,
};

const PRICES: &str = r#"{"format": 1, "source": "a test", "providers": [{"id": "p", "names": ["openai"], "models": [
    {"id": "m-1", "price": {"input": "1.5", "output": "6"}}]}]}"#;

fn whole(model: &str) -> Vec<Act> {
    vec![Act::Write(sized(200, "application/json", "", &completion().replace("m-1", model)))]
}

fn streamed() -> Vec<Act> {
    vec![
        Act::Write(stream_head()),
        Act::Write(chunk(&delta("hello"))),
        Act::Write(chunk(&stream_end())),
        Act::Write(last_chunk()),
    ]
}

fn serving(script: Vec<Vec<Act>>, costs: &[&str]) -> (ScriptedBackend, Tested) {
    let backend = ScriptedBackend::start(script);
    let mut bundle = bundle(free_port(), rule(&["b"]), vec![openai("b", backend.address)]);
    let expressions = costs.iter().map(|text| CostExpression::compile(text).expect("CEL"));
    bundle.routes[0].costs =
        expressions.map(|expression| Cost { key: "k".to_owned(), kind: CostKind::Cel(expression) }).collect();
    let tested = Tested::start_priced(bundle, PRICES);
    (backend, tested)
}

#[test]
fn an_attempt_costs_what_its_tokens_do() {
    let (_backend, tested) = serving(vec![whole("m-1"), streamed(), whole("m-2")], &[]);
    for request in [CHAT, STREAM, CHAT] {
        assert_eq!(status(&tested.chat(request)), 200);
    }
    // 11 tokens of the prompt and 7 of the answer.
    let costs: Vec<_> =
        tested.log_lines(3).iter().map(|line| line["tollgate.cost_usd"].to_string()).collect();
    assert_eq!(costs, ["0.0000585", "0.0000585", "null"]);
    let metrics = tested.metrics();
    let counted = metrics.lines().find(|line| line.starts_with("tollgate_cost_nanodollars_total{"));
    assert!(counted.is_some_and(|line| line.ends_with(" 117000")), "{counted:?}");
    let unpriced = metrics.lines().filter(|line| line.starts_with("tollgate_unpriced_attempts_total{"));
    assert_eq!(unpriced.filter(|line| line.ends_with(" 1")).count(), 1, "{metrics}");
}

#[test]
fn a_budget_of_money_may_refuse_models_without_a_price() {
    let backend = ScriptedBackend::start(vec![whole("m-1")]);
    let started = |unpriced: Unpriced, model: Option<&str>| {
        let mut money = limit("money", 1_000_000_000, Some(Measure::Money));
        money.unpriced = unpriced;
        let mut rule = limited(vec![money]);
        rule.targets[0].model_override = model.map(|model| ModelName::parse(model).expect("a name"));
        let bundle = bundle(free_port(), rule, vec![openai("b", backend.address)]);
        Tested::start_priced(bundle, PRICES)
    };
    // The model that is asked for is none of those with a price.
    assert_eq!(status(&started(Unpriced::Allow, None).chat(CHAT)), 200);
    assert_eq!(status(&started(Unpriced::Reject, Some("m-1")).chat(CHAT)), 200);
    let tested = started(Unpriced::Reject, None);
    let _ = backend.requests.try_iter().count();
    let refused = tested.chat(CHAT);
    assert_eq!(status(&refused), 422, "{refused}");
    let error = &json(&refused)["error"];
    assert_eq!(error["code"], "model_not_priced", "{error}");
    assert!(error["message"].as_str().expect("a message").contains("money"), "{error}");
    assert!(backend.requests.try_recv().is_err());
}

/// A target whose model has no price is left for the next. Envoy does not try again what a filter of a cluster answers.
#[test]
fn a_model_without_a_price_is_left_for_one_that_has_one() {
    let [first, second] = [(), ()].map(|()| ScriptedBackend::start(vec![whole("m-1")]));
    let started = |amount: u64, models: [Option<&str>; 2], used_up: bool| {
        let mut money = limit("money", amount, Some(Measure::Money));
        money.unpriced = Unpriced::Reject;
        money.enforcement = Enforcement::Reserve;
        let mut rule = Rule { limits: vec![money], ..rule(&["a", "b"]) };
        for (target, model) in rule.targets.iter_mut().zip(models) {
            target.model_override = model.map(|model| ModelName::parse(model).expect("a name"));
        }
        let mut backends = vec![openai("a", first.address), openai("b", second.address)];
        if used_up {
            backends[0].quotas = vec![limit("quota", 0, None)];
        }
        Tested::start_priced(bundle(free_port(), rule, backends), PRICES)
    };
    let tested = started(1_000_000_000, [None, Some("m-1")], false);
    let answer = tested.chat(CHAT);
    if is_envoy() {
        assert_eq!(status(&answer), 422, "{answer}");
    } else {
        assert_eq!(status(&answer), 200, "{answer}");
        second.request();
        let line = &tested.log_lines(1)[0];
        let tried = line["tollgate.tried"].as_array().expect("what was tried");
        let tried = tried.iter().map(|it| (it["backend"].as_str(), it["outcome"].as_str()));
        assert_eq!(
            tried.collect::<Vec<_>>(),
            [(Some("a"), Some("refused")), (Some("b"), Some("complete"))],
            "{line}"
        );
        assert_eq!(line["tollgate.cost_usd"].to_string(), "0.0000585");
    }
    assert!(first.requests.try_recv().is_err());
    // None has a price.
    let refused = started(1_000_000_000, [None, None], false).chat(CHAT);
    assert_eq!(status(&refused), 422, "{refused}");
    assert_eq!(json(&refused)["error"]["code"], "model_not_priced", "{refused}");
    // One has a price and nothing left: that will be otherwise in a while.
    let refused = started(1_000_000_000, [Some("m-1"), None], true).chat(CHAT);
    assert_eq!(status(&refused), 429, "{refused}");
    // A budget that has nothing left refuses wherever the request would go.
    let refused = started(1, [None, Some("m-1")], false).chat(CHAT);
    assert_eq!(status(&refused), if is_envoy() { 422 } else { 429 }, "{refused}");
    assert!(first.requests.try_recv().is_err() && second.requests.try_recv().is_err());
}

/// ACC-11: the answer is the same, and the mistake is counted once.
#[test]
fn acc_11_a_cost_that_cannot_be_computed_hurts_no_answer() {
    let wrong = "input_tokens > 0u ? 1u / (input_tokens - 11u) : 0u";
    let (_backend, tested) = serving(vec![whole("m-1"), streamed()], &[wrong, "total_tokens"]);
    assert_eq!(body(&tested.chat(CHAT)), completion());
    assert!(body(&tested.chat(STREAM)).ends_with("data: [DONE]\n\n"));
    tested.log_lines(2);
    let metrics = tested.metrics();
    assert!(metrics.contains("tollgate_cost_errors_total{reason=\"unevaluable\"} 2\n"), "{metrics}");
}
