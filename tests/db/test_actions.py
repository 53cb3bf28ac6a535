"""Chapter 16: what the buttons beside a session say is what happens when they are pressed, for everybody, always."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database, Refused
from tests.db.lessons import HOUR, START, booked, lesson, package
from tests.house import BILAL, LENA, MATHEMATICS, NADIA, Person

END = START + HOUR
MINUTE = timedelta(minutes=1)
A_FREE_TIME = START + timedelta(days=60)
STATUSES = ("scheduled", "in_progress", "done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled")
MOMENTS = {
    "before the window": START - HOUR,
    "in the window": START - 10 * MINUTE,
    "during": START + 30 * MINUTE,
    "after the end": END + HOUR,
    "after the correction window": END + 25 * HOUR,
}
CALLERS: dict[str, Person] = {"tutor": BILAL, "tutor who may move": BILAL, "student": LENA, "admin": NADIA}
ORIGINS_AND_STATUSES = [pair for pair in product(("match", "booking"), STATUSES) if pair != ("booking", "rescheduled")]
CIRCUMSTANCES = ("plain", "exhausted package", "earlier open session")

# --- what is pressed ----------------------------------------------------------------------------------

OPERATIONS: dict[str, dict[str, str]] = {
    "prep": dict.fromkeys(CALLERS, "prepare_session"),
    "start": dict.fromkeys(CALLERS, "start_session"),
    "complete": dict.fromkeys(CALLERS, "complete_session"),
    "missed": dict.fromkeys(CALLERS, "mark_missed") | {"student": "dispute_session"},
    "reschedule": {
        "tutor": "request_reschedule",
        "tutor who may move": "reschedule_session",
        "student": "request_reschedule",
        "admin": "reschedule_session",
    },
    "cancel": dict.fromkeys(CALLERS, "request_cancellation") | {"admin": "cancel_session"},
}
"""Which call is behind a button, by caller."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "mark_missed": {"p_by": "student"},
    "reschedule_session": {"p_start_utc": A_FREE_TIME},
}
WITHOUT_A_REASON = {"start_session", "complete_session", "prepare_session"}
"""Calls that take no reason."""


def press(db: Database, who: Person, operation: str, session_id: UUID, reason: str | None) -> dict[str, Any]:
    arguments = {"p_session_id": session_id} | ARGUMENTS.get(operation, {})
    if operation == "prepare_session":
        return prepare(db, who, session_id)
    if operation not in WITHOUT_A_REASON:
        arguments["p_reason"] = reason
    return db.call(who, operation, **arguments)


def prepare(db: Database, who: Person, session_id: UUID) -> dict[str, Any]:
    """Two calls: what a brief is made of is read, and what was made of it is kept."""
    lists = ("challenges", "motivators", "recommended_activities", "session_focus")
    nothing: dict[str, list[Any]] = {name: [] for name in lists}
    inputs = db.call(who, "brief_inputs", p_session_id=session_id)
    kept: dict[str, Any] = {
        "p_fingerprint": inputs["fingerprint"],
        "p_source": "rules",
        "p_model": None,
        "p_brief": nothing,
    }
    return db.call(who, "store_brief", p_session_id=session_id, **kept) | {"changed": True}


def outcome(db: Database, who: Person, operation: str, session_id: UUID, reason: str | None) -> dict[str, Any]:
    """What happened, in the words of a button; it is taken back."""
    try:
        with db.connection.transaction(force_rollback=True):
            answer = press(db, who, operation, session_id, reason)
    except Refused as refused:
        return {"code": refused.code, "detail": refused.detail} | refused.extra
    return {"changed": answer["changed"]}


def broken_promises(db: Database, who: Person, action: dict[str, Any], session_id: UUID) -> Iterator[str]:
    """Where a button is wrong about what it does."""
    operation = action["operation"]
    press_with = partial(outcome, db, who, operation, session_id)
    if action["allowed"]:
        needed = "The family called." if action["needs_reason"] else None
        if action.keys() != {"allowed", "operation", "needs_reason"}:
            yield f"says more than it should: {action}"
        if press_with(needed) != {"changed": True}:
            yield f"allowed, but {press_with(needed)}"
        if action["needs_reason"] and press_with(None).get("code") != "reason_required":
            yield f"needs a reason, but without one {press_with(None)}"
        return
    said = {name: value for name, value in action.items() if name not in ("allowed", "operation", "needs_reason")}
    happens = press_with("The family called.")
    if action["code"] == "already_so":
        if happens != {"changed": False}:
            yield f"so already, but {happens}"
    elif happens != said or action["needs_reason"]:
        yield f"says {said}, but {happens}"


# --- the walk -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A session as it may be found."""

    origin: str
    status: str
    is_delayed: bool
    set_by: str
    has_come: bool
    """Whether a person began it."""
    circumstance: str


def states(origin: str, status: str) -> Iterator[State]:
    for is_delayed, set_by, has_come, circumstance in product(
        [False] if status == "scheduled" else [False, True],
        ["clock", "tutor" if origin == "match" else "student"],
        [False, True] if status == "in_progress" else [False],
        CIRCUMSTANCES if origin == "match" else CIRCUMSTANCES[:1],
    ):
        if circumstance == "plain" or set_by == "tutor":
            yield State(origin, status, is_delayed, set_by, has_come, circumstance)


def put(db: Database, state: State) -> UUID:
    columns: dict[str, Any] = {
        "status": state.status, "is_delayed": state.is_delayed, "status_set_by": state.set_by,
        "status_changed_at": END, "started_by": BILAL.id if state.has_come else None,
    }  # fmt: skip
    if state.origin == "booking":
        return booked(db, BILAL, LENA, **columns)
    if state.circumstance == "earlier open session":
        lesson(db, start=START - 2 * HOUR)
    if state.circumstance == "exhausted package":
        costs = state.status in ("done", "no_show_student")
        columns["package_id"] = package(db, MATHEMATICS, tier=8, used=7 if costs else 8)
    return lesson(db, **columns)


def can_be_joined(state: State, moment: str) -> str | None:
    """By hand: from the start window on until it ends or is resolved; None, or the code."""
    if state.status not in ("scheduled", "in_progress"):
        return "illegal_transition"
    if state.origin == "booking":
        return "no_meet_link"
    if moment == "before the window":
        return "too_early"
    is_over = moment.startswith("after")
    return "too_late" if is_over and state.status == "scheduled" else None


def wrong_buttons(db: Database, session_id: UUID, state: State, moment: str, caller: str) -> Iterator[str]:
    who = CALLERS[caller]
    actions = db.call(who, "get_session", p_session_id=session_id)["session"]["actions"]
    join = actions.pop("join")
    if (join["operation"], join["allowed"], join.get("code")) != (
        None, (code := can_be_joined(state, moment)) is None, code,
    ):  # fmt: skip
        yield f"join: {join}"
    if {name: action["operation"] for name, action in actions.items()} != {
        name: operations[caller] for name, operations in OPERATIONS.items()
    }:
        yield f"other operations: {actions}"
    for name, action in actions.items():
        for broken in broken_promises(db, who, action, session_id):
            yield f"{name}: {broken}"


@pytest.mark.parametrize(("origin", "status"), ORIGINS_AND_STATUSES)
def test_every_button_says_what_happens_when_it_is_pressed(db: Database, origin: str, status: str) -> None:
    wrong: list[str] = []
    for state in states(origin, status):
        with db.connection.transaction(force_rollback=True):
            session_id = put(db, state)
            for moment, caller in product(MOMENTS, CALLERS):
                with db.connection.transaction(force_rollback=True):
                    db.run("update public.settings set tutor_may_reschedule = %s", caller == "tutor who may move")
                    db.set_clock(MOMENTS[moment])
                    wrong += [
                        f"{state} {moment}, {caller}: {each}"
                        for each in wrong_buttons(db, session_id, state, moment, caller)
                    ]
    assert wrong == []


# --- what the walk does not come by -------------------------------------------------------------------


def buttons(db: Database, who: Person, session_id: UUID) -> dict[str, Any]:
    return db.call(who, "get_session", p_session_id=session_id)["session"]["actions"]


PUT: dict[str, Callable[..., UUID]] = {"match": lesson, "booking": partial(booked, tutor=BILAL, student=LENA)}


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_whoever_has_asked_to_cancel_sees_that_and_the_other_side_that_somebody_has(db: Database, origin: str) -> None:
    session_id = PUT[origin](db)
    press(db, LENA, "request_cancellation", session_id, "Flu.")
    hers, his, admins = (buttons(db, who, session_id)["cancel"] for who in (LENA, BILAL, NADIA))
    assert (hers["allowed"], hers["code"]) == (False, "already_so")
    assert (his["allowed"], his["code"]) == (False, "already_requested")
    assert admins == {"allowed": True, "operation": "cancel_session", "needs_reason": True}
    for who, action in ((LENA, hers), (BILAL, his), (NADIA, admins)):
        assert list(broken_promises(db, who, action, session_id)) == []


def test_a_wish_for_another_time_may_be_made_again(db: Database) -> None:
    session_id = lesson(db)
    press(db, LENA, "request_reschedule", session_id, "Flu.")
    action = buttons(db, LENA, session_id)["reschedule"]
    assert action == {"allowed": True, "operation": "request_reschedule", "needs_reason": True}
    assert outcome(db, LENA, "request_reschedule", session_id, "Still flu.") == {"changed": True}


def test_a_disputed_session_is_so_already(db: Database) -> None:
    session_id = lesson(db, status="done", status_set_by="clock", status_changed_at=END)
    db.set_clock(END)
    assert buttons(db, LENA, session_id)["missed"]["allowed"]
    press(db, LENA, "dispute_session", session_id, "Nobody came.")
    action = buttons(db, LENA, session_id)["missed"]
    assert action["code"] == "already_so"
    assert list(broken_promises(db, LENA, action, session_id)) == []


def test_a_tutor_who_lost_the_role_may_press_nothing_but_the_link(db: Database) -> None:
    session_id = lesson(db)
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=["student"])
    db.set_clock(START)
    actions = buttons(db, BILAL, session_id)
    assert actions.pop("join")["allowed"]
    assert {name: action["code"] for name, action in actions.items()} == dict.fromkeys(OPERATIONS, "not_allowed")
    for action in actions.values():
        assert list(broken_promises(db, BILAL, action, session_id)) == []


def test_an_admin_who_teaches_has_an_admins_buttons(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=["tutor", "admin"])
    session_id = lesson(db)
    assert buttons(db, BILAL, session_id) == buttons(db, NADIA, session_id)


def test_every_answer_with_a_session_has_the_buttons_of_who_asked(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    for who in (BILAL, LENA, NADIA):
        (listed,) = db.call(who, "list_sessions")["sessions"]
        assert listed["actions"] == buttons(db, who, session_id)
        with db.connection.transaction(force_rollback=True):
            answered = db.call(who, "start_session", p_session_id=session_id)["session"]["actions"]
            assert answered == buttons(db, who, session_id)
            assert answered["start"]["code"] == "already_so"
    wish = press(db, LENA, "request_cancellation", lesson(db, start=START + 2 * HOUR), "Flu.")["request"]
    assert wish["session"]["actions"]["cancel"]["code"] == "already_so"
    (read,) = db.call(NADIA, "list_cancellation_requests")["requests"]
    assert read["session"]["actions"]["cancel"]["operation"] == "cancel_session"


def test_a_link_is_of_use_from_the_very_window_on(db: Database) -> None:
    session_id = lesson(db)
    opens_at = START - 15 * MINUTE
    db.set_clock(opens_at - timedelta(seconds=1))
    assert buttons(db, LENA, session_id)["join"]["code"] == "too_early"
    db.set_clock(opens_at)
    assert buttons(db, LENA, session_id)["join"] == {"allowed": True, "operation": None, "needs_reason": False}
    db.set_clock(END - timedelta(seconds=1))
    assert buttons(db, LENA, session_id)["join"]["allowed"]
    db.set_clock(END)
    assert buttons(db, LENA, session_id)["join"]["code"] == "too_late"
    db.run("update public.matches set meet_link = null where id = %s", MATHEMATICS.id)
    assert buttons(db, LENA, session_id)["join"]["code"] == "no_meet_link"
