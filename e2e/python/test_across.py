"""Client and backend speak different dialects: requests and answers go through the hub."""

import json

import pytest

from harness import PIXEL, TOOL_WEATHER, models

TOOL = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(text="Say something."):
    return [{"role": "user", "content": text}]


# The openai package to an Anthropic backend.


def test_openai_chat(openai, mock):
    messages = [{"role": "system", "content": "Be brief."}, *ask()]
    completion = openai.chat.completions.create(model=models.CLAUDE, messages=messages, max_tokens=50, stop=["END"])
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens

    [request] = mock.requests()
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "upstream-anthropic-key"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.json["max_tokens"] == 50
    assert request.json["stop_sequences"] == ["END"]
    assert "Be brief." in json.dumps(request.json["system"])
    assert [message["role"] for message in request.json["messages"]] == ["user"]


def test_openai_stream(openai):
    whole = openai.chat.completions.create(model=models.CLAUDE, messages=ask())
    chunks = list(openai.chat.completions.create(model=models.CLAUDE, messages=ask(), stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_openai_stream_with_usage(openai):
    whole = openai.chat.completions.create(model=models.CLAUDE, messages=ask())
    stream = openai.chat.completions.create(
        model=models.CLAUDE, messages=ask(), stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage == whole.usage


def test_openai_tools_round_trip(openai, mock):
    messages = ask("What is the weather in Paris and in Rome?")
    asked = {"model": models.CLAUDE_TOOLS, "messages": messages, "tools": [TOOL_WEATHER]}
    completion = openai.chat.completions.create(**asked)
    message = completion.choices[0].message
    assert completion.choices[0].finish_reason == "tool_calls"
    assert len(message.tool_calls) == 2
    [tool] = mock.requests()[-1].json["tools"]
    assert tool["input_schema"] == TOOL_WEATHER["function"]["parameters"]

    with openai.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0].message
    arguments = [json.loads(call.function.arguments) for call in message.tool_calls]
    assert [json.loads(call.function.arguments) for call in streamed.tool_calls] == arguments

    results = [{"role": "tool", "tool_call_id": call.id, "content": "18 degrees"} for call in message.tool_calls]
    answer = openai.chat.completions.create(
        model=models.CLAUDE, messages=[*messages, message, *results], tools=[TOOL_WEATHER]
    )
    assert answer.choices[0].message.content
    # Anthropic wants all results of one turn in one user message.
    told = mock.requests()[-1].json["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in told[2]["content"]] == [call.id for call in message.tool_calls]


def test_openai_image(openai, mock):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "What is it?"}, image]
    openai.chat.completions.create(model=models.CLAUDE, messages=[{"role": "user", "content": content}])
    source = mock.requests()[-1].json["messages"][0]["content"][1]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": PIXEL}


def test_openai_thinking(openai):
    completion = openai.chat.completions.create(
        model=models.CLAUDE_THINKING, messages=ask(), max_completion_tokens=2048, reasoning_effort="low"
    )
    assert completion.choices[0].message.content


def test_openai_thinking_stream_can_be_put_together_and_sent_back(openai, mock):
    asked = {"model": models.CLAUDE_THINKING, "max_completion_tokens": 2048, "reasoning_effort": "low"}
    with openai.chat.completions.stream(messages=ask(), **asked) as stream:
        message = stream.get_final_completion().choices[0].message
    [block] = message.thinking_blocks
    assert block["type"] == "thinking"
    assert block["thinking"] == message.reasoning_content
    assert block["signature"]

    told = {"role": "assistant", "content": message.content, "thinking_blocks": message.thinking_blocks}
    openai.chat.completions.create(messages=[*ask(), told, *ask("Go on.")], **asked)
    thought = mock.requests()[-1].json["messages"][1]["content"][0]
    assert thought == {"type": "thinking", "thinking": block["thinking"], "signature": block["signature"]}


@pytest.mark.parametrize("model, kind", [("CLAUDE_LIMITED", "RateLimitError"), ("CLAUDE_FAILING", "InternalServerError")])
def test_openai_errors_are_openais(openai, model, kind):
    import openai as package

    with pytest.raises(getattr(package, kind)) as caught:
        openai.chat.completions.create(model=getattr(models, model), messages=ask())
    assert caught.value.body["message"]
    assert caught.value.body["type"]


# The anthropic package to an OpenAI backend.


def test_anthropic_message(anthropic, mock):
    message = anthropic.messages.create(
        model=models.GPT, max_tokens=50, system="Be brief.", messages=ask(), stop_sequences=["END"]
    )
    assert message.type == "message"
    assert message.role == "assistant"
    assert message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0

    [request] = mock.requests()
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer upstream-openai-key"
    assert "x-api-key" not in request.headers
    assert "anthropic-version" not in request.headers
    assert [message["role"] for message in request.json["messages"]] in (["system", "user"], ["developer", "user"])
    assert request.json["stop"] == ["END"]


def test_anthropic_stream(anthropic):
    whole = anthropic.messages.create(model=models.GPT, max_tokens=50, messages=ask())
    with anthropic.messages.stream(model=models.GPT, max_tokens=50, messages=ask()) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == whole.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == whole.usage.output_tokens


def test_anthropic_raw_events_are_in_order(anthropic):
    stream = anthropic.messages.create(model=models.GPT, max_tokens=50, messages=ask(), stream=True)
    kinds = [event.type for event in stream]
    assert kinds[0] == "message_start"
    assert kinds[1] == "content_block_start"
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_anthropic_tools_round_trip(anthropic, mock):
    messages = ask("What is the weather in Paris and in Rome?")
    asked = {"model": models.GPT_TOOLS, "max_tokens": 100, "messages": messages, "tools": [TOOL]}
    message = anthropic.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert len(calls) == 2
    assert all(isinstance(call.input, dict) for call in calls)
    with anthropic.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert [block.input for block in streamed.content if block.type == "tool_use"] == [call.input for call in calls]
    assert streamed.stop_reason == "tool_use"

    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"} for call in calls]
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert anthropic.messages.create(model=models.GPT, max_tokens=100, messages=messages, tools=[TOOL]).content
    told = mock.requests()[-1].json["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool"]
    assert [message["tool_call_id"] for message in told[2:]] == [call.id for call in calls]


def test_anthropic_image(anthropic, mock):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    anthropic.messages.create(model=models.GPT, max_tokens=50, messages=[{"role": "user", "content": content}])
    parts = mock.requests()[-1].json["messages"][0]["content"]
    assert parts[0]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"


def test_anthropic_thinking_of_earlier_turns_does_not_break_the_next(anthropic):
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    messages = [*ask(), {"role": "assistant", "content": [thought, {"type": "text", "text": "Yes."}]}, *ask("Go on.")]
    assert anthropic.messages.create(model=models.GPT, max_tokens=50, messages=messages).content[0].text


@pytest.mark.parametrize(
    "model, kind, word",
    [("LIMITED", "RateLimitError", "rate_limit_error"), ("FAILING", "InternalServerError", "api_error")],
)
def test_anthropic_errors_are_anthropics(anthropic, model, kind, word):
    import anthropic as package

    with pytest.raises(getattr(package, kind)) as caught:
        anthropic.messages.create(model=getattr(models, model), max_tokens=50, messages=ask())
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == word
