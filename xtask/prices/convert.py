"""Makes the catalog of prices that the gateway ships from the data of the Python package genai-prices.

    pip install genai-prices==0.2.3
    python xtask/prices/convert.py crates/config/prices/catalog.json

Only what a gateway can use is taken: providers that are called directly, prices of tokens and of requests, as they are now and
as they will be. docs/prices.md says what is left out.
"""

import datetime
import importlib.metadata
import json
import re
import sys
from decimal import Decimal

from genai_prices import types
from genai_prices.data import providers

# `gen_ai.provider.name` of our backends, by the package's name of a provider.
NAMES = {
    "anthropic": ["anthropic"],
    "aws": ["aws.bedrock", "aws.anthropic"],
    "azure": ["azure.openai"],
    "cohere": ["cohere"],
    "google": ["gcp.vertex_ai", "gcp.anthropic", "gcp.gemini"],
    "openai": ["openai"],
}

# Hosts whose backends a provider serves whatever dialect they speak: these, and those below them.
HOSTS = {
    "anthropic": ["api.anthropic.com"],
    "arcee": ["api.arcee.ai"],
    "avian": ["api.avian.io"],
    "aws": ["amazonaws.com"],
    "azure": [
        "openai.azure.com",
        "azure-api.net",
        "cognitiveservices.azure.com",
        "services.ai.azure.com",
    ],
    "baseten": ["inference.baseten.co"],
    "cerebras": ["api.cerebras.ai"],
    "cloudflare": ["api.cloudflare.com"],
    "cohere": ["api.cohere.ai", "api.cohere.com"],
    "databricks": ["cloud.databricks.com", "azuredatabricks.net", "gcp.databricks.com"],
    "deepseek": ["api.deepseek.com"],
    "doubleword": ["api.doubleword.ai"],
    "fireworks": ["api.fireworks.ai"],
    "google": ["googleapis.com"],
    "groq": ["api.groq.com"],
    "meta": ["api.meta.ai"],
    "minimax": ["api.minimax.com", "api.minimax.io", "api.minimaxi.com"],
    "mistral": ["api.mistral.ai"],
    "moonshotai": ["api.moonshot.ai", "api.moonshot.cn"],
    "openai": ["api.openai.com"],
    "ovhcloud": ["endpoints.kepler.ai.cloud.ovh.net"],
    "perplexity": ["api.perplexity.ai"],
    "together": ["api.together.xyz"],
    "voyageai": ["api.voyageai.com"],
    "x-ai": ["api.x.ai"],
    "zai": ["api.z.ai"],
    "zhipuai": ["open.bigmodel.cn"],
}

RATES = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
}

# Tokens that backends do not tell apart from those of text in what a client can ask the gateway for.
UNTOLD = {"output_audio_mtok", "output_image_mtok", "output_video_mtok", "output_citation_mtok"}

TTS = r"^(?!.*-[tT][tT][sS](?:$|-))"


def text(amount):
    """The amount as a decimal number without an exponent."""
    plain = format(amount.normalize(), "f")
    return plain


def pattern(clause):
    """A condition on the name of a model."""
    match clause:
        case types.ClauseEquals(equals=value):
            return value.lower()
        case types.ClauseStartsWith(starts_with=value):
            return {"starts_with": value.lower()}
        case types.ClauseEndsWith(ends_with=value):
            return {"ends_with": value.lower()}
        case types.ClauseContains(contains=value):
            return {"contains": value.lower()}
        case types.ClauseRegex(regex=value) if value == TTS:
            # There is no looking ahead in an expression that is matched in linear time.
            return {"not": {"regex": "-tts(?:$|-)"}}
        case types.ClauseRegex(regex=value):
            if "(?!" in value or "(?=" in value:
                raise ValueError(f"an expression that looks ahead: {value}")
            return {"regex": value.replace("\\d", "[0-9]")}
        case types.ClauseOr(or_=clauses):
            return {"any": [pattern(clause) for clause in clauses]}
        case types.ClauseAnd(and_=clauses):
            return {"all": [pattern(clause) for clause in clauses]}
    raise ValueError(f"unknown clause: {clause}")


def price(written):
    """Rates in dollars for a million tokens; None where tokens have none."""
    known = {key: value for key, value in written.__dict__.items() if value is not None}
    if "input_mtok" not in known or UNTOLD & known.keys():
        return None
    rates = {}
    tiers = {}
    for key, name in RATES.items():
        value = known.get(key)
        if isinstance(value, types.TieredPrices):
            rates[name] = text(value.base)
            for tier in value.tiers:
                tiers.setdefault(tier.start, {})[name] = text(tier.price)
        elif value is not None:
            rates[name] = text(value)
    # What has no price for its answers gives none: it makes vectors, or sorts.
    rates.setdefault("output", "0")
    if "requests_kcount" in known:
        rates["request"] = text(known["requests_kcount"] / Decimal(1000))
    if tiers:
        # A rate that does not change at a tier is still that of the tier below.
        merged = {}
        rates["tiers"] = []
        for start in sorted(tiers):
            merged = {**merged, **tiers[start]}
            rates["tiers"].append({"over": start, **merged})
    return rates


def minute(moment):
    """A time of day, in UTC."""
    if moment.tzinfo is not None:
        moment = datetime.datetime.combine(datetime.date(1970, 1, 1), moment).astimezone(datetime.UTC).time()
    return f"{moment.hour:02}:{moment.minute:02}"


def changes(prices, today):
    """The price now, and what changes it: later, or at some time of each day."""
    if isinstance(prices, types.ModelPrice):
        return price(prices), []
    base = prices[0].prices
    later = []
    for conditional in prices:
        match conditional.constraint:
            case None:
                # The first is what holds when nothing else does.
                if conditional is not prices[0]:
                    base, later = conditional.prices, []
            case types.StartDateConstraint(start_date=start) if start <= today:
                base, later = conditional.prices, []
            case types.StartDateConstraint(start_date=start):
                later.append(({"from": start.isoformat()}, conditional.prices))
            case types.TimeOfDateConstraint(start_time=start, end_time=end):
                later.append(({"daily": {"from": minute(start), "to": minute(end)}}, conditional.prices))
    found = [({**when}, price(prices)) for when, prices in later]
    if price(base) is None or any(rates is None for _, rates in found):
        return None, []
    return price(base), [{**when, "price": rates} for when, rates in found]


def models(provider, today):
    """The models of a provider, in the order in which they are looked at."""
    for model in provider.models:
        rates, later = changes(model.prices, today)
        if rates is None:
            # It is written down all the same: it hides those below it that would match its name.
            later = []
        found = {"id": model.id}
        match = pattern(model.match)
        if match != model.id.lower():
            found["match"] = match["any"] if isinstance(match, dict) and "any" in match else [match]
        found["price"] = rates
        if later:
            found["changes"] = later
        yield found


def line(value):
    """On one line, without blanks where none are needed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(path):
    today = datetime.datetime.now(datetime.UTC).date()
    version = importlib.metadata.version("genai-prices")
    head = {
        "format": 1,
        "source": "genai-prices, https://github.com/pydantic/genai-prices",
        "revision": f"{version} as of {today.isoformat()}",
        "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present; its text is in LICENSE-genai-prices",
    }
    blocks = []
    for provider in providers:
        if provider.id not in HOSTS:
            continue
        about = {"id": provider.id, "names": NAMES.get(provider.id, []), "hosts": HOSTS[provider.id]}
        if provider.fallback_model_providers:
            about["falls_back_to"] = provider.fallback_model_providers
        rows = ",\n".join(line(model) for model in models(provider, today))
        blocks.append(line(about)[:-1] + ',"models":[\n' + rows + "\n]}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(line(head)[:-1] + ',\n"providers":[\n' + ",\n".join(blocks) + "\n]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
