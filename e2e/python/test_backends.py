"""Every kind of backend, asked by the packages of both families: what they are told is the same, to the word and the number."""

import json
import re

import anthropic as anthropic_package
import openai as openai_package
import pytest

from backends import (
    ASKED,
    FAULT,
    KINDS,
    READ,
    SAID,
    SAYS,
    SIGNATURE,
    THINKS,
    THOUGHT,
    VERTEX,
    are_calls,
    chat,
    model,
    send,
    served,
    tells_calls_again,
)
from harness import TOOL_WEATHER, broken_off

TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": TOOL_WEATHER["function"]["parameters"],
}


@pytest.fixture(params=KINDS)
def backend(request):
    return KINDS[request.param]


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.thinks])
def thinker(request):
    return KINDS[request.param]


@pytest.fixture
def openai(openai_of_all):
    return openai_of_all


@pytest.fixture
def anthropic(anthropic_of_all):
    return anthropic_of_all


def streamed(client, backend, wish=None, **options):
    options = {"messages": ASKED, "max_tokens": 4096, **options}
    return client.messages.stream(model=model(backend, wish), **options)


def calls_of_chat(message):
    return [(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]


def calls_of_message(message):
    return [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]


def test_the_backend_is_asked_at_its_place_with_its_credential(openai, anthropic, backend, mock):
    chat(openai, backend)
    send(anthropic, backend)
    chat(openai, backend, stream=True).close()
    requests = mock.requests()
    assert [request.path for request in requests] == [backend.path, backend.path, backend.stream_path]
    for request in requests:
        assert re.fullmatch(backend.shows, request.headers[backend.header])
        assert "client-key" not in str(request.headers)
        assert "x-aigw" not in str(request.headers)


# The openai package: chat completions.


def test_chat(openai, backend):
    completion = chat(openai, backend)
    assert completion.choices[0].message.content == SAID
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == served(backend)
    assert completion.id
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (READ, SAYS, READ + SAYS)


def test_chat_stream(openai, backend):
    *chunks, last = list(chat(openai, backend, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert "".join(pieces) == SAID
    assert len(pieces) == SAYS
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert {chunk.model for chunk in chunks} == {served(backend)}
    assert len({chunk.id for chunk in chunks}) == 1
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (READ, SAYS)
    assert last.usage.total_tokens == READ + SAYS


def test_chat_stream_shows_no_usage_unasked(openai, backend):
    assert all(chunk.usage is None and chunk.choices for chunk in chat(openai, backend, stream=True))


@pytest.mark.parametrize("wish, count", [("tool", 1), ("tools", 2)])
def test_chat_tools(openai, backend, mock, wish, count):
    completion = chat(openai, backend, wish, tools=[TOOL_WEATHER])
    message = completion.choices[0].message
    assert are_calls(calls_of_chat(message), backend, count)
    assert completion.choices[0].finish_reason == "tool_calls"
    assert not message.content

    results = [{"role": "tool", "tool_call_id": id, "content": "18 degrees"} for id, _, _ in calls_of_chat(message)]
    answer = chat(openai, backend, wish, [*ASKED, message, *results], tools=[TOOL_WEATHER])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content.endswith("This is all that a mock can answer.")
    assert tells_calls_again(mock.requests()[-1].json, backend, count)


@pytest.mark.parametrize("wish, count", [("tool", 1), ("tools", 2)])
def test_chat_tools_in_a_stream(openai, backend, wish, count):
    options = {"model": model(backend, wish), "messages": ASKED, "tools": [TOOL_WEATHER]}
    with openai.chat.completions.stream(**options) as stream:
        done = [event.name for event in stream if event.type == "tool_calls.function.arguments.done"]
        completion = stream.get_final_completion()
    assert done == ["get_weather"] * count
    assert are_calls(calls_of_chat(completion.choices[0].message), backend, count)
    assert completion.choices[0].finish_reason == "tool_calls"


def test_chat_tool_that_must_be_called(openai, backend):
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        completion = chat(openai, backend, tools=[TOOL_WEATHER], tool_choice=choice)
        assert are_calls(calls_of_chat(completion.choices[0].message), backend, 1)


def test_chat_structured_output(openai, backend):
    from pydantic import BaseModel

    class Answer(BaseModel):
        city: str
        degrees: int

    completion = openai.chat.completions.parse(model=backend.model, messages=ASKED, response_format=Answer)
    assert completion.choices[0].message.parsed == Answer(city="text", degrees=18)


def test_chat_thinking(openai, thinker):
    message = chat(openai, thinker, "thinking").choices[0].message
    assert message.content == SAID
    assert message.reasoning_content == THOUGHT
    assert message.thinking_blocks == [{"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}]
    with openai.chat.completions.stream(model=model(thinker, "thinking"), messages=ASKED) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.content == SAID
    assert message.reasoning_content == THOUGHT
    [block] = message.thinking_blocks
    assert (block["thinking"], block["signature"]) == (THOUGHT, SIGNATURE)


ERRORS = [
    (400, openai_package.BadRequestError, "invalid_request_error"),
    (401, openai_package.AuthenticationError, "authentication_error"),
    (403, openai_package.PermissionDeniedError, "permission_error"),
    (404, openai_package.NotFoundError, "not_found_error"),
    (429, openai_package.RateLimitError, "rate_limit_error"),
    (500, openai_package.InternalServerError, "api_error"),
    (503, openai_package.InternalServerError, "api_error"),
]


@pytest.mark.parametrize("status, exception, _", ERRORS)
def test_chat_errors(openai, backend, status, exception, _):
    for stream in (False, True):
        with pytest.raises(exception) as caught:
            chat(openai, backend, str(status), stream=stream)
        assert caught.value.status_code == status
        assert caught.value.body["message"] == FAULT.format(status)
        assert caught.value.body["type"]
        assert caught.value.request_id
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("wish", ["cut", "error"])
def test_chat_stream_that_breaks_raises(openai, backend, wish):
    pieces = []
    with pytest.raises(broken_off(openai_package)):
        for chunk in chat(openai, backend, wish, stream=True):
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    assert pieces
    assert SAID.startswith("".join(pieces))


# The anthropic package: messages.


def test_message(anthropic, backend):
    message = send(anthropic, backend)
    assert [block.text for block in message.content] == [SAID]
    assert message.stop_reason == "end_turn"
    assert message.model == served(backend)
    assert message.role == "assistant"
    assert message.id
    assert (message.usage.input_tokens, message.usage.output_tokens) == (READ, SAYS)


def test_message_stream(anthropic, backend):
    with streamed(anthropic, backend) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == SAID
    assert len(pieces) == SAYS
    assert [block.text for block in message.content] == [SAID]
    assert message.stop_reason == "end_turn"
    assert message.model == served(backend)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (READ, SAYS)


def test_message_events_are_in_order(anthropic, backend):
    kinds = [event.type for event in send(anthropic, backend, stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("wish, count", [("tool", 1), ("tools", 2)])
def test_message_tools(anthropic, backend, mock, wish, count):
    message = send(anthropic, backend, wish, tools=[TOOL])
    assert are_calls(calls_of_message(message), backend, count)
    assert message.stop_reason == "tool_use"
    with streamed(anthropic, backend, wish, tools=[TOOL]) as stream:
        final = stream.get_final_message()
    assert are_calls(calls_of_message(final), backend, count)
    assert final.stop_reason == "tool_use"

    results = [{"type": "tool_result", "tool_use_id": id, "content": "18 degrees"} for id, _, _ in calls_of_message(message)]
    turns = [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = send(anthropic, backend, wish, [*ASKED, *turns], tools=[TOOL])
    assert answer.stop_reason == "end_turn"
    assert answer.content[0].text.endswith("This is all that a mock can answer.")
    assert tells_calls_again(mock.requests()[-1].json, backend, count)


def test_message_thinking(anthropic, thinker, mock):
    options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    message = send(anthropic, thinker, **options)
    with streamed(anthropic, thinker, **options) as stream:
        final = stream.get_final_message()
    for told in (message, final):
        thought, text = told.content
        assert (thought.type, thought.thinking, thought.signature) == ("thinking", THOUGHT, SIGNATURE)
        assert text.text == SAID
        assert told.usage.output_tokens == SAYS + THINKS

    send(anthropic, thinker, messages=[*ASKED, {"role": "assistant", "content": message.content}, *ASKED], **options)
    assert json.dumps(mock.requests()[-1].json).count(SIGNATURE) == 1


@pytest.mark.parametrize("status, exception, word", ERRORS)
def test_message_errors(anthropic, backend, status, exception, word):
    exception = {503: anthropic_package.ServiceUnavailableError}.get(
        status, getattr(anthropic_package, exception.__name__)
    )
    for stream in (False, True):
        with pytest.raises(exception) as caught:
            send(anthropic, backend, str(status), stream=stream)
        assert caught.value.status_code == status
        assert caught.value.body["type"] == "error"
        assert caught.value.body["error"] == {"type": word, "message": FAULT.format(status)}
        assert caught.value.request_id
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("wish", ["cut", "error"])
def test_message_stream_that_breaks_raises(anthropic, backend, wish):
    pieces = []
    with pytest.raises(broken_off(anthropic_package)):
        with streamed(anthropic, backend, wish) as stream:
            pieces.extend(stream.text_stream)
    assert pieces
    assert SAID.startswith("".join(pieces))


# The openai package: responses. OpenAI and Azure serve them themselves.


def test_response(openai, backend):
    response = openai.responses.create(model=backend.model, input="Say something.")
    assert response.output_text == SAID
    assert response.status == "completed"
    assert response.model == served(backend)
    assert (response.usage.input_tokens, response.usage.output_tokens) == (READ, SAYS)
    assert response.usage.total_tokens == READ + SAYS


def test_response_stream(openai, backend):
    with openai.responses.stream(model=backend.model, input="Say something.") as stream:
        events = list(stream)
        response = stream.get_final_response()
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == SAID
    assert response.output_text == SAID
    assert (response.usage.input_tokens, response.usage.output_tokens) == (READ, SAYS)


@pytest.mark.parametrize("wish, count", [("tool", 1), ("tools", 2)])
def test_response_tools(openai, backend, wish, count):
    tool = {"type": "function", **TOOL_WEATHER["function"], "strict": False}
    options = {"model": model(backend, wish), "input": "Say something.", "tools": [tool]}
    whole = openai.responses.create(**options)
    with openai.responses.stream(**options) as stream:
        final = stream.get_final_response()
    for response in (whole, final):
        asked = [item for item in response.output if item.type == "function_call"]
        found = [(call.call_id, call.name, json.loads(call.arguments)) for call in asked]
        assert are_calls(found, backend, count)

    ids = [item.call_id for item in whole.output if item.type == "function_call"]
    results = [{"type": "function_call_output", "call_id": id, "output": "18 degrees"} for id in ids]
    turns = [{"role": "user", "content": "Say something."}, *whole.output, *results]
    answer = openai.responses.create(**{**options, "input": turns})
    assert answer.output_text.endswith("This is all that a mock can answer.")


@pytest.mark.parametrize("status, exception, _", ERRORS)
def test_response_errors(openai, backend, status, exception, _):
    with pytest.raises(exception) as caught:
        openai.responses.create(model=model(backend, str(status)), input="Say something.")
    assert caught.value.body["message"] == FAULT.format(status)


# Other operations that the clouds serve in their own way.


@pytest.mark.parametrize("name", ["amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"])
def test_embeddings_of_bedrock(openai, mock, name):
    # The package asks for base64 when nobody says otherwise, and decodes it.
    packed = openai.embeddings.create(model=name, input="one two three")
    plain = openai.embeddings.create(model=name, input="one two three", encoding_format="float")
    for answer in (packed, plain):
        assert [(item.index, item.embedding) for item in answer.data] == [(0, [0.25, -0.5, 0.75, 1.0])]
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (3, 3)
        assert answer.model == name
    assert {request.path for request in mock.requests()} == {f"/model/{name}/invoke"}


def test_embeddings_of_several_texts(openai, mock):
    answer = openai.embeddings.create(model="cohere.embed-v4:0", input=["one two", "three"], dimensions=256)
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == 3
    [request] = mock.requests()
    assert request.json["texts"] == ["one two", "three"]
    assert request.json["output_dimension"] == 256
    # Titan takes one text at a time.
    with pytest.raises(openai_package.UnprocessableEntityError):
        openai.embeddings.create(model="amazon.titan-embed-text-v2:0", input=["one two", "three"])


@pytest.mark.parametrize("name", ["azure", "sagemaker"])
def test_embeddings_in_openais_dialect(openai, name):
    answer = openai.embeddings.create(model=KINDS[name].model, input=["one two", "three"])
    assert [item.embedding for item in answer.data] == [[0.25, -0.5, 0.75, 1.0]] * 2
    assert answer.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    "name, path",
    [
        ("anthropic", "/v1/messages/count_tokens"),
        ("bedrock", "/model/anthropic.claude-5/count-tokens"),
        ("bedrock_claude", "/model/anthropic.claude-5/count-tokens"),
        ("vertex_claude", f"{VERTEX.rsplit('/', 1)[0]}/count-tokens:rawPredict"),
        ("gemini", "/v1beta/models/gemini-3-pro:countTokens"),
        ("openai", "/v1/responses/input_tokens"),
    ],
)
def test_count_tokens(openai, anthropic, mock, name, path):
    count = anthropic.messages.count_tokens(
        model=KINDS[name].model, system="Be very brief.", messages=ASKED, tools=[TOOL]
    )
    assert count.input_tokens == 5
    count = openai.responses.input_tokens.count(
        model=KINDS[name].model, instructions="Be very brief.", input="Say something."
    )
    assert count.input_tokens == 5
    assert [request.path for request in mock.requests()] == [path, path]
