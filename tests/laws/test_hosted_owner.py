"""The migrations on a hosted project: their owner is no superuser, and older projects grant everything by default."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from tests.database import Database, clone
from tests.house import NOW
from tests.laws import test_catalog as catalog
from tests.laws.access import everything_wrong
from tests.laws.lived_in import live_in
from tests.laws.test_catalog import MIGRATIONS

OWNER = "hosted_owner"
CLOCK = MIGRATIONS[0].parents[2] / "scripts" / "movable_clock.sql"
SEED = MIGRATIONS[0].parents[1] / "seed.sql"

# What a hosted project is before the first migration, as seen by the role that runs migrations there.
EMPTY_PROJECT = f"""
    drop schema public, private, extensions cascade;
    truncate auth.users cascade;
    create schema public authorization pg_database_owner;
    grant usage on schema public to public;
    create schema extensions authorization {OWNER};
    -- A hosted project lets its owner make this one too; plain Postgres only a superuser.
    create extension vector with schema extensions;
    grant execute on all functions in schema extensions to public;
    grant usage on schema auth to {OWNER};
    grant all on auth.users, auth.identities to {OWNER};
    alter default privileges for role {OWNER} in schema public
      grant all on tables to anon, authenticated, service_role;
    alter default privileges for role {OWNER} in schema public
      grant all on sequences to anon, authenticated, service_role;
    alter default privileges for role {OWNER} in schema public
      grant all on functions to anon, authenticated, service_role;
"""

DEFAULT_DENY = [
    catalog.test_row_security_is_on_everywhere,
    catalog.test_anon_may_use_the_schema_public_and_nothing_else,
    catalog.test_nothing_is_granted_to_everyone,
    catalog.test_api_roles_only_read_tables,
    catalog.test_api_roles_reach_nothing_private_by_name,
    catalog.test_every_function_of_the_api_is_granted_to_signed_in_people_alone_or_to_the_service_key_alone,
    catalog.test_private_functions_are_granted_only_where_a_wrapper_or_a_policy_needs_them,
    catalog.test_nothing_belongs_to_an_api_role,
    catalog.test_what_is_made_later_is_granted_to_nobody,
]


@pytest.fixture(scope="session")
def hosted_url(server: str) -> str:
    """A database that its bare owner migrated and seeded, and that people have lived in."""
    with psycopg.connect(server, autocommit=True) as superuser:
        superuser.execute(sql.SQL("create role {} createrole createdb bypassrls").format(sql.Identifier(OWNER)))
    url = clone(server, "hosted", "pristine")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"alter database hosted owner to {OWNER}")
        connection.execute(EMPTY_PROJECT)
        connection.execute(f"set session authorization {OWNER}")
        for chapter in [*MIGRATIONS, CLOCK]:
            connection.execute(chapter.read_bytes())
        connection.execute("select private.set_clock(%s)", (NOW,))
        connection.execute("set lessonkeeper.local = 'on'")
        connection.execute(SEED.read_bytes())
    house = Database.open(url)
    with house.connection:
        live_in(house)
    return url


@pytest.fixture
def hosted(hosted_url: str) -> Iterator[Database]:
    with psycopg.connect(hosted_url) as connection:
        connection.execute("select 1")  # opens the transaction, so that every call becomes a savepoint in it
        yield Database(connection)
        connection.rollback()


def test_its_owner_is_bare(hosted: Database) -> None:
    assert hosted.rows("select rolsuper from pg_roles where rolname = %s", OWNER) == [(False,)]
    assert hosted.value("select proowner::regrole::text from pg_proc where proname = 'require_admin'") == OWNER


@pytest.mark.parametrize("law", DEFAULT_DENY, ids=lambda law: law.__name__.removeprefix("test_"))
def test_default_deny_holds_there_too(hosted: Database, law: Callable[[Database], None]) -> None:
    hosted.run(f"set local session authorization {OWNER}")
    law(hosted)


def test_everybody_sees_and_does_the_same_there(hosted: Database) -> None:
    assert everything_wrong(hosted) == []
