"""Supabase's own advisors find nothing to warn of."""

from scripts.stack import Stack
from tests.database import Database


def test_the_advisors_of_supabase_warn_of_nothing(stack: Stack) -> None:
    status, report = stack.advise()
    assert status == 0, report
    assert "No issues found" in report


def test_the_advisors_would_warn_of_a_table_without_row_security(stack: Stack, server: str) -> None:
    database = Database.open(server)
    with database.connection:
        database.run("create table public.open_to_all (id integer primary key)")
        try:
            database.run("grant select on public.open_to_all to anon")
            status, report = stack.advise()
        finally:
            database.run("drop table public.open_to_all")
    assert status != 0
    assert "open_to_all" in report
