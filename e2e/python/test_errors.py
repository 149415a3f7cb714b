"""What goes wrong reaches the application as the class of exception that its package has for it."""

import anthropic as anthropic_package
import httpx
import openai as openai_package
import pytest

from harness import broken_off, models


def ask():
    return [{"role": "user", "content": "Say something."}]


def chat(client, model, **options):
    return client.chat.completions.create(model=model, messages=ask(), **options)


def send(client, model, **options):
    return client.messages.create(model=model, messages=ask(), max_tokens=50, **options)


def test_openai_bad_request(openai):
    with pytest.raises(openai_package.BadRequestError) as caught:
        openai.post("/chat/completions", body={"messages": ask()}, cast_to=object)
    assert "model" in caught.value.message
    assert caught.value.request_id


def test_anthropic_bad_request(anthropic):
    with pytest.raises(anthropic_package.BadRequestError) as caught:
        anthropic.post("/v1/messages", body={"messages": ask()}, cast_to=object)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert caught.value.request_id


def test_malformed_json_is_a_bad_request(gateway):
    answer = httpx.post(f"{gateway.openai_url}/chat/completions", content=b'{"model": "x", ')
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]


def test_the_backends_own_bad_request_passes(openai):
    with pytest.raises(openai_package.BadRequestError) as caught:
        chat(openai, models.BAD)
    assert caught.value.body["message"]


def test_openai_authentication(openai):
    with pytest.raises(openai_package.AuthenticationError):
        chat(openai, models.REFUSED)


def test_anthropic_authentication(anthropic):
    with pytest.raises(anthropic_package.AuthenticationError):
        send(anthropic, models.CLAUDE_REFUSED)


def test_openai_unknown_model_names_the_known_ones(openai):
    with pytest.raises(openai_package.NotFoundError) as caught:
        chat(openai, "no-such-model")
    assert "no-such-model" in caught.value.message
    assert models.GPT in caught.value.message
    assert caught.value.code == "model_not_found"


def test_anthropic_unknown_model_names_the_known_ones(anthropic):
    with pytest.raises(anthropic_package.NotFoundError) as caught:
        send(anthropic, "no-such-model")
    assert models.CLAUDE in caught.value.message
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_unknown_path(openai):
    with pytest.raises(openai_package.NotFoundError):
        openai.fine_tuning.jobs.list()


def test_openai_rate_limit_says_when(openai):
    with pytest.raises(openai_package.RateLimitError) as caught:
        chat(openai, models.LIMITED)
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_anthropic_rate_limit_says_when(anthropic):
    with pytest.raises(anthropic_package.RateLimitError) as caught:
        send(anthropic, models.CLAUDE_LIMITED)
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_openai_server_error(openai):
    with pytest.raises(openai_package.InternalServerError):
        chat(openai, models.FAILING)


def test_a_backend_that_is_not_there(openai, anthropic):
    with pytest.raises(openai_package.InternalServerError) as caught:
        chat(openai, models.ABSENT)
    assert caught.value.status_code in (502, 503)
    with pytest.raises(anthropic_package.InternalServerError) as caught:
        send(anthropic, models.ABSENT)
    assert caught.value.body["type"] == "error"


@pytest.mark.parametrize("model", ["CUT", "CLAUDE_CUT"])
def test_openai_stream_that_breaks_raises(openai, model):
    pieces = []
    with pytest.raises(broken_off(openai_package)):
        for chunk in chat(openai, getattr(models, model), stream=True):
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    assert pieces


@pytest.mark.parametrize("model", ["CUT", "CLAUDE_CUT"])
def test_anthropic_stream_that_breaks_raises(anthropic, model):
    pieces = []
    with pytest.raises(broken_off(anthropic_package)):
        with anthropic.messages.stream(model=getattr(models, model), messages=ask(), max_tokens=50) as stream:
            pieces.extend(stream.text_stream)
    assert pieces


def test_an_id_of_the_client_is_kept(openai, mock):
    chat(openai, models.GPT, extra_headers={"x-request-id": "mine-1"})
    [request] = mock.requests()
    assert request.headers["x-request-id"] == "mine-1"
