"""The demo, as somebody sees it who types `make demo`."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.demo import ExpectationError
from scripts.demo.page import WIDTH, Page
from scripts.stack.processes import alive

pytestmark = pytest.mark.live

CHECKOUT = Path(__file__).parents[2]
DEMO = ("-m", "scripts.demo")
# The demo with a password that opens nothing: the first thing it does goes wrong.
LOCKED_OUT = """
import sys
from scripts import stack
stack.SEEDED["SEED_PASSWORD"] = "another"
from scripts.demo.__main__ import main
sys.exit(main())
"""


@contextmanager
def running(*arguments: str) -> Generator[subprocess.Popen[str]]:
    """Python with these arguments; ended at the end, should a test fail before it does so by itself."""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def stack_of(demo: subprocess.Popen[str]) -> dict[str, Any]:
    """What the stack that this demo claimed remembers."""
    locks = (CHECKOUT / ".stack").glob("demo*/lock")
    (folder,) = (lock.parent for lock in locks if lock.read_text() == str(demo.pid))
    return json.loads((folder / "state.json").read_text())


def pids_of(stack: dict[str, Any]) -> list[int]:
    """Its services and its database server."""
    server = Path(stack["home"]) / "data" / "postmaster.pid"
    return [*(service["pid"] for service in stack["processes"].values()), int(server.read_text().split()[0])]


@pytest.fixture(scope="module")
def told() -> str:
    """What a whole demo prints into a pipe."""
    with running(*DEMO) as demo:
        told, complaints = demo.communicate()
    assert (demo.returncode, complaints) == (0, "")
    return told


@pytest.mark.parametrize(
    "line",
    [
        "The plan: 8 of 8 sessions fit",
        "Sat 14 Mar 10:00  14:00  Sat 14 Mar 19:00  clocks changed in America/New_York: UTC-5 → UTC-4",
        "tutor time off: 2026-03-11 to 2026-03-12",
        "Tue 17 Mar, holiday",
        '"code": "slot_taken"',
        "12:40  17:40   Zara       Physics  POST /start               409 too_early until 12:45",
        "14:00          scheduler  Physics  GET /complete-sessions    1 completed: done, 1 of 12",
        "14:20  09:20   Marcus     Physics  POST /missed              no_show_tutor, 0 of 12",
        "15:31          scheduler  IELTS    GET /complete-sessions    none due: in_progress, late, 0 of 20",
        "15:36  15:36   Harriet    IELTS    POST /start               in_progress, late, 0 of 20",
        "16:40  21:40   Nadia      Physics  GET /reschedule-requests  Tue 15:30 taken, Thu 13:00 free",
        "16:52  21:52   Nadia      Physics  POST /accept              accepted: scheduled Tue 15:30",
        "complete    no: too_early until 15:30  no: illegal_transition  complete_session",
        "cancel      request_cancellation       request_cancellation    cancel_session",
        '"code": "out_of_order"',
        "8  Tue 31 Mar 16:00  Wed  1 Apr 16:00  17:00   clocks changed in Europe/London: UTC+0 → UTC+1",
        "08:00  08:00   Oliver     Clinic  GET /slots               free: 09:00, 10:00, 11:00",
        "08:11  08:11   Harriet    Clinic  POST /accept             already accepted; session scheduled",
        "08:12  08:12   Oliver     Clinic  GET /slots               free: 09:00, 11:00",
        "session.booked     session 1       08:10  verified",
        "10:30  10:30   Oliver     Clinic  POST /review             409 illegal_transition",
        "11:05  11:05   Oliver     Clinic  POST /review             201 5 of 5",
        "session.completed  session 3       11:00  verified",
        "session.reviewed   session 4       11:05  verified",
        "Sat 14 Mar 19:00-20:00  Sat 14 Mar 14:00  Lena Ortiz  2 of 8  done           abc-defg-hij",
        "Sat 14 Mar 10:00-11:00  Sat 14 Mar 14:00  Bilal Siddiqi  2 of 8  done           abc-defg-hij",
        "three lessons marked     3     5",
        "one corrected            2     6",
        "Nadia, admin  session_status_updated  lesson 2  no_show_student → no_show_tutor",
        "`make up` starts one that stays",
    ],
)
def test_the_demo_shows_what_a_newcomer_should_see(told: str, line: str) -> None:
    assert line in told


def test_the_demo_counts_the_expectations_that_held(told: str) -> None:
    *ticks, last = [line for line in told.splitlines() if line.lstrip().startswith("✓")]

    assert len(ticks) > 50
    assert last.startswith(f"✓ {len(ticks)} expectations held in ")


def test_in_a_pipe_the_demo_is_plain_and_fits_the_page(told: str) -> None:
    assert "\x1b" not in told
    assert max(map(len, told.splitlines())) <= WIDTH


def test_a_demo_that_is_interrupted_leaves_nothing_behind() -> None:
    with running(*DEMO) as demo:
        assert demo.stdout
        next(line for line in demo.stdout if "Everybody signs in" in line)
        pids = pids_of(stack_of(demo))
        assert [alive(pid) for pid in pids] == [True] * 3

        demo.send_signal(signal.SIGINT)
        _, complaints = demo.communicate()
        assert (demo.returncode, complaints) == (130, "\nInterrupted: nothing is left running.\n")
        assert not any(map(alive, pids))
        left = stack_of(demo)
        assert (left["processes"], left["home"]) == ({}, None)


def test_a_demo_that_goes_wrong_says_so_and_leaves_nothing_behind() -> None:
    with running("-c", LOCKED_OUT) as demo:
        told, complaints = demo.communicate()
        assert (demo.returncode, complaints) == (1, "\nNot as expected: Invalid login credentials\n")
        assert "expectations held" not in told
        left = stack_of(demo)
        assert (left["processes"], left["home"]) == ({}, None)


def test_a_figure_that_is_not_as_expected_ends_the_story() -> None:
    with pytest.raises(ExpectationError, match=r"“a credit each” does not hold. Wanted 3, found 2."):
        Page().expect("a credit each", 2, 3)
