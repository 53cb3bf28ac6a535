"""The sender that docs/extending.md shows sends, and says how it went."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"
BODY = json.dumps({"id": "evt_7", "type": "session.no_show", "aggregate": {"id": "a lesson"}})


def sender_of_the_document(answers: httpx.MockTransport) -> Any:
    """The adapter as it stands there, in front of a faked network."""
    adapter, _ = re.findall(r"^```python\n(.*?)^```$", EXTENDING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(adapter.splitlines()) <= 30
    names: dict[str, Any] = {}
    exec(compile(adapter, EXTENDING, "exec"), names)  # our own document
    return names["ChatSender"]("https://chat.test/hook", httpx.AsyncClient(transport=answers))


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (500, "failed"), (302, "failed")])
async def test_it_posts_one_line_and_says_how_it_went(status: int, outcome: str) -> None:
    posted: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        posted.append(request)
        return httpx.Response(status)

    sent = await sender_of_the_document(httpx.MockTransport(answer)).send("evt_7", BODY)
    assert (sent.outcome, sent.status_code) == (outcome, status)
    (request,) = posted
    assert request.url == "https://chat.test/hook"
    assert json.loads(request.content) == {"id": "evt_7", "text": "session.no_show: lesson a lesson"}


async def test_a_network_that_fails_is_no_fault_of_the_dispatcher() -> None:
    def break_off(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no way there", request=request)

    sent = await sender_of_the_document(httpx.MockTransport(break_off)).send("evt_7", BODY)
    assert (sent.outcome, sent.error) == ("failed", "ConnectError")
