"""Rules are tested where they live: on a real Postgres, each test in a transaction that is rolled back."""

from collections.abc import Iterator
from itertools import count

import psycopg
import pytest

from tests.database import Database, clone, drop

_numbers = count(1)


@pytest.fixture(scope="session")
def rules_url(server: str) -> str:
    return clone(server, "rules", "pristine")


@pytest.fixture
def db(rules_url: str) -> Iterator[Database]:
    """The seeded house; whatever a test does there is rolled back."""
    with psycopg.connect(rules_url) as connection:
        connection.execute("select 1")  # opens the transaction, so that every call becomes a savepoint in it
        yield Database(connection)
        connection.rollback()


@pytest.fixture
def database_url(server: str) -> Iterator[str]:
    """A seeded database of one's own, for tests that commit or race."""
    name = f"race_{next(_numbers)}"
    yield clone(server, name, "pristine")
    drop(server, name)
