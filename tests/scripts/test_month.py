"""The month run on the command line, against answers made up line by line."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import httpx
import pytest

from scripts.month import PAUSE, TRIES, MonthRun, RunError, main

Line: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[[], httpx.Response]


def match(number: int, created: int = 8, **members: object) -> Line:
    return {"type": "match", "match_id": f"m{number}", "package_id": f"p{number}", "created": created, **members}


def summary(after: str | None = None) -> Line:
    return {"type": "summary", "more": after is not None, "after": after}


def progress(left: int) -> Line:
    return {"type": "progress", "left": left}


def error(code: str, retry_after: int | None) -> Line:
    return {"type": "error", "code": code, "detail": "A sentence.", "retry_after": retry_after, "request_id": "r"}


class Broken(httpx.SyncByteStream):
    """Lines, and then the connection is lost."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            yield json.dumps(line).encode() + b"\n"
        raise httpx.RemoteProtocolError("peer closed connection")


def stream(*lines: Line) -> Answer:
    return lambda: httpx.Response(200, text="".join(json.dumps(line) + "\n" for line in lines))


def broken(*lines: Line) -> Answer:
    return lambda: httpx.Response(200, stream=Broken(lines))


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    return lambda: httpx.Response(status, json={"code": code, "detail": "A sentence."}, headers=headers)


def page(status: int) -> Answer:
    return lambda: httpx.Response(status, html="<h1>Bad gateway</h1>")


def unreachable() -> httpx.Response:
    raise httpx.ConnectError("refused")


class Functions:
    """Gives these answers, in turn and the last one for ever; keeps what was sent and how long was waited."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.sent: list[Line] = []
        self.waits: list[float] = []
        self.seen: list[int] = []
        client = httpx.Client(base_url="http://functions.test", transport=httpx.MockTransport(self._answer))
        request = {"month": "2026-03", "skip_conflicts": True}
        self.run = MonthRun(client, request, lambda run: self.seen.append(run.left), self.waits.append)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/api/schedules/generate")
        self.sent.append(json.loads(request.content))
        return (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])()


def test_a_run_that_ends_well_is_sent_once() -> None:
    functions = Functions(stream(progress(2), match(1), match(2, 12), summary()))
    functions.run.finish()
    assert functions.sent == [{"month": "2026-03", "skip_conflicts": True}]
    assert (functions.run.created_sessions, functions.run.generated, functions.run.failures) == (20, 2, [])
    assert (functions.seen, functions.waits, functions.run.interruptions) == ([2, 1, 0], [], 0)


def test_when_there_is_more_it_goes_on_behind_the_last_package() -> None:
    functions = Functions(
        stream(match(1), summary(after="p1")),
        stream(match(2, 0, code="slot_taken"), summary(after="p2")),
        stream(match(3), summary()),
    )
    functions.run.finish()
    assert [each.get("after") for each in functions.sent] == [None, "p1", "p2"]
    assert all(each["skip_conflicts"] for each in functions.sent)
    assert [each["package_id"] for each in functions.run.failures] == ["p2"]
    assert (functions.run.created_sessions, functions.waits) == (16, [])


@pytest.mark.parametrize(
    ("interruption", "pause"),
    [
        (broken(match(1)), PAUSE),
        (stream(match(1)), PAUSE),
        (stream(), PAUSE),
        (lambda: httpx.Response(200, text='{"type": "mat'), PAUSE),
        (stream(match(1), error("busy", 1)), 1),
        (refusal(503, "upstream_unavailable", {"Retry-After": "5"}), 5),
        (refusal(429, "too_many_requests", {"Retry-After": "42"}), 42),
        (page(502), PAUSE),
        (unreachable, PAUSE),
    ],
)
def test_a_run_without_its_summary_is_sent_again(interruption: Answer, pause: int) -> None:
    functions = Functions(interruption, stream(match(2), summary()))
    functions.run.finish()
    assert functions.sent[0] == functions.sent[1]
    assert (len(functions.sent), functions.waits) == (2, [pause])
    assert functions.run.interruptions == 1


def test_what_was_told_before_an_interruption_counts_once() -> None:
    failed = match(2, 0, code="slot_taken")
    functions = Functions(broken(match(1), failed), stream(failed, match(3), summary()))
    functions.run.finish()
    assert (functions.run.created_sessions, functions.run.generated, len(functions.run.failures)) == (16, 2, 1)


def test_a_match_that_failed_first_and_got_its_sessions_then_has_not_failed() -> None:
    functions = Functions(broken(match(1, 0, code="failed")), stream(match(1), summary()))
    functions.run.finish()
    assert functions.run.failures == []


def test_it_goes_on_as_long_as_every_try_brings_something() -> None:
    functions = Functions(*(broken(match(number)) for number in range(3 * TRIES)), stream(summary()))
    functions.run.finish()
    assert functions.run.generated == 3 * TRIES


@pytest.mark.parametrize("nothing", [unreachable, broken(), stream(error("busy", 1)), page(503)])
def test_it_gives_up_when_nothing_comes_of_it(nothing: Answer) -> None:
    functions = Functions(nothing)
    with pytest.raises(RunError):
        functions.run.finish()
    assert (len(functions.sent), len(functions.waits)) == (TRIES + 1, TRIES)


@pytest.mark.parametrize(
    "refused",
    [
        refusal(401, "not_signed_in"),
        refusal(403, "not_allowed"),
        refusal(422, "invalid"),
        page(404),
        stream(match(1), error("not_signed_in", None)),
    ],
)
def test_a_refusal_is_not_sent_again(refused: Answer) -> None:
    functions = Functions(refused)
    with pytest.raises(RunError):
        functions.run.finish()
    assert len(functions.sent) == 1


def test_a_kind_of_line_that_is_new_to_it_is_passed_over() -> None:
    functions = Functions(stream({"type": "weather"}, match(1), summary()))
    functions.run.finish()
    assert functions.run.generated == 1


@pytest.mark.parametrize("month", ["", "2026-3", "2026-13", "March"])
def test_it_asks_for_a_month_before_anything_else(capsys: pytest.CaptureFixture[str], month: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--month", month])
    assert ended.value.code == 2
    assert "such as 2026-03" in capsys.readouterr().err
