"""The google-genai package, in front of every kind of backend."""

import json

import pytest
from google import genai
from google.genai import errors, types

from backends import ASKED, CALLS, FAULT, GOOGLE, KINDS, READ, SAID, SAYS, THINKS, THOUGHT, model, served, tells_calls_again
from harness import TOOL_WEATHER, broken_off

FUNCTION = types.FunctionDeclaration(
    name="get_weather",
    description="The weather of a city.",
    parameters_json_schema=TOOL_WEATHER["function"]["parameters"],
)
TOOLS = {
    "tools": [types.Tool(function_declarations=[FUNCTION])],
    "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
}
TEXT = ASKED[0]["content"]


@pytest.fixture(params=KINDS)
def backend(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def client(_gateway):
    options = types.HttpOptions(base_url=_gateway.url, headers=GOOGLE, timeout=10_000)
    with genai.Client(api_key="client-key", http_options=options) as client:
        yield client.models


def ask(client, backend, wish=None, contents=TEXT, **config):
    return client.generate_content(model=model(backend, wish), contents=contents, config=config or None)


def stream(client, backend, wish=None, **config):
    return list(client.generate_content_stream(model=model(backend, wish), contents=TEXT, config=config or None))


def parts(chunks):
    """All parts of a stream."""
    candidates = [candidate for chunk in chunks for candidate in chunk.candidates or []]
    return [part for candidate in candidates if candidate.content for part in candidate.content.parts or []]


def functions(found):
    return [(call.name, call.args) for call in found]


def expected(count):
    return [("get_weather", arguments) for _, arguments in CALLS[:count]]


def test_generate(client, backend, mock):
    answer = ask(client, backend)
    assert answer.text == SAID
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.candidates[0].content.role == "model"
    assert answer.model_version == served(backend)
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (READ, SAYS, READ + SAYS)
    [request] = mock.requests()
    assert request.path == backend.path
    assert "client-key" not in str(request.headers)


def test_generate_stream(client, backend, mock):
    chunks = stream(client, backend)
    pieces = [part.text for part in parts(chunks) if part.text]
    assert "".join(pieces) == SAID
    assert len(pieces) == SAYS
    reasons = [candidate.finish_reason for chunk in chunks for candidate in chunk.candidates or []]
    assert [reason for reason in reasons if reason] == [types.FinishReason.STOP]
    usage = chunks[-1].usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (READ, SAYS, READ + SAYS)
    assert mock.requests()[0].path == backend.stream_path


@pytest.mark.parametrize("wish, count", [("tool", 1), ("tools", 2)])
def test_functions(client, backend, mock, wish, count):
    answer = ask(client, backend, wish, **TOOLS)
    assert functions(answer.function_calls) == expected(count)
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP

    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"degrees": 18}))
        for call in answer.function_calls
    ]
    contents = [
        types.UserContent(TEXT),
        answer.candidates[0].content,
        types.Content(role="user", parts=results),
    ]
    said = ask(client, backend, wish, contents, **TOOLS)
    assert said.text.endswith("This is all that a mock can answer.")
    assert not said.function_calls
    assert tells_calls_again(mock.requests()[-1].json, backend, count)


@pytest.mark.parametrize("wish, count", [("tool", 1), ("tools", 2)])
def test_functions_in_a_stream(client, backend, wish, count):
    found = [part.function_call for part in parts(stream(client, backend, wish, **TOOLS)) if part.function_call]
    assert functions(found) == expected(count)


def test_function_that_must_be_called(client, backend):
    config = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
    answer = ask(client, backend, **TOOLS, tool_config=config)
    assert functions(answer.function_calls) == expected(1)


def test_structured_output(client, backend):
    schema = {"type": "object", "properties": {"degrees": {"type": "integer"}}, "required": ["degrees"]}
    answer = ask(client, backend, response_mime_type="application/json", response_json_schema=schema)
    assert json.loads(answer.text) == {"degrees": 18}


@pytest.mark.parametrize(
    "backend",
    [kind for kind in KINDS.values() if kind.thinks or "gemini" in kind.model],
    ids=lambda kind: kind.model,
)
def test_thinking(client, backend):
    config = {"thinking_config": types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)}
    answer = ask(client, backend, "thinking", **config)
    thought, text = answer.candidates[0].content.parts
    assert (thought.thought, thought.text) == (True, THOUGHT)
    assert text.text == answer.text == SAID
    chunks = stream(client, backend, "thinking", **config)
    thoughts = [part.text for part in parts(chunks) if part.thought and part.text]
    assert "".join(thoughts) == THOUGHT
    assert "".join(part.text for part in parts(chunks) if part.text and not part.thought) == SAID
    for usage in (answer.usage_metadata, chunks[-1].usage_metadata):
        assert usage.total_token_count == READ + SAYS + THINKS


@pytest.mark.parametrize(
    "status, exception, word",
    [
        (400, errors.ClientError, "INVALID_ARGUMENT"),
        (401, errors.ClientError, "UNAUTHENTICATED"),
        (404, errors.ClientError, "NOT_FOUND"),
        (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
        (500, errors.ServerError, "INTERNAL"),
        (503, errors.ServerError, "UNAVAILABLE"),
    ],
)
def test_errors(client, backend, status, exception, word):
    for call in (ask, stream):
        with pytest.raises(exception) as caught:
            call(client, backend, str(status))
        assert (caught.value.code, caught.value.status) == (status, word)
        assert caught.value.message == FAULT.format(status)


@pytest.mark.parametrize("wish", ["cut", "error"])
def test_a_stream_that_breaks_raises(client, backend, wish):
    pieces = []
    with pytest.raises(broken_off(errors)):
        for chunk in client.generate_content_stream(model=model(backend, wish), contents=TEXT):
            pieces += [part.text for part in parts([chunk]) if part.text]
    assert pieces
    assert SAID.startswith("".join(pieces))


def test_unknown_model(client):
    with pytest.raises(errors.ClientError) as caught:
        client.generate_content(model="no-such-model", contents=TEXT)
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert "no-such-model" in caught.value.message


@pytest.mark.parametrize("name", ["openai", "anthropic", "vertex_claude", "bedrock_claude", "bedrock", "gemini"])
def test_count_tokens(client, name):
    assert client.count_tokens(model=KINDS[name].model, contents=TEXT).total_tokens == READ
