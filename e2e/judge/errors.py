"""What the clients' own packages make of errors: the class of the exception that an application gets."""

import anthropic
import httpx
import httpx2
import openai
from google import genai
from google.genai import errors

URL = "http://gateway.test"

# Classes by status. OpenAI's and Anthropic's packages call them alike.
STATUS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
}
ASKED = [{"role": "user", "content": "Hi"}]


def _client(package, status, content, content_type):
    """A client of the package `httpx`, or of that which Anthropic's wants in its place."""

    def answer(request):
        return package.Response(status, content=content, headers={"content-type": content_type})

    return package.Client(transport=package.MockTransport(answer), base_url=URL)


def _openai(http):
    return openai.OpenAI(api_key="k", base_url=URL, http_client=http, max_retries=0)


def openai_chat(http, streams):
    answer = _openai(http).chat.completions.create(model="m", messages=ASKED, stream=streams)
    return list(answer) if streams else answer


def openai_responses(http, streams):
    answer = _openai(http).responses.create(model="m", input="Hi", stream=streams)
    return list(answer) if streams else answer


def anthropic_messages(http, streams):
    client = anthropic.Anthropic(api_key="k", base_url=URL, http_client=http, max_retries=0)
    answer = client.messages.create(model="m", max_tokens=9, messages=ASKED, stream=streams)
    return list(answer) if streams else answer


def gemini(http, streams):
    options = genai.types.HttpOptions(base_url=URL, httpx_client=http)
    models = genai.Client(api_key="k", http_options=options).models
    if streams:
        return list(models.generate_content_stream(model="m", contents="Hi"))
    return models.generate_content(model="m", contents="Hi")


# What asks, whose exceptions are raised, and whose connections are used.
CLIENTS = {
    "openai_chat": (openai_chat, openai, httpx),
    "openai_responses": (openai_responses, openai, httpx),
    "anthropic_messages": (anthropic_messages, anthropic, httpx2),
    "gemini": (gemini, None, httpx),
}


def _raised(dialect, status, content, streams):
    call, _, package = CLIENTS[dialect]
    content_type = "text/event-stream" if streams else "application/json"
    try:
        answer = call(_client(package, status, content, content_type), streams)
    except (openai.APIError, anthropic.APIError, errors.APIError) as error:
        return error
    if streams and answer[-1].type == "error":
        # A stream of responses has an event for it, and its package tells that as it tells all others.
        return answer[-1]
    raise AssertionError(f"no exception, but {answer}")


def refused(dialect, status, body):
    """The exception for a status and a body, which has to be of the class for that status and tell the message."""
    _, package, _ = CLIENTS[dialect]
    if status == 529 and dialect != "anthropic_messages":
        # It is Anthropic's own, and others are told the one that they know.
        status = 503
    error = _raised(dialect, status, body, streams=False)
    if package is None:
        assert isinstance(error, errors.ClientError if status < 500 else errors.ServerError), error
        assert error.code == status and error.status and error.message, error
        return
    name = STATUS.get(status, "OverloadedError" if status == 529 else "")
    wanted = getattr(package, name, None) or getattr(package._exceptions, name)
    assert isinstance(error, wanted), f"{type(error)} for {status}"
    assert error.body, error


def broken(dialect, stream):
    """The exception in the middle of a stream, which has to tell the message."""
    error = _raised(dialect, 200, stream, streams=True)
    assert "It broke." in str(error) or "verloaded" in str(error), error
