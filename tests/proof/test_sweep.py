"""However many sweeps run at once, and whatever people do meanwhile, each session takes each step once."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database
from tests.db.lessons import booked, lesson
from tests.house import ENGLISH, MATHEMATICS, NADIA, PHYSICS
from tests.plans import sell
from tests.proof.clients import Clients, split
from tests.proof.test_counting import assert_books_balance

MATCHES = (MATHEMATICS, ENGLISH, PHYSICS)
"""Nobody is in two of them."""
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


def a_days_lessons(house: Database, packages: list[UUID], day: datetime) -> list[UUID]:
    """For each match a lesson that a person has begun and one that nobody has, and a booking."""
    house.set_clock(day + 10 * HOUR)
    made: list[UUID] = []
    for match, package_id in zip(MATCHES, packages, strict=True):
        made.append(lesson(house, match, day + 10 * HOUR, package_id=package_id))
        house.call(match.tutor, "start_session", p_session_id=made[-1])
        made.append(lesson(house, match, day + 12 * HOUR, package_id=package_id))
    made.append(booked(house, MATHEMATICS.tutor, ENGLISH.student, day + 14 * HOUR))
    house.set_clock(day + 15 * HOUR)
    return made


@pytest.mark.parametrize("sweepers", [2, 6])
@pytest.mark.parametrize("rounds", [50, pytest.param(500, marks=pytest.mark.long)])
def test_sweeps_at_once_take_each_step_once_while_people_change_the_same_rows(
    database_url: str, house: Database, chance: Random, sweepers: int, rounds: int
) -> None:
    people = 6
    told: Counter[str] = Counter()
    packages: list[UUID] = []
    # A row that always fails sends every sweep row by row.
    house.run(
        """
        create function private.poison() returns trigger language plpgsql as $$
        begin
          if new.updated_by_role = 'clock' and new.scheduled_start_utc = '2026-03-01 10:00Z' then
            raise exception 'no';
          end if;
          return new;
        end $$
        """
    )
    house.run("create trigger z_poison before update on public.sessions for each row execute function private.poison()")
    poisoned = lesson(house, PHYSICS, FIRST - DAY + 10 * HOUR)
    with Clients.of(database_url, sweepers + people) as clients:
        for number in range(rounds):
            if number % 4 == 0:
                # Each package has credits for three of its eight lessons, so that some become delayed instead.
                days = ((FIRST + number * DAY).date(), (FIRST + (number + 4) * DAY).date())
                packages = [sell(house, match.request_id, *days, p_opening_used=5) for match in MATCHES]
            sessions = a_days_lessons(house, packages, FIRST + number * DAY)
            house.run("update private.sweep_failures set retry_at = private.now()")
            targets = [chance.choice(sessions) for _ in range(people)]
            buttons = [chance.choice(("start", "complete", "done", "cancelled", "refresh")) for _ in range(people)]

            def act(
                client: Database, index: int, targets: list[UUID] = targets, buttons: list[str] = buttons
            ) -> tuple[str, dict[str, Any]]:
                if index < sweepers:
                    return "sweep", client.call("service_role", "sweep_session_statuses")
                target, button = targets[index - sweepers], buttons[index - sweepers]
                if button == "refresh":
                    return button, client.call(MATHEMATICS.tutor, "refresh_session_statuses")
                if button in ("start", "complete"):
                    return button, client.call(NADIA, f"{button}_session", p_session_id=target)
                arguments = {"p_session_id": target, "p_status": button, "p_reason": "as it was"}
                return button, client.call(NADIA, "tutor_update_session", **arguments)

            answers, refused = split(clients.at_once(act))
            assert {each.code for each in refused} <= {"package_exhausted", "reason_required"}
            updates = [
                (each["session_id"], each["from"], each["to"], each["is_delayed"])
                for button, answer in answers
                if button in ("sweep", "refresh")
                for each in answer["updates"]
            ]
            # What was passed over because somebody was changing it comes now.
            rest = house.call("service_role", "sweep_session_statuses")
            updates += [(each["session_id"], each["from"], each["to"], each["is_delayed"]) for each in rest["updates"]]
            assert len(updates) == len(set(updates)), "a step was told twice"
            told.update("delayed" if came == went else went for _, came, went, _ in updates)
            told.update(button for button, _ in answers)

            assert house.call("service_role", "sweep_session_statuses")["updates"] == []
            assert_each_step_was_taken_once(house, sessions)
            assert_books_balance(house)
            # Only the poisoned row ever fails: no sweep was the victim of a deadlock.
            assert house.rows("select distinct session_id, sqlstate from private.sweep_failures") == [
                (poisoned, "P0001")
            ]
    assert {"in_progress", "done", "delayed", "start", "complete", "refresh"} <= set(told), told


def assert_each_step_was_taken_once(house: Database, sessions: list[UUID]) -> None:
    """The audit of each session is one chain from status to status, by the clock at most once into each."""
    rows = house.rows(
        """
        select entity_id, actor_role::text, details -> 'status' ->> 'from', details -> 'status' ->> 'to'
          from public.audit_logs
         where entity_id = any (%s) and action = 'session_status_updated' order by entity_id, id
        """,
        sessions,
    )
    for session_id, status in house.rows("select id, status::text from public.sessions where id = any (%s)", sessions):
        steps = [row[1:] for row in rows if row[0] == session_id]
        assert [came for _, came, _ in steps] == ["scheduled", *(went for _, _, went in steps)][: len(steps)]
        assert ["scheduled", *(went for _, _, went in steps)][-1] == status
        by_clock = [went for role, _, went in steps if role == "clock"]
        assert len(by_clock) == len(set(by_clock))
    versions = house.rows(
        """
        select s.id from public.sessions s
         where s.id = any (%s)
           and s.version <> 1 + (select count(*) from public.audit_logs where entity_id = s.id)
        """,
        sessions,
    )
    assert versions == []


def crowd(house: Database, sessions: int) -> datetime:
    """So many due sessions, half to begin and half to complete, among ten times as many that are not."""
    lessons = sessions * 11
    house.run("create table pairs as select gen_random_uuid() t, gen_random_uuid() u from generate_series(1, 100)")
    house.run(
        "insert into public.profiles (id, display_name, timezone)"
        " select t, 'Tutor', 'UTC' from pairs union all select u, 'Student', 'UTC' from pairs"
    )
    house.run("insert into public.listings (id, tutor_user_id, title) select t, t, 'Chess' from pairs")
    house.run(
        """
        with made as (
          insert into public.bookings
            (listing_id, tutor_user_id, student_user_id, starts_at, ends_at, status, decided_by_role, decided_at)
          select t, t, u, start, start + interval '1 hour', 'accepted', 'tutor', start
            from pairs, generate_series(1, %(days)s) as day,
                 lateral (select timestamptz '2026-03-01 10:00Z' + day * interval '1 day' as start) s
          returning *
        )
        insert into public.sessions
          (booking_id, tutor_user_id, student_user_id, scheduled_start_utc, scheduled_end_utc, status)
        select id, tutor_user_id, student_user_id, starts_at, ends_at,
               case when starts_at > timestamptz '2026-03-01 10:00Z' + %(due)s / 2 * interval '1 day'
                 then 'scheduled' else 'in_progress' end::public.session_status_enum
          from made
        """.replace("%(due)s", str(sessions // 100)).replace("%(days)s", str(lessons // 100))
    )
    house.run("drop table pairs")
    house.run("analyze public.sessions")
    return datetime(2026, 3, 1, 12, tzinfo=UTC) + sessions // 100 * DAY


def test_a_thousand_due_sessions_are_swept_at_once(house: Database, record_property: Any) -> None:
    now = crowd(house, 1000)
    house.set_clock(now)
    begun = perf_counter()
    answer = house.call("service_role", "sweep_session_statuses", p_limit=1000)
    record_property("milliseconds", round((perf_counter() - begun) * 1000))
    assert (answer["started"], answer["completed"], answer["failed"], answer["more"]) == (500, 500, 0, True)
    assert len({each["session_id"] for each in answer["updates"]}) == 1000
    assert house.call("service_role", "sweep_session_statuses")["updates"] == []


def test_the_due_ones_are_found_by_the_partial_indexes(house: Database) -> None:
    house.set_clock(crowd(house, 1000))
    house.run("load 'auto_explain'")
    told: list[str] = []
    house.connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    for name, value in (
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_nested_statements", "on"),
        ("auto_explain.log_level", "notice"),
    ):
        house.run("select set_config(%s, %s, false)", name, value)
    house.call("service_role", "sweep_session_statuses", p_limit=100)
    (plan,) = [each for each in told if "to_start" in each and "SkipLocked" not in each and "LockRows" in each]
    assert "Index Scan using sessions_to_start" in plan, plan
    assert "Index Scan using sessions_to_complete" in plan, plan
    assert "Seq Scan on sessions" not in plan, plan
