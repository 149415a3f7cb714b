"""What the providers' own packages say about requests, answers and streams, by the label of a dialect.

Everything here raises when a document is not what the definition wants; unknown members count as mistakes wherever the
definition lets one see them.
"""

import base64
import json

import anthropic.types
import botocore.model
import botocore.parsers
import botocore.session
import botocore.validate
import openai.types.chat
import openai.types.responses
from anthropic.lib.streaming._messages import accumulate_event
from google.genai import types as genai
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params
from anthropic.types import message_create_params
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

BEDROCK = botocore.session.get_session().get_service_model("bedrock-runtime")


def _forbid_unknown(*packages):
    """Makes the typed dictionaries of `packages` refuse members that they do not have."""
    import pkgutil
    import importlib

    for package in packages:
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            module = importlib.import_module(found.name)
            for value in vars(module).values():
                if is_typeddict(value):
                    value.__pydantic_config__ = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


_forbid_unknown(openai.types, anthropic.types)

OPENAI_CHAT_REQUEST = TypeAdapter(completion_create_params.CompletionCreateParams)
RESPONSES_REQUEST = TypeAdapter(response_create_params.ResponseCreateParams)
ANTHROPIC_REQUEST = TypeAdapter(message_create_params.MessageCreateParams)
ANTHROPIC_EVENT = TypeAdapter(anthropic.types.RawMessageStreamEvent)
RESPONSES_EVENT = TypeAdapter(openai.types.responses.ResponseStreamEvent)


def _exhaust(value):
    """Looks at every element: iterables are checked only as they are read."""
    if isinstance(value, dict):
        for inner in value.values():
            _exhaust(inner)
    elif not isinstance(value, (str, bytes)) and hasattr(value, "__iter__"):
        for inner in value:
            _exhaust(inner)


def _no_extra(model, where=""):
    """Refuses members of an answer that its type does not have."""
    extra = getattr(model, "model_extra", None)
    if extra:
        raise ValueError(f"{where or type(model).__name__}: unknown members {sorted(extra)}")
    for name in getattr(type(model), "model_fields", {}):
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "model_fields_set"):
                _no_extra(inner, f"{where}/{name}")


def _without(body, *names):
    """The body without members that servers of the same API add to it, at any depth."""
    if isinstance(body, dict):
        return {key: _without(value, *names) for key, value in body.items() if key not in names}
    if isinstance(body, list):
        return [_without(value, *names) for value in body]
    return body


def _without_thinking(body):
    """The request without parts that hold reasoning, which the compatible API has beside OpenAI's own."""
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            kinds = ("thinking", "redacted_thinking")
            message["content"] = [part for part in message["content"] if part["type"] not in kinds]
    return body


# What model servers and gateways add to OpenAI's API, and OpenAI itself has no words for.
OPENAI_EXTENSIONS = (
    "reasoning_content",
    "thinking_blocks",
    "thinking",
    "cache_control",
    "cache_creation_input_tokens",
)

# What the API takes for models that have it, and the newest types leave out.
ANTHROPIC_SAMPLING = ("temperature", "top_p", "top_k")


def openai_chat_request(body):
    _exhaust(OPENAI_CHAT_REQUEST.validate_python(_without_thinking(_without(body, *OPENAI_EXTENSIONS))))


def openai_chat_answer(body):
    model = openai.types.chat.ChatCompletion.model_validate(_without(body, *OPENAI_EXTENSIONS))
    _no_extra(model)


def openai_chat_stream(events):
    assert events[-1][1] == "[DONE]", "the last event is [DONE]"
    for _, data in events[:-1]:
        # The API tells sources in streams too, and its types leave them out there.
        chunk = _without(json.loads(data), *OPENAI_EXTENSIONS, "annotations")
        _no_extra(openai.types.chat.ChatCompletionChunk.model_validate(chunk))


def openai_responses_request(body):
    _exhaust(RESPONSES_REQUEST.validate_python(body))


def openai_responses_answer(body):
    # The API tells it, and its types leave it out.
    body.pop("store", None)
    _no_extra(openai.types.responses.Response.model_validate(body))


def openai_responses_stream(events):
    state = ResponseStreamState(text_format=openai.NOT_GIVEN, input_tools=openai.NOT_GIVEN)
    last = None
    for number, (name, data) in enumerate(events):
        event = RESPONSES_EVENT.validate_python(json.loads(data))
        assert event.type == name, f"event {name} says it is {event.type}"
        assert event.sequence_number == number, "events are numbered"
        state.handle_event(event)
        last = event
    assert last.type in ("response.completed", "response.incomplete", "response.failed")


def anthropic_messages_request(body):
    body = {key: value for key, value in body.items() if key not in ANTHROPIC_SAMPLING}
    _exhaust(ANTHROPIC_REQUEST.validate_python(body))


def anthropic_messages_answer(body):
    _no_extra(anthropic.types.Message.model_validate(body))


def anthropic_messages_stream(events):
    snapshot, buffers = None, {}
    kinds = []
    for name, data in events:
        event = ANTHROPIC_EVENT.validate_python(json.loads(data)) if name != "ping" else None
        if event is None:
            continue
        assert event.type == name, f"event {name} says it is {event.type}"
        kinds.append(event.type)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert snapshot.stop_reason is not None


GEMINI_REQUEST = {
    "contents": TypeAdapter(list[genai.Content]),
    "systemInstruction": TypeAdapter(genai.Content),
    "tools": TypeAdapter(list[genai.Tool]),
    "toolConfig": TypeAdapter(genai.ToolConfig),
    "safetySettings": TypeAdapter(list[genai.SafetySetting]),
    "generationConfig": TypeAdapter(genai.GenerationConfig),
    "cachedContent": TypeAdapter(str),
    "labels": TypeAdapter(dict[str, str]),
    "serviceTier": TypeAdapter(str),
}


def gemini_request(body):
    for name, value in body.items():
        assert name in GEMINI_REQUEST, f"unknown member {name}"
        GEMINI_REQUEST[name].validate_python(value)


def gemini_answer(body):
    genai.GenerateContentResponse.model_validate(body)


def gemini_stream(events):
    for _, data in events:
        genai.GenerateContentResponse.model_validate(json.loads(data))
    last = json.loads(events[-1][1])
    assert "usageMetadata" in last, "the last event tells the usage"


def _blobs(value, shape):
    """The value as botocore takes it: blobs are bytes."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        return {key: _blobs(inner, shape.members[key]) if key in shape.members else inner for key, inner in value.items()}
    if shape.type_name == "list":
        return [_blobs(inner, shape.member) for inner in value]
    if shape.type_name == "map":
        return {key: _blobs(inner, shape.value) for key, inner in value.items()}
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    return value


def bedrock_converse_request(body):
    shape = BEDROCK.operation_model("Converse").input_shape
    report = botocore.validate.ParamValidator().validate(_blobs({"modelId": "m", **body}, shape), shape)
    assert not report.has_errors(), report.generate_report()


def _known(value, shape, where=""):
    """Refuses members that the shape does not have."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        for key, inner in value.items():
            assert key in shape.members, f"{where}: unknown member {key}"
            _known(inner, shape.members[key], f"{where}/{key}")
    elif shape.type_name == "list":
        for inner in value:
            _known(inner, shape.member, where)


def bedrock_converse_answer(body):
    shape = BEDROCK.operation_model("Converse").output_shape
    _known(body, shape)
    parser = botocore.parsers.create_parser("rest-json")
    response = {"status_code": 200, "headers": {}, "body": json.dumps(body).encode()}
    parsed = parser.parse(response, shape)
    assert parsed["stopReason"] == body["stopReason"]


def bedrock_converse_stream(events):
    shape = BEDROCK.operation_model("ConverseStream").output_shape.members["stream"]
    for name, data in events:
        assert name in shape.members, f"unknown event {name}"
        event = json.loads(data)
        # Padding, which hides the length of what is said and is in no definition.
        event.pop("p", None)
        _known(event, shape.members[name], name)
