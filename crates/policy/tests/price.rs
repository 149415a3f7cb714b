//! What models cost: by the shipped catalog, by catalogs over it, and by any prices at all.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may end at once, and measures time"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde::Deserialize;
use tollgate_config::bundle::{Backend, Endpoint, Limits, Schema};
use tollgate_config::prices::{Catalog, Change, Price, Rates, Tier, TokenRates, When};
use tollgate_policy::price::{cost, upper_bound};
use tollgate_terms::{BackendName, Usage};

/// 2026-11-25, in milliseconds.
const NOW: u64 = 1_795_564_800_000;

fn shipped() -> Catalog {
    Catalog::shipped().expect("the shipped catalog is one")
}

fn usage(tokens: [u64; 5]) -> Usage {
    let [input_tokens, cached_input_tokens, cache_creation_input_tokens, output_tokens, reasoning_tokens] =
        tokens;
    Usage {
        input_tokens,
        cached_input_tokens,
        cache_creation_input_tokens,
        output_tokens,
        reasoning_tokens,
        provider_total_tokens: None,
    }
}

fn backend(hostname: &str) -> Backend {
    Backend {
        name: BackendName::new("default/own"),
        schema: Schema::OpenAi { prefix: "v1".to_owned() },
        endpoints: vec![Endpoint::Fqdn { hostname: hostname.to_owned(), port: 443 }],
        tls: None,
        credential: None,
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::ZERO,
        http2_cleartext: false,
        quotas: Vec::new(),
    }
}

#[test]
fn well_known_models_cost_what_their_makers_say() {
    let catalog = shipped();
    // A million tokens of the whole prompt, of it cached, of it written, of the answer; in nanodollars.
    let table = [
        ("openai", "gpt-4o-mini", [1_000_000, 0, 0, 0, 0], 150_000_000),
        ("openai", "gpt-4o-mini", [0, 0, 0, 1_000_000, 500_000], 600_000_000),
        ("openai", "gpt-4o-mini-2024-07-18", [1_000_000, 1_000_000, 0, 0, 0], 75_000_000),
        ("openai", "gpt-4o", [1000, 200, 0, 100, 0], 2_000_000 + 250_000 + 1_000_000),
        (
            "anthropic",
            "claude-3-5-sonnet-20241022",
            [1000, 100, 200, 10, 0],
            2_100_000 + 30_000 + 750_000 + 150_000,
        ),
        ("gcp.anthropic", "claude-3-5-haiku@20241022", [10, 0, 0, 1, 0], 8000 + 4000),
        ("aws.bedrock", "amazon.nova-micro-v1:0", [1_000_000, 0, 0, 1_000_000, 0], 35_000_000 + 140_000_000),
        ("gcp.gemini", "gemini-2.5-pro", [200_000, 0, 0, 1000, 0], 250_000_000 + 10_000_000),
        ("gcp.gemini", "gemini-2.5-pro", [200_001, 0, 0, 1000, 0], 500_002_500 + 15_000_000),
        ("azure.openai", "gpt-4o", [1000, 0, 0, 0, 0], 2_500_000),
        ("openai", "text-embedding-3-small", [1, 0, 0, 0, 0], 20),
    ];
    for (provider, model, tokens, expected) in table {
        let price = catalog.price(provider, model).unwrap_or_else(|| panic!("{model} has a price"));
        assert_eq!(cost(price, &usage(tokens), NOW), expected, "{provider} {model} {tokens:?}");
    }
}

#[test]
fn an_unknown_model_has_no_price() {
    let catalog = shipped();
    for (provider, model) in
        [("openai", "gpt-4o-mine"), ("openai", ""), ("aws.sagemaker", "gpt-4o"), ("", "")]
    {
        assert!(catalog.price(provider, model).is_none(), "{provider} {model}");
    }
    // Its tokens are of sound, and cost what no backend tells apart.
    assert!(catalog.price("openai", "gpt-realtime").is_none());
}

#[derive(Deserialize)]
struct Row(String, String, u64, [u64; 5], Option<u64>);

/// The rows are made by `xtask/prices/expect.py`, from the package that the catalog is made of.
#[test]
fn costs_are_those_of_the_package_that_the_prices_are_from() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("prices/expected.json")).expect("rows");
    let catalog = shipped();
    let written: serde_json::Value =
        serde_json::from_str(include_str!("../../config/prices/catalog.json")).expect("JSON");
    let hosts: BTreeMap<&str, &str> = written["providers"]
        .as_array()
        .expect("providers")
        .iter()
        .filter_map(|it| it["id"].as_str().zip(it["hosts"][0].as_str()))
        .collect();
    let mut compared = 0;
    for Row(provider, model, at_s, tokens, expected) in rows {
        let host = hosts[provider.as_str()];
        let price = catalog.price_at(&backend(host), &model);
        let found = price.map(|price| cost(price, &usage(tokens), at_s * 1000));
        assert_eq!(found, expected, "{provider} {model} at {at_s}: {tokens:?}");
        compared += 1;
    }
    assert!(compared > 1000, "{compared} rows");
}

#[test]
fn the_price_is_that_of_the_host_before_that_of_the_dialect() {
    let catalog = shipped();
    let at = |host: &str, model: &str| catalog.price_at(&backend(host), model).is_some();
    assert!(at("model.internal", "gpt-4o-mini"));
    assert!(at("api.openai.com", "GPT-4o-mini"));
    assert!(at("api.deepseek.com", "deepseek-chat"));
    assert!(!at("api.deepseek.com", "gpt-4o-mini"));
    assert!(!at("model.internal", "deepseek-chat"));
    assert!(!at("notapi.deepseek.com", "deepseek-chat"));
}

const CONTRACT: &str = r#"{"format": 1, "source": "our contract", "providers": [
    {"id": "openai", "models": [
        {"id": "gpt-4o-mini", "price": {"input": "0.1", "output": 0.4}},
        {"id": "gpt-4o", "price": null}]},
    {"id": "ours", "backends": ["default/own"], "models": [{"id": "tiny", "match": [{"starts_with": "tiny"}],
        "price": {"input": "1", "cached_input": "0.5", "output": "2", "reasoning": "3", "request": "0.005",
            "tiers": [{"over": 100, "input": "2"}]},
        "changes": [{"daily": {"from": "22:00", "to": "06:00"}, "price": {"input": "0.25", "output": "0.5"}},
            {"from": "2027-01-01", "price": {"input": "9", "output": "9"}}]}]}]}"#;

#[test]
fn a_catalog_over_another_wins() {
    let catalog = shipped().overlaid(Catalog::parse(CONTRACT).expect("a catalog"));
    let price = |provider, model| catalog.price(provider, model);
    assert_eq!(
        cost(price("openai", "gpt-4o-mini").expect("ours"), &usage([1000, 0, 0, 1000, 0]), NOW),
        500_000
    );
    assert!(price("openai", "gpt-4o").is_none());
    assert!(price("openai", "gpt-4.1").is_some());
    assert!(catalog.price_at(&backend("api.deepseek.com"), "tiny-2").is_some());
    assert!(catalog.price_at(&backend("api.deepseek.com"), "deepseek-chat").is_some());
    assert_eq!(catalog.sources().len(), 2);
    let alone = CONTRACT.replace(r#""format": 1,"#, r#""format": 1, "replaces_shipped": true,"#);
    let catalog = shipped().overlaid(Catalog::parse(&alone).expect("a catalog"));
    assert!(catalog.price("openai", "gpt-4.1").is_none());
}

#[test]
fn rates_follow_tiers_parts_and_time() {
    let catalog = Catalog::parse(CONTRACT).expect("a catalog");
    let price = catalog.price_at(&backend("a"), "tiny").expect("a price");
    let noon = NOW + 12 * 3_600_000;
    let table = [
        ([100, 40, 0, 10, 4], noon, 60_000 + 20_000 + 12_000 + 12_000),
        // Past the bound every token costs more; what a tier does not name stays.
        ([101, 40, 1, 0, 0], noon, 120_000 + 20_000 + 2000),
        ([100, 40, 0, 10, 4], NOW, 25_000 + 5000 - 5_000_000),
        ([1, 0, 0, 1, 0], 1_798_761_600_000, 18_000 - 5_000_000),
    ];
    for (tokens, at, expected) in table {
        assert_eq!(
            cost(price, &usage(tokens), at),
            u64::try_from(expected + 5_000_000_i64).expect("positive"),
            "{tokens:?}"
        );
    }
}

#[test]
fn what_will_never_hold_again_bounds_nothing() {
    let catalog = Catalog::parse(CONTRACT).expect("a catalog");
    let price = catalog.price_at(&backend("a"), "tiny").expect("a price");
    let request = 5_000_000;
    assert_eq!(upper_bound(price, 10, 10, NOW), 10_000 + 30_000 + request);
    // Rates to come are reckoned with.
    assert_eq!(upper_bound(price, 1000, 1000, NOW), 9_000_000 + 9_000_000);
    let small = Price { changes: price.changes[..1].to_vec(), base: price.base.clone() };
    assert_eq!(upper_bound(&small, 10, 10, NOW), 10_000 + 30_000 + request);
    assert_eq!(upper_bound(&small, 101, 10, NOW), 202_000 + 30_000 + request);
    assert_eq!(upper_bound(price, 10, 10, 1_798_761_600_000), 180_000);
}

#[test]
fn what_cannot_be_a_catalog_is_refused_with_its_reason() {
    let model = |model: &str| {
        format!(r#"{{"format": 1, "source": "a", "providers": [{{"id": "p", "models": [{model}]}}]}}"#)
    };
    let table = [
        ("[]".to_owned(), "is no catalog"),
        (r#"{"format": 2, "source": "a", "providers": []}"#.to_owned(), "has format 2"),
        (model(r#"{"id": "m", "price": {"input": "1"}}"#), "missing field `output`"),
        (model(r#"{"id": "m", "price": {"input": "1", "output": "2", "inptu": "1"}}"#), "unknown field"),
        (model(r#"{"id": "m", "price": {"input": "-1", "output": "2"}}"#), r#"model "m": "-1" is no amount"#),
        (model(r#"{"id": "m", "match": [{"regex": "("}], "price": null}"#), "no regular expression"),
        (
            model(r#"{"id": "m", "price": null, "changes": [{"price": {"input": "1", "output": "2"}}]}"#),
            "no price",
        ),
        (
            model(
                r#"{"id": "m", "price": {"input": 1, "output": 1}, "changes": [{"price": {"input": "1", "output": "2"}}]}"#,
            ),
            "either",
        ),
    ];
    for (text, expected) in table {
        let error = Catalog::parse(&text).expect_err("no catalog").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn token_rates() -> impl Strategy<Value = TokenRates> {
    any::<[u64; 5]>().prop_flat_map(|large| {
        [0_u32..64, 0..64].prop_map(move |[shift, other]| TokenRates {
            input: large[0] >> shift,
            cached_input: large[1] >> other,
            cache_write: large[2] >> shift,
            output: large[3] >> shift,
            reasoning: large[4] >> other,
        })
    })
}

fn rates() -> impl Strategy<Value = Rates> {
    let tiers = prop::collection::btree_map(0_u64..1_000_000, token_rates(), 0..3);
    (token_rates(), tiers, 0_u64..1 << 40).prop_map(|(tokens, tiers, request)| {
        let tiers = tiers.into_iter().map(|(over, tokens)| Tier { over, tokens }).collect();
        Rates { tokens, tiers, request }
    })
}

fn price() -> impl Strategy<Value = Price> {
    let when = prop_oneof![
        any::<u32>().prop_map(|at| When::From(u64::from(at))),
        (0_u16..1440, 0_u16..1440).prop_map(|(from, to)| When::Daily { from, to }),
    ];
    let change = (when, rates()).prop_map(|(when, rates)| Change { when, rates });
    (rates(), prop::collection::vec(change, 0..3)).prop_map(|(base, changes)| Price { base, changes })
}

fn tokens() -> impl Strategy<Value = [u64; 5]> {
    prop_oneof![prop::array::uniform5(0_u64..2_000_000), any::<[u64; 5]>()]
}

proptest! {
    #[test]
    fn nothing_costs_more_than_its_upper_bound(
        price in price(),
        tokens in tokens(),
        more in any::<[u16; 2]>(),
        at in prop_oneof![any::<u64>(), 0_u64..1 << 43],
        before in any::<u32>(),
    ) {
        let usage = usage(tokens);
        let input = usage.input_tokens.saturating_add(u64::from(more[0]));
        let output = usage.output_tokens.saturating_add(u64::from(more[1]));
        prop_assert!(cost(&price, &usage, at) <= upper_bound(&price, input, output, at.saturating_sub(u64::from(before))));
    }

    #[test]
    fn each_token_is_charged_once(rate in 0_u64..1 << 40, tokens in tokens(), at in any::<u64>()) {
        let tokens_at = TokenRates { input: rate, cached_input: rate, cache_write: rate, output: rate, reasoning: rate };
        let price = Price { base: Rates { tokens: tokens_at, tiers: Vec::new(), request: 0 }, changes: Vec::new() };
        let all = u128::from(tokens[0]) + u128::from(tokens[3]);
        let expected = u64::try_from((all * u128::from(rate)).div_ceil(1000)).unwrap_or(u64::MAX);
        prop_assert_eq!(cost(&price, &usage(tokens), at), expected);
    }

    #[test]
    fn any_text_is_a_catalog_or_refused(text in ".{0,200}") {
        let _ = Catalog::parse(&text);
    }
}

/// Far above what it takes, so that a busy machine does not fail it, and far below what a scan of all models would take.
#[test]
fn a_lookup_is_quick() {
    let catalog = shipped();
    let backend = backend("api.openai.com");
    let models = ["gpt-4o-mini", "gpt-4o-2024-08-06", "gpt-5.6-sol-2026-10-01", "nobody-knows-this-model"];
    let rounds = 2000;
    let began = Instant::now();
    for _ in 0..rounds {
        for model in models {
            std::hint::black_box(catalog.price_at(&backend, std::hint::black_box(model)));
        }
    }
    let each = began.elapsed() / (rounds * 4);
    assert!(each < Duration::from_micros(100), "{each:?} for a lookup");
}
