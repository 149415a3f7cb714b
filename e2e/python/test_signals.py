"""What operators see: one line and one count for each request, with the tokens that the backend told."""

from harness import get, models, until


def ask():
    return [{"role": "user", "content": "Say something."}]


def line_of(gateway, request_id):
    def found():
        lines = [line for line in gateway.lines() if line["x-request-id"] == request_id]
        return lines and lines[-1]

    return until(found, 2.0, f"a line for {request_id}")


def test_a_line_tells_models_backend_and_tokens(openai, gateway):
    answer = openai.chat.completions.create(model=models.FALLBACK, messages=ask())
    line = line_of(gateway, answer._request_id)
    assert line["gen_ai.original.model"] == models.FALLBACK
    assert line["gen_ai.response.model"] == answer.model
    assert line["tollgate.backend"].endswith("/anthropic")
    assert line["tollgate.attempts"] == 2
    assert line["gen_ai.usage.input_tokens"] == answer.usage.prompt_tokens
    assert line["gen_ai.usage.output_tokens"] == answer.usage.completion_tokens
    assert line["tollgate.outcome"] == "complete"


def test_tokens_are_counted_for_a_client_that_did_not_ask(openai, gateway):
    whole = openai.chat.completions.create(model=models.GPT, messages=ask())
    with openai.chat.completions.with_streaming_response.create(
        model=models.GPT, messages=ask(), stream=True
    ) as stream:
        request_id = stream.headers["x-request-id"]
        assert '"usage":{' not in "".join(stream.iter_text())
    line = line_of(gateway, request_id)
    assert line["gen_ai.usage.output_tokens"] == whole.usage.completion_tokens
    assert line["time_to_first_token_ms"] > 0


def test_tokens_of_a_client_that_left_are_estimated(openai, gateway):
    with openai.chat.completions.with_streaming_response.create(
        model=models.SLOW, messages=ask(), stream=True
    ) as stream:
        request_id = stream.headers["x-request-id"]
        next(chunk for chunk in stream.iter_text() if "You" in chunk)
    line = line_of(gateway, request_id)
    assert line["tollgate.outcome"] == "client_gone"
    assert line["tollgate.usage_source"] == "estimated"
    assert line["gen_ai.usage.input_tokens"] > 0


def test_no_secret_is_told(openai, gateway):
    openai.chat.completions.create(model=models.GPT, messages=ask())
    told = get(f"{gateway.admin_url}/config") + gateway.metrics() + gateway.told() + gateway.log.read_text()
    assert "upstream-openai-key" not in told
    assert "client-key" not in told
