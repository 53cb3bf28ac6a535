"""One test stack for the whole run, on a database clock that stands still, and databases to test in."""

from collections.abc import Iterator
from itertools import count
from random import Random

import psycopg
import pytest

from scripts.stack import Stack
from tests.database import Database, clone, drop
from tests.house import NOW

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--snapshot-update", action="store_true", help="write the schema's snapshot anew")
    parser.addoption("--seed", type=int, help="repeat what a failed random test reported as its seed")


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """Randomness whose seed is printed with a failure; `--seed` repeats it."""
    seed = request.config.getoption("--seed")
    seed = Random().randrange(2**32) if seed is None else seed
    request.node.add_report_section("call", "seed", f"--seed={seed}")
    return Random(seed)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The embedded stack with its database up; `pristine` is the seeded database to make others from."""
    with Stack.unused("test", clock=NOW) as stack:
        stack.start_database(fresh=True)
        clone(stack.env()["DATABASE_URL"], "pristine", "postgres")
        yield stack


@pytest.fixture(scope="session")
def server(stack: Stack) -> str:
    """The connection string of the stack's own database."""
    return stack.env()["DATABASE_URL"]


@pytest.fixture(scope="session")
def rules_url(server: str) -> str:
    """The seeded house that `db` works in; nothing is ever committed there."""
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
