"""However many dispatchers work, fail and die while people change their lessons, Google shows each of them once."""

import threading
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database
from tests.db.calendars import claim, result, settle, told, turn, without_link
from tests.db.lessons import DAY, HOUR, START, instant
from tests.house import NADIA, NOW, PHYSICS
from tests.proof.clients import Clients, split
from tests.proof.test_outbox import plans_of

SESSIONS = 300
DISPATCHERS = 4
BEGAN = instant(NOW)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


class Calendar:
    """Google, in so far as an id is taken once: events by id, what each shows, and every Meet link that was made."""

    def __init__(self) -> None:
        self.events: dict[str, tuple[str, str, bool, str | None]] = {}
        self.links: list[str] = []
        self._one_at_a_time = threading.Lock()

    def put(self, claimed: dict[str, Any]) -> str | None:
        """As the adapter does it; the Meet link, if the event has one."""
        with self._one_at_a_time:
            id_, link = claimed["event_id"], claimed["meet_link"]
            had = self.events.get(id_)
            if claimed["is_cancelled"] and had is None:
                return None
            if claimed["wants_meet"] and (had is None or had[3] is None):
                link = f"https://meet.google.com/aaa-{len(self.links):04d}-bbb".translate(_IN_LETTERS)
                self.links.append(link)
            elif claimed["wants_meet"] and had is not None:
                link = had[3]
            self.events[id_] = (claimed["starts_at"], claimed["ends_at"], claimed["is_cancelled"], link)
            return link


_IN_LETTERS = str.maketrans("0123456789", "klmnopqrst")


def lessons(house: Database, count: int) -> list[UUID]:
    """So many hours of physics, one after the other, as Studio might put them there."""
    house.run(
        "insert into public.sessions (match_id, package_id, sequence_number, tutor_user_id, student_user_id,"
        " scheduled_start_utc, scheduled_end_utc)"
        " select %s, %s, n, %s, %s, start_at, start_at + interval '1 hour'"
        " from generate_series(1, %s) as n,"
        " lateral (select %s::timestamptz + n * interval '1 hour') as hours (start_at)",
        PHYSICS.id,
        PHYSICS.package_id,
        PHYSICS.tutor.id,
        PHYSICS.student.id,
        count,
        START,
    )
    return [row for (row,) in house.rows("select id from public.sessions order by scheduled_start_utc")]


def wanted(house: Database) -> dict[str, tuple[str, str, bool, str | None]]:
    """What the calendar is to show in the end."""
    rows = house.rows(
        "select 'lesson' || replace(s.id::text, '-', ''), s.scheduled_start_utc, s.scheduled_end_utc,"
        " s.status in ('cancelled', 'rescheduled'), m.meet_link"
        " from public.sessions s join public.matches m on m.id = s.match_id"
    )
    return {id_: (instant(str(start)), instant(str(end)), gone, link) for id_, start, end, gone, link in rows}  # pyright: ignore[reportReturnType]


def shown(calendar: Calendar) -> dict[str, tuple[Any, Any, bool, str | None]]:
    return {
        id_: (instant(start), instant(end), gone, link) for id_, (start, end, gone, link) in calendar.events.items()
    }


def dispatch(client: Database, calendar: Calendar, fate: Random) -> None:
    """Put there what is due, until nothing is; now and then fail, be slowed down, or never say what was done."""
    while claimed := claim(client, limit=fate.randint(1, 20), lease_seconds=60):
        results: list[dict[str, Any]] = []
        for each in claimed:
            outcome = fate.choices(("synced", "failed", "postponed", "lost", "unsaid"), (80, 8, 4, 4, 4))[0]
            link = calendar.put(each) if outcome in {"synced", "unsaid"} else None
            if outcome not in {"lost", "unsaid"}:
                results.append(result(each, outcome, meet_link=link))
        counts = client.call("service_role", "settle_calendar_syncs", p_results=results or "[]")
        assert counts["stale"] == 0


def change(client: Database, sessions: list[UUID], fate: Random) -> None:
    """Cancel some, park some, shorten some."""
    for session_id in fate.sample(sessions, 60):
        match fate.choice(("cancelled", "rescheduled", "shorter")):
            case "shorter":
                client.run(
                    "update public.sessions set scheduled_end_utc = scheduled_end_utc - interval '10 minutes'"
                    " where id = %s",
                    session_id,
                )
            case status:
                client.call(NADIA, "tutor_update_session", p_session_id=session_id, p_status=status, p_reason="so")


def test_four_dispatchers_three_hundred_sessions_and_people_who_go_on(
    database_url: str, house: Database, chance: Random
) -> None:
    without_link(house, PHYSICS)
    turn(house, on=True)
    sessions = lessons(house, SESSIONS)
    calendar = Calendar()
    fates = [Random(chance.randrange(2**32)) for _ in range(DISPATCHERS + 1)]

    def act(client: Database, number: int) -> None:
        if number == DISPATCHERS:
            change(client, sessions, fates[number])
        else:
            dispatch(client, calendar, fates[number])

    rounds = 0
    with Clients.of(database_url, DISPATCHERS + 1) as clients:
        _, refused = split(clients.at_once(act))
        assert refused == []
        while house.value("select count(*) from public.calendar_syncs where status <> 'synced'"):
            rounds += 1
            house.run("update public.calendar_syncs set attempts = 0")
            house.set_clock(BEGAN + rounds * DAY / 48)
            clients.at_once(lambda client, number: dispatch(client, calendar, fates[number]))
    becomes = wanted(house)
    seen = shown(calendar)
    assert len(seen) <= SESSIONS
    assert {id_ for id_, each in becomes.items() if not each[2]} <= seen.keys()
    for id_, (start, end, gone, link) in seen.items():
        assert gone == becomes[id_][2]
        assert gone or (start, end, link) == (becomes[id_][0], becomes[id_][1], becomes[id_][3])
    assert house.rows("select distinct wanted_version = synced_version from public.calendar_syncs") == [(True,)]


def test_what_one_dispatcher_has_no_other_gets(database_url: str, house: Database) -> None:
    turn(house, on=True)
    lessons(house, SESSIONS)
    with Clients.of(database_url, DISPATCHERS) as clients:
        answers, _ = split(clients.at_once(lambda client, _: claim(client, limit=20)))
    taken = [each["session_id"] for answer in answers for each in answer]
    assert len(taken) == len(set(taken)) == DISPATCHERS * 20


def test_of_a_match_without_a_link_one_dispatcher_makes_it(database_url: str, house: Database) -> None:
    without_link(house, PHYSICS)
    turn(house, on=True)
    lessons(house, 40)
    with Clients.of(database_url, DISPATCHERS) as clients:
        answers, _ = split(clients.at_once(lambda client, _: claim(client)))
    assert [each["wants_meet"] for answer in answers for each in answer] == [True]


def test_a_dispatcher_that_dies_between_claim_and_report_costs_nothing_but_time(
    database_url: str, house: Database
) -> None:
    turn(house, on=True)
    lessons(house, 20)
    doomed = Database.open(database_url)
    with closing(doomed.connection):
        first = claim(doomed, lease_seconds=60)
        house.run("select pg_terminate_backend(%s)", doomed.connection.info.backend_pid)
    assert claim(house) == []
    house.set_clock(BEGAN + HOUR)
    again = claim(house)
    assert sorted(each["event_id"] for each in again) == sorted(each["event_id"] for each in first)
    assert settle(house, first) == told(stale=20)
    assert settle(house, again) == told(synced=20)


# --- where the time goes ----------------------------------------------------------------------------------


def crowd(house: Database, rows: int) -> None:
    """So many sessions of so many years, all of them in Google but a hundred."""
    house.run("select set_config('session_replication_role', 'replica', false)")
    lessons(house, rows)
    house.run(
        "insert into public.calendar_syncs (session_id, synced_version, status, synced_at)"
        " select id, 1, 'synced', private.now() from public.sessions"
    )
    house.run("select set_config('session_replication_role', 'origin', false)")
    house.run(
        "update public.calendar_syncs set status = 'pending', wanted_version = 2"
        " where session_id in (select id from public.sessions order by id limit 100)"
    )
    house.run("analyze public.sessions, public.calendar_syncs")
    # The hour after the switch was turned, in which a claim looks for what was forgotten, is over.
    house.set_clock(BEGAN + 2 * HOUR)


def test_what_is_due_is_found_by_the_partial_index_among_a_hundred_thousand_that_are_there(house: Database) -> None:
    turn(house, on=True)
    crowd(house, 100_000)
    plans = plans_of(house, "service_role", "claim_calendar_syncs", p_limit=20)
    (picking,) = [each for each in plans if "LockRows" in each]
    assert "Index Scan using calendar_syncs_due" in picking, picking
    for each in plans:
        assert "Seq Scan on calendar_syncs" not in each, each
        assert "Seq Scan on sessions" not in each, each
