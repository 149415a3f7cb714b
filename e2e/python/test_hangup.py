"""A client that goes away in the middle of a stream."""

import time

import pytest

from harness import models


def ask():
    return [{"role": "user", "content": "Say something."}]


def leave(openai, model):
    stream = openai.chat.completions.create(model=model, messages=ask(), stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()


@pytest.mark.parametrize("model", ["SLOW", "CLAUDE_SLOW"])
def test_the_backend_is_told_at_once_and_it_is_counted(openai, mock, gateway, model):
    leave(openai, getattr(models, model))
    left = time.monotonic()
    mock.wait_for_client_gone(1.0)
    assert time.monotonic() - left < 1.0
    gateway.wait_for_metric("client_gone", 2.0)


def test_a_client_that_times_out_is_one_that_left(openai, mock):
    import openai as package

    with pytest.raises(package.APITimeoutError):
        openai.with_options(timeout=0.5).chat.completions.create(model=models.SILENT, messages=ask())
    mock.wait_for_client_gone(1.0)


def test_others_go_on(openai):
    whole = openai.chat.completions.create(model=models.GPT, messages=ask())
    stream = openai.chat.completions.create(model=models.GPT, messages=ask(), stream=True)
    leave(openai, models.SLOW)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content
