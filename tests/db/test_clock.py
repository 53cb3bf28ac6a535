"""Chapter 13: what time does to sessions, exactly when, and that one bad row stops nobody."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import (
    BORN,
    DAY,
    HOUR,
    START,
    audit,
    booked,
    column,
    events,
    instant,
    ledger,
    lesson,
    package,
    update,
    used,
)
from tests.house import BILAL, ENGLISH, HARRIET, IELTS, LENA, MATHEMATICS, NADIA, NEWCOMER, OLIVER, ZARA, Person

END = START + HOUR
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NOTHING: dict[str, Any] = {"started": 0, "completed": 0, "failed": 0, "more": False, "updates": []}


def sweep(db: Database, now: datetime, **options: object) -> dict[str, Any]:
    db.set_clock(now)
    return db.call("service_role", "sweep_session_statuses", **{f"p_{name}": value for name, value in options.items()})


def refresh(db: Database, who: Person) -> dict[str, Any]:
    return db.call(who, "refresh_session_statuses")


def begun(db: Database, session_id: UUID, by: Person, now: datetime = START) -> UUID:
    """The session, begun by a person at that moment."""
    db.set_clock(now)
    db.call(by, "start_session", p_session_id=session_id)
    return session_id


def moved_ids(answer: dict[str, Any]) -> list[UUID]:
    return [UUID(each["session_id"]) for each in answer["updates"]]


def statuses(db: Database, *session_ids: UUID) -> list[object]:
    return [column(db, each, "status") for each in session_ids]


# --- to the second ------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_a_session_nobody_began_begins_by_the_clock_exactly_at_its_start_and_delayed(db: Database, origin: str) -> None:
    session_id = lesson(db) if origin == "match" else booked(db, BILAL, LENA)
    assert sweep(db, START - SECOND) == NOTHING
    assert sweep(db, START) == {
        "started": 1,
        "completed": 0,
        "failed": 0,
        "more": False,
        "updates": [{"session_id": str(session_id), "from": "scheduled", "to": "in_progress", "is_delayed": True}],
    }
    assert column(db, session_id, "started_at") == START
    assert column(db, session_id, "started_by") is None
    assert sweep(db, START) == NOTHING
    assert sweep(db, START + 30 * DAY) == NOTHING, "the clock never completes what it began"
    assert audit(db, session_id) == [("session_status_updated", "clock", None)]
    assert events(db, session_id) == [*BORN[origin], "session.started"]


@pytest.mark.parametrize("origin", ["match", "booking"])
@pytest.mark.parametrize("who", [BILAL, LENA, NADIA])
def test_a_session_begun_in_time_is_completed_exactly_at_its_end(db: Database, origin: str, who: Person) -> None:
    session_id = begun(db, lesson(db) if origin == "match" else booked(db, BILAL, LENA), who)
    assert sweep(db, END - SECOND) == NOTHING
    assert sweep(db, END) == {
        "started": 0,
        "completed": 1,
        "failed": 0,
        "more": False,
        "updates": [{"session_id": str(session_id), "from": "in_progress", "to": "done", "is_delayed": False}],
    }
    assert audit(db, session_id)[-1] == ("session_status_updated", "clock", None)
    assert events(db, session_id) == [*BORN[origin], "session.started", "session.completed"]
    charged = [(1, 1, MATHEMATICS.package_id)] if origin == "match" else []
    assert ledger(db, session_id) == charged
    assert sweep(db, END) == NOTHING


def test_the_grace_is_a_policy_and_does_not_change_since_when_the_session_runs(db: Database) -> None:
    session_id = lesson(db)
    db.call(NADIA, "update_settings", p_delay_grace_mins=10)
    assert sweep(db, START + 10 * MINUTE - SECOND) == NOTHING
    assert moved_ids(sweep(db, START + 10 * MINUTE)) == [session_id]
    assert column(db, session_id, "started_at") == column(db, session_id, "status_effective_at") == START


def test_within_the_grace_a_person_still_begins_it_in_time(db: Database) -> None:
    db.call(NADIA, "update_settings", p_delay_grace_mins=10)
    session_id = begun(db, lesson(db), BILAL, START + 9 * MINUTE)
    assert sweep(db, START + 10 * MINUTE) == NOTHING
    assert column(db, session_id, "is_delayed") is False


@pytest.mark.parametrize("status", ["done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled"])
def test_the_clock_leaves_alone_what_is_not_live(db: Database, status: str) -> None:
    lesson(db, status=status)
    assert sweep(db, END + 30 * DAY) == NOTHING


def test_what_was_reopened_after_its_end_waits_for_a_person(db: Database) -> None:
    session_id = lesson(db, status="cancelled")
    db.set_clock(END)
    update(db, NADIA, session_id, "in_progress", reason="They met after all.")
    assert sweep(db, END + DAY) == NOTHING


# --- in order, in pieces --------------------------------------------------------------------------------


def test_the_oldest_go_first_in_pieces_until_there_is_no_more(db: Database) -> None:
    ids = {number: lesson(db, start=START + number * HOUR) for number in (3, 0, 4, 1, 2)}
    now = START + 4 * HOUR
    pieces = [sweep(db, now, limit=2) for _ in range(3)]
    assert [moved_ids(each) for each in pieces] == [[ids[0], ids[1]], [ids[2], ids[3]], [ids[4]]]
    assert [each["more"] for each in pieces] == [True, True, False]
    assert sweep(db, now, limit=2) == NOTHING


def test_what_the_clock_began_and_completed_is_told_oldest_first(db: Database) -> None:
    first = begun(db, lesson(db), BILAL)
    second = lesson(db, start=END + MINUTE)
    earlier = lesson(db, ENGLISH, START - HOUR)
    answer = sweep(db, END + MINUTE)
    assert moved_ids(answer) == [earlier, first, second]
    assert (answer["started"], answer["completed"]) == (2, 1)


@pytest.mark.parametrize("limit", [0, -1, 5001, None])
def test_a_sweep_is_bounded(db: Database, limit: int | None) -> None:
    with pytest.raises(Refused) as refused:
        sweep(db, START, limit=limit)
    assert (refused.value.status, refused.value.code, refused.value.extra) == (422, "invalid", {"field": "limit"})


# --- late, early, again ---------------------------------------------------------------------------------

RECORDED = ("updated_at", "status_changed_at", "created_at", "recorded_at", "recorded_no", "id", "transaction_id")
"""When something was written down, as opposed to when it holds."""


def day(db: Database, scarce: UUID) -> None:
    """Lessons begun in time and not, a booking, a package with its last credit for two lessons."""
    lesson(db, ENGLISH, id=UUID(int=1))
    begun(db, lesson(db, id=UUID(int=2)), BILAL)
    booked(db, HARRIET, ZARA, START + 2 * HOUR, id=UUID(int=3), booking_id=UUID(int=3))
    begun(db, booked(db, BILAL, OLIVER, START + HOUR, id=UUID(int=4), booking_id=UUID(int=4)), OLIVER, START + HOUR)
    # The earlier lesson has the greater id: only its end says that the credit is its own.
    begun(db, lesson(db, start=START + 3 * HOUR, package_id=scarce, id=UUID(int=6)), LENA, START + 3 * HOUR)
    begun(db, lesson(db, start=START + 4 * HOUR, package_id=scarce, id=UUID(int=5)), LENA, START + 4 * HOUR)


def rows_left(db: Database) -> list[tuple[str, list[dict[str, Any]]]]:
    """Everything the sessions, their books and their events say, but for when it was written down."""
    return [
        (
            table,
            db.value(
                f"select coalesce(jsonb_agg(to_jsonb(r) - %s::text[] order by {order}), '[]') from {table} r {where}",
                list(RECORDED),
            ),
        )
        for table, where, order in (
            ("public.sessions", "", "r.id"),
            ("public.packages", "", "r.id"),
            ("public.credit_ledger", "", "r.session_id, r.entry_no"),
            ("public.audit_logs", "where r.entity_type = 'session'", "r.entity_id, r.id"),
            ("private.outbox_events", "", "r.aggregate_id, r.aggregate_sequence"),
        )
    ]


def outcome_of(db: Database, scarce: UUID, sweeps: list[datetime]) -> list[tuple[str, list[dict[str, Any]]]]:
    with db.connection.transaction(force_rollback=True):
        day(db, scarce)
        for now in sweeps:
            sweep(db, now)
        return rows_left(db)


def test_a_sweep_that_comes_three_days_late_leaves_the_rows_a_punctual_one_leaves(db: Database) -> None:
    scarce = package(db, MATHEMATICS, used=7)
    punctual = outcome_of(db, scarce, [START + number * HOUR for number in range(4, 8)])
    late = outcome_of(db, scarce, [START + 7 * HOUR + 3 * DAY])
    assert late == punctual
    told = dict(late)
    assert [each["status"] for each in told["public.sessions"]] == [
        "in_progress", "done", "in_progress", "done", "in_progress", "done",
    ]  # fmt: skip
    assert [each["is_delayed"] for each in told["public.sessions"]] == [True, False, True, False, True, False]


def test_what_the_clock_does_holds_from_the_start_or_the_end_however_late_it_comes(db: Database) -> None:
    left_alone, in_time = lesson(db, ENGLISH), begun(db, lesson(db), BILAL)
    sweep(db, END + 3 * DAY)
    for session_id, since in ((left_alone, START), (in_time, END)):
        assert column(db, session_id, "status_effective_at") == since
        assert column(db, session_id, "status_changed_at") == END + 3 * DAY
        (told,) = db.rows(
            "select occurred_at, recorded_at from private.outbox_events where aggregate_id = %s"
            " order by aggregate_sequence desc limit 1",
            session_id,
        )
        assert told == (since, END + 3 * DAY)
    (entry,) = db.rows(
        "select actor_user_id, actor_role::text from public.credit_ledger where session_id = %s", in_time
    )
    assert entry == (None, "clock")


def test_a_clock_moved_back_two_hours_changes_nothing(db: Database) -> None:
    left_alone, in_time = lesson(db, ENGLISH), begun(db, lesson(db), BILAL)
    sweep(db, END)
    before = rows_left(db)
    assert sweep(db, END - 2 * HOUR) == NOTHING
    assert sweep(db, END) == NOTHING
    assert rows_left(db) == before
    assert statuses(db, left_alone, in_time) == ["in_progress", "done"]


# --- what fails -------------------------------------------------------------------------------------------


def poison(db: Database, session_id: UUID) -> None:
    """From now on no change of this session is possible."""
    db.run(
        f"""
        create function private.poison() returns trigger language plpgsql as $$
        begin
          if new.id = '{session_id}' then raise exception 'no'; end if;
          return new;
        end $$
        """
    )
    db.run("create trigger z_poison before update on public.sessions for each row execute function private.poison()")


def failures(db: Database) -> list[tuple[Any, ...]]:
    return db.rows("select session_id, failures, retry_at, sqlstate from private.sweep_failures")


def test_a_session_that_fails_is_listed_waits_longer_each_time_and_stops_nobody(db: Database) -> None:
    bad, good = lesson(db), begun(db, lesson(db, ENGLISH), HARRIET)
    poison(db, bad)
    now = END
    answer = sweep(db, now)
    assert (answer["failed"], answer["completed"], moved_ids(answer)) == (1, 1, [good])
    for number in range(1, 13):
        pause = min(timedelta(minutes=2 ** (number - 1)), DAY)
        assert failures(db) == [(bad, number, now + pause, "P0001")]
        assert sweep(db, now + pause - SECOND) == NOTHING
        now += pause
        assert sweep(db, now) == NOTHING | {"failed": 1}
    # It may fail for years and still stop nobody.
    db.run("update private.sweep_failures set failures = 100000")
    other = lesson(db, IELTS, now)
    now += DAY
    answer = sweep(db, now)
    assert (answer["failed"], moved_ids(answer)) == (1, [other])
    assert failures(db) == [(bad, 100001, now + DAY, "P0001")]


def test_a_session_that_failed_recovers_and_is_forgotten(db: Database) -> None:
    bad = lesson(db)
    poison(db, bad)
    sweep(db, START)
    db.run("drop trigger z_poison on public.sessions")
    assert sweep(db, START + MINUTE - SECOND) == NOTHING
    assert moved_ids(sweep(db, START + MINUTE)) == [bad]
    assert failures(db) == []


def test_a_failed_session_that_a_person_settles_is_forgotten(db: Database) -> None:
    bad = lesson(db)
    poison(db, bad)
    sweep(db, START)
    db.run("drop trigger z_poison on public.sessions")
    update(db, BILAL, bad, "done")
    assert sweep(db, START + SECOND) == NOTHING
    assert failures(db) == []


def test_a_session_that_can_be_neither_completed_nor_delayed_stops_nobody(db: Database) -> None:
    scarce = package(db, MATHEMATICS, used=8)
    bad = begun(db, lesson(db, package_id=scarce), BILAL)
    good = begun(db, lesson(db, ENGLISH), HARRIET)
    db.run(
        """
        create function private.poison() returns trigger language plpgsql as $$
        begin
          if new.is_delayed then raise exception 'no'; end if;
          return new;
        end $$
        """
    )
    db.run("create trigger z_poison before update on public.sessions for each row execute function private.poison()")
    answer = sweep(db, END)
    assert (answer["failed"], moved_ids(answer)) == (1, [good])
    assert [row[0] for row in failures(db)] == [bad]


def test_a_sweep_passes_over_what_somebody_is_changing(database_url: str) -> None:
    house, other = Database.open(database_url), Database.open(database_url)
    with house.connection, other.connection:
        busy, free = lesson(house), lesson(house, ENGLISH)
        with other.connection.transaction():
            other.connection.execute("select from public.sessions where id = %s for update", (busy,))
            assert moved_ids(sweep(house, START)) == [free]
        assert moved_ids(sweep(house, START)) == [busy]


# --- without a credit --------------------------------------------------------------------------------------


def test_a_session_for_which_no_credit_is_left_becomes_delayed_instead(db: Database) -> None:
    scarce = package(db, MATHEMATICS, used=7)
    paid = begun(db, lesson(db, package_id=scarce), BILAL)
    unpaid = begun(db, lesson(db, start=END, package_id=scarce), LENA, END)
    elsewhere = begun(db, lesson(db, ENGLISH, END), HARRIET, END)
    answer = sweep(db, END + HOUR)
    assert answer == NOTHING | {"completed": 2, "updates": answer["updates"]}
    assert {each["session_id"]: (each["from"], each["to"], each["is_delayed"]) for each in answer["updates"]} == {
        str(paid): ("in_progress", "done", False),
        str(elsewhere): ("in_progress", "done", False),
        str(unpaid): ("in_progress", "in_progress", True),
    }
    assert audit(db, unpaid)[-1] == ("session_delayed", "clock", None)
    assert events(db, unpaid) == ["session.started", "session.delayed"]
    occurred = (
        "select occurred_at from private.outbox_events where aggregate_id = %s and event_type = 'session.delayed'"
    )
    assert db.value(occurred, unpaid) == END + HOUR
    assert (used(db, scarce), ledger(db, unpaid), ledger(db, paid)) == (8, [], [(1, 1, scarce)])
    assert db.rows("select * from private.credit_differences") == []
    assert sweep(db, END + 2 * HOUR) == NOTHING
    with pytest.raises(Refused, match="402 package_exhausted"):
        db.call(BILAL, "complete_session", p_session_id=unpaid)
    db.call(NADIA, "update_package", p_package_id=scarce, p_tier_sessions=12)
    assert db.call(BILAL, "complete_session", p_session_id=unpaid)["changed"]
    assert used(db, scarce) == 9


# --- one's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [BILAL, LENA])
def test_a_refresh_moves_the_callers_own_sessions_alone(db: Database, who: Person) -> None:
    own, foreign = lesson(db), lesson(db, ENGLISH)
    db.set_clock(START)
    assert moved_ids(refresh(db, who)) == [own]
    assert statuses(db, own, foreign) == ["in_progress", "scheduled"]


@pytest.mark.parametrize("who", [NADIA, NEWCOMER])
def test_a_refresh_of_somebody_without_sessions_moves_nothing(db: Database, who: Person) -> None:
    lesson(db)
    db.set_clock(END)
    assert refresh(db, who) == NOTHING


def test_a_refresh_within_fifteen_seconds_answers_with_nothing(db: Database) -> None:
    db.set_clock(START - SECOND)
    assert refresh(db, BILAL) == NOTHING
    session_id = lesson(db)
    db.set_clock(START + 14 * SECOND - SECOND)
    assert refresh(db, BILAL) == NOTHING
    assert column(db, session_id, "status") == "scheduled"
    db.set_clock(START + 14 * SECOND)
    assert moved_ids(refresh(db, BILAL)) == [session_id]


def test_everybody_refreshes_at_their_own_pace(db: Database) -> None:
    db.set_clock(START - SECOND)
    refresh(db, BILAL)
    session_id = lesson(db)
    db.set_clock(START)
    assert moved_ids(refresh(db, LENA)) == [session_id]


def test_a_clock_moved_back_does_not_lock_anybody_out_of_refreshing(db: Database) -> None:
    db.set_clock(START + 2 * HOUR)
    refresh(db, BILAL)
    session_id = lesson(db)
    db.set_clock(START)
    assert moved_ids(refresh(db, BILAL)) == [session_id]


def test_a_refresh_and_a_sweep_do_the_same(db: Database) -> None:
    with db.connection.transaction(force_rollback=True):
        session_id = begun(db, lesson(db, id=UUID(int=1)), BILAL)
        db.set_clock(END)
        by_refresh, left = refresh(db, LENA), rows_left(db)
    begun(db, lesson(db, id=session_id), BILAL)
    assert sweep(db, END) == by_refresh
    assert rows_left(db) == left


def test_nobody_but_the_service_key_sweeps_for_everybody(db: Database) -> None:
    lesson(db)
    db.set_clock(START)
    for who in (NADIA, BILAL, LENA, "anon", "authenticated"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(who, "sweep_session_statuses")


# --- reading -------------------------------------------------------------------------------------------------


def test_reading_moves_nothing(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(END)
    before = rows_left(db)
    for who in (BILAL, LENA, NADIA):
        (listed,) = db.call(who, "list_sessions")["sessions"]
        assert listed == db.call(who, "get_session", p_session_id=session_id)["session"]
        assert (listed["status"], listed["version"]) == ("scheduled", 1)
        assert instant(listed["scheduled_end_utc"]) == END
    db.call(NADIA, "get_metrics", p_from=START, p_to=END)
    assert rows_left(db) == before
