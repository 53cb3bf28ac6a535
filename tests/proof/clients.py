"""Many clients at once: each on a thread and a connection of its own, all let go by one barrier."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier
from typing import TypeAlias, TypeVar

from tests.database import Database, Refused

T = TypeVar("T")
Outcome: TypeAlias = T | Refused

PATIENCE = 60
"""Seconds after which a client that never reaches the barrier fails the test."""


class Clients:
    """So many connected clients of one database."""

    def __init__(self, databases: list[Database], threads: ThreadPoolExecutor) -> None:
        self._databases = databases
        self._threads = threads

    @classmethod
    @contextmanager
    def of(cls, url: str, count: int) -> Generator["Clients"]:
        with ExitStack() as open_things:
            threads = open_things.enter_context(ThreadPoolExecutor(count))
            databases = [Database.open(url) for _ in range(count)]
            for database in databases:
                open_things.enter_context(database.connection)
            yield cls(databases, threads)

    def __len__(self) -> int:
        return len(self._databases)

    def at_once(self, action: Callable[[Database, int], T]) -> list[Outcome[T]]:
        """What each client's action returned, or how it was refused; they all begin at the same moment.

        Anything but a refusal (a deadlock, say) is raised, once every client has finished.
        """
        barrier = Barrier(len(self))

        def run(number: int) -> Outcome[T]:
            barrier.wait(PATIENCE)
            try:
                return action(self._databases[number], number)
            except Refused as refused:
                return refused

        running = [self._threads.submit(run, number) for number in range(len(self))]
        return [each.result() for each in running]


def split(outcomes: list[Outcome[T]]) -> tuple[list[T], list[Refused]]:
    """What was answered, and what was refused."""
    answers = [each for each in outcomes if not isinstance(each, Refused)]
    return answers, [each for each in outcomes if isinstance(each, Refused)]
