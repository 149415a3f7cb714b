"""Asks the Python package genai-prices what some hundred requests cost, for a test that compares our own answers with these.

    python xtask/prices/expect.py crates/policy/tests/prices/expected.json

Run it whenever convert.py was run, on the same day. A row is provider, model, Unix second, tokens (input, cached, written to a cache,
output, reasoning), and nanodollars, or null where the model has no price that a gateway could use.
"""

import datetime
import json
import random
import sys
from decimal import ROUND_CEILING

from convert import HOSTS, UNTOLD
from genai_prices import Usage, types
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot

USAGES = [
    (1, 0, 0, 1, 0),
    (1000, 0, 0, 500, 0),
    (1000, 300, 0, 7, 3),
    (4321, 1234, 555, 987, 0),
    (128_001, 100_000, 28_000, 3000, 2999),
    (200_000, 0, 0, 10, 0),
    (200_001, 0, 0, 10, 0),
    (272_001, 1, 1, 64_000, 1),
    (1_000_000, 999_999, 1, 0, 0),
    (0, 0, 0, 0, 0),
]


def names(clause):
    """Names of models that a condition holds for, in all likelihood."""
    match clause:
        case types.ClauseEquals(equals=value):
            yield value
        case types.ClauseStartsWith(starts_with=value):
            yield value + "x"
        case types.ClauseContains(contains=value):
            yield "a-" + value + "-b"
        case types.ClauseEndsWith(ends_with=value):
            yield "eu." + value
        case types.ClauseRegex(regex=value):
            if "\\d{8}" in value:
                yield value.strip("^$").replace("\\d{8}", "20261101").replace("\\", "").replace("[-@]", "@")
        case types.ClauseOr(or_=clauses) | types.ClauseAnd(and_=clauses):
            for clause in clauses:
                yield from names(clause)


def cost(provider, name, usage, at):
    """Nanodollars, or None."""
    read, cached, written, output, reasoning = usage
    try:
        _, model = get_snapshot().find_provider_model(name, None, provider.id, None)
    except LookupError:
        return None
    prices = model.get_prices(at)
    known = {key for key, value in prices.__dict__.items() if value is not None}
    everything = [it.prices for it in model.prices] if isinstance(model.prices, list) else [model.prices]
    untold = any(value is not None for it in everything for key, value in it.__dict__.items() if key in UNTOLD)
    if "input_mtok" not in known or untold:
        return None
    counted = Usage(
        input_tokens=read,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        output_reasoning_tokens=reasoning,
    )
    found = model.calc_price(counted, provider, genai_request_timestamp=at)
    return int((found.total_price * 10**9).to_integral_value(ROUND_CEILING))


def main(path):
    dice = random.Random(5)
    today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = []
    for provider in providers:
        if provider.id not in HOSTS:
            continue
        found = [name for model in provider.models for name in names(model.match)]
        for other in provider.fallback_model_providers or []:
            below = next(it for it in providers if it.id == other)
            found += [name for model in below.models[:8] for name in names(model.match)]
        found.append("a-model-that-nobody-has")
        for name in dice.sample(found, min(len(found), 30)):
            moment = today + datetime.timedelta(days=dice.randrange(60), minutes=dice.randrange(1440))
            for usage in dice.sample(USAGES, 2):
                row = [provider.id, name, int(moment.timestamp()), list(usage), cost(provider, name, usage, moment)]
                rows.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
