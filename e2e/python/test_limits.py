"""Who calls, and what each caller may use: refusals as the packages raise them, and usage that agrees with what they were told."""

import asyncio
import json
import subprocess
import tempfile
from collections import Counter

import anthropic as anthropic_package
import openai as openai_package
import pytest

from harness import GATEWAY, PATIENCE, ROOT, Gateway, models, until

OPTIONS = {"max_retries": 0, "timeout": PATIENCE}
GPT_LARGE = "gpt-4o"
# The mock server tells a model by its full name.
DATE = "-2026-01-01"
# Billionths of a dollar for a token, as `e2e/prices.json` says it in dollars for a million.
PRICES = {models.GPT: (1000, 2000), GPT_LARGE: (10_000, 20_000), models.CLAUDE: (3000, 15_000)}


@pytest.fixture(scope="module")
def limited(_mock):
    with tempfile.TemporaryDirectory(prefix="tollgate-e2e-ledger-") as ledger:
        options = [f"--ledger={ledger}", f"--prices={ROOT / 'e2e' / 'prices.json'}"]
        running = Gateway(_mock, "limits.yaml", options)
        running.ledger = ledger
        yield running
        running.end()
        assert running.child.returncode == 0, running.told()


@pytest.fixture
def openai_of(limited):
    return lambda key: openai_package.OpenAI(base_url=limited.openai_url, api_key=key, **OPTIONS)


@pytest.fixture
def anthropic_of(limited):
    return lambda key: anthropic_package.Anthropic(base_url=limited.url, api_key=key, **OPTIONS)


def ask():
    return [{"role": "user", "content": "Say something."}]


def chat(client, model=models.GPT, **options):
    return client.chat.completions.create(model=model, messages=ask(), **options)


def send(client, model=models.CLAUDE):
    return client.messages.create(model=model, messages=ask(), max_tokens=50)


def wait_for_settled(gateway, user, count):
    """An attempt is charged when it is over, which the client may hear of a moment before."""

    def settled():
        lines = [line for line in gateway.lines() if line.get("tollgate.user") == user]
        return len(lines) >= count and lines

    return until(settled, PATIENCE, f"{count} lines of {user}")


def seconds(error):
    return int(error.response.headers["retry-after"])


def test_openai_wrong_key(openai_of, mock):
    with pytest.raises(openai_package.AuthenticationError) as caught:
        chat(openai_of("key-of-nobody"))
    assert caught.value.code == "invalid_api_key"
    assert mock.requests() == []


def test_anthropic_wrong_key(anthropic_of, mock):
    with pytest.raises(anthropic_package.AuthenticationError) as caught:
        send(anthropic_of("key-of-nobody"))
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert mock.requests() == []


def test_openai_over_a_limit_on_requests(openai_of, mock):
    client = openai_of("key-of-frequent")
    remaining = []
    for _ in range(2):
        answer = client.chat.completions.with_raw_response.create(model=models.GPT, messages=ask())
        remaining.append(answer.headers["x-ratelimit-remaining"])
    assert remaining == ["1", "0"]
    with pytest.raises(openai_package.RateLimitError) as caught:
        chat(client)
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < seconds(caught.value) <= 365 * 86_400
    assert caught.value.response.headers["x-ratelimit-limit"] == "2"
    assert len(mock.requests()) == 2


def test_anthropic_over_a_limit_on_requests(anthropic_of, mock):
    client = anthropic_of("key-of-frequent-at-claude")
    for _ in range(2):
        send(client)
    with pytest.raises(anthropic_package.RateLimitError) as caught:
        send(client)
    assert caught.value.body["error"]["type"] == "rate_limit_error"
    assert seconds(caught.value) > 0
    assert len(mock.requests()) == 2


def test_a_limit_on_tokens_is_charged_by_a_stream(openai_of, limited):
    client = openai_of("key-of-wordy")
    assert list(chat(client, stream=True))
    wait_for_settled(limited, "wordy", 1)
    with pytest.raises(openai_package.RateLimitError) as caught:
        chat(client)
    assert caught.value.response.headers["x-ratelimit-remaining"] == "0"


def test_a_budget_that_is_used_up_leads_to_another_model(openai_of, limited, mock):
    client = openai_of("key-of-spender")
    told = []
    for count in range(1, 3):
        answer = client.chat.completions.with_raw_response.create(model=GPT_LARGE, messages=ask())
        told.append((answer.parse().model.removesuffix(DATE), answer.headers.get("x-tollgate-rerouted-to")))
        wait_for_settled(limited, "spender", count)
    assert told == [(GPT_LARGE, None), (models.GPT, models.GPT)]
    assert [request.json["model"] for request in mock.requests()] == [GPT_LARGE, models.GPT]


def test_a_reservation_lets_in_what_fits_at_once(limited):
    async def all_at_once():
        options = {"base_url": limited.openai_url, "api_key": "key-of-parallel", **OPTIONS}
        async with openai_package.AsyncOpenAI(**options) as client:

            async def one():
                # Takes a while: a frame each 200 ms.
                stream = await chat(client, models.SLOW, max_tokens=1000, stream=True)
                return [chunk async for chunk in stream]

            return await asyncio.gather(*(one() for _ in range(8)), return_exceptions=True)

    answers = asyncio.run(all_at_once())
    refused = [answer for answer in answers if isinstance(answer, openai_package.RateLimitError)]
    assert (len(answers) - len(refused), len(refused)) == (1, 7), answers


def test_the_ledger_agrees_with_what_the_packages_were_told(openai_of, anthropic_of, limited):
    seen = Counter()

    def note(answer):
        usage = answer.usage.to_dict()
        seen[answer.model, "requests"] += 1
        seen[answer.model, "input_tokens"] += usage.get("prompt_tokens", usage.get("input_tokens"))
        seen[answer.model, "output_tokens"] += usage.get("completion_tokens", usage.get("output_tokens"))

    openai, anthropic = openai_of("key-of-counted"), anthropic_of("key-of-counted")
    for model in [models.GPT, models.GPT, GPT_LARGE]:
        note(chat(openai, model))
    note(list(chat(openai, stream=True, stream_options={"include_usage": True}))[-1])
    note(send(anthropic))
    # Each of them across dialects.
    note(chat(openai, models.CLAUDE))
    with anthropic.messages.stream(model=models.GPT, messages=ask(), max_tokens=50) as stream:
        note(stream.get_final_message())
    lines = wait_for_settled(limited, "counted", 7)
    assert {line["tollgate.team"] for line in lines} == {"research"}

    rows = wait_for_report(limited, "counted", 7)
    assert {row["model"] for row in rows} == {model + DATE for model in PRICES}
    for row in rows:
        for name in ["requests", "input_tokens", "output_tokens"]:
            assert row[name] == seen[row["model"], name], row
        of_input, of_output = PRICES[row["model"].removesuffix(DATE)]
        assert row["cost_nanodollars"] == of_input * row["input_tokens"] + of_output * row["output_tokens"]
        assert row["unpriced"] == 0


def wait_for_report(gateway, user, requests):
    """The rows of a user. The report tells what the disk has been asked to keep, which is some tenths of a second ago."""
    command = [GATEWAY, "usage", f"--ledger={gateway.ledger}", "--by=user,model", "--format=json"]

    def rows():
        told = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout
        found = [row for row in json.loads(told)["rows"] if row["user"] == user]
        return sum(row["requests"] for row in found) >= requests and found

    return until(rows, PATIENCE, f"{requests} requests of {user} in the report")
