"""A day as it goes, line by line: when, who, about what, asked how, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import httpx

from lib.zones import to_local, zone
from scripts.demo.cast import Person, Row, Scheduler, answer_of
from scripts.demo.house import Clock
from scripts.demo.page import Page
from scripts.demo.words import clock_time, hour, used

COLUMNS = ("UTC", "Theirs", "Who", "Lesson", "Request", "What came of it")


class Diary:
    """Sets the clock, lets somebody ask, and notes the answer; in the end all of it is one table."""

    def __init__(self, clock: Clock, date: str) -> None:
        self._clock, self._date = clock, date
        self._lines: list[Sequence[str]] = []
        self._facts: list[tuple[str, object, object]] = []

    def post(self, time: str, who: Person, about: str, path: str, body: Row | None = None) -> Row:
        """What this person is answered at that time of the day, UTC."""
        return answer_of(self._ask(time, who, about, lambda: who.try_post(path, body or {})))

    def get(self, time: str, who: Person, about: str, path: str, **query: str) -> Row:
        return answer_of(self._ask(time, who, about, lambda: who.try_get(path, **query)))

    def refused(self, time: str, who: Person, about: str, path: str, body: Row | None = None) -> Row:
        """The same as `post`, where a refusal is expected."""
        return self._ask(time, who, about, lambda: who.try_post(path, body or {})).json()

    def call(self, time: str, scheduler: Scheduler, job: str) -> Row:
        """What a scheduler is answered."""
        self._move_to(time)
        answer = scheduler.call(job)
        self._note("", "scheduler", "", answer, came_of(answer.json()))
        return answer_of(answer)

    def sweep(self, time: str, scheduler: Scheduler, who: Person, about: str, lesson: Row) -> Row:
        """The clock is called; what came of this person's lesson is noted, too."""
        self._move_to(time)
        answer = scheduler.call("complete-sessions")
        now = who.get(f"/api/sessions/{lesson['id']}")
        self._note("", "scheduler", about, answer, f"{came_of(answer.json())}: {_session(now)}")
        return answer_of(answer)

    def pause(self) -> None:
        """Something else begins: an empty line."""
        self._lines.append(("",) * len(COLUMNS))

    def fact(self, sentence: str, found: object, wanted: object) -> None:
        """What is looked at below the table."""
        self._facts.append((sentence, found, wanted))

    def show(self, page: Page, title: str) -> None:
        page.table(title, COLUMNS, self._lines)
        for sentence, found, wanted in self._facts:
            page.expect(sentence, found, wanted)

    def _ask(self, time: str, who: Person, about: str, ask: Callable[[], httpx.Response]) -> httpx.Response:
        self._move_to(time)
        answer = ask()
        local = to_local(self._clock.now, zone(who.timezone))
        self._note(f"{local:%H:%M}", who.name, about, answer, came_of(answer.json()))
        return answer

    def _move_to(self, time: str) -> None:
        self._clock.move_to(datetime.fromisoformat(f"{self._date}T{time}+00:00"))

    def _note(self, local: str, who: str, about: str, answer: httpx.Response, came: str) -> None:
        request = f"{answer.request.method} /{answer.request.url.path.rpartition('/')[2]}"
        status = "" if answer.status_code == HTTPStatus.OK else f"{answer.status_code} "
        self._lines.append((f"{self._clock.now:%H:%M}", local, who, about, request, status + came))


def came_of(answer: Row) -> str:
    """An answer in a few words."""
    already = "already " if answer.get("changed") is False else ""
    return already + next(words(answer) for member, words in WORDS.items() if member in answer)


def _problem(answer: Row) -> str:
    until = f" until {clock_time(answer['opens_at'])} ({answer['policy']})" if "opens_at" in answer else ""
    return answer["code"] + until


def _session(session: Row) -> str:
    late = ", late" if session["is_delayed"] and session["status"] == "in_progress" else ""
    return session["status"] + late + (f", {used(session)}" if session["package"] else "")


def _booking(answer: Row) -> str:
    booking = answer["booking"]
    if "session" in answer:
        return f"{booking['status']}; session {answer['session']['status']}"
    return f"{booking['status']} for {hour(booking['starts_at'])}"


def _slots(answer: Row) -> str:
    return "free: " + ", ".join(clock_time(slot["start_utc"]) for slot in answer["slots"])


def _sweep(answer: Row) -> str:
    moved = [f"{answer[member]} {word}" for member, word in SWEPT.items() if answer[member]]
    return ", ".join(moved) or "none due"


def _wish(wish: Row) -> str:
    session = wish["session"]
    return f"{wish['status']}: {session['status']} {hour(session['scheduled_start_utc'])}"


def _proposals(answer: Row) -> str:
    return ", ".join(
        f"{hour(each['start_utc'])} {'free' if each['is_free'] else 'taken'}"
        for wish in answer["requests"]
        for each in wish["proposals"]
    )


SWEPT = {"started": "begun", "completed": "completed"}
WORDS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "code": _problem,
    "booking": _booking,
    "session": lambda answer: _session(answer["session"]),
    "request": lambda answer: _wish(answer["request"]),
    "requests": _proposals,
    "sweeps": _sweep,
    "slots": _slots,
    "review": lambda answer: f"{answer['review']['rating']} of 5",
    "delivered": lambda answer: f"{answer['delivered']} delivered",
    "secret": lambda answer: f"a secret, shown once: {answer['secret'][:6]}…",
}
"""By the member that an answer is known by."""
