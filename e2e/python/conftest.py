"""The gateway and the mock run once for all tests; what each has seen is forgotten between two tests."""

import anthropic as anthropic_package
import openai as openai_package
import pytest

from backends import GOOGLE
from harness import Gateway, Mock

OPTIONS = {"api_key": "client-key", "max_retries": 0, "timeout": 10}


@pytest.fixture(scope="session")
def _mock():
    running = Mock()
    yield running
    running.end()


@pytest.fixture(scope="session")
def _gateway(_mock):
    running = Gateway(_mock)
    yield running
    running.end()
    assert running.child.returncode == 0, running.told()


@pytest.fixture(autouse=True)
def _forget(_mock, _gateway):
    _mock.clear()
    _gateway.mark()


@pytest.fixture
def mock(_mock):
    return _mock


@pytest.fixture
def gateway(_gateway):
    return _gateway


@pytest.fixture
def openai(gateway):
    with openai_package.OpenAI(base_url=gateway.openai_url, **OPTIONS) as client:
        yield client


@pytest.fixture
def async_openai(gateway):
    return lambda: openai_package.AsyncOpenAI(base_url=gateway.openai_url, **OPTIONS)


@pytest.fixture
def anthropic(gateway):
    with anthropic_package.Anthropic(base_url=gateway.url, **OPTIONS) as client:
        yield client


@pytest.fixture
def anthropic_prefixed(gateway):
    with anthropic_package.Anthropic(base_url=f"{gateway.url}/anthropic", **OPTIONS) as client:
        yield client


# The tests with all kinds of backends are many: they share their clients, which bring the token for those that want one.


@pytest.fixture(scope="session")
def openai_of_all(_gateway):
    with openai_package.OpenAI(base_url=_gateway.openai_url, default_headers=GOOGLE, **OPTIONS) as client:
        yield client


@pytest.fixture(scope="session")
def anthropic_of_all(_gateway):
    with anthropic_package.Anthropic(base_url=_gateway.url, default_headers=GOOGLE, **OPTIONS) as client:
        yield client
