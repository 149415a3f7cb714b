"""langchain-openai: another maker's reading of the same API."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
import pytest

from harness import models


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"18 degrees in {city}"


class Answer(BaseModel):
    """Where it is how warm."""

    city: str
    degrees: float


@pytest.fixture
def chat(gateway):
    def of_model(model, **options):
        options = {"max_retries": 0, "timeout": 10, "api_key": "client-key", **options}
        return ChatOpenAI(model=model, base_url=gateway.openai_url, **options)

    return of_model


def test_invoke(chat):
    message = chat(models.GPT).invoke("Say something.")
    assert message.content
    assert message.usage_metadata["input_tokens"] > 0


def test_stream(chat):
    pieces = [chunk for chunk in chat(models.GPT, stream_usage=True).stream("Say something.")]
    assert len([piece for piece in pieces if piece.content]) > 1
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.usage_metadata["output_tokens"] > 0


def test_a_batch(chat):
    messages = chat(models.GPT).batch(["one", "two", "three", "four"])
    assert all(message.content for message in messages)


def test_tools(chat):
    asked = HumanMessage("What is the weather in Paris?")
    called = chat(models.GPT_TOOL).bind_tools([get_weather]).invoke([asked])
    [call] = called.tool_calls
    assert call["name"] == "get_weather"
    told = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert chat(models.GPT).bind_tools([get_weather]).invoke([asked, called, told]).content


def test_streamed_tool_call(chat):
    stream = chat(models.GPT_TOOL).bind_tools([get_weather]).stream("What is the weather in Paris?")
    whole = None
    for chunk in stream:
        whole = chunk if whole is None else whole + chunk
    assert [call["name"] for call in whole.tool_calls] == ["get_weather"]


def test_structured_output(chat):
    answer = chat(models.GPT_JSON).with_structured_output(Answer, method="json_schema").invoke("How warm is it?")
    assert isinstance(answer, Answer)


def test_across_to_the_other_dialect(chat):
    message = chat(models.CLAUDE).invoke("Say something.")
    assert message.content
    assert message.usage_metadata["output_tokens"] > 0


def test_embeddings(gateway):
    embeddings = OpenAIEmbeddings(
        model=models.EMBED,
        base_url=gateway.openai_url,
        api_key="client-key",
        max_retries=0,
        # The package would send token numbers, for which it downloads a vocabulary.
        check_embedding_ctx_length=False,
    )
    vectors = embeddings.embed_documents(["one", "two"])
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 0
