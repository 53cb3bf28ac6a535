"""A house brought from elsewhere: what is read from the sheets, and what is told of lines that cannot be read."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from lib.web import LARGEST_BODY
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

PEOPLE = "email,display_name,timezone,roles,phone"
MATCHES = "student_email,tutor_email,subject,level,timezone,days,time,duration_mins,meet_link"
PACKAGES = "student_email,subject,tier_sessions,opening_used,start_date,end_date"
AMINA = "amina@example.com,Amina Siddiqui,Asia/Karachi,tutor,+923001234567"
MATHS = "oliver@example.com,amina@example.com,Maths,GCSE,Europe/London,Tue Thu,16:30,45,https://meet.google.com/abc-defg-hij"
TWELVE = "oliver@example.com,Maths,12,3,2026-03-01,2026-04-30"
PERSON = {
    "line": 2,
    "email": "amina@example.com",
    "display_name": "Amina Siddiqui",
    "timezone": "Asia/Karachi",
    "roles": ["tutor"],
    "phone": "+923001234567",
}


async def brought(tutor: httpx.AsyncClient, rpcs: Rpcs, sheet: str, *lines: str) -> list[Mapping[str, Any]]:
    """The lines that go to the database."""
    rpcs.answer("import_house", s.imported)
    response = await tutor.post("/import", json={sheet: "\n".join(lines)})
    assert (response.status_code, response.json()["errors"]) == (200, []), response.text
    return rpcs.sent("import_house")[f"p_{sheet}"]


async def told(tutor: httpx.AsyncClient, rpcs: Rpcs, sheet: str, *lines: str) -> list[tuple[int, str, str]]:
    """What is wrong with a sheet: line, column, message. Nothing of it goes to the database."""
    rpcs.answer("import_house", s.imported)
    response = await tutor.post("/import", json={sheet: "\n".join(lines)})
    report = response.json()
    assert (response.status_code, report["imported"]) == (200, False), response.text
    assert rpcs.sent("import_house") == {"p_dry_run": True}, "only whether the caller may"
    assert {(each["sheet"], each["code"]) for each in report["errors"]} == {(sheet, "invalid")}
    return [(each["line"], each["field"], each["message"]) for each in report["errors"]]


# --- what is read ------------------------------------------------------------------------------------------


async def test_each_sheet_becomes_what_the_database_takes(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("import_house", s.imported)
    sheets = {
        "people": f"{PEOPLE}\n{AMINA}\n",
        "matches": f"{MATCHES}\n{MATHS}\n",
        "packages": f"{PACKAGES}\n{TWELVE}\n",
    }
    response = await tutor.post("/import", json={**sheets, "dry_run": False})
    assert response.status_code == 200, response.text
    assert rpcs.sent("import_house") == {
        "p_people": [PERSON],
        "p_matches": [
            {
                "line": 2,
                "student_email": "oliver@example.com",
                "tutor_email": "amina@example.com",
                "subject": "Maths",
                "level": "GCSE",
                "schedule_pattern": {
                    "timezone": "Europe/London",
                    "days": [2, 4],
                    "time": "16:30",
                    "duration_mins": 45,
                },
                "meet_link": s.MEET,
            }
        ],
        "p_packages": [
            {
                "line": 2,
                "student_email": "oliver@example.com",
                "subject": "Maths",
                "tier_sessions": 12,
                "opening_used": 3,
                "start_date": "2026-03-01",
                "end_date": "2026-04-30",
            }
        ],
        "p_dry_run": False,
    }


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{PEOPLE}\r\n{AMINA}\r\n",
        f"{PEOPLE}\r{AMINA}\r",
        f"{PEOPLE}\n{AMINA}",
        f"{PEOPLE}\n{AMINA}\n\n,,,,\n  \n",
        f" Email , DISPLAY_NAME,timezone,roles,phone\n{AMINA}",
        f"{PEOPLE},,\n{AMINA},, \n",
        f"{PEOPLE}\n{AMINA}".replace(",", ";"),
        f"{PEOPLE}\n{AMINA}".replace(",", "\t"),
        f"{PEOPLE}\n" + ",".join(f'" {value} "' for value in AMINA.split(",")),
        f"phone,roles,timezone,display_name,email\n{','.join(reversed(AMINA.split(',')))}",
    ],
)
async def test_a_sheet_is_read_however_a_spreadsheet_wrote_it(tutor: httpx.AsyncClient, rpcs: Rpcs, text: str) -> None:
    assert await brought(tutor, rpcs, "people", text) == [PERSON]


async def test_a_line_is_counted_as_in_the_file(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    lines = await brought(
        tutor,
        rpcs,
        "packages",
        "",
        PACKAGES,
        TWELVE,
        "",
        f'"oliver@example.com\r\n",Latin{TWELVE[24:]}',
        TWELVE,
    )
    assert [each["line"] for each in lines] == [3, 5, 7]


@pytest.mark.parametrize(
    ("written", "roles"),
    [
        ("tutor", ["tutor"]),
        ("Tutor ADMIN", ["tutor", "admin"]),
        ('"tutor, student"', ["tutor", "student"]),
        ("tutor;student", ["tutor", "student"]),
        ("tutor tutor", ["tutor"]),
    ],
)
async def test_roles_are_several_words(tutor: httpx.AsyncClient, rpcs: Rpcs, written: str, roles: list[str]) -> None:
    (line,) = await brought(tutor, rpcs, "people", PEOPLE, f"a@example.com,A,UTC,{written},")
    assert (line["roles"], line["phone"]) == (roles, None)


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("1 3", [1, 3]),
        ("Mon Wed", [1, 3]),
        ("wednesday monday", [1, 3]),
        ('"Sa,Su"', [6, 7]),
        ("7;6;5;4;3;2;1", [1, 2, 3, 4, 5, 6, 7]),
        ("Tue Tuesday 2", [2]),
    ],
)
async def test_days_are_names_or_numbers(tutor: httpx.AsyncClient, rpcs: Rpcs, written: str, days: list[int]) -> None:
    (line,) = await brought(tutor, rpcs, "matches", MATCHES, MATHS.replace("Tue Thu", written))
    assert line["schedule_pattern"]["days"] == days


@pytest.mark.parametrize(("written", "time"), [("9:05", "09:05"), ("16:30:00", "16:30"), ("00:00", "00:00")])
async def test_a_time_is_written_as_spreadsheets_do(
    tutor: httpx.AsyncClient, rpcs: Rpcs, written: str, time: str
) -> None:
    (line,) = await brought(tutor, rpcs, "matches", MATCHES, MATHS.replace("16:30", written))
    assert line["schedule_pattern"]["time"] == time


async def test_what_may_be_left_out_may_be_empty_or_no_column_at_all(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    (bare,) = await brought(
        tutor, rpcs, "matches", "student_email,tutor_email,subject", "o@example.com,a@example.com,X"
    )
    (empty,) = await brought(tutor, rpcs, "matches", MATCHES, "o@example.com,a@example.com,X,,,,,,")
    assert bare == empty
    assert (bare["level"], bare["schedule_pattern"], bare["meet_link"]) == (None, None, None)
    (package,) = await brought(tutor, rpcs, "packages", PACKAGES, TWELVE.replace(",3,", ",,"))
    assert package["opening_used"] == 0
    (pattern,) = await brought(tutor, rpcs, "matches", MATCHES, MATHS.replace("45", ""))
    assert pattern["schedule_pattern"]["duration_mins"] == 60


# --- what cannot be read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "faults"),
    [
        (f"{PEOPLE},age", [("age", "is no column of people")]),
        (f"{PEOPLE},email", [("email", "is there more than once")]),
        (PEOPLE.replace("email,", ""), [("email", "is missing in the first line")]),
        (f"{PEOPLE},<script>", [("?", "is no column of people")]),
        ("email", [(name, "is missing in the first line") for name in ("display_name", "roles", "timezone")]),
        (
            AMINA,
            [
                ("?", "is no column of people"),
                ("amina siddiqui", "is no column of people"),
                ("?", "is no column of people"),
                ("tutor", "is no column of people"),
                ("?", "is no column of people"),
                *((name, "is missing in the first line") for name in ("display_name", "email", "roles", "timezone")),
            ],
        ),
    ],
)
async def test_a_wrong_first_line_is_told_alone(
    tutor: httpx.AsyncClient, rpcs: Rpcs, heading: str, faults: list[tuple[str, str]]
) -> None:
    assert await told(tutor, rpcs, "people", heading, "x,y,z") == [(1, field, text) for field, text in faults]


@pytest.mark.parametrize(
    ("sheet", "line", "field", "message"),
    [
        ("people", AMINA.replace("amina@example.com", "amina"), "email", "must be an e-mail address"),
        ("people", AMINA.replace("amina@example.com", ""), "email", "must not be empty"),
        ("people", AMINA.replace("Amina Siddiqui", "x" * 121), "display_name", "at most 120"),
        ("people", AMINA.replace("Amina Siddiqui", "A\x00"), "display_name", "without control characters"),
        ("people", AMINA.replace("Asia/Karachi", "Karachi"), "timezone", "timezone"),
        ("people", AMINA.replace("tutor", "teacher"), "roles", "'admin', 'tutor' or 'student'"),
        ("people", AMINA.replace("tutor", ";"), "roles", "at least 1"),
        ("people", AMINA.replace("+92", "0"), "phone", "E.164"),
        ("people", f"{AMINA},more", "", "more values than the first line has columns"),
        ("people", "amina@example.com", "display_name", "must not be empty"),
        ("matches", MATHS.replace("Tue Thu", "Tue Someday"), "days", "weekdays such as"),
        ("matches", MATHS.replace("Tue Thu", "0"), "days", "weekdays such as"),
        ("matches", MATHS.replace("Tue Thu", "T"), "days", "weekdays such as"),
        ("matches", MATHS.replace("16:30", "24:00"), "time", "must be a time such as 16:30"),
        ("matches", MATHS.replace("16:30", "4:30pm"), "time", "must be a time such as 16:30"),
        ("matches", MATHS.replace("16:30", "16:30:30"), "time", "must be a time such as 16:30"),
        ("matches", MATHS.replace("16:30", ""), "", "timezone, days and time together"),
        ("matches", MATHS.replace("45", "10"), "duration_mins", "greater than or equal to 15"),
        ("matches", MATHS.replace("45", "1h"), "duration_mins", "whole number"),
        ("matches", MATHS.replace("https://meet", "meet"), "meet_link", "must be a link such as"),
        ("packages", TWELVE.replace(",12,", ",10,"), "tier_sessions", "8, 12 or 20"),
        ("packages", TWELVE.replace(",12,", ",twelve,"), "tier_sessions", "whole number"),
        ("packages", TWELVE.replace(",3,", ",13,"), "", "opening_used must not exceed tier_sessions"),
        ("packages", TWELVE.replace(",3,", ",-1,"), "opening_used", "whole number"),
        ("packages", TWELVE.replace("2026-04-30", "30/04/2026"), "end_date", "must be a date such as 2026-03-02"),
        ("packages", TWELVE.replace("2026-04-30", "2026-02-30"), "end_date", "valid date"),
        ("packages", TWELVE.replace("2026-04-30", "2026-02-01"), "", "end_date must not come before start_date"),
        ("packages", TWELVE.replace("2026-03-01", "1999-12-31"), "start_date", "2000 to 2100"),
    ],
)
async def test_a_line_that_cannot_be_read_is_named_with_its_column(  # noqa: PLR0917
    tutor: httpx.AsyncClient, rpcs: Rpcs, sheet: str, line: str, field: str, message: str
) -> None:
    heading = {"people": PEOPLE, "matches": MATCHES, "packages": PACKAGES}[sheet]
    faults = await told(tutor, rpcs, sheet, heading, line)
    assert (faults[0][:2], message in faults[0][2]) == ((2, field), True), faults


async def test_every_bad_line_is_named_with_all_that_is_wrong(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    faults = await told(
        tutor, rpcs, "people", PEOPLE, AMINA, "x,y,z,w,v", "", '"two\nlines",A,UTC,tutor,', f"{AMINA},more"
    )
    assert [(line, field) for line, field, _ in faults] == [
        *((3, field) for field in ("email", "timezone", "roles", "phone")),
        (5, "email"),
        (7, ""),
    ]


@pytest.mark.parametrize(
    ("lines", "line"),
    [(('"',), 1), ((PEOPLE, AMINA, '"open,', "x"), 3), ((PEOPLE, 'a"b,"c"d'), 2), ((PEOPLE, '"c"d,x'), 2)],
)
async def test_what_is_no_csv_is_told_with_the_line_it_begins_in(
    tutor: httpx.AsyncClient, rpcs: Rpcs, lines: tuple[str, ...], line: int
) -> None:
    ((number, field, message),) = await told(tutor, rpcs, "people", *lines)
    assert (number, field) == (line, "")
    assert "a quote is not closed" in message


async def test_a_sheet_has_at_most_2000_lines(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    assert len(await brought(tutor, rpcs, "people", PEOPLE, *[AMINA] * 2000)) == 2000
    ((line, _, message),) = await told(tutor, rpcs, "people", PEOPLE, *[AMINA] * 2001)
    assert line == 2002
    assert "at most 2000 lines" in message


async def test_faults_of_all_sheets_are_told_together(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("import_house", s.imported)
    response = await tutor.post("/import", json={"people": "x", "matches": "x", "packages": f"{PACKAGES}\n{TWELVE}"})
    assert {each["sheet"] for each in response.json()["errors"]} == {"people", "matches"}


# --- how it is answered ------------------------------------------------------------------------------------


async def test_bad_lines_refuse_what_is_no_dry_run(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("import_house", s.imported)
    response = await tutor.post("/import", json={"people": f"{PEOPLE}\nx,A,UTC,tutor,", "dry_run": False})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "import_refused")
    assert problem["errors"] == [
        {"sheet": "people", "line": 2, "field": "email", "code": "invalid", "message": "must be an e-mail address"}
    ]
    assert rpcs.sent("import_house") == {"p_dry_run": True}


async def test_lines_that_the_database_refuses_are_told_in_the_same_shape(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    error = {"sheet": "matches", "line": 3, "code": "invalid", "message": "Nobody tutors themselves."}
    known = {"people": 4, "matches": 0, "packages": 1}
    rpcs.answer("import_house", {**s.imported, "known": known, "errors": [{**error, "field": "tutor_id"}, error]})
    report = (await tutor.post("/import", json={})).json()
    assert report["errors"] == [{**error, "field": "tutor_email"}, {**error, "field": ""}]
    assert report["known"] == known
    rpcs.refuse("import_house", 422, "import_refused", "Nothing was imported.", {"errors": [error]})
    response = await tutor.post("/import", json={"dry_run": False})
    assert (response.status_code, response.json()["code"]) == (422, "import_refused")
    assert response.json()["errors"] == [error]


@pytest.mark.parametrize("body", [{}, {"people": "x"}, {"people": "x", "dry_run": False}])
async def test_whoever_may_not_import_learns_nothing_of_the_sheets(
    tutor: httpx.AsyncClient, rpcs: Rpcs, body: Mapping[str, Any]
) -> None:
    rpcs.refuse("import_house", 403, "not_allowed", "Only an admin may do this.")
    response = await tutor.post("/import", json=body)
    assert (response.status_code, response.json()["code"], rpcs.count) == (403, "not_allowed", 1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"people": ["x"]}, "people"),
        ({"people": None}, "people"),
        ({"students": ""}, "students"),
        ({"dry_run": "no"}, "dry_run"),
        ({"people": "\ud800"}, "people"),
    ],
)
async def test_what_is_no_sheet_is_named(
    tutor: httpx.AsyncClient, rpcs: Rpcs, body: Mapping[str, Any], field: str
) -> None:
    content = json.dumps(body)
    response = await tutor.post("/import", content=content, headers={"Content-Type": "application/json"})
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_a_body_of_a_mebibyte_is_taken_and_more_is_not(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("import_house", s.imported)
    frame = len(json.dumps({"people": ""}))
    for too_much in (0, 1):
        body = json.dumps({"people": " " * (LARGEST_BODY - frame + too_much)})
        response = await tutor.post("/import", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == (413 if too_much else 200), response.text
    assert rpcs.count == 1
