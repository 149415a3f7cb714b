"""The anthropic package, in front of a backend of its own dialect: bytes are spliced."""

from harness import models

TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(text="Say something."):
    return [{"role": "user", "content": text}]


def test_message(anthropic):
    message = anthropic.messages.create(model=models.CLAUDE, max_tokens=100, messages=ask())
    assert message.content[0].type == "text"
    assert message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id


def test_stream_arrives_in_pieces_and_says_the_same(anthropic):
    whole = anthropic.messages.create(model=models.CLAUDE, max_tokens=100, messages=ask())
    with anthropic.messages.stream(model=models.CLAUDE, max_tokens=100, messages=ask()) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == message.content[0].text == whole.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == whole.usage.output_tokens
    assert message.usage.input_tokens == whole.usage.input_tokens


def test_tool_use_and_its_result_make_a_round_trip(anthropic, mock):
    messages = ask("What is the weather in Paris?")
    message = anthropic.messages.create(model=models.CLAUDE_TOOL, max_tokens=100, messages=messages, tools=[TOOL])
    assert message.stop_reason == "tool_use"
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert call.name == "get_weather"
    assert isinstance(call.input, dict)

    result = {"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"}
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = anthropic.messages.create(model=models.CLAUDE, max_tokens=100, messages=messages, tools=[TOOL])
    assert answer.content[0].text
    assert mock.requests()[-1].json["messages"][2]["content"][0]["tool_use_id"] == call.id


def test_parallel_tool_use_streamed(anthropic):
    asked = {"model": models.CLAUDE_TOOLS, "max_tokens": 100, "messages": ask(), "tools": [TOOL]}
    whole = anthropic.messages.create(**asked)
    with anthropic.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    calls = [(block.name, block.input) for block in streamed.content if block.type == "tool_use"]
    assert len(calls) == 2
    assert calls == [(block.name, block.input) for block in whole.content if block.type == "tool_use"]


def test_thinking_keeps_its_signature(anthropic):
    asked = {
        "model": models.CLAUDE_THINKING,
        "max_tokens": 2048,
        "messages": ask(),
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    whole = anthropic.messages.create(**asked)
    assert whole.content[0].type == "thinking"
    assert whole.content[0].signature
    with anthropic.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].thinking == whole.content[0].thinking
    assert streamed.content[0].signature == whole.content[0].signature


def test_what_the_gateway_does_not_know_passes_through(anthropic, mock):
    message = anthropic.messages.create(
        model=models.CLAUDE,
        max_tokens=100,
        messages=ask(),
        extra_headers={"anthropic-beta": "a-feature-of-tomorrow"},
        extra_body={"a_field_of_tomorrow": {"depth": 1}},
    )
    assert message.content
    [request] = mock.requests()
    assert request.headers["anthropic-beta"] == "a-feature-of-tomorrow"
    assert request.json["a_field_of_tomorrow"] == {"depth": 1}


def test_count_tokens(anthropic):
    assert anthropic.messages.count_tokens(model=models.CLAUDE, messages=ask()).input_tokens > 0


def test_models_are_those_of_the_configuration(anthropic_prefixed):
    listed = anthropic_prefixed.models.list().data
    assert {models.GPT, models.CLAUDE} <= {model.id for model in listed}
    assert all(model.type == "model" and model.display_name for model in listed)


def test_the_prefix_serves_the_same(anthropic_prefixed):
    assert anthropic_prefixed.messages.create(model=models.CLAUDE, max_tokens=100, messages=ask()).content


def test_the_clients_key_stays_at_the_gateway(anthropic, mock):
    anthropic.messages.create(model=models.CLAUDE, max_tokens=100, messages=ask())
    [request] = mock.requests()
    assert request.headers["x-api-key"] == "upstream-anthropic-key"
    assert request.headers["anthropic-version"]
    assert "client-key" not in str(request.headers)
