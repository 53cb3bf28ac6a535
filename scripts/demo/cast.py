"""The people of the story, each with the two ways a client has: our functions, and Supabase's Data API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

import httpx
from supabase import Client, ClientOptions, create_client

from scripts.demo import ExpectationError

Row: TypeAlias = dict[str, Any]

PATIENCE = 30
"""Seconds; nothing here takes one, but the machine may be busy."""


@dataclass(frozen=True)
class Person:
    """Somebody who has signed in."""

    me: Row
    _supabase: Client
    _functions: httpx.Client

    @property
    def name(self) -> str:
        return first_name(self.me)

    @property
    def timezone(self) -> str:
        return self.me["timezone"]

    def rows(self, table: str, columns: str, *, order: str = "id", **equal: object) -> list[Row]:
        """What the Data API shows this person of a table."""
        query = self._supabase.table(table).select(columns)
        for column, value in equal.items():
            query = query.eq(column, value)
        return cast("list[Row]", query.order(order).execute().data)

    def get(self, path: str, **query: str) -> Row:
        """What a function answers to a question."""
        return answer_of(self.try_get(path, **query))

    def post(self, path: str, body: Row, **query: str) -> Row:
        """What a function answers to a request that is in order."""
        return answer_of(self.try_post(path, body, **query))

    def put(self, path: str, body: Row) -> Row:
        return answer_of(self._functions.put(path, json=body))

    def delete(self, path: str) -> Row:
        return answer_of(self._functions.delete(path))

    def try_get(self, path: str, **query: str) -> httpx.Response:
        """The same, where a refusal is expected."""
        return self._functions.get(path, params=query)

    def try_post(self, path: str, body: Row, **query: str) -> httpx.Response:
        return self._functions.post(path, json=body, params=query)


class Cast(NamedTuple):
    """Everybody of the seeded house: its admin, its tutors, its students."""

    nadia: Person
    bilal: Person
    harriet: Person
    marcus: Person
    lena: Person
    oliver: Person
    zara: Person


MAILBOXES = (
    "admin",
    "tutor.karachi",
    "tutor.london",
    "tutor.newyork",
    "student.newyork",
    "student.london",
    "student.karachi",
)
"""Of the cast, in its order, as in `supabase/seed.sql`."""


@dataclass(frozen=True)
class Scheduler:
    """Whoever calls the clock, with the secret of schedulers."""

    _functions: httpx.Client

    def call(self, job: str) -> httpx.Response:
        return self._functions.get(f"/api/cron/{job}")


def everybody_of(stack: Mapping[str, str]) -> Cast:
    """The whole cast, signed in."""
    return Cast(*(sign_in(stack, f"{mailbox}@lessonkeeper.test") for mailbox in MAILBOXES))


def scheduler_of(stack: Mapping[str, str]) -> Scheduler:
    return Scheduler(_functions_for(stack, stack["CRON_SECRET"]))


def sign_in(stack: Mapping[str, str], email: str) -> Person:
    """Sign in with supabase-py, and take the access token along to our functions."""
    options = ClientOptions(auto_refresh_token=False, persist_session=False)
    supabase = create_client(stack["SUPABASE_URL"], stack["SUPABASE_PUBLISHABLE_KEY"], options)
    answer = supabase.auth.sign_in_with_password({"email": email, "password": stack["SEED_PASSWORD"]})
    if answer.session is None:
        raise ExpectationError(f"{email} could not sign in.")
    functions = _functions_for(stack, answer.session.access_token)
    return Person(answer_of(functions.get("/api/me")), supabase, functions)


def first_name(person: Row) -> str:
    return person["display_name"].split()[0]


def answer_of(response: httpx.Response) -> Row:
    """What was answered.

    Raises:
        ExpectationError: a refusal.
    """
    if response.is_error:
        asked = response.request
        raise ExpectationError(f"{asked.method} {asked.url.path} answered {response.status_code}: {response.text}")
    return response.json()


def refusal_of(answer: httpx.Response) -> tuple[int, str]:
    """Its status, and the code that a refusal has."""
    return answer.status_code, answer.json().get("code", "")


def _functions_for(stack: Mapping[str, str], bearer: str) -> httpx.Client:
    return httpx.Client(
        base_url=stack["FUNCTIONS_URL"], headers={"Authorization": f"Bearer {bearer}"}, timeout=PATIENCE
    )
