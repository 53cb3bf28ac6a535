"""The programs of a stack: started apart from our terminal, known by pid and start time, stopped as a group."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

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
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], ready: Callable[[], bool]
    ) -> None:
        """Start a program and return once `ready` says so.

        Raises:
            StackError: it ended or stayed silent; the message carries the end of its log.
        """
        log = self._state.log(name)
        with log.open("wb") as output:
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
        self.adopt(name, child.pid)
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if child.poll() is not None:
                raise StackError(f"{name} ended at once. The end of {log}:\n\n{last_lines(log)}")
            if time.monotonic() > deadline:
                raise StackError(f"{name} did not answer for {START_SECONDS} s. The end of {log}:\n\n{last_lines(log)}")
            time.sleep(0.05)

    def adopt(self, name: str, pid: int) -> None:
        """Remember a process as ours."""
        known = {"pid": pid, "started": psutil.Process(pid).create_time()}
        self._state.put("processes", self._state.get("processes", {}) | {name: known})

    def stop(self, name: str, politely: signal.Signals = signal.SIGTERM) -> None:
        """End a program and all it started; what is not running is fine."""
        for number in (politely, signal.SIGKILL):
            if process := self._find(name):
                self._signal(process, number)
                self._wait(name)
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
            if process.create_time() == known["started"] and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _wait(self, name: str) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while self._find(name) and time.monotonic() < deadline:
            time.sleep(0.02)

    @staticmethod
    def _signal(process: psutil.Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def last_lines(log: Path, count: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
