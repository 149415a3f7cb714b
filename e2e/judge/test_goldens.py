"""The goldens of translation, judged by the providers' own packages: what a backend is asked, what a client is answered, and
what the mock answers say that these came from."""

import json
import pathlib

import pytest

import definitions
import errors

DIALECT = pathlib.Path(__file__).parents[2] / "crates/dialect"
GOLDENS = DIALECT / "golden/matrix"
INPUTS = DIALECT / "tests/matrix"


def events(text):
    """The events of a stream, as name and data. A stream that breaks off ends in a comment."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = [line.partition(":")[::2] for line in lines]
        name = next((value.strip() for key, value in fields if key == "event"), None)
        data = "\n".join(value.removeprefix(" ") for key, value in fields if key == "data")
        if data:
            found.append((name, data))
    return found


def judge(dialect, kind, path):
    text = path.read_text()
    if kind in ("error", "error_type", "broken"):
        # How a provider tells an error is in no definition.
        return
    if kind == "stream":
        getattr(definitions, f"{dialect}_stream")(events(text))
        return
    body = json.loads(text)
    if isinstance(body, str):
        assert body.startswith(("Unprocessable", "BadRequest")), body
        return
    getattr(definitions, f"{dialect}_{kind}")(body)


def name(path):
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*/*_to_*.request.json")), ids=name)
def test_backends_are_asked_in_their_own_words(path):
    judge(path.name.removesuffix(".request.json").split("_to_")[1], "request", path)


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*/*_from_*.answer.json")), ids=name)
def test_clients_are_answered_in_their_own_words(path):
    judge(path.name.split("_from_")[0], "answer", path)


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*/*_from_*.stream.sse")), ids=name)
def test_clients_get_streams_that_their_sdk_reads(path):
    judge(path.name.split("_from_")[0], "stream", path)


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*/*_from_*.error.json")), ids=name)
def test_clients_are_told_errors_as_exceptions_of_their_own(path):
    status = int(path.parent.name.removeprefix("error_"))
    errors.refused(path.name.split("_from_")[0], status, path.read_bytes())


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*/*_from_*.broken.sse")), ids=name)
def test_clients_raise_where_a_stream_ends_with_an_error(path):
    errors.broken(path.name.split("_from_")[0], path.read_bytes())


@pytest.mark.parametrize("path", sorted(INPUTS.glob("*/*/*.*")), ids=lambda path: f"{path.parents[1].name}/{name(path)}")
def test_inputs_are_what_the_providers_define(path):
    judge(path.parents[1].name, path.name.split(".")[0], path)


def test_there_is_something_to_judge():
    assert len(list(GOLDENS.glob("*/*.json"))) > 50
