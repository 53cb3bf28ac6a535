"""Chapter 15: who cancels, who asks to, and what becomes of such a wish."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database, Refused
from tests.db.lessons import BORN, DAY, HOUR, START, audit, booked, column, events, ledger, lesson, move, update, used
from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, ZARA, Person

END = START + HOUR
SECOND = timedelta(seconds=1)
STATUSES = ("scheduled", "in_progress", "done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled")
ORIGINS_AND_STATUSES = [pair for pair in product(("match", "booking"), STATUSES) if pair != ("booking", "rescheduled")]
PUT: dict[str, Callable[..., UUID]] = {"match": lesson, "booking": partial(booked, tutor=BILAL, student=LENA)}
PEOPLE = {"tutor": BILAL, "student": LENA, "admin": NADIA}


def cancel(db: Database, who: Person | str, session_id: object, reason: str | None = "Flu.", **more: object) -> Any:
    options = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, "cancel_session", p_session_id=session_id, p_reason=reason, **options)


def ask(db: Database, who: Person | str, session_id: object, reason: str | None = "Flu.") -> Any:
    return db.call(who, "request_cancellation", p_session_id=session_id, p_reason=reason)


def decide(db: Database, who: Person | str, how: str, wish: Any, **more: object) -> Any:
    """`approve`, `reject` or `withdraw` what `ask` answered."""
    options = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, f"{how}_cancellation", p_request_id=wish["request"]["id"], **options)


def status_of(db: Database, wish: Any) -> str:
    return db.value("select status::text from public.cancellation_requests where id = %s", wish["request"]["id"])


def answered(act: Callable[[], Any]) -> str:
    try:
        answer = act()
    except Refused as refused:
        return refused.code
    return "changed" if answer["changed"] else "unchanged"


# --- who may cancel, and who may ask ------------------------------------------------------------------


def of_cancelling(status: str, role: str, reason: str | None) -> str:
    """By hand: admins alone, from any status, with a reason."""
    if role != "admin":
        return "not_allowed"
    if status == "cancelled":
        return "unchanged"
    return "changed" if reason else "reason_required"


def of_asking(origin: str, status: str, role: str, has_begun: bool) -> str:  # noqa: FBT001
    """By hand, domain §2: scheduled or parked, before its start; an admin need not ask."""
    if role == "admin":
        return "not_allowed"
    if status == "scheduled":
        return "too_late" if has_begun else "changed"
    return "changed" if (origin, status) == ("match", "rescheduled") else "illegal_transition"


@pytest.mark.parametrize(("origin", "status"), ORIGINS_AND_STATUSES)
def test_who_cancels_and_who_asks_in_every_state(db: Database, origin: str, status: str) -> None:
    wrong: list[str] = []
    delays = [False] if status == "scheduled" else [False, True]
    for is_delayed, role, now, reason in product(delays, PEOPLE, (START - SECOND, START, END + DAY), (None, "Flu.")):
        with db.connection.transaction(force_rollback=True):
            session_id = PUT[origin](db, status=status, is_delayed=is_delayed)
            db.set_clock(now)
            with db.connection.transaction(force_rollback=True):
                asked = answered(partial(ask, db, PEOPLE[role], session_id))
            told = answered(partial(cancel, db, PEOPLE[role], session_id, reason))
            left = column(db, session_id, "status")
        wanted = of_asking(origin, status, role, now >= START), of_cancelling(status, role, reason)
        if (asked, told) != wanted or left != ("cancelled" if told == "changed" else status):
            wrong.append(f"{origin} {status} {is_delayed=} {role} {now} {reason=}: {asked}, {told}, {left}")
    assert wrong == []


@pytest.mark.parametrize("who", [HARRIET, ZARA, NEWCOMER])
def test_somebody_elses_session_and_a_missing_one_get_the_same_answer(db: Database, who: Person) -> None:
    for unseen, act in product((lesson(db), uuid4()), (cancel, ask)):
        with pytest.raises(Refused) as refused:
            act(db, who, unseen)
        assert (refused.value.status, refused.value.detail) == (404, "There is no such session.")


# --- cancelling ---------------------------------------------------------------------------------------


def test_cancelling_frees_the_time_and_takes_no_credit(db: Database) -> None:
    session_id = lesson(db)
    answer = cancel(db, NADIA, session_id, " Flu. ")
    assert (answer["changed"], answer["session"]["status"], answer["session"]["status_reason"]) == (
        True, "cancelled", "Flu.",
    )  # fmt: skip
    assert booked(db, BILAL, LENA), "at the same time"
    assert (ledger(db, session_id), used(db, MATHEMATICS.package_id)) == ([], 0)
    assert audit(db, session_id) == [("session_status_updated", "admin", NADIA.id)]
    assert events(db, session_id) == ["session.cancelled"]


def test_a_credit_that_was_taken_goes_back(db: Database) -> None:
    session_id = lesson(db, status="done")
    assert used(db, MATHEMATICS.package_id) == 1
    cancel(db, NADIA, session_id)
    assert [amount for _, amount, _ in ledger(db, session_id)] == [1, -1]
    assert used(db, MATHEMATICS.package_id) == 0


def test_cancelled_again_it_is_so_already_and_a_stale_version_is_refused(db: Database) -> None:
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        cancel(db, NADIA, session_id, expected_version=7)
    assert (refused.value.code, refused.value.extra) == ("stale_version", {"version": 1})
    cancel(db, NADIA, session_id, expected_version=1)
    assert cancel(db, NADIA, session_id, None, expected_version=1)["changed"] is False
    assert column(db, session_id, "version") == 2


# --- asking -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("origin", "side"), list(product(("match", "booking"), ("tutor", "student"))))
def test_a_wish_keeps_the_session_and_is_told_to_the_world(db: Database, origin: str, side: str) -> None:
    session_id = PUT[origin](db)
    wish = ask(db, PEOPLE[side], session_id, " Flu. ")
    request = wish["request"]
    assert (wish["changed"], request["status"], request["reason"]) == (True, "pending", "Flu.")
    assert (request["requested_by"]["id"], request["requested_by_role"]) == (str(PEOPLE[side].id), side)
    assert (request["session"]["id"], request["session"]["status"]) == (str(session_id), "scheduled")
    assert events(db, session_id) == [*BORN[origin], "cancellation.requested"]
    assert audit(db, request["id"]) == [("cancellation_request_created", side, PEOPLE[side].id)]


def test_one_wish_is_open_at_a_time(db: Database) -> None:
    session_id = lesson(db)
    wish = ask(db, LENA, session_id)
    again = ask(db, LENA, session_id, "Other words.")
    assert (again["changed"], again["request"]["id"], again["request"]["reason"]) == (
        False, wish["request"]["id"], "Flu.",
    )  # fmt: skip
    with pytest.raises(Refused) as refused:
        ask(db, BILAL, session_id)
    assert (refused.value.status, refused.value.code) == (409, "already_requested")
    decide(db, NADIA, "reject", wish)
    assert ask(db, BILAL, session_id)["changed"], "once it is decided"


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_wish_says_why(db: Database, reason: str | None) -> None:
    with pytest.raises(Refused) as refused:
        ask(db, LENA, lesson(db), reason)
    assert (refused.value.status, refused.value.code, refused.value.extra) == (
        422, "reason_required", {"field": "reason"},
    )  # fmt: skip


def test_a_reason_too_long_is_refused(db: Database) -> None:
    with pytest.raises(Refused) as refused:
        ask(db, LENA, lesson(db), "x" * 1001)
    assert (refused.value.code, refused.value.extra) == ("invalid", {"field": "reason"})


def test_wishes_are_limited_and_never_deleted(db: Database) -> None:
    session_id = lesson(db)
    for _ in range(20):
        decide(db, LENA, "withdraw", ask(db, LENA, session_id))
    with pytest.raises(Refused, match="429 too_many_requests"):
        ask(db, LENA, session_id)
    with pytest.raises(Refused, match="Requests stay"):
        db.run("delete from public.cancellation_requests")


def test_who_sees_a_wish(db: Database) -> None:
    wish = ask(db, LENA, lesson(db))
    request_id = wish["request"]["id"]
    for who, seen in ((LENA, 1), (NADIA, 1), (BILAL, 0), (HARRIET, 0), (ZARA, 0)):
        assert len(db.call(who, "list_cancellation_requests")["requests"]) == seen
        assert len(db.rows("select from public.cancellation_requests", who=who)) == seen
        if seen:
            read = db.call(who, "get_cancellation_request", p_request_id=request_id)
            assert (read.keys(), read["request"]["id"]) == ({"request", "viewer_timezone"}, request_id)
            continue
        for unseen in (request_id, uuid4()):
            for function in ("get_cancellation_request", "withdraw_cancellation"):
                with pytest.raises(Refused) as refused:
                    db.call(who, function, p_request_id=unseen)
                assert (refused.value.status, refused.value.detail) == (404, "There is no such request.")
    for how, who in (("approve", LENA), ("reject", LENA), ("withdraw", NADIA)):
        with pytest.raises(Refused, match="403 not_allowed"):
            decide(db, who, how, wish)


def test_wishes_are_listed_by_status_session_and_page(db: Database) -> None:
    wishes = [ask(db, LENA, lesson(db, start=START + number * DAY))["request"] for number in range(3)]
    decide(db, NADIA, "reject", {"request": wishes[0]})
    listed = partial(db.call, NADIA, "list_cancellation_requests")
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


# --- deciding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_approving_cancels_with_the_reason_of_who_asked(db: Database, origin: str) -> None:
    session_id = PUT[origin](db)
    wish = ask(db, LENA, session_id)
    answer = decide(db, NADIA, "approve", wish, reason="Get well.")
    assert (answer["request"]["status"], answer["request"]["decision_reason"]) == ("approved", "Get well.")
    assert answer["request"]["session"]["status"] == "cancelled"
    assert column(db, session_id, "status_reason") == "Flu."
    assert events(db, session_id) == [
        *BORN[origin], "cancellation.requested", "cancellation.approved", "session.cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "who", "status"),
    [("approve", NADIA, "approved"), ("reject", NADIA, "rejected"), ("withdraw", LENA, "withdrawn")],
)
def test_a_decision_is_made_once(db: Database, how: str, who: Person, status: str) -> None:
    session_id = lesson(db)
    wish = ask(db, LENA, session_id)
    assert decide(db, who, how, wish)["changed"] is True
    told = events(db, session_id)
    assert decide(db, who, how, wish)["changed"] is False
    for other, by in (("approve", NADIA), ("reject", NADIA), ("withdraw", LENA)):
        if other != how:
            with pytest.raises(Refused) as refused:
                decide(db, by, other, wish)
            assert (refused.value.status, refused.value.code) == (409, "already_decided")
            assert refused.value.extra == {"decided_as": status}
    assert (status_of(db, wish), events(db, session_id)) == (status, told)
    assert column(db, session_id, "status") == ("cancelled" if how == "approve" else "scheduled")


def test_an_admin_may_approve_also_after_the_start(db: Database) -> None:
    wish = ask(db, LENA, lesson(db))
    db.set_clock(END)
    assert decide(db, NADIA, "approve", wish)["request"]["session"]["status"] == "cancelled"


@pytest.mark.parametrize("status", ["pending", "call_requested"])
@pytest.mark.parametrize(
    "change",
    [
        "move", "edit in Studio", "rescheduled", "in_progress", "done", "no_show_student", "cancelled", "the clock",
        "end of the match",
    ],
)  # fmt: skip
def test_a_wish_ends_with_what_it_was_about(db: Database, change: str, status: str) -> None:
    session_id = lesson(db)
    wish, elsewhere = ask(db, LENA, session_id), ask(db, LENA, lesson(db, start=START + 30 * DAY))
    db.run(
        "update public.cancellation_requests set status = %s::public.cancellation_status where id = %s",
        status,
        wish["request"]["id"],
    )
    match change:
        case "move":
            db.call(NADIA, "reschedule_session", p_session_id=session_id, p_start_utc=START + DAY)
        case "edit in Studio":
            move(db, session_id, START + DAY)
        case "the clock":
            db.set_clock(START)
            db.call("service_role", "sweep_session_statuses")
        case "end of the match":
            db.call(NADIA, "end_match", p_match_id=MATHEMATICS.id, p_reason="Moving away.")
        case _:
            update(db, NADIA, session_id, change, reason="So.")
    assert status_of(db, wish) == "lapsed"
    assert events(db, session_id).count("cancellation.lapsed") == 1
    assert status_of(db, elsewhere) == ("lapsed" if change == "end of the match" else "pending")
    with pytest.raises(Refused, match="409 already_decided"):
        decide(db, NADIA, "approve", wish)


def test_other_notes_and_another_length_keep_a_wish(db: Database) -> None:
    session_id = lesson(db)
    wish = ask(db, LENA, session_id)
    update(db, NADIA, session_id, "scheduled", notes="Verbs.")
    move(db, session_id, START, length=2 * HOUR)
    assert status_of(db, wish) == "pending"


def test_cancelling_ends_also_the_wish_for_another_time(db: Database) -> None:
    session_id = lesson(db)
    wish = ask(db, LENA, session_id)
    db.call(BILAL, "request_reschedule", p_session_id=session_id, p_reason="Flu.")
    decide(db, NADIA, "approve", wish)
    assert db.value("select status::text from public.reschedule_requests") == "lapsed"
