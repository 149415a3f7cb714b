"""A backend of every kind, and what the mock server says behind each of them."""

import json
from types import SimpleNamespace

# What the mock server says to what it is asked here, and how it counts: in words.
ASKED = [{"role": "user", "content": "Say something."}]
SAID = "You said: Say something. This is all that a mock can answer."
THOUGHT = "The question is short, so the answer should be short as well."
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS1tb2Nr"
READ, SAYS, THINKS = 2, 12, 12
CALLS = [("call_1_Paris", {"city": "Paris"}), ("call_2_Rome", {"city": "Rome"})]
FAULT = "the mock was asked for status {}"

GOOGLE = {"x-aigw-gcp-access-token": "upstream-google-token"}
SIGNED = r"AWS4-HMAC-SHA256 Credential=UPSTREAMKEYID/\d{{8}}/eu-west-1/{}/aws4_request, SignedHeaders=\S+, Signature=\w{{64}}"
_VERTEX = "/v1/projects/e2e-project/locations/europe-west1/publishers"
VERTEX = f"{_VERTEX}/anthropic/models/sonnet-5@20260101"
_VERTEX_GEMINI = f"{_VERTEX}/google/models/vertex-gemini-3-pro"


def kind(model, path, stream_path=None, header="authorization", shows="", thinks=True, served=True, ids=True):
    """A kind of backend: a model that it serves, where it is asked, how the gateway proves itself, whether it tells its thoughts with a
    signature, whether it tells which model it is, and whether its calls have ids."""
    return SimpleNamespace(**{**locals(), "stream_path": stream_path or path})


KINDS = {
    "openai": kind(
        "gpt-4o-mini", "/v1/chat/completions", shows="Bearer upstream-openai-key", thinks=False
    ),
    "responses": kind("o-mini", "/v1/responses", shows="Bearer upstream-openai-key", thinks=False),
    "azure": kind(
        "deployed-gpt",
        "/openai/deployments/deployed-gpt/chat/completions",
        header="api-key",
        shows="upstream-azure-key",
        thinks=False,
    ),
    "sagemaker": kind(
        "llama-4",
        "/endpoints/llama-4/invocations",
        "/endpoints/llama-4/invocations-response-stream",
        shows=SIGNED.format("sagemaker"),
        thinks=False,
    ),
    "anthropic": kind("claude-sonnet-5", "/v1/messages", header="x-api-key", shows="upstream-anthropic-key"),
    "vertex_claude": kind(
        "sonnet-5@20260101", f"{VERTEX}:rawPredict", f"{VERTEX}:streamRawPredict", shows="Bearer upstream-google-token"
    ),
    "bedrock_claude": kind(
        "eu.anthropic.claude-5",
        "/model/eu.anthropic.claude-5/invoke",
        "/model/eu.anthropic.claude-5/invoke-with-response-stream",
        shows=SIGNED.format("bedrock"),
    ),
    "bedrock": kind(
        "anthropic.claude-5",
        "/model/anthropic.claude-5/converse",
        "/model/anthropic.claude-5/converse-stream",
        shows=SIGNED.format("bedrock"),
        served=False,
    ),
    "gemini": kind(
        "gemini-3-pro",
        "/v1beta/models/gemini-3-pro:generateContent",
        "/v1beta/models/gemini-3-pro:streamGenerateContent",
        header="x-goog-api-key",
        shows="upstream-gemini-key",
        thinks=False,
        ids=False,
    ),
    "vertex_gemini": kind(
        "vertex-gemini-3-pro",
        f"{_VERTEX_GEMINI}:generateContent",
        f"{_VERTEX_GEMINI}:streamGenerateContent",
        shows="Bearer upstream-google-token",
        thinks=False,
        ids=False,
    ),
}


def model(backend, wish=None):
    return f"{backend.model}--{wish}" if wish else backend.model


def served(backend):
    """The model as the answer names it: where the backend does not, the one that was asked for."""
    return f"{backend.model}-2026-01-01" if backend.served else backend.model


def are_calls(found, backend, count):
    """Whether these calls, each an id, a name and arguments, are what the mock server calls. Where a backend gives no ids, the gateway
    does."""
    ids = [id for id, _, _ in found]
    assert len(set(ids)) == len(ids) and all(ids)
    if backend.ids:
        assert ids == [id for id, _ in CALLS[:count]]
    expected = [("get_weather", arguments) for _, arguments in CALLS[:count]]
    return [(name, arguments) for _, name, arguments in found] == expected


def tells_calls_again(told, backend, count):
    """Whether a request to a backend holds both the calls and their results, in its dialect, and what proves the thoughts before."""
    text = json.dumps(told)
    if backend.ids:
        return all(text.count(id) == 2 for id, _ in CALLS[:count])
    [_, called, results] = told["contents"]
    made = [part for part in called["parts"] if "functionCall" in part]
    names = [part["functionResponse"]["name"] for part in results["parts"]]
    return names == ["get_weather"] * count and [part.get("thoughtSignature") for part in made] == [SIGNATURE, None][:count]


def chat(client, backend, wish=None, messages=ASKED, **options):
    return client.chat.completions.create(model=model(backend, wish), messages=messages, **options)


def send(client, backend, wish=None, messages=ASKED, **options):
    return client.messages.create(model=model(backend, wish), messages=messages, max_tokens=4096, **options)
