"""Postgres killed in the middle of a bulk generation: each month is there whole or not at all."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from random import Random
from threading import Event, Lock
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from lib.recurrence import Plan, ScheduleInputs
from scripts.stack import Stack
from tests.database import Database
from tests.house import ENGLISH, IELTS, MATHEMATICS, NADIA, NOW, PHYSICS
from tests.plans import commit, planned, sell

MATCHES = (MATHEMATICS, ENGLISH, PHYSICS, IELTS)
MONTHS = 6
"""Packages a match gets for each kill: what its client is busy generating when the server dies."""
N = 8


@pytest.fixture
def doomed() -> Iterator[Stack]:
    """A stack of one's own; nobody else's server is killed."""
    with Stack.unused("crash", clock=NOW) as stack:
        stack.start_database(fresh=True)
        yield stack


class Tally:
    """Counts the months that were acknowledged, and says when there are enough."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._lock = Lock()
        self.acknowledged: list[UUID] = []
        self.reached = Event()

    def add(self, package_id: UUID) -> None:
        with self._lock:
            self.acknowledged.append(package_id)
            if len(self.acknowledged) == self._enough:
                self.reached.set()


def generate_all(url: str, plans: list[tuple[ScheduleInputs, Plan]], tally: Tally) -> bool:
    """One client's months, one call each; returns whether the server died under it."""
    try:
        client = Database.open(url)
        with client.connection:
            for each in plans:
                assert commit(client, *each)["created"] == N
                tally.add(each[0].package_id)
    except psycopg.OperationalError:
        return True
    return False


@pytest.mark.parametrize("kills", [10, pytest.param(60, marks=pytest.mark.long)])
def test_a_killed_server_leaves_whole_months_and_the_rerun_completes_them(
    doomed: Stack, chance: Random, kills: int
) -> None:
    interrupted = 0
    halfway: Counter[int] = Counter()
    url = doomed.env()["DATABASE_URL"]
    for number in range(kills):
        house = Database.open(url)
        first_day = date(2026, 5, 4) + timedelta(weeks=5 * MONTHS * number)
        house.set_clock(f"{first_day} 00:00+00")
        months: list[list[tuple[ScheduleInputs, Plan]]] = []
        for match in MATCHES:
            windows = [first_day + timedelta(weeks=5 * month) for month in range(MONTHS)]
            packages = [sell(house, match.request_id, start, start + timedelta(days=34)) for start in windows]
            months.append([planned(house, match.id, package) for package in packages])
        house.connection.close()

        # The server dies once so many months are acknowledged, while the other clients are at theirs.
        tally = Tally(chance.randrange(1, MONTHS * len(MATCHES) - len(MATCHES)))
        with ThreadPoolExecutor(len(MATCHES)) as threads:
            clients = [threads.submit(generate_all, url, plans, tally) for plans in months]
            assert tally.reached.wait(60)
            doomed.crash_database()
            interrupted += sum(client.result() for client in clients)

        house = Database.open(url)
        for plans in months:
            for inputs, plan in plans:
                written = counts(house, inputs)
                assert written in ((0, 0, 0), (N, 1, 1))
                assert written == (N, 1, 1) or inputs.package_id not in tally.acknowledged
                halfway[written[0]] += 1
                assert commit(house, inputs, plan)["created"] == N - written[0]
                assert counts(house, inputs) == (N, 1, 1)
        assert house.rows("select * from private.credit_differences") == []
        house.connection.close()

    assert interrupted >= kills
    assert halfway[0] > 0
    assert halfway[N] > 0


def counts(house: Database, inputs: ScheduleInputs) -> tuple[Any, ...]:
    """A month's sessions, and the audit rows and events that tell of it."""
    package = str(inputs.package_id)
    return house.rows(
        """
        select (select count(*) from public.sessions where package_id = %s),
               (select count(*) from public.audit_logs
                 where action = 'schedule_generated' and details ->> 'package_id' = %s),
               (select count(*) from private.outbox_events
                 where event_type = 'schedule.generated' and payload ->> 'package_id' = %s)
        """,
        package, package, package,
    )[0]  # fmt: skip


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_server_killed_in_the_middle_of_a_month_run_leaves_nothing_of_it(
    doomed: Stack, chance: Random, kills: int
) -> None:
    """The run waits at one of its months, with others written already, because somebody wants the same slot."""
    url = doomed.env()["DATABASE_URL"]
    house = Database.open(url)
    for match in MATCHES:
        # Months without sessions of the other test would be part of the run.
        house.run("update public.packages set status = 'cancelled' where request_id = %s", match.request_id)
    house.connection.close()
    for number in range(kills):
        house = Database.open(url)
        first_day = date(2086, 5, 6) + timedelta(weeks=5 * number)
        house.set_clock(f"{first_day} 00:00+00")
        plans = [
            planned(house, match.id, sell(house, match.request_id, first_day, first_day + timedelta(days=34)))
            for match in (MATHEMATICS, PHYSICS, IELTS)
        ]
        chance.shuffle(plans)

        with psycopg.connect(url) as rival, ThreadPoolExecutor(1) as threads:
            wanted = next(plan for inputs, plan in plans if inputs.match_id == IELTS.id)
            slot = chance.choice(wanted.occurrences)
            rival.execute(
                "insert into public.sessions (match_id, tutor_user_id, student_user_id, package_id,"
                " sequence_number, scheduled_start_utc, scheduled_end_utc) values (%s, %s, %s, %s, 99, %s, %s)",
                (ENGLISH.id, ENGLISH.tutor.id, ENGLISH.student.id, ENGLISH.package_id, slot.start_utc, slot.end_utc),
            )
            run = threads.submit(month_run, url, plans)
            while not house.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"):
                assert not run.done()
            doomed.crash_database()
            with pytest.raises(psycopg.OperationalError):
                run.result()
            rival.close()
        house.connection.close()

        house = Database.open(url)
        assert [counts(house, inputs) for inputs, _ in plans] == [(0, 0, 0)] * 3
        results = month_run(url, plans)
        assert [each["created"] for each in results] == [N] * 3
        assert [counts(house, inputs) for inputs, _ in plans] == [(N, 1, 1)] * 3
        house.connection.close()


def month_run(url: str, plans: list[tuple[ScheduleInputs, Plan]]) -> list[dict[str, Any]]:
    """All of them in one call."""
    documents = [
        {
            "match_id": str(inputs.match_id),
            "package_id": str(inputs.package_id),
            "fingerprint": inputs.fingerprint,
            "occurrences": [
                {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
                for each in plan.occurrences
            ],
        }
        for inputs, plan in plans
    ]
    client = Database.open(url)
    with client.connection:
        return client.call(NADIA, "generate_month", p_plans=Jsonb(documents))["results"]
