"""Free ports on 127.0.0.1, also when two checkouts start at the same moment."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def free_port(wishes: Iterable[int]) -> Generator[int]:
    """The first of `wishes` that is free, else any; nobody else of us picks one before the block ends.

    Start the server inside the block and leave it when the server listens.
    """
    with (Path(tempfile.gettempdir()) / f"lessonkeeper-ports-{os.getuid()}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield next((port for port in wishes if is_free(port)), None) or _any_free()
