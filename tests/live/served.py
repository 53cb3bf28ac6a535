"""The seeded house, served: people sign in with supabase-py and speak HTTP, as any client of ours does."""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Self, TypeAlias, cast

import httpx
from psycopg import sql
from supabase import Client, ClientOptions, create_client

from tests.database import Database
from tests.house import Person

Row: TypeAlias = dict[str, Any]

TIMEOUT = 60
"""Seconds; nothing measures here, and a busy machine fails no test."""


class Visit:
    """Somebody who has signed in: `functions` with the bearer, `supabase` for the Data API."""

    def __init__(self, env: Mapping[str, str], open_until: ExitStack, email: str, password: str) -> None:
        self.supabase = supabase_of(env, open_until)
        answer = self.supabase.auth.sign_in_with_password({"email": email, "password": password})
        assert answer.session
        self.token = answer.session.access_token
        self.functions = open_until.enter_context(functions_of(env, self.token))


class ServedHouse:
    """The house behind one variant of Supabase, `lite` or `postgrest`; both serve the same database."""

    def __init__(self, variant: str, env: Mapping[str, str], database: Database) -> None:
        self.variant = variant
        self.env = env
        self.database = database
        """As the owner of everything, past every rule."""
        self._open = ExitStack()
        self._visits: dict[str, Visit] = {}
        self.anybody = self._open.enter_context(functions_of(env))
        """Our functions, without a token."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        """The functions' address, without a slash at the end."""
        return self.env["FUNCTIONS_URL"] + "/api"

    def visit(self, who: Person | str, password: str | None = None) -> Visit:
        """Somebody signed in: a person of the seed once for the whole run, anybody else by e-mail each time."""
        if isinstance(who, Person) and who.email in self._visits:
            return self._visits[who.email]
        email = who.email if isinstance(who, Person) else who
        visit = Visit(self.env, self._open, email, password or self.env["SEED_PASSWORD"])
        return self._visits.setdefault(email, visit) if isinstance(who, Person) else visit

    def sign_in(self, who: Person | str) -> httpx.Client:
        """Our functions (`client.get("/sessions")`), with this person's token."""
        return self.visit(who).functions

    def supabase(self, who: Person | str) -> Client:
        """The Data API, with this person's token."""
        return self.visit(who).supabase

    def rows(self, who: Person | str, table: str, columns: str = "*", **equal: object) -> list[Row]:
        """What the Data API shows this person of a table; ordered by id, where there is one."""
        query = self.supabase(who).table(table).select(columns)
        for column, value in equal.items():
            query = query.eq(column, value)
        return sorted(cast("list[Row]", query.execute().data), key=lambda row: row.get("id", 0))

    def sign_up(self, email: str, **metadata: str) -> str:
        """A sign-up with supabase-py, the seed's password and whatever is claimed; returns the id in Supabase Auth."""
        claims: Any = {"email": email, "password": self.env["SEED_PASSWORD"], "options": {"data": metadata}}
        answer = supabase_of(self.env, self._open).auth.sign_up(claims)
        assert answer.user
        assert answer.session is None, "an address has to be confirmed first"
        return answer.user.id

    def confirm(self, email: str) -> None:
        """What the link in the mail does, for which there is no mail here."""
        self.database.run("update auth.users set email_confirmed_at = now() where email = lower(%s)", email)

    def set_clock(self, reads: str | datetime | None) -> None:
        """Move the database's clock; the next test finds it at `tests.house.NOW` again."""
        self.database.set_clock(reads)


def functions_of(env: Mapping[str, str], token: str | None = None) -> httpx.Client:
    """A client of our functions, with a bearer token or without."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=env["FUNCTIONS_URL"] + "/api", headers=headers, timeout=TIMEOUT)


def supabase_of(env: Mapping[str, str], open_until: ExitStack) -> Client:
    """A client of Supabase that nobody has signed in with."""
    connections = open_until.enter_context(httpx.Client(timeout=TIMEOUT))
    options = ClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=connections)
    return create_client(env["SUPABASE_URL"], env["SUPABASE_PUBLISHABLE_KEY"], options)


class Snapshot:
    """All rows of a database, to put back: cheaper than a new database, and its connections live on.

    Sequences keep running, as they do after a rollback.
    """

    SCHEMAS = ("auth", "private", "public")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = [(table, self._copy_out(table)) for table in self._tables()]

    def restore(self) -> None:
        """Put every row back, with all triggers and foreign keys asleep."""
        connection = self._database.connection
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            for table, _ in self._rows:
                connection.execute(sql.SQL("delete from {}").format(table))
            for table, rows in self._rows:
                if rows:
                    with connection.cursor().copy(sql.SQL("copy {} from stdin").format(table)) as copy:
                        copy.write(rows)

    def differences(self) -> list[str]:
        """The tables that do not hold what they held, if any."""
        return [table.as_string() for table, rows in self._rows if self._copy_out(table) != rows]

    def _tables(self) -> list[sql.Identifier]:
        found = self._database.rows(
            "select schemaname, tablename from pg_tables where schemaname = any (%s) order by 1, 2", list(self.SCHEMAS)
        )
        return [sql.Identifier(*names) for names in found]

    def _copy_out(self, table: sql.Identifier) -> bytes:
        with self._database.connection.cursor().copy(sql.SQL("copy {} to stdout").format(table)) as copy:
            return b"".join(bytes(block) for block in copy)
