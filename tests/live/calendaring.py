"""Functions that can speak to Google: a process of their own beside the house's, pointed at a stand-in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from scripts.stack.ports import HOST, free_port
from scripts.stack.state import CHECKOUT
from tests.google import StandIn
from tests.house import NADIA
from tests.live.answers import answer
from tests.live.receiving import as_scheduler
from tests.live.served import TIMEOUT, Row, ServedHouse

START_SECONDS = 60


class CalendarFunctions:
    """Our functions as a deployment with a Google account runs them."""

    def __init__(self, house: ServedHouse, google: StandIn, *, delegated: bool = True) -> None:
        self._house = house
        self._environment = os.environ | house.env | google.environment(delegated=delegated)
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    @contextmanager
    def running(self) -> Generator["CalendarFunctions"]:
        """Run until the block ends."""
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def start(self) -> None:
        """Begin, and return when they answer."""
        with free_port([]) as port:
            self._url = f"http://{HOST}:{port}"
            server = ["uvicorn", "functions.main:app", f"--host={HOST}", f"--port={port}", "--log-level=critical"]
            self._process = subprocess.Popen(
                [sys.executable, "-m", *server], cwd=CHECKOUT, env=self._environment, stdout=subprocess.DEVNULL
            )
            deadline = time.monotonic() + START_SECONDS
            while not self._answers():
                assert self._process.poll() is None, "the functions ended at once"
                assert time.monotonic() < deadline, "the functions do not answer"
                time.sleep(0.05)

    def kill(self) -> None:
        """End them with no warning."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def sync(self) -> Row:
        """The scheduler's call."""
        url, headers = f"{self._url}/api/cron/sync-calendar", as_scheduler(self._house)
        return answer(httpx.get(url, headers=headers, timeout=TIMEOUT))

    def health(self) -> Row:
        """As an admin asks for it."""
        headers = {"Authorization": f"Bearer {self._house.visit(NADIA).token}"}
        return answer(httpx.get(f"{self._url}/api/health", headers=headers, timeout=TIMEOUT))

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._url}/api/health", timeout=2).is_success
        except httpx.TransportError:
            return False


def synced(**counts: int) -> Row:
    """What the scheduler is told when Google is on."""
    nothing: Row = {"is_on": True, "missing": [], "problem": None, "more": False}
    figures = ("synced", "failed", "given_up", "postponed", "stale", "calendars_read", "calendars_failed")
    return nothing | dict.fromkeys(figures, 0) | counts
