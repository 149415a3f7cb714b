"""What the tests share: the gateway and the mock server as processes, and the names of models."""

import base64
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
import zlib
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = ROOT / "target" / "dist" / "tollgate"
TESTKIT = ROOT / "target" / "release" / "tollgate-testkit"

# Nothing here waits longer than this, in seconds.
PATIENCE = 10.0

TOOL_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def _pixel():
    """A PNG of one pixel, in base64."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()


PIXEL = _pixel()

# A tenth of a second of silence as WAV: 8 kHz, 8 bits, one channel.
_SAMPLES = b"\x80" * 800
SILENCE = (
    b"RIFF"
    + struct.pack("<I", 36 + len(_SAMPLES))
    + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    + b"data"
    + struct.pack("<I", len(_SAMPLES))
    + _SAMPLES
)

_GPT = "gpt-4o-mini"
_CLAUDE = "claude-sonnet-5"

# The mock server reads what follows `--` as a wish.
models = SimpleNamespace(
    GPT=_GPT,
    GPT_TOOL=f"{_GPT}--tool",
    GPT_TOOLS=f"{_GPT}--tools",
    GPT_JSON=_GPT,
    BAD=f"{_GPT}--400",
    REFUSED=f"{_GPT}--401",
    LIMITED=f"{_GPT}--429",
    FAILING=f"{_GPT}--500",
    FLAKY=f"{_GPT}--flaky2",
    CUT=f"{_GPT}--cut",
    SILENT=f"{_GPT}--silent",
    SLOW=f"{_GPT}--slow",
    CLAUDE=_CLAUDE,
    CLAUDE_TOOL=f"{_CLAUDE}--tool",
    CLAUDE_TOOLS=f"{_CLAUDE}--tools",
    CLAUDE_THINKING=f"{_CLAUDE}--thinking",
    CLAUDE_REFUSED=f"{_CLAUDE}--401",
    CLAUDE_LIMITED=f"{_CLAUDE}--429",
    CLAUDE_FAILING=f"{_CLAUDE}--500",
    CLAUDE_CUT=f"{_CLAUDE}--cut",
    CLAUDE_SLOW=f"{_CLAUDE}--slow",
    EMBED="text-embedding-3-small",
    IMAGE="gpt-image-1",
    SPEECH="tts-1",
    WHISPER="whisper-1",
    RETRIED="retried",
    RETRIED_CUT="retried-cut",
    FALLBACK="fallback",
    ABSENT="absent",
)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE) as answer:
        return answer.read().decode()


def until(condition, seconds, what):
    """Waits until a condition holds and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def inherited():
    """What children get of our environment: the path, and which data plane it is about."""
    names = ["PATH", "TOLLGATE_DATA_PLANE", "TOLLGATE_ENVOY"]
    return {name: os.environ[name] for name in names if name in os.environ}


def broken_off(package):
    """What an SDK raises when a backend breaks a stream off. Envoy's filters do not hear of it, so there the client sees no error
    event, but a body that is not complete: the exception of its HTTP library."""
    return Exception if os.environ.get("TOLLGATE_DATA_PLANE") == "envoy" else package.APIError


class Process:
    """A child that is ended by its id, whatever happens."""

    def __init__(self, arguments, environment=None):
        self.errors = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            arguments,
            env={**inherited(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def told(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def end(self):
        self.child.terminate()
        try:
            self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(PATIENCE)


class Mock(Process):
    """The model servers."""

    def __init__(self):
        super().__init__([TESTKIT, "mock"])
        line = self.child.stdout.readline().decode()
        self.address = re.fullmatch(r"listening on (\S+)\n", line).group(1)
        self.port = int(self.address.rsplit(":", 1)[1])

    def _ask(self, method="GET"):
        return json.loads(get(f"http://{self.address}/_oracle/requests", method))

    def requests(self):
        """What has arrived since the test began."""
        return [SimpleNamespace(**seen) for seen in self._ask()]

    def clear(self):
        self._ask("DELETE")

    def wait_for_client_gone(self, seconds):
        until(lambda: any(seen.left_early for seen in self.requests()), seconds, "the client is gone")


class Gateway(Process):
    """The gateway in front of the mock, with a configuration beside this folder."""

    def __init__(self, mock, configuration="gateway.yaml", options=()):
        self.port, self.admin_port = free_port(), free_port()
        self.log = Path(tempfile.mkdtemp(prefix="tollgate-e2e-")) / "access.log"
        super().__init__(
            [
                GATEWAY,
                "run",
                f"--admin-address=127.0.0.1:{self.admin_port}",
                f"--access-log={self.log}",
                *options,
                ROOT / "e2e" / configuration,
            ],
            {"E2E_GATEWAY_PORT": str(self.port), "E2E_MOCK_PORT": str(mock.port)},
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.openai_url = f"{self.url}/v1"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        until(self._is_ready, PATIENCE, "the gateway is ready")
        self.marked = ""

    def _is_ready(self):
        assert self.child.poll() is None, f"the gateway has ended:\n{self.told()}"
        try:
            return get(f"{self.admin_url}/readyz")
        except OSError:
            return False

    def metrics(self):
        return get(f"{self.admin_url}/metrics")

    def mark(self):
        """Remembers the metrics, so that a test sees what it has changed itself."""
        self.marked = self.metrics()

    def wait_for_metric(self, word, seconds):
        """Waits until counters with `word` in name or labels have grown."""

        def total(text):
            lines = (line for line in text.splitlines() if word in line and not line.startswith("#"))
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

        until(lambda: total(self.metrics()) > total(self.marked), seconds, f"{word} in the metrics")

    def lines(self):
        """The access log."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
