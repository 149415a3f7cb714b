"""Who tries again, and how often: counted where the requests arrive."""

import openai as openai_package
import pytest

from harness import models


def ask():
    return [{"role": "user", "content": "Say something."}]


def chat(client, model, **options):
    return client.chat.completions.create(model=model, messages=ask(), **options)


def test_the_client_tries_again(openai, mock):
    assert chat(openai.with_options(max_retries=2), models.FLAKY).choices[0].message.content
    assert len(mock.requests()) == 3


def test_the_client_gives_up(openai, mock):
    with pytest.raises(openai_package.InternalServerError):
        chat(openai.with_options(max_retries=1), models.FAILING)
    assert len(mock.requests()) == 2


def test_without_a_policy_the_gateway_tries_once(openai, mock):
    with pytest.raises(openai_package.InternalServerError):
        chat(openai, models.FAILING)
    assert len(mock.requests()) == 1


def test_with_a_policy_the_gateway_tries_again(openai, mock):
    assert chat(openai, models.RETRIED).choices[0].message.content
    first, second = mock.requests()
    # Made afresh from the client's own request, not from the first attempt.
    assert first.json == second.json


def test_the_gateway_falls_back_to_the_next_priority(openai, gateway):
    completion = chat(openai, models.FALLBACK)
    assert completion.choices[0].message.content
    stream = chat(openai, models.FALLBACK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == completion.choices[0].message.content


def test_fallback_may_cross_to_the_other_dialect(anthropic):
    message = anthropic.messages.create(model=models.FALLBACK, messages=ask(), max_tokens=50)
    assert message.content[0].text


def test_nothing_is_tried_again_once_text_has_arrived(openai, mock):
    with pytest.raises(openai_package.APIError):
        list(chat(openai, models.RETRIED_CUT, stream=True))
    assert len(mock.requests()) == 1
