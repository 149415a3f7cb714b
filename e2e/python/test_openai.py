"""The openai package, in front of a backend of its own dialect: bytes are spliced."""

import json

from pydantic import BaseModel

from harness import SILENCE, TOOL_WEATHER, models


class Answer(BaseModel):
    city: str
    degrees: float


def ask(text="Say something."):
    return [{"role": "user", "content": text}]


def test_chat(openai):
    completion = openai.chat.completions.create(model=models.GPT, messages=ask())
    choice = completion.choices[0]
    assert choice.message.content
    assert choice.finish_reason == "stop"
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion._request_id


def test_chat_stream_arrives_in_pieces_and_says_the_same(openai):
    whole = openai.chat.completions.create(model=models.GPT, messages=ask())
    chunks = list(openai.chat.completions.create(model=models.GPT, messages=ask(), stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    # The gateway counts, but shows its count only to those who asked.
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_stream_ends_with_usage_when_asked(openai):
    whole = openai.chat.completions.create(model=models.GPT, messages=ask())
    stream = openai.chat.completions.create(
        model=models.GPT, messages=ask(), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert last.choices == []
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_helper_accumulates(openai):
    with openai.chat.completions.stream(model=models.GPT, messages=ask()) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        completion = stream.get_final_completion()
    assert len(deltas) > 1
    assert completion.choices[0].message.content == "".join(deltas)


def test_tool_call_and_its_result_make_a_round_trip(openai, mock):
    messages = ask("What is the weather in Paris?")
    completion = openai.chat.completions.create(model=models.GPT_TOOL, messages=messages, tools=[TOOL_WEATHER])
    message = completion.choices[0].message
    assert completion.choices[0].finish_reason == "tool_calls"
    [call] = message.tool_calls
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments), dict)

    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}]
    answer = openai.chat.completions.create(model=models.GPT, messages=messages, tools=[TOOL_WEATHER])
    assert answer.choices[0].message.content
    told = mock.requests()[-1].json["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool"]
    assert told[1]["tool_calls"][0]["id"] == told[2]["tool_call_id"] == call.id


def test_parallel_tool_calls(openai):
    completion = openai.chat.completions.create(
        model=models.GPT_TOOLS, messages=ask(), tools=[TOOL_WEATHER], parallel_tool_calls=True
    )
    calls = completion.choices[0].message.tool_calls
    assert len(calls) == 2
    assert len({call.id for call in calls}) == 2


def test_streamed_tool_calls_accumulate(openai):
    whole = openai.chat.completions.create(model=models.GPT_TOOLS, messages=ask(), tools=[TOOL_WEATHER])
    with openai.chat.completions.stream(model=models.GPT_TOOLS, messages=ask(), tools=[TOOL_WEATHER]) as stream:
        completion = stream.get_final_completion()
    expected = [(call.function.name, call.function.arguments) for call in whole.choices[0].message.tool_calls]
    streamed = [(call.function.name, call.function.arguments) for call in completion.choices[0].message.tool_calls]
    assert streamed == expected
    assert completion.choices[0].finish_reason == "tool_calls"


def test_structured_output_is_parsed(openai, mock):
    completion = openai.chat.completions.parse(model=models.GPT_JSON, messages=ask(), response_format=Answer)
    assert isinstance(completion.choices[0].message.parsed, Answer)
    asked = mock.requests()[-1].json["response_format"]
    assert asked["type"] == "json_schema"
    assert set(asked["json_schema"]["schema"]["properties"]) == {"city", "degrees"}


def test_embeddings(openai):
    # The package asks for base64 when nobody says otherwise, and decodes it.
    packed = openai.embeddings.create(model=models.EMBED, input=["one", "two"])
    plain = openai.embeddings.create(model=models.EMBED, input=["one", "two"], encoding_format="float")
    assert [item.index for item in packed.data] == [0, 1]
    assert len(packed.data[0].embedding) == len(plain.data[0].embedding) > 0
    assert packed.data[0].embedding == plain.data[0].embedding
    assert packed.usage.prompt_tokens > 0


def test_responses(openai):
    response = openai.responses.create(model=models.GPT, input="Say something.")
    assert response.status == "completed"
    assert response.output_text
    assert response.usage.output_tokens > 0


def test_responses_stream(openai):
    whole = openai.responses.create(model=models.GPT, input="Say something.")
    events = list(openai.responses.create(model=models.GPT, input="Say something.", stream=True))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.output_text
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


def test_legacy_completions(openai):
    completion = openai.completions.create(model=models.GPT, prompt="Say something.")
    assert completion.choices[0].text
    pieces = [chunk.choices[0].text for chunk in openai.completions.create(model=models.GPT, prompt="x", stream=True)]
    assert len(pieces) > 1


def test_transcription_of_an_upload(openai, mock):
    text = openai.audio.transcriptions.create(model=models.WHISPER, file=("silence.wav", SILENCE, "audio/wav"))
    assert text.text
    [request] = mock.requests()
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert request.path == "/v1/audio/transcriptions"


def test_images(openai):
    images = openai.images.generate(model=models.IMAGE, prompt="a square", n=1)
    assert images.data[0].b64_json or images.data[0].url


def test_speech(openai):
    speech = openai.audio.speech.create(model=models.SPEECH, voice="alloy", input="Hello.")
    assert speech.content


def test_models_are_those_of_the_configuration(openai):
    listed = openai.models.list().data
    assert {models.GPT, models.CLAUDE} <= {model.id for model in listed}
    assert all(model.object == "model" and model.owned_by for model in listed)


def test_the_clients_key_stays_at_the_gateway(openai, mock):
    openai.chat.completions.create(model=models.GPT, messages=ask())
    [request] = mock.requests()
    assert request.headers["authorization"] == "Bearer upstream-openai-key"
    assert "client-key" not in str(request.headers)


def test_many_at_once(async_openai):
    """Concurrent streams do not mix."""
    import asyncio

    async def one(client, number):
        stream = await client.chat.completions.create(model=models.GPT, messages=ask(f"number {number}"), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them():
        async with async_openai() as client:
            return await asyncio.gather(*(one(client, number) for number in range(32)))

    texts = asyncio.run(all_of_them())
    assert len(texts) == 32
    assert all(texts)
