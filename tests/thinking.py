"""A stand-in for a language model on loopback, which speaks OpenAI's protocol and says what a test has it say."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import sqrt
from typing import Any, Self, TypeAlias, cast

import httpx

from scripts.stack.ports import HOST, free_port

DIMENSION = 16
CONCEPTS: Sequence[frozenset[str]] = [
    frozenset(words.split())
    for words in (
        "fraction fractions half halves third thirds quarter quarters",
        "essay essays writing paragraph paragraphs",
        "football goal goals striker soccer",
        "late tardy overdue delayed",
    )
]
"""Words that mean the same to it."""
Reply: TypeAlias = Callable[[Mapping[str, Any]], object]
"""What it says to a request; text as it is, anything else as JSON, an int as a bare HTTP status."""


class Thinking:
    """The model: its answers, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        """The bodies of all completions that were asked for."""
        self.embedded: list[str] = []
        """The texts that were turned into vectors."""
        self.reply: Reply = _nothing
        self.seconds = 0.0
        """How long it thinks."""
        self._server = ThreadingHTTPServer((HOST, 0), _handler_of(self))

    @property
    def url(self) -> str:
        """Up to and with the version of the API."""
        return f"http://{HOST}:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """As if it had just been started."""
        self.__dict__.update(asked=[], embedded=[], reply=_nothing, seconds=0.0)

    def answer(self, path: str, body: Mapping[str, Any]) -> object:
        """What goes back for a request."""
        if path.endswith("/embeddings"):
            self.embedded += body["input"]
            time.sleep(self.seconds)
            vectors = [vector_of(text, body["dimensions"]) for text in body["input"]]
            return {"data": [{"index": index, "embedding": each} for index, each in enumerate(vectors)]}
        self.asked.append(body)
        time.sleep(self.seconds)
        said = self.reply(body)
        if isinstance(said, int):
            return said
        return {"choices": [{"message": {"content": said if isinstance(said, str) else json.dumps(said)}}]}


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    """Where a text lies: by the words that mean the same, a little by the others."""
    vector = [0.01] * dimension
    for word in re.findall(r"\w+", text.lower()):
        known = [index for index, concept in enumerate(CONCEPTS) if word in concept]
        place = known[0] if known else len(CONCEPTS) + sum(word.encode()) % (dimension - len(CONCEPTS))
        vector[place] += 1.0 if known else 0.05
    length = sqrt(sum(each * each for each in vector))
    return [each / length for each in vector]


def record_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """The record that a request for a completion shows."""
    return json.loads(body["messages"][1]["content"])


@contextmanager
def functions_thinking(env: Mapping[str, str], model: Thinking, **more: str) -> Generator[str]:
    """Our functions as they run with `env`, and this model on; gives their address, up to `/api`."""
    variables = {
        "MODEL_PROVIDER": "openai",
        "MODEL_URL": model.url,
        "MODEL_NAME": "stand-in",
        "EMBEDDING_MODEL": "stand-in-vectors",
        "EMBEDDING_DIMENSION": str(DIMENSION),
        "MODEL_TIMEOUT_SECONDS": "2",
        **more,
    }
    with free_port([]) as port:
        command = [sys.executable, "-m", "uvicorn", "functions.main:app", f"--host={HOST}", f"--port={port}"]
        process = subprocess.Popen(
            [*command, "--log-level=warning", "--no-access-log"],
            env={**os.environ, **env, **variables},
            stdout=subprocess.DEVNULL,
        )
        url = f"http://{HOST}:{port}/api"
        _wait_for(f"{url}/health", process)
    try:
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _nothing(_: Mapping[str, Any]) -> object:
    return {}


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "the functions did not start"
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


def _handler_of(model: Thinking) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = cast("Mapping[str, Any]", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = model.answer(self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except BrokenPipeError:
                return  # whoever asked has given up

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

    return Handler
