"""Every kind of backend, and what applications ask beyond words: pictures, reasoning, shapes of answers, other clouds' faults, and what
the gateway writes down of it."""

import asyncio
import json
import time
from itertools import islice

import anthropic as anthropic_package
import openai as openai_package
import pytest
from pydantic import BaseModel

from backends import (
    ASKED,
    GOOGLE,
    KINDS,
    READ,
    SAID,
    SAYS,
    SIGNATURE,
    THINKS,
    THOUGHT,
    chat,
    model,
    send,
    served,
)
from harness import PIXEL, until


class Answer(BaseModel):
    city: str
    degrees: int


# What the mock server answers to that schema.
SHAPED = Answer(city="text", degrees=18)

PROVIDERS = {
    "openai": "openai",
    "responses": "openai",
    "azure": "azure.openai",
    "sagemaker": "aws.sagemaker",
    "anthropic": "anthropic",
    "vertex_claude": "gcp.anthropic",
    "bedrock_claude": "aws.anthropic",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex_gemini": "gcp.vertex_ai",
}


@pytest.fixture(params=KINDS)
def name(request):
    return request.param


@pytest.fixture
def backend(name):
    return KINDS[name]


@pytest.fixture
def openai(openai_of_all):
    return openai_of_all


@pytest.fixture
def anthropic(anthropic_of_all):
    return anthropic_of_all


def test_the_record_has_what_was_counted(openai, gateway, name, backend):
    for stream in (False, True):
        raw = openai.chat.completions.with_raw_response.create(model=backend.model, messages=ASKED, stream=stream)
        if stream:
            list(raw.parse())
        request_id = raw.headers["x-request-id"]
        [line] = until(
            lambda: [line for line in gateway.lines() if line["x-request-id"] == request_id], 2.0, "a line in the log"
        )
        assert (line["gen_ai.usage.input_tokens"], line["gen_ai.usage.output_tokens"]) == (READ, SAYS)
        assert line["gen_ai.provider.name"] == PROVIDERS[name]
        assert line["tollgate.outcome"] == "complete"
        assert line["tollgate.usage_source"] == "provider_final"
        if backend.served:
            assert line["gen_ai.response.model"] == served(backend)


def test_a_picture(openai, anthropic, backend, mock):
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    chat(openai, backend, messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, url]}])
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    send(anthropic, backend, messages=[{"role": "user", "content": content}])
    for request in mock.requests():
        told = json.dumps(request.json)
        assert told.count(PIXEL) == 1
        assert "png" in told


def test_instructions_and_bounds(openai, anthropic, backend, mock):
    instructed = [{"role": "system", "content": "Be brief."}, *ASKED]
    chat(openai, backend, messages=instructed, max_tokens=77, temperature=0.5, stop=["END"])
    anthropic.messages.create(
        model=backend.model,
        system="Be brief.",
        messages=ASKED,
        max_tokens=77,
        stop_sequences=["END"],
        extra_body={"temperature": 0.5},
    )
    for request in mock.requests():
        told = json.dumps(request.json)
        assert "Be brief." in told
        assert "77" in told
        assert "0.5" in told
        # Responses have no words for it.
        assert ("END" in told) == (not request.path.endswith("/responses"))


def test_shaped_by_a_chat(openai, backend):
    completion = openai.chat.completions.parse(model=backend.model, messages=ASKED, response_format=Answer)
    assert completion.choices[0].message.parsed == SHAPED
    with openai.chat.completions.stream(model=backend.model, messages=ASKED, response_format=Answer) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == SHAPED


def test_shaped_by_a_message(anthropic, backend):
    message = anthropic.messages.parse(
        model=backend.model, messages=ASKED, max_tokens=100, output_format=Answer
    )
    assert message.parsed_output == SHAPED


def test_shaped_by_a_response(openai, backend):
    response = openai.responses.parse(model=backend.model, input="Say something.", text_format=Answer)
    assert response.output_parsed == SHAPED


@pytest.mark.parametrize("backend", [kind for kind in KINDS.values() if kind.thinks], ids=lambda kind: kind.model)
def test_reasoning_in_a_response(openai, backend, mock):
    options = {
        "model": model(backend, "thinking"),
        "input": "Say something.",
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    whole = openai.responses.create(**options)
    with openai.responses.stream(**options) as stream:
        deltas = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == THOUGHT
    for response in (whole, final):
        reasoning, message = response.output
        assert [summary.text for summary in reasoning.summary] == [THOUGHT]
        assert message.content[0].text == response.output_text == SAID
        assert response.usage.output_tokens == SAYS + THINKS

    turns = [{"role": "user", "content": "Say something."}, *whole.output, {"role": "user", "content": "Go on."}]
    openai.responses.create(**{**options, "input": turns})
    told = json.dumps(mock.requests()[-1].json)
    assert told.count(SIGNATURE) == 1
    assert told.count(THOUGHT) == 1


def test_the_page_of_a_proxy_is_an_error_all_the_same(openai, anthropic, backend):
    with pytest.raises(openai_package.InternalServerError) as caught:
        chat(openai, backend, "html")
    assert "502 Bad Gateway" in caught.value.body["message"]
    with pytest.raises(anthropic_package.InternalServerError) as caught:
        send(anthropic, backend, "html")
    assert caught.value.body["type"] == "error"
    assert "502 Bad Gateway" in caught.value.body["error"]["message"]


def test_an_answer_that_is_half_is_an_error(openai, anthropic, backend):
    with pytest.raises(openai_package.InternalServerError) as caught:
        chat(openai, backend, "cut")
    assert caught.value.body["message"]
    with pytest.raises(anthropic_package.InternalServerError) as caught:
        send(anthropic, backend, "cut")
    assert caught.value.body["error"]["message"]


def test_the_backend_is_told_when_the_client_leaves(openai, backend, mock):
    stream = chat(openai, backend, "slow", stream=True)
    next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    stream.close()
    mock.wait_for_client_gone(1.0)


def test_words_arrive_as_they_are_said(openai, backend):
    """Whatever the framing: a piece does not wait for the next one. The mock server pauses 200 ms between two."""
    with chat(openai, backend, "slow", stream=True) as stream:
        said = (time.monotonic() for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
        times = list(islice(said, 4))
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert min(gaps) > 0.05


def test_without_its_token_a_request_reaches_no_cloud(gateway, mock):
    with openai_package.OpenAI(base_url=gateway.openai_url, api_key="client-key", max_retries=0) as client:
        for name in ("vertex_claude", "vertex_gemini"):
            with pytest.raises(openai_package.AuthenticationError):
                chat(client, KINDS[name])
    assert mock.requests() == []


def test_many_at_once(gateway, async_openai):
    """Concurrent streams in all framings do not mix."""

    async def one(client, number, backend):
        messages = [{"role": "user", "content": f"number {number}"}]
        stream = await client.chat.completions.create(model=backend.model, messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them():
        async with async_openai() as client:
            client = client.with_options(default_headers=GOOGLE)
            kinds = list(KINDS.values()) * 4
            return await asyncio.gather(*(one(client, number, kind) for number, kind in enumerate(kinds)))

    texts = asyncio.run(all_of_them())
    assert texts == [f"You said: number {number} This is all that a mock can answer." for number in range(len(texts))]
    assert len(texts) == 4 * len(KINDS)
