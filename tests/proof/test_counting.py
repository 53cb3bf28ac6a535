"""A credit is counted once, whoever asks how often and in whatever order."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from tests.database import Database, Refused
from tests.house import ENGLISH, HARRIET, IELTS, NADIA, Match, Person
from tests.plans import generate, sell
from tests.proof.clients import Clients, split

# All sessions of the house have begun and ended by now, and nothing is in the future.
LATER = "2026-06-01T09:00:00+00:00"
FIRST_START = datetime.fromisoformat("2026-05-04T09:00:00+00:00")
Call: TypeAlias = tuple[Person, dict[str, Any]]
STATUSES = (
    "in_progress",
    "done",
    "no_show_student",
    "no_show_tutor",
    "rescheduled",
    "cancelled",
    "scheduled",
)


def sessions_of(db: Database, package_id: UUID) -> list[UUID]:
    return [
        session_id
        for (session_id,) in db.rows(
            "select id from public.sessions where package_id = %s order by scheduled_start_utc", package_id
        )
    ]


def enter_by_hand(db: Database, match: Match, package_id: UUID, count: int, first: datetime) -> list[UUID]:
    """Sessions typed into Studio, an hour apart: more of them than the package has credits, if need be."""
    for number in range(count):
        start = first + timedelta(hours=number)
        db.run(
            "insert into public.sessions (match_id, tutor_user_id, student_user_id, package_id,"
            " sequence_number, scheduled_start_utc, scheduled_end_utc)"
            " values (%s, %s, %s, %s, %s, %s, %s + interval '1 hour')",
            match.id, match.tutor.id, match.student.id, package_id, number + 1, start, start,
        )  # fmt: skip
    return sessions_of(db, package_id)


def used(db: Database, package_id: UUID) -> int:
    return db.value("select sessions_used from public.packages where id = %s", package_id)


def net(db: Database, session_id: UUID) -> int:
    return db.value("select coalesce(sum(amount), 0) from public.credit_ledger where session_id = %s", session_id)


def traces(db: Database, session_id: UUID) -> tuple[int, int]:
    """How many audit rows and how many events there are about a session."""
    return (
        db.value("select count(*) from public.audit_logs where entity_id = %s", session_id),
        db.value("select count(*) from private.outbox_events where aggregate_id = %s", session_id),
    )


def assert_books_balance(db: Database) -> None:
    """Cache, ledger and statuses say the same."""
    assert db.rows("select * from private.credit_differences") == []
    differing = db.rows(
        """
        select id, sessions_used from public.packages p
         where sessions_used <> opening_used
               + (select coalesce(sum(amount), 0) from public.credit_ledger where package_id = p.id)
        """
    )
    assert differing == []
    wrong = db.rows(
        """
        select s.id, s.status, coalesce(sum(l.amount), 0)
          from public.sessions s left join public.credit_ledger l on l.session_id = s.id
         group by s.id
        having coalesce(sum(l.amount), 0)
               <> (s.package_id is not null and s.status in ('done', 'no_show_student'))::integer
        """
    )
    assert wrong == []


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    """A house with the sessions of one English package, on a clock by which all of them have ended."""
    house = Database.open(database_url)
    generate(house, ENGLISH.id, ENGLISH.package_id)
    house.set_clock(LATER)
    with house.connection:
        yield house


@pytest.mark.parametrize("rounds", [50, pytest.param(500, marks=pytest.mark.long)])
def test_thirty_two_clients_who_set_the_same_status_charge_once(
    database_url: str, house: Database, rounds: int
) -> None:
    session_id = sessions_of(house, ENGLISH.package_id)[0]

    def complete(client: Database, number: int) -> dict[str, Any]:
        return client.call(
            (HARRIET, NADIA)[number % 2], "tutor_update_session", p_session_id=session_id, p_status="done"
        )

    with Clients.of(database_url, 32) as clients:
        for _ in range(rounds):
            audits, events = traces(house, session_id)
            answers, refused = split(clients.at_once(complete))
            assert refused == []
            assert Counter(each["changed"] for each in answers) == {True: 1, False: 31}
            assert {each["session"]["status"] for each in answers} == {"done"}
            assert (net(house, session_id), used(house, ENGLISH.package_id)) == (1, 1)
            assert traces(house, session_id) == (audits + 1, events + 1)
            house.call(
                NADIA,
                "tutor_update_session",
                p_session_id=session_id,
                p_status="in_progress",
                p_reason="not over yet",
            )
            assert (net(house, session_id), used(house, ENGLISH.package_id)) == (0, 0)
    assert_books_balance(house)


@pytest.mark.parametrize("rounds", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_statuses_set_at_random_by_tutor_and_admin_leave_the_books_balanced(
    database_url: str, house: Database, chance: Random, rounds: int
) -> None:
    # One of the packages has a single credit left for its two sessions, so that it runs out again and again.
    scarce = sell(house, IELTS.request_id, FIRST_START.date(), FIRST_START.date(), p_opening_used=7)
    sessions = [
        sessions_of(house, ENGLISH.package_id)[0],
        *enter_by_hand(house, IELTS, scarce, 2, FIRST_START),
    ]
    met: Counter[str] = Counter()

    with Clients.of(database_url, 24) as clients:
        for _ in range(rounds):
            calls: list[Call] = [
                (
                    chance.choice((HARRIET, NADIA)),
                    {
                        "p_session_id": chance.choice(sessions),
                        "p_status": chance.choice(STATUSES),
                        "p_reason": "as it was",
                        "p_notes": chance.choice((None, "", "fractions")),
                        "p_expected_version": chance.choice((None, None, chance.randrange(1, 400))),
                    },
                )
                for _ in range(len(clients))
            ]

            def set_status(client: Database, number: int, calls: list[Call] = calls) -> dict[str, Any]:
                who, parameters = calls[number]
                return client.call(who, "tutor_update_session", **parameters)

            answers, refused = split(clients.at_once(set_status))
            met.update(each.code for each in refused)
            met.update("changed" if each["changed"] else "unchanged" for each in answers)
            assert_books_balance(house)

    assert set(met) <= {
        "changed", "unchanged", "package_exhausted", "illegal_transition", "not_allowed", "out_of_order",
        "stale_version", "too_late",
    }  # fmt: skip
    assert met["changed"] > rounds
    assert met["package_exhausted"] > 0
    assert used(house, scarce) in (7, 8)


@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_the_last_credit_is_given_once(database_url: str, house: Database, chance: Random, rounds: int) -> None:
    house.run("update public.settings set sequence_lock = false")
    package_id = sell(house, ENGLISH.request_id, FIRST_START.date(), FIRST_START.date(), p_opening_used=7)
    sessions = enter_by_hand(house, ENGLISH, package_id, 8, FIRST_START)
    winners: Counter[UUID] = Counter()

    with Clients.of(database_url, 16) as clients:
        for _ in range(rounds):
            order = chance.sample(sessions * 2, len(clients))
            status = chance.choice(("done", "no_show_student"))

            def resolve(
                client: Database, number: int, order: list[UUID] = order, status: str = status
            ) -> dict[str, Any]:
                return client.call(
                    (HARRIET, NADIA)[number % 2],
                    "tutor_update_session",
                    p_session_id=order[number],
                    p_status=status,
                )

            answers, refused = split(clients.at_once(resolve))
            charged = [UUID(each["session"]["id"]) for each in answers if each["changed"]]
            assert len(charged) == 1
            # Its twin may find it so already; whoever asked for another session was turned away.
            assert {UUID(each["session"]["id"]) for each in answers} == set(charged)
            assert {(each.status, each.code) for each in refused} == {(402, "package_exhausted")}
            assert len(refused) >= 14
            assert used(house, package_id) == 8
            assert [net(house, each) for each in sessions] == [int(each == charged[0]) for each in sessions]
            assert_books_balance(house)
            winners.update(charged)
            house.call(
                NADIA,
                "tutor_update_session",
                p_session_id=charged[0],
                p_status="in_progress",
                p_reason="again",
            )
    assert len(winners) > 1


def test_the_ledger_itself_takes_one_of_many_equal_entries(database_url: str, house: Database) -> None:
    session_id = sessions_of(house, ENGLISH.package_id)[0]

    def append(client: Database, _number: int) -> str:
        try:
            enter(client, session_id, 1, ENGLISH.package_id)
        except psycopg.Error as error:
            return error.sqlstate or ""
        return "entered"

    with Clients.of(database_url, 32) as clients:
        outcomes, refused = split(clients.at_once(append))
    assert refused == []
    assert Counter(outcomes) == {"entered": 1, "23505": 31}
    assert (net(house, session_id), used(house, ENGLISH.package_id)) == (1, 1)
    assert house.rows("select * from private.credit_differences") == []


def enter(db: Database, session_id: UUID, entry_no: int, package_id: UUID) -> int:
    return db.run(
        "insert into public.credit_ledger (session_id, entry_no, package_id, actor_role)"
        " values (%s, %s, %s, 'studio')",
        session_id, entry_no, package_id,
    )  # fmt: skip


def test_the_ledger_itself_takes_no_gap_no_other_package_and_no_entry_before_the_first(db: Database) -> None:
    generate(db, ENGLISH.id, ENGLISH.package_id)
    session_id = sessions_of(db, ENGLISH.package_id)[0]
    other = sell(db, ENGLISH.request_id, FIRST_START.date(), FIRST_START.date(), p_opening_used=3)
    with pytest.raises(errors.ForeignKeyViolation):
        enter(db, session_id, 2, ENGLISH.package_id)
    with pytest.raises(errors.CheckViolation):
        enter(db, session_id, 0, ENGLISH.package_id)
    enter(db, session_id, 1, ENGLISH.package_id)
    with pytest.raises(errors.ForeignKeyViolation):
        enter(db, session_id, 2, other)
    with pytest.raises(errors.ForeignKeyViolation):
        enter(db, session_id, 3, ENGLISH.package_id)
    enter(db, session_id, 2, ENGLISH.package_id)
    assert (net(db, session_id), used(db, ENGLISH.package_id), used(db, other)) == (0, 0, 3)


@pytest.mark.parametrize(
    "statement",
    [
        "update public.credit_ledger set reason = 'better'",
        "update public.credit_ledger set entry_no = entry_no + 2",
        "delete from public.credit_ledger",
        "truncate public.credit_ledger cascade",
        """
        insert into public.credit_ledger (session_id, entry_no, package_id, actor_role)
        select session_id, entry_no, package_id, actor_role from public.credit_ledger
            on conflict (session_id, entry_no) do update set reason = 'better'
        """,
    ],
)
def test_the_ledger_itself_is_never_changed_not_even_by_its_owner(db: Database, statement: str) -> None:
    generate(db, ENGLISH.id, ENGLISH.package_id)
    session_id = sessions_of(db, ENGLISH.package_id)[0]
    enter(db, session_id, 1, ENGLISH.package_id)
    before = db.rows("select * from public.credit_ledger")
    with pytest.raises(Refused, match="append-only"):
        db.run(statement)
    assert db.rows("select * from public.credit_ledger") == before
