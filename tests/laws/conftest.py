"""A house that has been lived in: every table has rows of several people, so that leaks have something to show."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.database import Database, clone
from tests.laws.lived_in import live_in


@pytest.fixture(scope="session")
def lived_in_url(server: str) -> str:
    url = clone(server, "lived_in", "pristine")
    house = Database.open(url)
    with house.connection:
        live_in(house)
    return url


@pytest.fixture
def house(lived_in_url: str) -> Iterator[Database]:
    """The house that has been lived in; whatever a test does there is rolled back."""
    with psycopg.connect(lived_in_url) as connection:
        connection.execute("select 1")  # opens the transaction, so that every call becomes a savepoint in it
        yield Database(connection)
        connection.rollback()
