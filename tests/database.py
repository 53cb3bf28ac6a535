"""Real Postgres for the tests: act as somebody, call a function as PostgREST does, meet its refusals."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeAlias, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.house import Person

Claims: TypeAlias = dict[str, str]


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """A function refused: HTTP status, stable code, sentence, members for the problem document."""

    def __init__(self, status: int, code: str, detail: str, extra: dict[str, Any]) -> None:
        super().__init__(f"{status} {code}: {detail} {extra}")
        self.status, self.code, self.detail, self.extra = status, code, detail, extra


def claims_of(who: Person | str | None) -> Claims:
    """What PostgREST puts into `request.jwt.claims`: for a person, or a bare API role (`anon`, `service_role`)."""
    if isinstance(who, Person):
        return {"role": "authenticated", "sub": str(who.id)}
    return {"role": who or "anon"}


class Database:
    """One database of the test server, on one connection.

    Every call runs in a transaction of its own, or in a savepoint when a transaction is open, so that a refusal
    leaves the connection usable.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    @classmethod
    def open(cls, url: str) -> "Database":
        return cls(psycopg.connect(url, autocommit=True))

    @contextmanager
    def acting(self, who: Person | str | None) -> Generator[psycopg.Connection[Any]]:
        """The connection, with the role and claims that PostgREST would set for this caller."""
        claims = claims_of(who)
        with self.connection.transaction():
            self._claim(claims["role"], json.dumps(claims))
            yield self.connection
            self._claim("none", "")

    def call(self, who: Person | str | None, function: str, **parameters: Any) -> Any:
        """One RPC as this caller.

        Raises:
            Refused: the function refused (SQLSTATE PTxxx); anything else stays a psycopg error.
        """
        arguments = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in parameters
        )
        query = sql.SQL("select public.{}({})").format(sql.Identifier(function), arguments)
        values = {name: _literal(value) for name, value in parameters.items()}
        try:
            with self.acting(who) as connection:
                row = connection.execute(query, values).fetchone()
        except psycopg.Error as error:
            raise refusal(error) from None
        assert row is not None
        return row[0]

    def rows(self, query: str, *parameters: Any, who: Person | str | None = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a query, as this caller or (by default) as the owner of everything."""
        if who == "postgres":
            with self.connection.transaction():
                return _fetch(self.connection, query, parameters)
        with self.acting(who) as connection:
            return _fetch(connection, query, parameters)

    def value(self, query: str, *parameters: Any, who: Person | str | None = "postgres") -> Any:
        """The only value of the only row."""
        ((value,),) = self.rows(query, *parameters, who=who)
        return value

    def run(self, statement: str, *parameters: Any) -> int:
        """A statement as the owner, as an edit in Studio; returns how many rows it touched.

        Raises:
            Refused: a trigger refused it.
        """
        try:
            with self.connection.transaction():
                return self.connection.execute(statement, parameters).rowcount  # pyright: ignore[reportArgumentType]
        except psycopg.Error as error:
            raise refusal(error) from None

    def set_clock(self, reads: str | datetime | None) -> None:
        """Move the database's clock; None lets it run."""
        self.run("select private.set_clock(%s)", reads)

    def _claim(self, role: str, claims: str) -> None:
        self.connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)", (role, claims)
        )


def refusal(error: psycopg.Error) -> Exception:
    """The refusal behind a PTxxx error, else the error itself."""
    state = error.sqlstate or ""
    if not state.startswith("PT"):
        return error
    told = error.diag
    extra: dict[str, Any] = json.loads(told.message_hint) if told.message_hint else {}
    return Refused(int(state[2:]), told.message_primary or "", told.message_detail or "", extra)


def clone(server: str, name: str, template: str) -> str:
    """A new database made from a template; returns its connection string."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    return make_conninfo(server, dbname=name)


def drop(server: str, name: str) -> None:
    """Drop a database, whoever is still connected."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _fetch(connection: psycopg.Connection[Any], query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters).fetchall()  # pyright: ignore[reportArgumentType]


def _literal(value: Any) -> Any:
    """A parameter as PostgREST sends it: documents as JSON, lists of words as an array literal."""
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    if isinstance(value, list):
        return _list_literal(cast("list[object]", value))
    return value


def _list_literal(values: list[object]) -> str:
    if any(isinstance(each, dict) for each in values):
        return json.dumps(values, default=str)
    return "{" + ",".join(f'"{each}"' for each in values) + "}"
