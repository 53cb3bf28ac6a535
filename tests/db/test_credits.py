"""Chapter 7: a session's net is 0 or 1 whatever is forgotten, and the cache says what the ledger says."""

from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import (
    HOUR,
    START,
    audit,
    booked,
    column,
    events,
    generate,
    ledger,
    lesson,
    package,
    update,
    used,
)
from tests.house import BILAL, ENGLISH, LENA, MATHEMATICS, NADIA, OLIVER, PHYSICS

CHARGEABLE = ["done", "no_show_student"]
FREE = ["scheduled", "in_progress", "no_show_tutor", "rescheduled", "cancelled"]


@pytest.fixture(autouse=True)
def books_balance(db: Database) -> object:
    """After every test here the ledger and the cache must agree, and each session's net be 0 or 1."""
    yield
    assert db.rows("select * from private.credit_differences") == []
    assert db.rows("select session_id from public.credit_ledger group by 1 having sum(amount) not in (0, 1)") == []


def enter(db: Database, session_id: UUID, number: int, package_id: UUID) -> None:
    """A raw entry, as the trigger writes it."""
    db.run(
        "insert into public.credit_ledger (session_id, entry_no, package_id, actor_role) values (%s, %s, %s, 'admin')",
        session_id,
        number,
        package_id,
    )


def edit(db: Database, session_id: UUID, status: str) -> None:
    """A status edited in Studio."""
    db.run("update public.sessions set status = %s where id = %s", status, session_id)


# --- the chain ----------------------------------------------------------------------------------------


def test_odd_entries_take_a_credit_and_even_ones_give_it_back(db: Database) -> None:
    session_id = lesson(db)
    for number in (1, 2, 3):
        enter(db, session_id, number, MATHEMATICS.package_id)
    assert [(number, amount) for number, amount, _ in ledger(db, session_id)] == [(1, 1), (2, -1), (3, 1)]
    assert used(db, MATHEMATICS.package_id) == 1


def test_an_entry_is_written_once(db: Database) -> None:
    session_id = lesson(db)
    enter(db, session_id, 1, MATHEMATICS.package_id)
    with pytest.raises(psycopg.errors.UniqueViolation):
        enter(db, session_id, 1, MATHEMATICS.package_id)
    assert used(db, MATHEMATICS.package_id) == 1


@pytest.mark.parametrize("number", [2, 3, 8])
def test_an_entry_without_the_one_before_it_is_refused(db: Database, number: int) -> None:
    session_id = lesson(db)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        enter(db, session_id, number, MATHEMATICS.package_id)


@pytest.mark.parametrize("number", [0, -1])
def test_entries_count_from_one(db: Database, number: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="credit_ledger_starts_at_one"):
        enter(db, lesson(db), number, MATHEMATICS.package_id)


def test_a_credit_goes_back_to_the_package_it_came_from(db: Database) -> None:
    session_id = lesson(db)
    other = package(db, MATHEMATICS, used=3)
    enter(db, session_id, 1, MATHEMATICS.package_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        enter(db, session_id, 2, other)
    assert (used(db, MATHEMATICS.package_id), used(db, other)) == (1, 3)


@pytest.mark.parametrize(
    "statement",
    [
        "update public.credit_ledger set reason = 'x'",
        "update public.credit_ledger set reason = 'x' where false",
        "delete from public.credit_ledger",
        "truncate public.credit_ledger",
    ],
)
def test_the_ledger_is_append_only(db: Database, statement: LiteralString) -> None:
    lesson(db, status="done")
    with pytest.raises(Refused) as refused:
        db.run(statement)
    assert (refused.value.status, refused.value.code) == (409, "use_function")
    assert "tutor_update_session" in refused.value.detail


def test_no_role_of_the_api_writes_the_ledger(db: Database) -> None:
    lesson(db, status="done")
    for who in (NADIA, "service_role", "anon"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.rows("insert into public.credit_ledger (entry_no) values (1) returning 1", who=who)


# --- what a change of status does ---------------------------------------------------------------------


@pytest.mark.parametrize("status", CHARGEABLE)
def test_what_took_place_or_was_missed_by_the_student_costs_one_credit(db: Database, status: str) -> None:
    session_id = lesson(db)
    edit(db, session_id, status)
    assert (used(db, MATHEMATICS.package_id), len(ledger(db, session_id))) == (1, 1)


@pytest.mark.parametrize("status", FREE)
def test_everything_else_costs_none(db: Database, status: str) -> None:
    session_id = lesson(db, status="in_progress" if status == "scheduled" else "scheduled")
    edit(db, session_id, status)
    assert (used(db, MATHEMATICS.package_id), ledger(db, session_id)) == (0, [])


@pytest.mark.parametrize("status", FREE)
def test_a_correction_gives_back(db: Database, status: str) -> None:
    session_id = lesson(db, status="done")
    assert used(db, MATHEMATICS.package_id) == 1
    edit(db, session_id, status)
    assert used(db, MATHEMATICS.package_id) == 0
    assert [amount for _, amount, _ in ledger(db, session_id)] == [1, -1]


def test_from_one_chargeable_status_to_the_other_nothing_moves(db: Database) -> None:
    session_id = lesson(db, status="done")
    edit(db, session_id, "no_show_student")
    assert (used(db, MATHEMATICS.package_id), len(ledger(db, session_id))) == (1, 1)


@pytest.mark.parametrize("status", [*CHARGEABLE, *FREE])
def test_a_session_entered_by_hand_costs_what_its_status_costs(db: Database, status: str) -> None:
    lesson(db, status=status)
    assert used(db, MATHEMATICS.package_id) == int(status in CHARGEABLE)


def test_an_edit_of_many_sessions_charges_each_package_for_its_own(db: Database) -> None:
    lesson(db, status="done")
    for match, count in ((MATHEMATICS, 2), (PHYSICS, 3), (ENGLISH, 1)):
        for number in range(count):
            lesson(db, match, START + (number + 1) * 24 * HOUR)
    db.run(
        """update public.sessions
              set status = (case when status = 'done' then 'cancelled' else 'done' end)::public.session_status_enum"""
    )
    assert [used(db, match.package_id) for match in (MATHEMATICS, PHYSICS, ENGLISH)] == [2, 3, 1]


def test_one_edit_may_give_back_and_take_the_last_credit(db: Database) -> None:
    full = package(db, MATHEMATICS, tier=8, used=7)
    one = lesson(db, package_id=full, status="done")
    other = lesson(db, start=START + 2 * HOUR, package_id=full)
    db.run(
        """update public.sessions
              set status = (case id when %s then 'cancelled' else 'done' end)::public.session_status_enum
            where package_id = %s""",
        one,
        full,
    )
    assert used(db, full) == 8
    assert [column(db, each, "status") for each in (one, other)] == ["cancelled", "done"]


def test_the_ledger_says_who_and_why(db: Database) -> None:
    session_id = lesson(db)
    update(db, NADIA, session_id, "done", reason="The tutor rang.")
    edit(db, session_id, "cancelled")
    rows = db.rows(
        "select actor_user_id, actor_role::text, reason, created_at = private.now()"
        " from public.credit_ledger order by entry_no"
    )
    assert rows == [(NADIA.id, "admin", "The tutor rang.", True), (None, "studio", None, True)]


def test_a_bookings_session_has_no_entry(db: Database) -> None:
    session_id = booked(db, BILAL, LENA)
    edit(db, session_id, "done")
    booked(db, BILAL, OLIVER, START + 2 * HOUR, status="done")
    assert db.value("select count(*) from public.credit_ledger") == 0


def test_a_package_that_is_full_refuses_and_names_the_ways_out(db: Database) -> None:
    full = package(db, MATHEMATICS, tier=8, used=8)
    session_id = lesson(db, package_id=full)
    with pytest.raises(Refused) as refused:
        edit(db, session_id, "done")
    assert (refused.value.status, refused.value.code) == (402, "package_exhausted")
    assert refused.value.extra == {"package_id": str(full)}
    for way_out in ("update_package", "create_package", "move_session_to_package"):
        assert way_out in refused.value.detail
    assert (column(db, session_id, "status"), events(db, session_id)) == ("scheduled", [])
    with pytest.raises(Refused, match="402 package_exhausted"):
        lesson(db, start=START + 2 * HOUR, package_id=full, status="done")
    db.call(NADIA, "update_package", p_package_id=full, p_tier_sessions=12)
    edit(db, session_id, "done")
    assert used(db, full) == 9


def test_of_an_edit_that_needs_too_many_credits_nothing_is_kept(db: Database) -> None:
    nearly = package(db, MATHEMATICS, tier=8, used=7)
    for number in range(2):
        lesson(db, start=START + number * 24 * HOUR, package_id=nearly)
    with pytest.raises(Refused, match="402 package_exhausted"):
        db.run("update public.sessions set status = 'done' where package_id = %s", nearly)
    assert (used(db, nearly), db.value("select count(*) from public.credit_ledger")) == (7, 0)


def test_each_session_is_charged_to_its_own_of_several_active_packages(db: Database) -> None:
    second, third = package(db, MATHEMATICS, tier=12), package(db, MATHEMATICS, tier=20)
    lesson(db)
    edit(db, lesson(db, start=START + 24 * HOUR, package_id=third), "done")
    edit(db, lesson(db, start=START + 48 * HOUR, package_id=second), "no_show_student")
    assert [used(db, each) for each in (MATHEMATICS.package_id, second, third)] == [0, 1, 1]


# --- the cache ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["1", "sessions_used + 1", "sessions_used - 1", "tier_sessions", "0"])
def test_sessions_used_is_not_written_by_hand(db: Database, change: LiteralString) -> None:
    for number in range(2):
        lesson(db, start=START + number * 24 * HOUR, status="done")
    with pytest.raises(Refused) as refused:
        db.run(f"update public.packages set sessions_used = {change} where id = %s", MATHEMATICS.package_id)
    assert (refused.value.status, refused.value.code) == (409, "use_function")
    assert "tutor_update_session" in refused.value.detail
    assert used(db, MATHEMATICS.package_id) == 2


def test_a_new_package_starts_with_what_was_used_elsewhere_whatever_is_written(db: Database) -> None:
    package_id = db.value(
        """insert into public.packages (request_id, student_user_id, tier_sessions, opening_used, sessions_used,
                                        start_date, end_date)
           values (%s, %s, 8, 3, 7, '2026-03-01', '2026-04-04') returning id""",
        MATHEMATICS.request_id,
        LENA.id,
    )
    assert used(db, package_id) == 3


def test_a_difference_between_cache_and_ledger_shows(db: Database) -> None:
    """The view is the watchman: it must be able to see something."""
    with db.connection.transaction(force_rollback=True):
        db.run("alter table public.packages disable trigger packages_keep_cache")
        db.run("update public.packages set sessions_used = 5 where id = %s", MATHEMATICS.package_id)
        assert db.rows("select * from private.credit_differences") == [(MATHEMATICS.package_id, 5, 0)]


# --- another package ----------------------------------------------------------------------------------


def move_to(
    db: Database, session_id: object, package_id: UUID, reason: str | None = "Paid twice."
) -> dict[str, object]:
    return db.call(NADIA, "move_session_to_package", p_session_id=session_id, p_package_id=package_id, p_reason=reason)


def test_moved_to_another_package_a_sessions_credit_goes_with_it(db: Database) -> None:
    other = package(db, MATHEMATICS, tier=12, used=2)
    session_id = lesson(db, status="done")
    assert move_to(db, session_id, other)["changed"]
    assert (used(db, MATHEMATICS.package_id), used(db, other)) == (0, 3)
    assert ledger(db, session_id) == [(1, 1, MATHEMATICS.package_id), (2, -1, MATHEMATICS.package_id), (3, 1, other)]
    assert audit(db, session_id) == [("session_moved_to_package", "admin", NADIA.id)]
    edit(db, session_id, "cancelled")
    assert used(db, other) == 2


def test_a_session_that_cost_nothing_moves_without_an_entry(db: Database) -> None:
    other = package(db, MATHEMATICS)
    session_id = lesson(db)
    move_to(db, session_id, other)
    assert (ledger(db, session_id), column(db, session_id, "package_id")) == ([], other)
    assert not move_to(db, session_id, other)["changed"]


def test_a_full_package_takes_no_session_over(db: Database) -> None:
    session_id = lesson(db, status="done")
    full = package(db, MATHEMATICS, tier=8, used=8)
    with pytest.raises(Refused, match="402 package_exhausted"):
        move_to(db, session_id, full)
    assert ledger(db, session_id) == [(1, 1, MATHEMATICS.package_id)]


def test_a_session_moves_only_within_its_request_and_for_a_reason(db: Database) -> None:
    session_id = lesson(db)
    other = package(db, MATHEMATICS)
    with pytest.raises(Refused, match="422 invalid"):
        move_to(db, session_id, PHYSICS.package_id)
    with pytest.raises(Refused, match="422 reason_required"):
        move_to(db, session_id, other, reason=" ")
    with pytest.raises(Refused, match="404 not_found"):
        move_to(db, uuid4(), other)
    with pytest.raises(Refused, match="409 illegal_transition"):
        move_to(db, booked(db, BILAL, OLIVER, START + 2 * HOUR), other)
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(BILAL, "move_session_to_package", p_session_id=session_id, p_package_id=other, p_reason="Mine.")
    db.call(NADIA, "update_package", p_package_id=other, p_status="cancelled")
    with pytest.raises(Refused, match="422 no_active_package"):
        move_to(db, session_id, other)


# --- a whole package ----------------------------------------------------------------------------------


def test_a_month_of_lessons_uses_exactly_the_package(db: Database) -> None:
    sessions = [each["id"] for each in generate(db, MATHEMATICS)["sessions"]]
    db.set_clock("2026-04-05T00:00:00Z")
    for number, session_id in enumerate(sessions, start=1):
        answer = update(db, BILAL, session_id, "done" if number % 3 else "no_show_student")
        assert answer["session"]["package"]["sessions_used"] == number
    assert answer["session"]["package"]["sessions_left"] == 0  # pyright: ignore[reportPossiblyUnboundVariable]
    extra = lesson(db, start=START, occurrence_start_utc=None)
    with pytest.raises(Refused, match="402 package_exhausted"):
        update(db, BILAL, extra, "done")
