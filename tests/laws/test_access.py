"""Nobody sees or does more than the tables in `tests/laws/access.py` say."""

import pytest

from tests.database import Database, Refused
from tests.house import HARRIET, NADIA
from tests.laws import access
from tests.laws.access import ABOUT, CALLERS, DEEDS, FOR_THE_SERVICE, MAY, SEES, grid
from tests.laws.lived_in import names


def tables(house: Database) -> set[str]:
    """Whatever of `public` the API could show: tables, views and their like."""
    return {
        name
        for (name,) in house.rows(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
            " and relkind in ('r', 'p', 'v', 'm', 'f')"
        )
    }


def test_every_table_has_its_row(house: Database) -> None:
    assert set(grid(SEES)) == set(ABOUT) == tables(house)


def test_every_function_of_the_api_has_its_row(house: Database) -> None:
    functions = {
        name for (name,) in house.rows("select proname from pg_proc where pronamespace = 'public'::regnamespace")
    }
    assert {deed.split()[0] for deed in grid(MAY)} == functions
    assert set(grid(MAY)) == set(DEEDS)


def test_every_table_has_rows_of_everybody_to_leak(house: Database) -> None:
    called = names(house)
    for table, cells in grid(SEES).items():
        there = {called.get(of, "?") for (of,) in house.rows(f"select {ABOUT[table]} from public.{table}")}
        promised = {letter for cell in cells.values() for letter in cell} - {"x", "-", "*"}
        assert there, f"{table} is empty"
        assert promised <= there, table


def test_everybody_sees_their_own_rows_and_no_others(house: Database) -> None:
    assert access.wrong_sights(house) == []


def test_nobody_writes_to_a_table_directly(house: Database) -> None:
    assert access.wrong_writes(house) == []


def test_functions_answer_whom_they_are_for(house: Database) -> None:
    assert access.wrong_calls(house) == []


def test_a_status_is_set_on_these_terms_alone(house: Database) -> None:
    assert access.wrong_terms(house) == []


def test_reading_functions_show_what_the_tables_show_and_no_id_tells_more(house: Database) -> None:
    assert access.wrong_answers(house) == []


@pytest.mark.parametrize("caller", CALLERS)
def test_nothing_private_is_reached_by_name(house: Database, caller: str) -> None:
    for expression in (
        "private.now()",
        "private.caller_id()",
        "private.is_admin()",
        "(select count(*) from private.answers)",
    ):
        with pytest.raises(Exception, match="permission denied for schema private"):
            house.value(f"select {expression}", who=CALLERS[caller])


def test_a_function_for_the_service_key_is_not_reached_through_once(house: Database) -> None:
    for function in FOR_THE_SERVICE:
        for who in (HARRIET, NADIA):
            with pytest.raises(Refused, match="no writing function"):
                house.call(who, "once", p_idempotency_key="k", p_request_hash="h", p_function=function, p_arguments={})
