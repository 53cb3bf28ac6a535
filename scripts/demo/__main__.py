"""The life of a demo: a stack of its own, the story, and nothing left behind, however it ends."""

import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import httpx
import psycopg
from supabase import AuthError, PostgrestAPIError

from scripts.demo import ExpectationError
from scripts.demo.house import BEGINNING
from scripts.demo.page import Page
from scripts.demo.story import tell
from scripts.stack import Stack, StackError

if TYPE_CHECKING:
    import io

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Tell the story; its exit status is 0 only if everything came out as expected."""
    # A terminal that has no arrows shows question marks instead of ending the story.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    for number in ENDINGS:
        signal.signal(number, _interrupt)
    page = Page()
    began = time.monotonic()
    try:
        with _own_stack() as stack:
            with page.waiting("Starting a Supabase of its own: Postgres, API, sign-in, functions …"):
                stack.start_database(fresh=True)
                stack.start_services()
            tell(page, stack.env(), time.monotonic() - began)
    except StackError as error:
        page.failure("The stack did not start", error)
        return 1
    except (ExpectationError, httpx.HTTPError, psycopg.Error, AuthError, PostgrestAPIError) as error:
        page.failure("Not as expected", error)
        return 1
    except KeyboardInterrupt:
        page.failure("Interrupted", "nothing is left running.")
        return 130
    page.ending(time.monotonic() - began)
    return 0


@contextmanager
def _own_stack() -> Generator[Stack]:
    """A stack that nobody else uses. At the end its processes and data go, and a second Ctrl-C cannot stop that."""
    stack = Stack.unused("demo", clock=BEGINNING)
    try:
        yield stack
    finally:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        stack.reset()


def _interrupt(*_: object) -> None:
    # What was just being made (a client of Supabase, say) complains when it goes half-made; nobody needs to read that.
    sys.unraisablehook = _nothing
    raise KeyboardInterrupt


def _nothing(_: object) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
