"""The month of a whole house on the command line: `python -m scripts.month --month 2026-03`.

Without `--url` it speaks to the local stack as its admin. With it, to any deployment: `SUPABASE_URL` and
`SUPABASE_PUBLISHABLE_KEY` say where to sign in, and the password is asked for or stands in `LESSONKEEPER_PASSWORD`.
A run that breaks off is sent again. The exit status is 0 only when every match got its sessions.
"""

import argparse
import getpass
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from supabase import AuthError, Client, ClientOptions, SupabaseException, create_client

from scripts.stack import Stack, StackError

Row: TypeAlias = dict[str, Any]

PATH = "/api/schedules/generate"
PATIENCE = httpx.Timeout(10, read=60)
"""Seconds; a chunk of matches is silent while it is written."""
TRIES = 5
"""Times that a run is sent again without anything coming of it."""
PAUSE = 2
"""Seconds before it is, unless the answer says how many."""


class RunError(Exception):
    """The run cannot be finished; the message is for whoever started it."""


class _InterruptionError(Exception):
    """The stream ended without its summary, and the same may be sent again."""

    def __init__(self, why: str, pause: int | None = None) -> None:
        super().__init__(why)
        self.pause = PAUSE if pause is None else pause


@dataclass
class MonthRun:
    """A run as far as it has come, over as many streams as it takes.

    Args:
        client: of the functions, signed in.
        request: the body, which is sent again as it is but for `after`.
        watch: told after each line.
        wait: lets so many seconds pass.
    """

    client: httpx.Client
    request: Row
    watch: Callable[["MonthRun"], None] = lambda _: None
    wait: Callable[[float], None] = time.sleep
    left: int = 0
    """Packages to go."""
    matches: dict[str, Row] = field(default_factory=dict[str, Row])
    """The last line of each package. What was written while an answer was lost has none."""
    interruptions: int = 0

    @property
    def created_sessions(self) -> int:
        return sum(line["created"] for line in self.matches.values())

    @property
    def generated(self) -> int:
        return sum(line["created"] > 0 for line in self.matches.values())

    @property
    def failures(self) -> list[Row]:
        return [line for line in self.matches.values() if "code" in line]

    def finish(self) -> None:
        """Send the request until a summary says that there is no more.

        Raises:
            RunError: it is refused, or broke off too often.
        """
        tries = 0
        while True:
            told = len(self.matches)
            try:
                summary = self._send()
            except _InterruptionError as interruption:
                self.interruptions += 1
                tries = 1 if len(self.matches) > told else tries + 1
                if tries > TRIES:
                    raise RunError(f"The run broke off {tries} times without getting on: {interruption}") from None
                self.wait(interruption.pause)
                continue
            tries = 0
            if not summary["more"]:
                return
            self.request = self.request | {"after": summary["after"]}

    def _send(self) -> Row:
        """One stream to its end; its summary."""
        try:
            with self.client.stream("POST", PATH, json=self.request) as response:
                if response.is_error:
                    response.read()
                    _give_up_or_retry(_problem(response))
                return self._follow(json.loads(line) for line in response.iter_lines())
        except httpx.HTTPError as error:
            raise _InterruptionError(f"the connection was lost ({type(error).__name__}).") from None
        except ValueError:
            raise _InterruptionError("what came was not a line of JSON.") from None

    def _follow(self, lines: Iterator[Row]) -> Row:
        for line in lines:
            match line["type"]:
                case "summary":
                    return line
                case "error":
                    _give_up_or_retry(line)
                case "progress":
                    self.left = line["left"]
                case "match":
                    self.left -= 1
                    self.matches[line["package_id"]] = line
                case _:
                    pass  # a kind that a later version may add
            self.watch(self)
        raise _InterruptionError("the answer ended too early.")


def _give_up_or_retry(refusal: Row) -> None:
    if refusal.get("retry_after") is None:
        raise RunError(f"{refusal['detail']} ({refusal['code']})")
    raise _InterruptionError(refusal["detail"], refusal["retry_after"])


def _problem(response: httpx.Response) -> Row:
    """The refusal in a problem document, or in whatever something on the way may answer instead."""
    seconds = response.headers.get("Retry-After", "")
    retry_after = int(seconds) if seconds.isdecimal() else None
    try:
        document = response.json()
        told = {"code": document["code"], "detail": document["detail"]}
    except (ValueError, TypeError, KeyError):
        told = {"code": f"HTTP {response.status_code}", "detail": "The functions cannot be reached."}
        retry_after = PAUSE if response.is_server_error else None
    return {**told, "retry_after": retry_after}


# --- signing in -----------------------------------------------------------------------------------------


class _Bearer(httpx.Auth):
    """The session's token, which supabase-py refreshes before it expires."""

    def __init__(self, supabase: Client) -> None:
        self._supabase = supabase

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        try:
            session = self._supabase.auth.get_session()
        except AuthError:
            session = None
        if session is None:
            raise RunError("The session has ended. The same command signs in again and goes on.")
        request.headers["Authorization"] = f"Bearer {session.access_token}"
        yield request


@contextmanager
def signed_in(env: Mapping[str, str], email: str, password: str) -> Generator[httpx.Client]:
    """A client of the functions that speaks as this person.

    Raises:
        RunError: they could not sign in.
    """
    with httpx.Client(timeout=PATIENCE) as connections:
        options = ClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=connections)
        try:
            supabase = create_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"], options)
            supabase.auth.sign_in_with_password({"email": email, "password": password})
        except (SupabaseException, AuthError, httpx.HTTPError) as error:
            raise RunError(f"{email} could not sign in: {error}") from None
        with httpx.Client(base_url=env["FUNCTIONS_URL"], auth=_Bearer(supabase), timeout=PATIENCE) as functions:
            yield functions


# --- the command ----------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run a month; the exit status."""
    choice = _parser().parse_args(arguments)
    request: Row = {
        "month": choice.month,
        "skip_conflicts": choice.skip_conflicts,
        "allow_partial": choice.allow_partial,
    }
    try:
        with signed_in(*_whom_and_where(choice)) as client, _bar() as watch:
            run = MonthRun(client, request, watch)
            run.finish()
    except (RunError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. What is written stays; the same command goes on from there.", file=sys.stderr)
        return 130
    _tell(run)
    return 1 if run.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.month", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--month", required=True, type=_month, metavar="YYYY-MM", help="such as 2026-03")
    parser.add_argument("--skip-conflicts", action="store_true", help="walk past dates on which somebody is busy")
    parser.add_argument("--allow-partial", action="store_true", help="take what fits when a window is too short")
    parser.add_argument("--url", help="where the functions are; left out: the local stack")
    parser.add_argument("--email", help="the admin who signs in; left out: the local stack's")
    parser.add_argument("--stack", default="dev", help="which local stack (default: dev)")
    return parser


def _month(text: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError("say which, such as 2026-03")
    return text


def _whom_and_where(choice: argparse.Namespace) -> tuple[Mapping[str, str], str, str]:
    if choice.url is None:
        local = Stack(choice.stack).env()
        return local, choice.email or local["ADMIN_EMAIL"], _password() or local["SEED_PASSWORD"]
    missing = [name for name in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY") if not os.environ.get(name)]
    if missing or not choice.email:
        raise RunError("With --url also give --email, and set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY.")
    env = os.environ | {"FUNCTIONS_URL": choice.url}
    return env, choice.email, _password() or getpass.getpass(f"Password of {choice.email}: ")


def _password() -> str | None:
    return os.environ.get("LESSONKEEPER_PASSWORD")


@contextmanager
def _bar() -> Generator[Callable[[MonthRun], None]]:
    """A bar on standard error that is gone at the end, and what moves it."""
    columns = (TextColumn("Generating"), BarColumn(), MofNCompleteColumn(), TextColumn("matches"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        most = 0

        def watch(run: MonthRun) -> None:
            nonlocal most
            most = max(most, run.left)
            progress.update(task, total=most, completed=most - run.left)

        yield watch


def _tell(run: MonthRun) -> None:
    out = Console(highlight=False, emoji=False)
    failures = run.failures
    if failures:
        table = Table("Student", "Tutor", "Why not", "Match", box=box.SIMPLE_HEAD, pad_edge=False)
        for line in failures:
            why = f"{line['detail']} ({line['code']})"
            table.add_row(*map(Text, (line["student"]["display_name"], line["tutor"]["display_name"], why)),
                          Text(line["match_id"], no_wrap=True))  # fmt: skip
        out.print(table)
    least = "at least " if run.interruptions else ""
    ending = f"{len(failures)} failed." if failures else "nothing failed."
    out.print(f"{run.request['month']}: {least}{run.created_sessions} sessions for {run.generated} matches; {ending}")


if __name__ == "__main__":
    sys.exit(main())
