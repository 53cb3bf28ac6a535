"""The seed: a small house whose ids never change, and which settles nowhere but on an empty local database."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import house
from tests.database import Database
from tests.db.lessons import generate
from tests.house import (
    BILAL,
    ENGLISH,
    EVERYBODY,
    HARRIET,
    IELTS,
    LENA,
    MARCUS,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    OLIVER,
    OPEN_REQUEST_ID,
    PHYSICS,
    ZARA,
)

SEED = (Path(__file__).parents[2] / "supabase" / "seed.sql").read_text(encoding="utf-8")
MATCHES = (MATHEMATICS, ENGLISH, PHYSICS, IELTS)
LOCAL = "set lessonkeeper.local = 'on'"
SUPABASE_START = "set app.settings.jwt_secret = 'super-secret-jwt-token-with-at-least-32-characters-long'"


def sow(db: Database) -> None:
    """The seed as one script, in one transaction."""
    with db.connection.transaction():
        db.connection.execute(SEED.encode())


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    """A migrated database without anybody in it, and without a mark that it is local."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        db = Database(connection)
        tables = db.value(
            """select string_agg(schemaname || '.' || quote_ident(tablename), ', ') from pg_tables
                where schemaname in ('public', 'private')
                  and tablename not in ('settings', 'timezones', 'session_transitions', 'clock')"""
        )
        db.run("set session_replication_role = replica")  # triggers refuse to empty what is append-only
        db.run(f"truncate {tables}, auth.users, auth.identities cascade")
        db.run("set session_replication_role = origin")
        yield db


def test_the_seed_settles_on_an_empty_database_that_is_marked_as_local(empty: Database) -> None:
    empty.run(LOCAL)
    sow(empty)
    assert empty.value("select count(*) from auth.users") == len(EVERYBODY)
    assert empty.value("select count(*) from public.matches") == len(MATCHES)


def test_the_seed_settles_where_supabase_itself_runs_locally(empty: Database) -> None:
    empty.run(SUPABASE_START)
    sow(empty)
    assert empty.value("select count(*) from auth.users") == len(EVERYBODY)


@pytest.mark.parametrize(
    "mark",
    [
        "select 1",
        "set lessonkeeper.local = 'off'",
        "set lessonkeeper.local = ''",
        "set app.settings.jwt_secret = 'a-secret-of-a-real-project-with-at-least-32-characters'",
    ],
)
def test_the_seed_refuses_a_database_that_is_not_marked_as_local(empty: Database, mark: str) -> None:
    empty.run(mark)  # pyright: ignore[reportArgumentType]
    with pytest.raises(psycopg.errors.RaiseException, match="not a local database"):
        sow(empty)
    assert empty.value("select count(*) from auth.users") == 0
    assert empty.value("select count(*) from public.profiles") == 0


def test_the_seed_refuses_a_database_with_users(empty: Database) -> None:
    empty.run(LOCAL)
    sow(empty)
    with pytest.raises(psycopg.errors.RaiseException, match="has users already"):
        sow(empty)
    assert empty.value("select count(*) from auth.users") == len(EVERYBODY)


def test_the_packages_run_from_the_month_after_the_clocks(empty: Database) -> None:
    empty.run(LOCAL)
    empty.set_clock("2027-12-31T23:59:59Z")
    sow(empty)
    windows = empty.rows("select distinct start_date::text, end_date::text from public.packages")
    assert windows == [("2028-01-01", "2028-02-04")]
    assert empty.value("select on_date::text from public.holidays") == "2028-01-17"


# --- who lives there ----------------------------------------------------------------------------------


@pytest.mark.parametrize("person", EVERYBODY, ids=lambda person: person.email.partition("@")[0])
def test_everybody_can_be_read_and_signs_in_as_themselves(db: Database, person: house.Person) -> None:
    me = db.call(person, "get_me")
    assert (me["id"], me["email"]) == (str(person.id), person.email)
    assert (me["is_active"], me["has_account"]) == (True, True)


def test_everybody_has_the_role_of_the_story(db: Database) -> None:
    roles = {person: db.call(person, "get_me")["roles"] for person in EVERYBODY}
    assert roles == {
        NADIA: ["admin"],
        BILAL: ["tutor"],
        HARRIET: ["tutor"],
        MARCUS: ["tutor"],
        LENA: ["student"],
        OLIVER: ["student"],
        ZARA: ["student"],
        NEWCOMER: [],
    }


def test_there_are_three_zones_to_live_in(db: Database) -> None:
    zones = {person: db.call(person, "get_me")["timezone"] for person in (BILAL, HARRIET, MARCUS)}
    assert zones == {BILAL: "Asia/Karachi", HARRIET: "Europe/London", MARCUS: "America/New_York"}


def test_every_sign_in_is_whole(db: Database) -> None:
    """Supabase Auth stumbles over a token column that is null, and over a user without an identity."""
    columns = [
        "confirmation_token",
        "recovery_token",
        "email_change",
        "email_change_token_new",
        "email_change_token_current",
        "phone_change",
        "phone_change_token",
        "reauthentication_token",
    ]
    tokens = db.rows(f"select {', '.join(columns)} from auth.users")
    assert set(tokens) == {("",) * len(columns)}
    whole = db.rows(
        """select u.id from auth.users u join auth.identities i on i.user_id = u.id
            where i.provider = 'email' and i.provider_id = u.id::text and i.identity_data ->> 'sub' = u.id::text
              and i.identity_data ->> 'email' = u.email and u.email_confirmed_at is not null
              and u.aud = 'authenticated' and u.role = 'authenticated' and u.encrypted_password like '$2b$10$%%'"""
    )
    assert {user_id for (user_id,) in whole} == {person.id for person in EVERYBODY}


def test_requests_matches_and_packages_have_the_ids_of_the_house(db: Database) -> None:
    rows = db.rows(
        """select m.id, m.request_id, p.id, m.tutor_user_id, m.student_user_id, p.tier_sessions,
                  m.status::text, r.status::text
             from public.matches m join public.requests r on r.id = m.request_id
             join public.packages p on p.request_id = m.request_id order by m.id"""
    )
    assert rows == [
        (each.id, each.request_id, each.package_id, each.tutor.id, each.student.id, each.tier, "proposed", "matched")
        for each in MATCHES
    ]
    assert db.rows("select id from public.requests where status = 'open'") == [(OPEN_REQUEST_ID,)]


def test_there_is_a_package_of_every_tier(db: Database) -> None:
    tiers = db.rows("select distinct tier_sessions from public.packages order by 1")
    assert tiers == [(8,), (12,), (20,)]
    windows = db.rows("select distinct start_date::text, end_date::text from public.packages")
    assert windows == [("2026-03-01", "2026-04-04")]


def test_every_student_has_one_primary_guardian(db: Database) -> None:
    rows = db.rows("select student_user_id from public.guardians where is_primary")
    assert sorted(rows) == sorted((person.id,) for person in (LENA, OLIVER, ZARA))


def test_the_whole_month_can_be_generated(db: Database) -> None:
    """Also by the last package, whose tutor and student have other lessons by then."""
    created = [generate(db, match)["created"] for match in MATCHES]
    assert created == [8, 8, 12, 20]


def test_the_seed_leaves_books_that_balance(db: Database) -> None:
    assert db.rows("select * from private.credit_differences") == []
    assert db.value("select count(*) from public.sessions") == 0
