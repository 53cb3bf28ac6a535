"""One test stack for the whole run, on a database clock that stands still."""

from collections.abc import Iterator

import pytest

from scripts.stack import Stack
from tests.database import clone
from tests.house import NOW


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
