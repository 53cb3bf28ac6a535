"""Whoever decides at the same moment, a booking is decided once, and a time is given to one."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from lib.recurrence import Plan, ScheduleInputs
from tests.database import Database
from tests.house import (
    BILAL,
    ENGLISH,
    EXAM_CLINIC,
    HARRIET,
    LENA,
    MATHEMATICS_HELP,
    NADIA,
    OLIVER,
    ZARA,
    Listing,
    Person,
)
from tests.plans import commit, planned, sell
from tests.proof.clients import Clients, split

Decision: TypeAlias = Callable[[Database], dict[str, Any]]

NINE = datetime.fromisoformat("2026-05-04T09:00:00+00:00")
DAY = timedelta(days=1)
DECIDED = {"accept": "accepted", "decline": "declined", "cancel": "cancelled"}


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


def draft(house: Database, student: Person, listing: Listing, start: datetime) -> UUID:
    """Both trips of a request."""
    house.run("delete from private.call_counts")  # many more than 20 an hour
    day = {"p_listing_id": listing.id, "p_from": start, "p_to": start + DAY}
    fingerprint = house.call(student, "slot_inputs", **day)["fingerprint"]
    answer = house.call(
        student, "request_booking", p_listing_id=listing.id, p_start_utc=start, p_fingerprint=fingerprint
    )
    return UUID(answer["booking"]["id"])


def decide(who: Person, decision: str, booking_id: UUID) -> Decision:
    return lambda db: db.call(who, f"{decision}_booking", p_booking_id=booking_id)


def told(house: Database, event: str) -> int:
    return house.value("select count(*) from private.outbox_events where event_type = %s", event)


def accepted_ones_and_sessions_are_the_same(house: Database) -> bool:
    return house.value(
        """
        select not exists (
          select from (select * from public.bookings where status = 'accepted') b
            full join (select * from public.sessions where match_id is null) s
              on (s.booking_id, s.tutor_user_id, s.student_user_id, s.scheduled_start_utc, s.scheduled_end_utc)
                 = (b.id, b.tutor_user_id, b.student_user_id, b.starts_at, b.ends_at)
           where b.id is null or s.id is null)
        """
    )


RIVALS: dict[str, tuple[tuple[Person, Listing], tuple[Person, Listing]]] = {
    "tutor": ((LENA, EXAM_CLINIC), (OLIVER, EXAM_CLINIC)),
    "student": ((LENA, EXAM_CLINIC), (LENA, MATHEMATICS_HELP)),
}
"""Two drafts for one time that have only the tutor, or only the student, in common."""


@pytest.mark.parametrize("side", RIVALS)
@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_of_two_drafts_for_one_time_accepted_at_once_one_becomes_a_session(
    database_url: str, house: Database, side: str, rounds: int
) -> None:
    winners: Counter[UUID] = Counter()
    with Clients.of(database_url, 2) as clients:
        for number in range(rounds):
            rivals = RIVALS[side][:: 1 if number % 2 else -1]
            # The half hour of the other listing lies within the hour of this one.
            starts = [NINE + number * DAY + timedelta(minutes=15 * (each[1] is MATHEMATICS_HELP)) for each in rivals]
            drafts = [draft(house, *each, start) for each, start in zip(rivals, starts, strict=True)]

            tutors = [listing.tutor for _, listing in rivals]
            contest = [decide(*each) for each in zip(tutors, ["accept"] * 2, drafts, strict=True)]
            ((answer,), (refused,)) = split(clients.at_once(lambda db, mine, contest=contest: contest[mine](db)))
            assert (refused.status, refused.code) == (409, "slot_taken")
            (conflict,) = refused.extra["conflicts"]
            assert conflict["of"] == side
            assert conflict["session_id"] in (answer["session"]["id"], None)
            winners[UUID(answer["booking"]["listing"]["id"])] += 1
    assert house.value("select count(*) from public.sessions") == rounds
    assert told(house, "session.booked") == told(house, "booking.accepted") == rounds
    assert accepted_ones_and_sessions_are_the_same(house)


def test_of_sixteen_who_accept_one_booking_all_get_the_same_session(database_url: str, house: Database) -> None:
    with Clients.of(database_url, 16) as clients:
        for number in range(20):
            booking_id = draft(house, LENA, EXAM_CLINIC, NINE + number * DAY)
            answers, refused = split(
                clients.at_once(lambda db, mine, key=booking_id: decide((HARRIET, NADIA)[mine % 2], "accept", key)(db))
            )
            assert refused == []
            assert Counter(each["changed"] for each in answers) == {True: 1, False: 15}
            assert len({each["session"]["id"] for each in answers}) == 1
            assert len({(each["booking"]["version"], each["booking"]["decided_by_user_id"]) for each in answers}) == 1
    assert house.value("select count(*) from public.sessions") == 20
    assert told(house, "booking.accepted") == 20
    assert accepted_ones_and_sessions_are_the_same(house)


@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_of_accepting_declining_and_cancelling_at_once_one_counts(
    database_url: str, house: Database, rounds: int
) -> None:
    came: Counter[str] = Counter()
    sides = {"accept": HARRIET, "decline": NADIA, "cancel": LENA}
    with Clients.of(database_url, 3) as clients:
        for number in range(rounds):
            booking_id = draft(house, LENA, EXAM_CLINIC, NINE + number * DAY)
            order = list(sides)[number % 3 :] + list(sides)[: number % 3]
            ((answer,), refused) = split(
                clients.at_once(
                    lambda db, mine, key=booking_id, order=order: decide(sides[order[mine]], order[mine], key)(db)
                )
            )
            status = answer["booking"]["status"]
            assert [(each.code, each.extra["from"]) for each in refused] == [("illegal_transition", status)] * 2
            assert house.value("select status::text from public.bookings where id = %s", booking_id) == status
            came[status] += 1
    assert house.value("select count(*) from public.sessions") == came["accepted"]
    assert {event: told(house, f"booking.{event}") for event in DECIDED.values()} == dict.fromkeys(
        DECIDED.values(), 0
    ) | dict(came)
    assert len(came) > 1, came
    assert accepted_ones_and_sessions_are_the_same(house)


@pytest.mark.parametrize("rounds", [60, pytest.param(500, marks=pytest.mark.long)])
def test_of_a_match_and_a_booking_that_want_one_time_one_gets_it(
    database_url: str, house: Database, rounds: int
) -> None:
    """A month of English is generated while its tutor, or its student, gets a single lesson in the middle of it."""
    pattern = {"timezone": "UTC", "days": [1, 2, 3, 4, 5], "time": "09:30", "duration_mins": 60}
    house.call(NADIA, "set_match_schedule", p_match_id=ENGLISH.id, p_schedule_pattern=pattern)
    came: Counter[str] = Counter()
    with Clients.of(database_url, 2) as clients:
        for number in range(rounds):
            first_day = date(2026, 5, 4) + timedelta(weeks=2 * number)
            house.set_clock(f"{first_day} 00:00+00")
            package_id = sell(house, ENGLISH.request_id, first_day, first_day + timedelta(days=11))
            plan = planned(house, ENGLISH.id, package_id)
            start = NINE + timedelta(weeks=2 * number, days=number % 5)
            who, student, listing = ((HARRIET, ZARA, EXAM_CLINIC), (BILAL, OLIVER, MATHEMATICS_HELP))[number % 2]
            start += timedelta(minutes=45 * (listing is MATHEMATICS_HELP))
            booking_id = draft(house, student, listing, start)
            contest: list[Decision] = [
                lambda db, plan=plan: _generate(db, *plan),
                decide(who, "accept", booking_id),
            ]
            turn = 1 if number % 4 > 1 else -1
            ((answer,), (refused,)) = split(
                clients.at_once(lambda db, mine, contest=contest[::turn]: contest[mine](db))
            )
            assert (refused.status, refused.code) == (409, "slot_taken")
            winner = "match" if "created" in answer else "booking"
            live = house.rows(
                "select match_id is not null from public.sessions where scheduled_start_utc >= %s", first_day
            )
            assert [is_of_the_match for (is_of_the_match,) in live] == ([True] * 8 if winner == "match" else [False])
            came[winner] += 1
    assert set(came) == {"match", "booking"}, came
    assert accepted_ones_and_sessions_are_the_same(house)


def _generate(db: Database, inputs: ScheduleInputs, plan: Plan) -> dict[str, Any]:
    return commit(db, inputs, plan)


def test_a_request_sent_many_times_at_once_is_one_draft(database_url: str, house: Database) -> None:
    with Clients.of(database_url, 8) as clients:
        for number in range(20):
            house.run("delete from private.call_counts")
            start = NINE + number * DAY
            day = {"p_listing_id": EXAM_CLINIC.id, "p_from": start, "p_to": start + DAY}
            fingerprint = house.call(LENA, "slot_inputs", **day)["fingerprint"]
            asked = {"p_listing_id": EXAM_CLINIC.id, "p_start_utc": start, "p_fingerprint": fingerprint}
            answers, refused = split(
                clients.at_once(lambda db, _, asked=asked: db.call(LENA, "request_booking", **asked))
            )
            assert refused == []
            assert Counter(each["changed"] for each in answers) == {True: 1, False: 7}
            assert len({each["booking"]["id"] for each in answers}) == 1
    assert house.value("select count(*) from public.bookings") == 20


def test_hours_set_by_several_at_once_are_one_of_the_weeks_and_never_a_mixture(
    database_url: str, house: Database
) -> None:
    weeks = [
        [{"weekday": day, "starts_at": f"0{hour}:00", "ends_at": f"0{hour + 3}:00"} for day in range(1, 6)]
        for hour in range(4)
    ]
    with Clients.of(database_url, 4) as clients:
        for _ in range(30):
            answers, refused = split(
                clients.at_once(
                    lambda db, mine: db.call(
                        HARRIET, "set_availability", p_timezone=f"Europe/{('London', 'Paris')[mine % 2]}",
                        p_hours=weeks[mine],
                    )
                )
            )  # fmt: skip
            assert refused == []
            assert [each["hours"] for each in answers] == weeks
            assert house.call(HARRIET, "get_availability")["hours"] in weeks
