"""Chapter 14: another time for one session, wishes for it, and for a series; all cases written out by hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, START, audit, booked, column, events, instant, lesson, move, package, update
from tests.house import BILAL, ENGLISH, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, OLIVER, ZARA, Person

END = START + HOUR
MINUTE = timedelta(minutes=1)
THEN = START + timedelta(days=60)
"""Nobody has anything to do then."""
STATUSES = ("scheduled", "in_progress", "done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled")
ORIGINS_AND_STATUSES = [pair for pair in product(("match", "booking"), STATUSES) if pair != ("booking", "rescheduled")]
PUT: dict[str, Callable[..., UUID]] = {"match": lesson, "booking": partial(booked, tutor=BILAL, student=LENA)}


def reschedule(db: Database, who: Person | str, session_id: object, start: object, **more: object) -> dict[str, Any]:
    options = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, "reschedule_session", p_session_id=session_id, p_start_utc=start, **options)


def ask(db: Database, who: Person | str, session_id: object, *starts: object, reason: str | None = "Flu.") -> Any:
    """`request_reschedule`; the document of the wish."""
    proposed = [each.isoformat() if isinstance(each, datetime) else each for each in starts]
    return db.call(who, "request_reschedule", p_session_id=session_id, p_reason=reason, p_proposed_starts_utc=proposed)[
        "request"
    ]


def decide(db: Database, who: Person | str, how: str, wish: Any, **more: object) -> dict[str, Any]:
    """`accept`, `reject` or `withdraw`."""
    options = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, f"{how}_reschedule_request", p_request_id=wish["id"], **options)


def status_of(db: Database, wish: Any) -> str:
    return db.value("select status::text from public.reschedule_requests where id = %s", wish["id"])


def moves(db: Database, session_id: object) -> list[tuple[Any, ...]]:
    return db.rows(
        "select from_start_utc, to_start_utc, reason, moved_by_user_id, moved_by_role::text"
        " from public.session_moves where session_id = %s order by id",
        session_id,
    )


def times(db: Database, session_id: object) -> tuple[datetime, datetime]:
    return db.rows("select scheduled_start_utc, scheduled_end_utc from public.sessions where id = %s", session_id)[0]  # pyright: ignore[reportReturnType]


def let_tutors_move(db: Database, *, may: bool = True) -> None:
    db.run("update public.settings set tutor_may_reschedule = %s", may)


# --- who may move what --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    origin: str
    status: str
    is_delayed: bool
    set_by: str
    role: str
    now: datetime


ROLES: dict[str, Person] = {"tutor": BILAL, "tutor who may": BILAL, "student": LENA, "admin": NADIA}
MOMENTS = (START - HOUR, START - 10 * MINUTE, START + 30 * MINUTE, END + HOUR, END + 25 * HOUR)


def can_be_moved(cell: Cell) -> bool:
    """Domain §2: scheduled, rescheduled, delayed in_progress → scheduled at a new time, of a match alone."""
    is_open = cell.status in ("scheduled", "rescheduled") or (cell.status == "in_progress" and cell.is_delayed)
    return cell.origin == "match" and is_open


def of_a_move(cell: Cell) -> str:
    if cell.role in ("tutor", "student"):
        return "not_allowed"
    if cell.role == "admin" and (cell.origin, cell.status, cell.is_delayed) == ("match", "in_progress", False):
        return "reason_required"
    return "changed" if can_be_moved(cell) else "illegal_transition"


def of_a_wish(cell: Cell) -> str:
    if cell.role == "admin":
        return "not_allowed"
    return "changed" if can_be_moved(cell) else "illegal_transition"


def cells(origin: str, status: str) -> Iterator[Cell]:
    delays = [False] if status == "scheduled" else [False, True]
    setters = ["clock", "tutor" if origin == "match" else "student"]
    for marks in product(delays, setters, ROLES, MOMENTS):
        yield Cell(origin, status, *marks)


def answered(db: Database, function: str, who: Person, **arguments: object) -> str:
    try:
        answer = db.call(who, function, **arguments)
    except Refused as refused:
        return refused.code
    return "changed" if answer["changed"] else "unchanged"


@pytest.mark.parametrize(("origin", "status"), ORIGINS_AND_STATUSES)
def test_another_time_is_given_and_wished_for_as_the_rules_say(db: Database, origin: str, status: str) -> None:
    wrong: list[str] = []
    for cell in cells(origin, status):
        with db.connection.transaction(force_rollback=True):
            session_id = PUT[origin](
                db, status=status, is_delayed=cell.is_delayed, status_set_by=cell.set_by, status_changed_at=END
            )
            let_tutors_move(db, may=cell.role == "tutor who may")
            db.set_clock(cell.now)
            who = ROLES[cell.role]
            wished = answered(db, "request_reschedule", who, p_session_id=session_id, p_reason="Flu.")
            told = answered(db, "reschedule_session", who, p_session_id=session_id, p_start_utc=THEN)
            left = (*times(db, session_id), column(db, session_id, "status"))
        wanted = (THEN, THEN + HOUR, "scheduled") if of_a_move(cell) == "changed" else (START, END, status)
        if (told, wished, left) != (of_a_move(cell), of_a_wish(cell), wanted):
            wrong.append(f"{cell}: {told}, {wished}, {left}")
    assert wrong == []


def test_an_admin_moves_what_was_begun_in_time_and_says_why(db: Database) -> None:
    session_id = lesson(db, status="in_progress", started_by=BILAL.id, started_at=START)
    db.set_clock(START)
    session = reschedule(db, NADIA, session_id, THEN, reason=" The line broke. ")["session"]
    assert (session["status"], session["started_at"], session["started_by"]) == ("scheduled", None, None)
    assert session["status_reason"] == "The line broke."


def test_a_tutor_who_may_move_still_sets_no_status_but_their_own(db: Database) -> None:
    session_id = lesson(db, status="rescheduled")
    let_tutors_move(db)
    for status in ("scheduled", "rescheduled", "cancelled"):
        with pytest.raises(Refused, match="403 not_allowed"):
            update(db, BILAL, session_id, status, reason="So.")


def test_a_tutor_whom_the_policy_does_not_let_is_told_which(db: Database) -> None:
    with pytest.raises(Refused) as refused:
        reschedule(db, BILAL, lesson(db), THEN)
    assert refused.value.extra == {"policy": "tutor_may_reschedule"}


@pytest.mark.parametrize("who", [HARRIET, ZARA, NEWCOMER])
def test_somebody_elses_session_and_a_missing_one_get_the_same_answer(db: Database, who: Person) -> None:
    for unseen in (lesson(db), uuid4()):
        for function, more in (
            ("reschedule_session", {"p_start_utc": THEN}),
            ("request_reschedule", {"p_reason": "x"}),
        ):
            with pytest.raises(Refused) as refused:
                db.call(who, function, p_session_id=unseen, **more)
            assert (refused.value.status, refused.value.detail) == (404, "There is no such session.")


# --- what a move does ---------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [15, 45, 60, 480])
def test_a_session_keeps_its_length(db: Database, minutes: int) -> None:
    session_id = lesson(db, length=minutes * MINUTE)
    reschedule(db, NADIA, session_id, THEN)
    assert times(db, session_id) == (THEN, THEN + minutes * MINUTE)


def test_a_move_leaves_history_audit_and_one_event(db: Database) -> None:
    session_id = lesson(db)
    answer = reschedule(db, NADIA, session_id, THEN, reason="Flu.")
    assert (answer["changed"], answer["session"]["version"]) == (True, 2)
    assert moves(db, session_id) == [(START, THEN, "Flu.", NADIA.id, "admin")]
    assert audit(db, session_id) == [("session_rescheduled", "admin", NADIA.id)]
    ((event, payload),) = db.rows(
        "select event_type, payload from private.outbox_events where aggregate_id = %s", session_id
    )
    assert (event, instant(payload["previous_start_utc"])) == ("session.rescheduled", START)
    (told,) = db.call(LENA, "get_session", p_session_id=session_id)["moves"]
    assert {name: instant(told[name]) for name in told if name.endswith("_utc")} == {
        "from_start_utc": START, "from_end_utc": END, "to_start_utc": THEN, "to_end_utc": THEN + HOUR,
    }  # fmt: skip
    assert (told["reason"], told["by_role"]) == ("Flu.", "admin")


def test_a_new_time_clears_the_marks_of_the_clock(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    db.call("service_role", "sweep_session_statuses")
    assert column(db, session_id, "is_delayed") is True
    session = reschedule(db, NADIA, session_id, THEN)["session"]
    assert (session["status"], session["is_delayed"], session["started_at"]) == ("scheduled", False, None)


def test_a_parked_session_comes_back_also_to_its_old_time(db: Database) -> None:
    session_id = lesson(db)
    update(db, NADIA, session_id, "rescheduled")
    assert reschedule(db, NADIA, session_id, START)["changed"] is True
    assert (column(db, session_id, "status"), times(db, session_id)) == ("scheduled", (START, END))
    assert moves(db, session_id) == []


def test_asked_again_it_is_so_already_before_version_and_time_are_looked_at(db: Database) -> None:
    session_id = lesson(db)
    reschedule(db, NADIA, session_id, THEN)
    db.set_clock(THEN + DAY)
    assert reschedule(db, NADIA, session_id, THEN, expected_version=1)["changed"] is False
    assert len(moves(db, session_id)) == 1
    with pytest.raises(Refused, match="403 not_allowed"):
        reschedule(db, LENA, session_id, THEN)


def test_a_stale_version_is_refused_before_legality(db: Database) -> None:
    session_id = lesson(db, status="done")
    with pytest.raises(Refused) as refused:
        reschedule(db, NADIA, session_id, THEN, expected_version=7)
    assert (refused.value.code, refused.value.extra) == ("stale_version", {"version": 1})


def test_the_past_is_refused_to_the_second(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(Refused) as refused:
        reschedule(db, NADIA, session_id, START - timedelta(seconds=1))
    assert (refused.value.status, refused.value.code) == (422, "start_in_past")
    db.set_clock(START - HOUR)
    assert reschedule(db, NADIA, session_id, START - HOUR)["changed"]


@pytest.mark.parametrize("start", [None, "infinity", "-infinity", "2101-06-01T00:00Z", "294276-12-31T23:59:59Z"])
def test_what_is_no_time_of_this_century_is_refused(db: Database, start: str | None) -> None:
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        reschedule(db, NADIA, session_id, start)
    assert (refused.value.status, refused.value.code, refused.value.extra) == (422, "invalid", {"field": "start_utc"})
    assert times(db, session_id) == (START, END)


def test_a_reason_too_long_is_said_to_be_that(db: Database) -> None:
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        reschedule(db, NADIA, session_id, THEN, reason="x" * 1001)
    assert (refused.value.code, refused.value.extra) == ("invalid", {"field": "reason"})


@pytest.mark.parametrize("side", ["tutor", "student"])
def test_a_taken_time_is_refused_and_only_admins_learn_by_which_session(db: Database, side: str) -> None:
    session_id = lesson(db)
    other = booked(db, BILAL, OLIVER, THEN) if side == "tutor" else booked(db, HARRIET, LENA, THEN)
    let_tutors_move(db)
    start = THEN + 30 * MINUTE
    for who, names in ((NADIA, {"session_id": str(other)}), (BILAL, {})):
        with pytest.raises(Refused) as refused:
            reschedule(db, who, session_id, start)
        assert (refused.value.status, refused.value.code) == (409, "slot_taken")
        (conflict,) = refused.value.extra["conflicts"]
        assert (instant(conflict.pop("start_utc")), instant(conflict.pop("end_utc"))) == (start, start + HOUR)
        assert conflict == {"of": side} | names
    assert reschedule(db, BILAL, session_id, THEN + HOUR)["changed"], "into the very instant the other ends"


def test_a_session_may_be_moved_within_its_own_time(db: Database) -> None:
    session_id = lesson(db)
    assert reschedule(db, NADIA, session_id, START + 30 * MINUTE)["changed"]


# --- wishes -------------------------------------------------------------------------------------------


def test_a_wish_shows_its_times_and_only_admins_see_which_are_free(db: Database) -> None:
    session_id = lesson(db)
    booked(db, BILAL, OLIVER, THEN)
    db.set_clock(START - DAY)
    wish = ask(db, LENA, session_id, THEN, THEN + DAY, START - HOUR)
    assert [(instant(each["start_utc"]), each["is_free"]) for each in wish["proposals"]] == [
        (THEN, None), (THEN + DAY, None), (START - HOUR, None),
    ]  # fmt: skip
    assert (wish["status"], wish["requested_by_role"], wish["requested_by"]["id"]) == (
        "pending",
        "student",
        str(LENA.id),
    )
    assert wish["session"]["id"] == str(session_id)
    db.set_clock(START)
    (seen,) = db.call(NADIA, "list_reschedule_requests")["requests"]
    assert [each["is_free"] for each in seen["proposals"]] == [False, True, False], "taken, free, and past"
    assert events(db, session_id) == ["reschedule.requested"]
    assert audit(db, wish["id"]) == [("reschedule_request_created", "student", LENA.id)]


@pytest.mark.parametrize(
    "proposed",
    [
        [THEN, THEN + DAY, THEN + 2 * DAY, THEN + 3 * DAY],
        [THEN, THEN],
        ["infinity"],
        ["2101-06-01T00:00Z"],
        ["294276-12-31T23:59:59Z"],
    ],
    ids=["four", "twice the same", "no time", "another century", "the end of time"],
)
def test_what_may_not_be_proposed(db: Database, proposed: list[object]) -> None:
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        ask(db, LENA, session_id, *proposed)
    assert (refused.value.code, refused.value.extra) == ("invalid", {"field": "proposed_starts_utc"})
    assert db.call(NADIA, "list_reschedule_requests")["requests"] == []


def test_the_past_may_not_be_proposed(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(Refused) as refused:
        ask(db, LENA, session_id, THEN, START - MINUTE)
    assert (refused.value.code, refused.value.extra) == ("start_in_past", {"field": "proposed_starts_utc"})


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_wish_says_why(db: Database, reason: str | None) -> None:
    with pytest.raises(Refused) as refused:
        ask(db, LENA, lesson(db), reason=reason)
    assert (refused.value.code, refused.value.extra) == ("reason_required", {"field": "reason"})
    with pytest.raises(Refused, match="422 invalid"):
        ask(db, LENA, lesson(db, start=THEN), reason="x" * 1001)


def test_the_same_wish_again_changes_nothing_and_another_takes_its_place(db: Database) -> None:
    session_id = lesson(db)
    first = ask(db, LENA, session_id, THEN)
    assert ask(db, LENA, session_id, THEN, reason=" Flu. ")["id"] == first["id"]
    of_the_tutor = ask(db, BILAL, session_id)
    second = ask(db, LENA, session_id, THEN + DAY)
    assert [status_of(db, each) for each in (first, second, of_the_tutor)] == ["withdrawn", "pending", "pending"]
    assert events(db, session_id) == [
        "reschedule.requested", "reschedule.requested", "reschedule.withdrawn", "reschedule.requested",
    ]  # fmt: skip


def test_who_sees_a_wish(db: Database) -> None:
    wish = ask(db, LENA, lesson(db))
    for who, seen in ((LENA, 1), (NADIA, 1), (BILAL, 0), (HARRIET, 0), (ZARA, 0)):
        assert len(db.call(who, "list_reschedule_requests")["requests"]) == seen
        assert len(db.rows("select from public.reschedule_requests", who=who)) == seen
    for stranger in (BILAL, ZARA):
        with pytest.raises(Refused, match="404 not_found"):
            decide(db, stranger, "withdraw", wish)
    for how, who in (("accept", LENA), ("reject", LENA), ("withdraw", NADIA)):
        with pytest.raises(Refused, match="403 not_allowed"):
            decide(db, who, how, wish)


def test_wishes_are_listed_by_status_session_and_page(db: Database) -> None:
    wishes = [ask(db, LENA, lesson(db, start=START + number * DAY)) for number in range(3)]
    decide(db, NADIA, "reject", wishes[0])
    listed = partial(db.call, NADIA, "list_reschedule_requests")
    assert [each["id"] for each in listed(p_status="rejected")["requests"]] == [wishes[0]["id"]]
    assert [each["id"] for each in listed(p_session_id=wishes[1]["session"]["id"])["requests"]] == [wishes[1]["id"]]
    walked: list[str] = []
    page = listed(p_limit=1)
    while True:
        (last,) = page["requests"]
        walked.append(last["id"])
        if not page["has_more"]:
            break
        page = listed(p_limit=1, p_after_created=last["created_at"], p_after_id=last["id"])
    assert sorted(walked) == sorted(each["id"] for each in wishes)
    for limit in (0, 201):
        with pytest.raises(Refused, match="422 invalid"):
            listed(p_limit=limit)


def test_accepting_moves_the_session_and_ends_the_other_wishes(db: Database) -> None:
    session_id = lesson(db)
    wish, other = ask(db, LENA, session_id, THEN, THEN + DAY), ask(db, BILAL, session_id)
    answer = decide(db, NADIA, "accept", wish, start_utc=THEN + DAY)
    assert (answer["changed"], instant(answer["request"]["accepted_start_utc"])) == (True, THEN + DAY)
    assert [status_of(db, each) for each in (wish, other)] == ["accepted", "lapsed"]
    assert moves(db, session_id) == [(START, THEN + DAY, "Flu.", NADIA.id, "admin")]
    for again in ({}, {"start_utc": THEN + DAY}):
        assert decide(db, NADIA, "accept", wish, **again)["changed"] is False
    with pytest.raises(Refused) as refused:
        decide(db, NADIA, "accept", wish, start_utc=THEN)
    assert (refused.value.code, refused.value.extra) == ("already_decided", {"decided_as": "accepted"})


def test_which_time_is_accepted(db: Database) -> None:
    several, one, none = (lesson(db, start=START + number * DAY) for number in range(3))
    wish = ask(db, LENA, several, THEN, THEN + DAY)
    for start in (None, THEN + HOUR):
        with pytest.raises(Refused) as refused:
            decide(db, NADIA, "accept", wish, start_utc=start)
        assert (refused.value.code, refused.value.extra) == ("invalid", {"field": "start_utc"})
    assert decide(db, NADIA, "accept", ask(db, LENA, one, THEN))["changed"], "the only one"
    wish = ask(db, LENA, none)
    with pytest.raises(Refused, match="422 invalid"):
        decide(db, NADIA, "accept", wish)
    decide(db, NADIA, "accept", wish, start_utc=THEN + 2 * DAY, reason="As we said.")
    assert moves(db, none) == [(START + 2 * DAY, THEN + 2 * DAY, "As we said.", NADIA.id, "admin")]


def test_a_time_that_was_taken_meanwhile_is_not_accepted_and_the_wish_stays(db: Database) -> None:
    wish = ask(db, LENA, lesson(db), THEN)
    booked(db, BILAL, OLIVER, THEN)
    with pytest.raises(Refused, match="409 slot_taken"):
        decide(db, NADIA, "accept", wish)
    db.set_clock(THEN + MINUTE)
    with pytest.raises(Refused, match="422 start_in_past"):
        decide(db, NADIA, "accept", wish)
    assert status_of(db, wish) == "pending"


@pytest.mark.parametrize(("how", "who", "status"), [("reject", NADIA, "rejected"), ("withdraw", LENA, "withdrawn")])
def test_a_decision_is_made_once(db: Database, how: str, who: Person, status: str) -> None:
    session_id = lesson(db)
    wish = ask(db, LENA, session_id, THEN)
    assert decide(db, who, how, wish)["request"]["status"] == status
    assert decide(db, who, how, wish)["changed"] is False
    for other, by in (("accept", NADIA), ("reject", NADIA), ("withdraw", LENA)):
        if other != how:
            with pytest.raises(Refused) as refused:
                decide(db, by, other, wish)
            assert (refused.value.code, refused.value.extra) == ("already_decided", {"decided_as": status})
    assert times(db, session_id) == (START, END)
    assert events(db, session_id) == ["reschedule.requested", f"reschedule.{status}"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("move", "lapsed"), ("edit in Studio", "lapsed"), ("in_progress", "lapsed"), ("done", "lapsed"),
        ("no_show_tutor", "lapsed"), ("cancelled", "lapsed"), ("rescheduled", "pending"), ("notes", "pending"),
        ("the clock", "lapsed"), ("end of the match", "lapsed"), ("a longer lesson", "pending"),
    ],
)  # fmt: skip
def test_a_wish_ends_with_what_it_was_about(db: Database, change: str, status: str) -> None:
    session_id = lesson(db)
    wish, elsewhere = ask(db, LENA, session_id), ask(db, LENA, lesson(db, start=THEN, status="rescheduled"))
    match change:
        case "move":
            reschedule(db, NADIA, session_id, THEN + DAY)
        case "edit in Studio":
            move(db, session_id, THEN + DAY)
        case "a longer lesson":
            move(db, session_id, START, length=2 * HOUR)
        case "notes":
            update(db, NADIA, session_id, "scheduled", notes="Verbs.")
        case "the clock":
            db.set_clock(START)
            db.call("service_role", "sweep_session_statuses")
        case "end of the match":
            db.call(NADIA, "end_match", p_match_id=MATHEMATICS.id, p_reason="Moving away.")
        case _:
            update(db, NADIA, session_id, change, reason="So.")
    assert status_of(db, wish) == status
    assert ("reschedule.lapsed" in events(db, session_id)) == (status == "lapsed")
    decided_by = db.value("select decided_by_user_id from public.reschedule_requests where id = %s", wish["id"])
    assert decided_by is None
    assert status_of(db, elsewhere) == ("lapsed" if change == "end of the match" else "pending")


def test_a_wish_about_a_parked_session_ends_when_it_has_its_time(db: Database) -> None:
    session_id = lesson(db)
    wish = ask(db, LENA, session_id, THEN)
    update(db, NADIA, session_id, "rescheduled")
    assert decide(db, NADIA, "accept", wish)["request"]["session"]["status"] == "scheduled"


def test_wishes_are_limited_and_never_deleted(db: Database) -> None:
    session_id = lesson(db)
    for number in range(20):
        ask(db, LENA, session_id, reason=f"Reason {number}.")
    with pytest.raises(Refused, match="429 too_many_requests"):
        ask(db, LENA, session_id, reason="One too many.")
    with pytest.raises(Refused, match="Requests stay"):
        db.run("delete from public.reschedule_requests")


# --- a series -----------------------------------------------------------------------------------------


def row_of(db: Database, *starts: datetime, **columns: Any) -> list[UUID]:
    """Lessons of mathematics at these times."""
    return [lesson(db, start=start, **columns) for start in starts]


def inputs_of(db: Database, scope: str | None = "all", **more: object) -> dict[str, Any]:
    options = {f"p_{name}": value for name, value in more.items()}
    return db.call(NADIA, "series_inputs", p_match_id=MATHEMATICS.id, p_scope=scope, **options)


def shift(
    db: Database, by: timedelta | list[timedelta], scope: str = "all", inputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Each session of the series by so much, as far as it goes; both trips."""
    where = {name: more.pop(name) for name in ("session_id", "package_id", "from_date") if name in more}
    inputs = inputs or inputs_of(db, scope, **where)
    distances = by if isinstance(by, list) else [by] * len(inputs["moving"])
    arguments: dict[str, Any] = {
        "match_id": MATHEMATICS.id, "scope": scope, "fingerprint": inputs["fingerprint"],
        "moves": [
            {
                "session_id": each["session_id"],
                "start_utc": (instant(each["scheduled_start_utc"]) + distance).isoformat(),
            }
            for each, distance in zip(inputs["moving"], distances, strict=False)
        ],
    } | where | more  # fmt: skip
    arguments["moves"] = Jsonb(arguments["moves"])
    return db.call(NADIA, "reschedule_series", **{f"p_{name}": value for name, value in arguments.items()})


def starts_of(db: Database, sessions: list[UUID]) -> list[datetime]:
    return [times(db, each)[0] for each in sessions]


DAYS = [START + number * DAY for number in range(4)]


@pytest.mark.parametrize(("scope", "moved"), [("one", [1]), ("following", [1, 2, 3]), ("all", [0, 1, 2, 3])])
def test_how_much_moves(db: Database, scope: str, moved: list[int]) -> None:
    sessions = row_of(db, *DAYS)
    answer = shift(db, 30 * MINUTE, scope, session_id=sessions[1], reason="A new timetable.")
    assert (answer["moved"], answer["match_id"], answer["package_id"]) == (
        len(moved), str(MATHEMATICS.id), str(MATHEMATICS.package_id),
    )  # fmt: skip
    assert [each["id"] for each in answer["sessions"]] == [str(sessions[number]) for number in moved]
    assert starts_of(db, sessions) == [
        start + 30 * MINUTE if number in moved else start for number, start in enumerate(DAYS)
    ]
    for number in moved:
        assert moves(db, sessions[number]) == [
            (DAYS[number], DAYS[number] + 30 * MINUTE, "A new timetable.", NADIA.id, "admin")
        ]
        assert events(db, sessions[number]) == ["session.rescheduled"]


@pytest.mark.parametrize("hours", [-2, -1, 1, 2])
def test_a_series_may_move_onto_its_own_old_times(db: Database, hours: int) -> None:
    in_a_row = [START + number * HOUR for number in range(4)]
    sessions = row_of(db, *in_a_row)
    assert shift(db, hours * HOUR)["moved"] == 4
    assert starts_of(db, sessions) == [start + hours * HOUR for start in in_a_row]


def test_some_may_go_later_and_some_earlier_and_lengths_are_kept(db: Database) -> None:
    lengths = [HOUR, 30 * MINUTE, 2 * HOUR, 15 * MINUTE]
    starts = [START, START + 2 * HOUR, START + 5 * HOUR, START + 8 * HOUR]
    sessions = [lesson(db, start=start, length=length) for start, length in zip(starts, lengths, strict=True)]
    shift(db, [90 * MINUTE, 60 * MINUTE, -90 * MINUTE, -2 * HOUR])
    assert [times(db, each) for each in sessions] == [
        (start + by, start + by + length)
        for start, by, length in zip(starts, (90 * MINUTE, 60 * MINUTE, -90 * MINUTE, -2 * HOUR), lengths, strict=True)
    ]


def test_a_parked_one_goes_where_another_stood_that_took_its_old_time(db: Database) -> None:
    """The first is at the old time of the second, which is parked, and goes earlier; the second follows it there."""
    taking, parked = lesson(db), lesson(db, status="rescheduled", occurrence_start_utc=None)
    shift(db, [-DAY, 15 * MINUTE])
    assert starts_of(db, [taking, parked]) == [START - DAY, START + 15 * MINUTE]


def test_what_is_open_comes_along_and_what_is_resolved_or_under_way_stays(db: Database) -> None:
    marks: dict[str, dict[str, Any]] = {
        "scheduled": {}, "parked": {"status": "rescheduled"}, "delayed": {"status": "in_progress", "is_delayed": True},
        "under way": {"status": "in_progress"}, "done": {"status": "done"}, "missed": {"status": "no_show_student"},
        "cancelled": {"status": "cancelled"},
    }  # fmt: skip
    sessions = {
        name: lesson(db, start=START + number * DAY, **columns) for number, (name, columns) in enumerate(marks.items())
    }
    assert shift(db, 30 * MINUTE)["moved"] == 3
    for number, (name, session_id) in enumerate(sessions.items()):
        goes = name in ("scheduled", "parked", "delayed")
        assert times(db, session_id)[0] == START + number * DAY + (30 * MINUTE if goes else timedelta())
        assert column(db, session_id, "status") == ("scheduled" if goes else marks[name]["status"])
    assert column(db, sessions["delayed"], "is_delayed") is False


def test_other_packages_and_matches_stay(db: Database) -> None:
    (session_id,) = row_of(db, START)
    others = [lesson(db, start=START + DAY, package_id=package(db, MATHEMATICS)), lesson(db, ENGLISH, THEN)]
    with pytest.raises(Refused, match="422 package_required"):
        inputs_of(db)
    shift(db, HOUR, package_id=MATHEMATICS.package_id)
    assert starts_of(db, [session_id, *others]) == [START + HOUR, START + DAY, THEN]


def test_one_conflict_keeps_all_where_they_are(db: Database) -> None:
    sessions = row_of(db, *DAYS)
    other = booked(db, BILAL, OLIVER, DAYS[2] + HOUR)
    with pytest.raises(Refused) as refused:
        shift(db, 30 * MINUTE)
    assert (refused.value.status, refused.value.code) == (409, "slot_taken")
    (conflict,) = refused.value.extra["conflicts"]
    assert (conflict["session_id"], conflict["of"], instant(conflict["start_utc"])) == (
        str(other), "tutor", DAYS[2] + 30 * MINUTE,
    )  # fmt: skip
    assert starts_of(db, sessions) == DAYS


def test_a_series_that_meets_itself_is_refused(db: Database) -> None:
    sessions = row_of(db, *DAYS)
    with pytest.raises(Refused, match="409 slot_taken"):
        shift(db, [timedelta(), -DAY + 30 * MINUTE, HOUR, HOUR])
    assert starts_of(db, sessions) == DAYS


def test_a_series_may_become_the_pattern_of_the_months_to_come(db: Database) -> None:
    row_of(db, *DAYS)
    pattern = {"timezone": "Europe/London", "days": [2, 4], "time": "17:00", "duration_mins": 45}
    link = db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id)
    shift(db, HOUR, schedule_pattern=pattern)
    assert db.rows("select schedule_pattern, meet_link from public.matches where id = %s", MATHEMATICS.id) == [
        (pattern, link)
    ]
    with pytest.raises(Refused, match="422 invalid"):
        shift(db, HOUR, schedule_pattern={"days": "some"})


CHANGES: dict[str, Callable[[Database], object]] = {
    "a session": lambda db: db.run("update public.sessions set tutor_notes = 'x' where sequence_number = 1"),
    "a session more": lambda db: lesson(db, start=THEN),
    "a session fewer": lambda db: db.run("update public.sessions set status = 'cancelled' where sequence_number = 2"),
    "the pattern": lambda db: db.run(
        "update public.matches set schedule_pattern = jsonb_set(schedule_pattern, '{time}', '\"11:00\"')"
    ),
    "a holiday": lambda db: db.call(NADIA, "create_holiday", p_on_date="2026-03-12", p_name="Feast"),
    "time off": lambda db: db.call(
        NADIA, "create_time_off", p_user_id=BILAL.id, p_starts_on="2026-03-12", p_ends_on="2026-03-12"
    ),
    "the tutor's zone": lambda db: db.call(BILAL, "update_me", p_timezone="Europe/Berlin"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_made_from_something_else_is_refused(db: Database, change: str) -> None:
    sessions = row_of(db, *DAYS)
    inputs = inputs_of(db)
    CHANGES[change](db)
    before = starts_of(db, sessions)
    with pytest.raises(Refused, match="409 plan_changed"):
        shift(db, HOUR, inputs=inputs)
    assert starts_of(db, sessions) == before


def test_another_plan_than_was_seen_is_refused_and_so_is_one_that_has_begun(db: Database) -> None:
    row_of(db, *DAYS)
    with pytest.raises(Refused, match="409 plan_changed"):
        shift(db, HOUR, plan_hash="a", expected_plan_hash="b")
    with pytest.raises(Refused, match="409 plan_changed"):
        shift(db, HOUR, fingerprint=None)
    inputs = inputs_of(db)
    db.set_clock(START + 2 * HOUR)
    with pytest.raises(Refused, match="409 plan_changed"):
        shift(db, HOUR, inputs=inputs)
    db.set_clock(START - DAY)
    assert shift(db, HOUR, plan_hash="a", expected_plan_hash="a")["moved"] == 4


def test_too_few_times_are_told_how_many_fit(db: Database) -> None:
    sessions = row_of(db, *DAYS)
    for fits in (0, 3):
        with pytest.raises(Refused) as refused:
            shift(db, [HOUR] * fits)
        assert (refused.value.code, refused.value.extra) == ("window_too_short", {"needed": 4, "fits": fits})
    assert starts_of(db, sessions) == DAYS


Moves = list[dict[str, Any]]
MALFORMED: dict[str, Callable[[Moves], object]] = {
    "another order": lambda moves: moves[::-1],
    "one too many": lambda moves: [*moves, moves[0]],
    "the same start twice": lambda moves: [moves[0], {**moves[1], "start_utc": moves[0]["start_utc"]}],
    "no start": lambda moves: [{**moves[0], "start_utc": "tomorrow"}, moves[1]],
    "infinity": lambda moves: [{**moves[0], "start_utc": "infinity"}, moves[1]],
    "the end of time": lambda moves: [moves[0], {**moves[1], "start_utc": "294276-12-31T23:59:59Z"}],
    "a null": lambda moves: [{**moves[0], "start_utc": None}, moves[1]],
    "no id": lambda moves: [{**moves[0], "session_id": "one"}, moves[1]],
    "a missing id": lambda moves: [{"start_utc": moves[0]["start_utc"]}, moves[1]],
    "words": lambda _: ["one", 2],
    "an object": lambda _: {},
    "a number": lambda _: 5,
    "hundreds": lambda moves: moves * 101,
}


@pytest.mark.parametrize("malformed", MALFORMED)
def test_malformed_moves_are_refused(db: Database, malformed: str) -> None:
    sessions = row_of(db, *DAYS[:2])
    moves = [
        {"session_id": str(each), "start_utc": (start + HOUR).isoformat()}
        for each, start in zip(sessions, DAYS, strict=False)
    ]
    with pytest.raises(Refused) as refused:
        db.call(
            NADIA, "reschedule_series", p_match_id=MATHEMATICS.id, p_scope="all",
            p_fingerprint=inputs_of(db)["fingerprint"], p_moves=Jsonb(MALFORMED[malformed](moves)),
        )  # fmt: skip
    assert (refused.value.status, refused.value.code, refused.value.extra) == (422, "invalid", {"field": "moves"})
    assert starts_of(db, sessions) == DAYS[:2]


def test_what_has_no_series(db: Database) -> None:
    foreign, done = lesson(db, ENGLISH), lesson(db, status="done")
    for scope, more, answer in (
        ("all", {}, "409 illegal_transition"),
        ("one", {"session_id": done}, "409 illegal_transition"),
        ("one", {"session_id": foreign}, "404 not_found"),
        ("following", {}, "404 not_found"),
        ("all", {"package_id": ENGLISH.package_id}, "404 not_found"),
        (None, {}, "422 invalid"),
    ):
        with pytest.raises(Refused, match=answer):
            inputs_of(db, scope, **more)
    for match_id in (uuid4(), None):
        for function in ("series_inputs", "reschedule_series"):
            with pytest.raises(Refused, match="404 not_found"):
                db.call(NADIA, function, p_match_id=match_id, p_scope="all")
    lesson(db, start=THEN)
    inputs = inputs_of(db)
    db.run("update public.matches set status = 'ended' where id = %s", MATHEMATICS.id)
    with pytest.raises(Refused, match="409 illegal_transition: The match has ended"):
        shift(db, HOUR, inputs=inputs)


def test_following_goes_by_the_present_start(db: Database) -> None:
    sessions = row_of(db, *DAYS)
    reschedule(db, NADIA, sessions[0], DAYS[3] + 2 * HOUR)
    told = inputs_of(db, "following", session_id=sessions[3])
    assert [each["session_id"] for each in told["moving"]] == [str(sessions[3]), str(sessions[0])]
    assert (told["needed"], told["taken"]) == (2, [])


def test_what_moves_is_in_nobodys_way(db: Database) -> None:
    sessions = row_of(db, *DAYS)
    other = booked(db, BILAL, OLIVER, START + 12 * HOUR)
    busy = inputs_of(db, "following", session_id=sessions[2])["busy"]
    assert {each["session_id"] for each in busy} == {str(sessions[0]), str(sessions[1]), str(other)}
