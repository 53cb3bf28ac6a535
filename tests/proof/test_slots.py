"""Nobody is in two places: of all who want a time at once, one gets it, and the others are told."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Literal, TypeAlias
from uuid import UUID

import psycopg
import pytest

from lib.recurrence import Plan, ScheduleInputs
from tests.database import Database, Refused
from tests.house import ENGLISH, IELTS, MATHEMATICS, NADIA, PHYSICS
from tests.plans import commit, planned, sell
from tests.proof.clients import Clients, split

Side: TypeAlias = Literal["tutor", "student"]
Plans: TypeAlias = list[tuple[ScheduleInputs, Plan]]
Slot: TypeAlias = tuple[datetime, datetime]

NOON = datetime.fromisoformat("2026-05-04T12:00:00+00:00")
HOUR = timedelta(hours=1)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


def crowd(house: Database, side: Side, count: int) -> list[UUID]:
    """So many matches that have nothing in common but their tutor, or their student; each with a package."""
    shared = {"tutor": ENGLISH.tutor, "student": ENGLISH.student}[side].id
    house.run(
        """
        create table others as
          select gen_random_uuid() as person_id, gen_random_uuid() as request_id, gen_random_uuid() as match_id
            from generate_series(1, %s)
        """,
        count,
    )
    house.run("insert into public.profiles (id, display_name) select person_id, 'Somebody' from others")
    house.run("insert into public.accounts (profile_id) select person_id from others")
    student, tutor = ("person_id", "%s::uuid") if side == "tutor" else ("%s::uuid", "person_id")
    house.run(
        f"insert into public.requests (id, student_user_id, subject) select request_id, {student}, 'Chess' from others",
        *([shared] if side == "student" else []),
    )
    house.run(
        "insert into public.matches (id, request_id, student_user_id, tutor_user_id)"
        f" select match_id, request_id, {student}, {tutor} from others",
        shared,
    )
    house.run(
        "insert into public.packages (request_id, student_user_id, tier_sessions, start_date, end_date)"
        f" select request_id, {student}, 8, '2026-05-01', '2026-05-31' from others",
        *([shared] if side == "student" else []),
    )
    return [match_id for (match_id,) in house.rows("select match_id from others")]


def around_noon(chance: Random, count: int) -> list[Slot]:
    """Unequal slots that all overlap: each contains noon of the day."""
    return [
        (
            NOON - timedelta(minutes=chance.randrange(0, 60)),
            NOON + timedelta(minutes=chance.randrange(1, 60)),
        )
        for _ in range(count)
    ]


def back_to_back(count: int) -> list[Slot]:
    return [(NOON + number * HOUR, NOON + (number + 1) * HOUR) for number in range(count)]


def insert_at_once(clients: Clients, matches: list[UUID], slots: list[Slot]) -> Counter[str]:
    """One plain insert by each client, without any function; counts the SQLSTATEs."""

    def insert(client: Database, number: int) -> str:
        try:
            client.run(
                """
                insert into public.sessions (match_id, tutor_user_id, student_user_id, package_id,
                                             sequence_number, scheduled_start_utc, scheduled_end_utc)
                select m.id, m.tutor_user_id, m.student_user_id, p.id, 1, %s, %s
                  from public.matches m join public.packages p using (request_id)
                 where m.id = %s
                """,
                *slots[number],
                matches[number],
            )
        except psycopg.Error as error:
            return error.sqlstate or ""
        return "entered"

    return Counter(split(clients.at_once(insert))[0])


@pytest.mark.parametrize("side", ["tutor", "student"])
def test_of_fifty_overlapping_inserts_one_wins(database_url: str, house: Database, chance: Random, side: Side) -> None:
    matches = crowd(house, side, 50)
    # Two bare inserts may wait for each other in the constraint itself; then Postgres ends one of them. The
    # functions lock the people first and never do.
    house.run("alter database {} set deadlock_timeout = '10ms'".format(house.value("select current_database()")))
    with Clients.of(database_url, 50) as clients:
        outcomes = insert_at_once(clients, matches, around_noon(chance, 50))
    assert outcomes["entered"] == 1
    assert set(outcomes) <= {"entered", "23P01", "40P01"}
    assert house.value("select count(*) from public.sessions") == 1


@pytest.mark.parametrize("side", ["tutor", "student"])
def test_fifty_inserts_back_to_back_all_win(database_url: str, house: Database, side: Side) -> None:
    matches = crowd(house, side, 50)
    with Clients.of(database_url, 50) as clients:
        assert insert_at_once(clients, matches, back_to_back(50)) == {"entered": 50}


@pytest.mark.parametrize("side", ["tutor", "student"])
def test_of_fifty_extra_sessions_asked_for_at_once_one_is_added(
    database_url: str, house: Database, chance: Random, side: Side
) -> None:
    matches = crowd(house, side, 50)
    # A session lasts at least a quarter of an hour here, so the slots begin within the one before noon.
    starts = [NOON - timedelta(minutes=chance.randrange(0, 15)) for _ in matches]
    lengths = [chance.randrange(15, 60) for _ in matches]

    def add(client: Database, number: int) -> dict[str, Any]:
        return client.call(
            NADIA,
            "add_extra_session",
            p_match_id=matches[number],
            p_start_utc=starts[number],
            p_duration_mins=lengths[number],
            p_reason="make-up",
        )

    with Clients.of(database_url, 50) as clients:
        answers, refused = split(clients.at_once(add))
    (winner,) = (each["session"]["id"] for each in answers)
    assert Counter((each.status, each.code) for each in refused) == {(409, "slot_taken"): 49}
    for each in refused:
        (conflict,) = each.extra["conflicts"]
        assert (conflict["session_id"], conflict["of"]) == (winner, side)
    assert house.value("select count(*) from public.sessions") == 1


@pytest.mark.parametrize("fill", [False, True])
def test_a_month_committed_by_eight_at_once_is_generated_once(
    database_url: str, house: Database, *, fill: bool
) -> None:
    with Clients.of(database_url, 8) as clients:
        for number in range(20):
            first_day = date(2026, 5, 1) + timedelta(weeks=5 * number)
            package_id = sell(house, MATHEMATICS.request_id, first_day, first_day + timedelta(days=34))

            def generate(client: Database, _number: int, package_id: UUID = package_id) -> dict[str, Any]:
                return commit(client, *planned(client, MATHEMATICS.id, package_id), p_fill=fill)

            answers, refused = split(clients.at_once(generate))
            assert refused == []
            assert Counter(each["created"] for each in answers) == {8: 1, 0: 7}
            ids = {tuple(session["id"] for session in each["sessions"]) for each in answers}
            assert [len(each) for each in ids] == [8]
            assert counted(house, package_id) == 8
    audits = "select count(*) from public.audit_logs where action = 'schedule_generated'"
    events = "select count(*) from private.outbox_events where event_type = 'schedule.generated'"
    assert (house.value(audits), house.value(events)) == (20, 20)


def counted(house: Database, package_id: UUID) -> int:
    return house.value("select count(*) from public.sessions where package_id = %s", package_id)


@pytest.mark.parametrize("tries", [120, pytest.param(600, marks=pytest.mark.long)])
def test_of_two_months_of_one_tutor_that_overlap_one_is_generated(
    database_url: str, house: Database, tries: int
) -> None:
    weekdays = {"timezone": "Europe/London", "days": [1, 2, 3, 4, 5], "duration_mins": 60}
    for match, time in ((ENGLISH, "10:00"), (IELTS, "10:30")):
        house.call(NADIA, "set_match_schedule", p_match_id=match.id, p_schedule_pattern=weekdays | {"time": time})
    winners: Counter[int] = Counter()

    with Clients.of(database_url, 2) as clients:
        for number in range(tries):
            first_day = date(2026, 5, 4) + timedelta(weeks=2 * number)
            house.set_clock(f"{first_day} 00:00+00")
            rivals = [ENGLISH, IELTS] if number % 2 else [IELTS, ENGLISH]
            packages = [sell(house, match.request_id, first_day, first_day + timedelta(days=11)) for match in rivals]
            plans = [planned(house, match.id, package) for match, package in zip(rivals, packages, strict=True)]

            def generate(client: Database, number: int, plans: Plans = plans) -> dict[str, Any]:
                return commit(client, *plans[number])

            outcomes = clients.at_once(generate)
            ((answer,), (refused,)) = split(outcomes)
            winner = outcomes.index(answer)
            winners[winner] += 1
            assert (answer["created"], counted(house, packages[winner])) == (8, 8)
            assert (refused.status, refused.code) == (409, "slot_taken")
            assert counted(house, packages[1 - winner]) == 0
            taken = [
                (each.start_utc.isoformat(), session["id"])
                for each, session in zip(plans[1 - winner][1].occurrences, answer["sessions"], strict=True)
            ]
            assert [(each["start_utc"], each["session_id"]) for each in refused.extra["conflicts"]] == taken
            assert {each["of"] for each in refused.extra["conflicts"]} == {"tutor"}


PAIRS = [(ENGLISH, IELTS), (IELTS, ENGLISH), (PHYSICS, IELTS), (IELTS, PHYSICS)]
"""Two share their tutor, two their student."""


@pytest.mark.parametrize("tries", [120, pytest.param(600, marks=pytest.mark.long)])
def test_two_months_of_one_person_that_do_not_overlap_are_both_generated(
    database_url: str, house: Database, tries: int
) -> None:
    with Clients.of(database_url, 2) as clients:
        for number in range(tries):
            first_day = date(2026, 5, 4) + timedelta(weeks=5 * number)
            house.set_clock(f"{first_day} 00:00+00")
            pair = PAIRS[number % len(PAIRS)]
            packages = [sell(house, match.request_id, first_day, first_day + timedelta(days=34)) for match in pair]
            plans = [planned(house, match.id, package) for match, package in zip(pair, packages, strict=True)]

            def generate(client: Database, number: int, plans: Plans = plans) -> int:
                return commit(client, *plans[number])["created"]

            assert clients.at_once(generate) == [8, 8]


@pytest.mark.parametrize(
    "change", [{"time": "17:30"}, {"duration_mins": 45}, {"days": [1, 5]}, {"timezone": "Europe/Dublin"}]
)
def test_a_plan_made_before_the_pattern_changed_is_refused(db: Database, change: dict[str, Any]) -> None:
    inputs, plan = planned(db, ENGLISH.id, ENGLISH.package_id)
    assert inputs.pattern is not None
    pattern = inputs.pattern.model_dump(mode="json")
    db.call(NADIA, "set_match_schedule", p_match_id=ENGLISH.id, p_schedule_pattern=pattern | change)
    with pytest.raises(Refused) as refused:
        commit(db, inputs, plan)
    assert (refused.value.status, refused.value.code) == (409, "plan_changed")
    assert counted(db, ENGLISH.package_id) == 0
