"""The programs of a stack: started apart from our terminal, known by pid and start time, stopped as a group."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from scripts.stack.errors import StackError
from scripts.stack.state import CHECKOUT, State

START_SECONDS = 40
STOP_SECONDS = 8


class Processes:
    """The processes recorded in a stack's state, whichever command started them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def running(self, name: str) -> bool:
        return self._find(name) is not None

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
    ) -> None:
        """Start a program and return once `ready` says so.

        Raises:
            StackError: it ended or stayed silent; the message carries the end of its log.
        """
        log = self._state.log(name)
        with open(log, "wb", opener=_for_owner_only) as output:
            child = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[name] = child
        known = {"pid": child.pid, "started": psutil.Process(child.pid).create_time()}
        self._state.put("processes", self._state.get("processes", {}) | {name: known})
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if child.poll() is not None:
                raise StackError(f"{name} ended at once. The end of {log}:\n\n{last_lines(log)}")
            if time.monotonic() > deadline:
                raise StackError(f"{name} did not answer for {START_SECONDS} s. The end of {log}:\n\n{last_lines(log)}")
            time.sleep(0.05)

    def stop(self, name: str) -> None:
        """End a program and all it started; what is not running is fine."""
        if process := self._find(name):
            end(process, signal.SIGTERM)
        self.forget(name)

    def kill(self, name: str) -> None:
        """End a program and all it started, without asking."""
        if process := self._find(name):
            end(process, signal.SIGKILL)
        self.forget(name)

    def forget(self, name: str) -> None:
        if child := self._children.pop(name, None):
            child.wait()
        processes = dict(self._state.get("processes", {}))
        if processes.pop(name, None):
            self._state.put("processes", processes)

    def names(self) -> list[str]:
        return list(self._state.get("processes", {}))

    def _find(self, name: str) -> psutil.Process | None:
        known = self._state.get("processes", {}).get(name)
        child = self._children.get(name)
        if not known or (child and child.poll() is not None):
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(known["pid"])
            if process.create_time() == known["started"] and alive(process.pid):
                return process
        return None


def _for_owner_only(path: str, flags: int) -> int:
    """Logs hold what a mail would have told its reader."""
    return os.open(path, flags, 0o600)


def end(process: psutil.Process, politely: signal.Signals) -> None:
    """Ask a program and its process group to end, and see to it that they do."""
    for number in (politely, signal.SIGKILL):
        if alive(process.pid):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process lives; one that ended and only waits to be collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    finish: bool = False,
    **options: Any,  # noqa: ANN401 - whatever Popen takes
) -> tuple[int, str]:
    """Run a program to its end, apart from our terminal; its exit status and what it said.

    When we are interrupted the program and all it started end too, unless it is to `finish`.
    """
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            command,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        ) as child,
    ):
        try:
            status = child.wait()
        except BaseException:
            if not finish:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        output.seek(0)
        return status, output.read().decode(errors="replace").strip()


def last_lines(log: Path, count: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
