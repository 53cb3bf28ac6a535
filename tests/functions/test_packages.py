"""Packages in real life: renewal, another package for a session, the end of a match, the statement as JSON and CSV."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from lib.packages import HEADINGS
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

STATEMENT = f"/packages/{s.PACKAGE}/statement"
RENEW = f"/packages/{s.PACKAGE}/renew"


# --- renewal ------------------------------------------------------------------------------------------------


async def test_a_proposal_is_a_200_and_a_new_package_a_201(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("renew_package", s.renewal)
    proposed = await tutor.post(RENEW, json={})
    assert (proposed.status_code, proposed.json()["package"]) == (200, None)
    assert proposed.json()["proposal"]["start_date"] == "2026-05-01"
    rpcs.answer("renew_package", {**s.renewal, "package": s.package})
    sold = await tutor.post(RENEW, json={"create": True})
    assert (sold.status_code, sold.json()["package"]["id"]) == (201, s.PACKAGE)
    assert rpcs.sent("renew_package") == {"p_package_id": s.PACKAGE, "p_create": True}


async def test_a_proposal_for_a_request_without_a_tutor_has_no_pattern(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    bare = {**s.renewal["proposal"], "match_id": None, "schedule_pattern": None, "meet_link": None}
    rpcs.answer("renew_package", {**s.renewal, "proposal": bare, "renewed_by": s.OTHER})
    answer = (await tutor.post(RENEW, json={})).json()
    assert (answer["proposal"]["match_id"], answer["renewed_by"]) == (None, s.OTHER)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (RENEW, {"create": "yes"}, "create"),
        (RENEW, {"tier_sessions": 10}, "tier_sessions"),
        (RENEW, {"start_date": "1999-12-31"}, "start_date"),
        (RENEW, {"start_date": "2026-05-02", "end_date": "2026-05-01"}, ""),
        (RENEW, {"opening_used": 1}, "opening_used"),
        (f"/matches/{s.MATCH}/end", {}, "reason"),
        (f"/matches/{s.MATCH}/end", {"reason": "  "}, "reason"),
        (f"/sessions/{s.SESSION}/package", {"package_id": s.OTHER}, "reason"),
        (f"/sessions/{s.SESSION}/package", {"reason": "mixed up"}, "package_id"),
        (f"/sessions/{s.SESSION}/package", {"package_id": "1", "reason": "mixed up"}, "package_id"),
    ],
)
async def test_what_is_missing_or_impossible_is_named(
    tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, body: Mapping[str, Any], field: str
) -> None:
    response = await tutor.post(path, json=body)
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == [field]


# --- the statement --------------------------------------------------------------------------------------------


async def test_a_statement_shows_each_credit_on_the_viewers_clocks(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_statement", s.statement)
    statement = (await tutor.get(STATEMENT)).json()
    assert (statement["subject"], statement["timezone"]) == ("Mathematics", "Europe/London")
    (entry,) = statement["entries"]
    assert (entry["start_local"], entry["at_local"]) == ("2026-03-31T16:30:00+01:00", "2026-03-31T17:32:10+01:00")
    assert (entry["amount"], entry["sessions_left"], entry["by_name"]) == (1, 7, "Amina Siddiqui")


async def test_a_statement_may_be_asked_for_in_another_zone(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_statement", s.statement)
    (entry,) = (await tutor.get(STATEMENT, params={"tz": "Asia/Karachi"})).json()["entries"]
    assert (entry["timezone"], entry["start_local"]) == ("Asia/Karachi", "2026-03-31T20:30:00+05:00")


async def as_csv(tutor: httpx.AsyncClient, rpcs: Rpcs, **changed: object) -> list[dict[str, str]]:
    """The lines of the CSV, by heading."""
    rpcs.answer("get_statement", {**s.statement, **changed})
    response = await tutor.get(STATEMENT, params={"format": "csv"})
    assert response.status_code == 200, response.text
    headings, *lines = csv.reader(io.StringIO(response.text.removeprefix("\ufeff"), newline=""), strict=True)
    assert tuple(headings) == HEADINGS
    return [dict(zip(headings, line, strict=True)) for line in lines]


async def test_the_csv_is_a_file_that_parents_can_read(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_statement", s.statement)
    response = await tutor.get(STATEMENT, params={"format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["content-disposition"] == 'attachment; filename="statement-mathematics-2026-03-01.csv"'
    assert response.text == (
        "\ufeffLesson date,Lesson time,Time zone,Lesson number,Tutor,What happened,Credits used,Credits left,"
        "Entered on,Entered by,Reason\r\n"
        "2026-03-31,16:30,Europe/London,4,Amina Siddiqui,Lesson took place,+1,7,2026-03-31 17:32,Amina Siddiqui,\r\n"
    )


@pytest.mark.parametrize(
    ("accept", "written"),
    [
        ("text/csv", "text/csv"),
        ("Text/CSV; q=0.8, application/json;q=0.5", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("application/json, text/csv;q=0.9", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csvx", "application/json"),
        ("", "application/json"),
        (";;,q=,\xff", "application/json"),
    ],
)
async def test_without_a_format_the_accept_header_decides(
    tutor: httpx.AsyncClient, rpcs: Rpcs, accept: str, written: str
) -> None:
    rpcs.answer("get_statement", s.statement)
    response = await tutor.get(STATEMENT, headers=[(b"Accept", accept.encode("latin-1"))])
    assert response.headers["content-type"].split(";")[0] == written


async def test_a_format_that_is_asked_for_goes_before_accept(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_statement", s.statement)
    response = await tutor.get(STATEMENT, params={"format": "json"}, headers={"Accept": "text/csv"})
    assert response.headers["content-type"] == "application/json"


async def test_a_format_that_is_none_is_named(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await tutor.get(STATEMENT, params={"format": "pdf"})
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == ["format"]


async def test_a_refused_statement_is_a_problem_document_also_for_csv(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.refuse("get_statement", 404, "not_found", "There is no such package.")
    response = await tutor.get(STATEMENT, params={"format": "csv"})
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def entry(number: int, **changed: object) -> Mapping[str, Any]:
    """The entry of a session with this number."""
    return {**s.entry, "entry_no": number, "amount": 1 if number % 2 else -1, **changed}


@pytest.mark.parametrize(
    ("status", "entries", "told"),
    [
        ("done", 1, ["Lesson took place"]),
        ("no_show_student", 1, ["Student did not come"]),
        ("no_show_tutor", 2, ["Charged, given back later", "Given back: tutor did not come"]),
        ("cancelled", 2, ["Charged, given back later", "Given back: lesson was cancelled"]),
        ("scheduled", 2, ["Charged, given back later", "Given back: lesson is still to come"]),
        ("in_progress", 2, ["Charged, given back later", "Given back: lesson is under way"]),
        ("rescheduled", 2, ["Charged, given back later", "Given back: lesson was put off"]),
        ("done", 2, ["Charged, given back later", "Given back: charged to another package"]),
        ("done", 3, ["Charged, given back later", "Given back", "Lesson took place"]),
    ],
)
async def test_what_happened_is_told_in_words_that_fit_the_credit(
    tutor: httpx.AsyncClient, rpcs: Rpcs, status: str, entries: int, told: list[str]
) -> None:
    lines = await as_csv(tutor, rpcs, entries=[entry(number + 1, status=status) for number in range(entries)])
    assert [line["What happened"] for line in lines] == told
    assert [line["Credits used"] for line in lines] == ["+1", "-1", "+1"][:entries]


@pytest.mark.parametrize(
    ("role", "name", "told"),
    [
        ("tutor", "Amina Siddiqui", "Amina Siddiqui"),
        ("admin", None, "The office"),
        ("studio", None, "The office"),
        ("tutor", None, "The tutor"),
        ("student", None, "The student"),
        ("clock", None, "Automatic"),
        ("service", None, "Automatic"),
    ],
)
async def test_who_did_it_is_a_name_or_a_word(
    tutor: httpx.AsyncClient, rpcs: Rpcs, role: str, name: str | None, told: str
) -> None:
    (line,) = await as_csv(tutor, rpcs, entries=[entry(1, by_role=role, by_name=name)])
    assert line["Entered by"] == told


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")'])
async def test_no_text_is_taken_for_a_formula(tutor: httpx.AsyncClient, rpcs: Rpcs, evil: str) -> None:
    (line,) = await as_csv(tutor, rpcs, entries=[entry(1, reason=evil, tutor=evil, by_name=evil)])
    assert {line[name] for name in ("Reason", "Tutor", "Entered by")} == {f"'{evil}"}


@pytest.mark.parametrize("text", ['Said "no", then', "two\r\nlines", "Zoë, 明日", "a-b", "semi;colon"])
async def test_a_text_arrives_as_it_is(tutor: httpx.AsyncClient, rpcs: Rpcs, text: str) -> None:
    (line,) = await as_csv(tutor, rpcs, entries=[entry(1, reason=text)])
    assert line["Reason"] == text


async def test_what_was_used_before_stands_in_the_first_line(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    first, second = await as_csv(tutor, rpcs, package={**s.package, "opening_used": 3})
    assert first["What happened"] == "Used before this statement begins"
    assert (first["Credits used"], first["Credits left"], first["Lesson date"]) == ("+3", "5", "")
    assert second["What happened"] == "Lesson took place"


async def test_an_untouched_package_has_a_heading_alone(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    assert await as_csv(tutor, rpcs, entries=[]) == []


@pytest.mark.parametrize(
    ("subject", "filename"),
    [
        ('Maths" \r\n; x=../..', "statement-maths-x-2026-03-01.csv"),
        ("Español & français", "statement-espa-ol-fran-ais-2026-03-01.csv"),
        ("数学", "statement-2026-03-01.csv"),
    ],
)
async def test_a_file_is_called_in_plain_letters(
    tutor: httpx.AsyncClient, rpcs: Rpcs, subject: str, filename: str
) -> None:
    rpcs.answer("get_statement", {**s.statement, "subject": subject})
    response = await tutor.get(STATEMENT, params={"format": "csv"})
    assert response.headers["content-disposition"] == f'attachment; filename="{filename}"'
