"""One whole stack for the live tests, and in front of it the two variants of Supabase that every case meets."""

from collections.abc import Iterator

import pytest

from scripts.stack import Stack
from tests.database import Database
from tests.house import NOW
from tests.laws.lived_in import live_in
from tests.live.served import ServedHouse, Snapshot

VARIANTS = ("lite", "postgrest")


@pytest.fixture(scope="session")
def served() -> Iterator[Stack]:
    """A stack of its own, on the pinned clock, with lite and its functions up."""
    with Stack.unused("test", clock=NOW) as stack:
        stack.start_database(fresh=True)
        stack.start_services()
        yield stack


@pytest.fixture(scope="session")
def owner(served: Stack) -> Iterator[Database]:
    """The served database as its owner."""
    database = Database.open(served.env()["DATABASE_URL"])
    with database.connection:
        yield database


@pytest.fixture(scope="session")
def seeded(owner: Database) -> Snapshot:
    """The house as the seed left it."""
    return Snapshot(owner)


@pytest.fixture(scope="session", params=VARIANTS)
def any_house(request: pytest.FixtureRequest, served: Stack, owner: Database) -> Iterator[ServedHouse]:
    """The house behind lite and then behind a real PostgREST, with whatever earlier tests left in it."""
    env = served.env() if request.param == "lite" else served.start_postgrest()
    with ServedHouse(request.param, env, owner) as house:
        yield house


@pytest.fixture
def house(any_house: ServedHouse, seeded: Snapshot) -> ServedHouse:
    """The house behind each variant, as the seed left it: rows and clock."""
    seeded.restore()
    return any_house


@pytest.fixture(scope="session")
def lived_in(seeded: Snapshot, owner: Database) -> Snapshot:
    """The house of the access laws: a month is under way, and every table has rows of several people."""
    seeded.restore()
    live_in(owner)
    return Snapshot(owner)


@pytest.fixture
def busy_house(any_house: ServedHouse, lived_in: Snapshot) -> ServedHouse:
    """The house behind each variant, in the middle of that month."""
    lived_in.restore()
    return any_house
