"""Chapter 3: a wish, the tutor who answers it, and the weekly pattern."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import audit, generate, lesson
from tests.house import (
    BILAL,
    EVERYBODY,
    HARRIET,
    LENA,
    MARCUS,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    OLIVER,
    OPEN_REQUEST_ID,
    PHYSICS,
    ZARA,
    Person,
)

PATTERN: dict[str, Any] = {"timezone": "Europe/London", "days": [1, 4], "time": "16:30", "duration_mins": 45}
LINK = "https://meet.google.com/xyz-abcd-efg"


def refused_by(db: Database, function: str, **arguments: object) -> Refused:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, function, **arguments)
    return refused.value


def status_of(db: Database, request_id: object) -> str:
    return db.value("select status::text from public.requests where id = %s", request_id)


def end(db: Database, match_id: object) -> None:
    db.run("update public.matches set status = 'ended' where id = %s", match_id)


# --- requests -----------------------------------------------------------------------------------------


def test_a_student_asks_for_themselves(db: Database) -> None:
    request = db.call(LENA, "create_request", p_subject="Chess", p_level="Beginner")
    assert request.pop("id")
    assert request.pop("created_at") == "2026-02-26T09:00:00+00:00"
    assert request == {
        "student": {"id": str(LENA.id), "display_name": "Lena Ortiz", "timezone": "America/New_York"},
        "subject": "Chess",
        "level": "Beginner",
        "status": "open",
    }


def test_an_admin_asks_for_any_student(db: Database) -> None:
    request = db.call(NADIA, "create_request", p_subject="Chess", p_student_id=ZARA.id)
    assert (request["student"]["id"], request["level"]) == (str(ZARA.id), None)
    assert audit(db, request["id"]) == [("request_created", "admin", NADIA.id)]


@pytest.mark.parametrize("who", [LENA, BILAL, NEWCOMER])
def test_nobody_else_asks_for_a_student(db: Database, who: Person) -> None:
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "create_request", p_subject="Chess", p_student_id=OLIVER.id)


@pytest.mark.parametrize("who", [BILAL, NEWCOMER])
def test_who_is_no_student_does_not_ask(db: Database, who: Person) -> None:
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "create_request", p_subject="Chess")


@pytest.mark.parametrize("who", [NADIA, BILAL, Person(uuid4(), "")])
def test_a_request_is_for_an_active_student(db: Database, who: Person) -> None:
    refused = refused_by(db, "create_request", p_subject="Chess", p_student_id=who.id)
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "student_id"})
    db.call(NADIA, "update_person", p_person_id=ZARA.id, p_is_active=False)
    assert refused_by(db, "create_request", p_subject="Chess", p_student_id=ZARA.id).code == "invalid"


@pytest.mark.parametrize("subject", ["", " Chess", "x" * 121, "a\nb"])
def test_a_subject_is_a_line(db: Database, subject: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="requests_subject_is_a_line"):
        db.call(LENA, "create_request", p_subject=subject)


def test_an_admin_changes_closes_and_reopens_a_request(db: Database) -> None:
    changed = db.call(NADIA, "update_request", p_request_id=OPEN_REQUEST_ID, p_subject="Go", p_status="closed")
    assert (changed["subject"], changed["level"], changed["status"]) == ("Go", "Beginner", "closed")
    reopened = db.call(NADIA, "update_request", p_request_id=OPEN_REQUEST_ID, p_level="", p_status="open")
    assert (reopened["subject"], reopened["level"], reopened["status"]) == ("Go", None, "open")


@pytest.mark.parametrize("status", ["matched", "active"])
def test_a_request_becomes_matched_and_active_by_its_match_alone(db: Database, status: str) -> None:
    refused = refused_by(db, "update_request", p_request_id=OPEN_REQUEST_ID, p_status=status)
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "status"})


@pytest.mark.parametrize("status", ["open", "closed"])
def test_a_request_with_a_running_match_keeps_its_status(db: Database, status: str) -> None:
    refused = refused_by(db, "update_request", p_request_id=MATHEMATICS.request_id, p_status=status)
    assert (refused.status, refused.code) == (409, "in_use")
    kept = db.call(
        NADIA, "update_request", p_request_id=MATHEMATICS.request_id, p_status="matched", p_subject="Algebra"
    )
    assert (kept["status"], kept["subject"]) == ("matched", "Algebra")
    end(db, MATHEMATICS.id)
    db.call(NADIA, "update_request", p_request_id=MATHEMATICS.request_id, p_status=status)
    assert status_of(db, MATHEMATICS.request_id) == status


# --- matches ------------------------------------------------------------------------------------------


def test_a_match_gives_a_request_its_tutor(db: Database) -> None:
    match = db.call(
        NADIA, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=MARCUS.id, p_schedule_pattern=PATTERN,
        p_meet_link=LINK,
    )  # fmt: skip
    match_id = match.pop("id")
    assert match.pop("created_at") == match.pop("updated_at")
    assert match == {
        "request_id": str(OPEN_REQUEST_ID),
        "status": "proposed",
        "tutor": {"id": str(MARCUS.id), "display_name": "Marcus Reed", "timezone": "America/New_York"},
        "student": {"id": str(OLIVER.id), "display_name": "Oliver Finch", "timezone": "Europe/London"},
        "subject": "Chess",
        "level": "Beginner",
        "schedule_pattern": PATTERN,
        "meet_link": LINK,
    }
    assert status_of(db, OPEN_REQUEST_ID) == "matched"
    assert audit(db, match_id) == [("match_created", "admin", NADIA.id)]


def test_a_match_may_come_without_pattern_and_link(db: Database) -> None:
    match = db.call(NADIA, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=MARCUS.id, p_meet_link="")
    assert (match["schedule_pattern"], match["meet_link"]) == (None, None)


def test_a_request_has_one_running_match_and_may_have_another_later(db: Database) -> None:
    refused = refused_by(db, "create_match", p_request_id=MATHEMATICS.request_id, p_tutor_id=MARCUS.id)
    assert (refused.status, refused.code) == (409, "already_exists")
    end(db, MATHEMATICS.id)
    assert (
        db.call(NADIA, "create_match", p_request_id=MATHEMATICS.request_id, p_tutor_id=MARCUS.id)["status"]
        == "proposed"
    )
    with pytest.raises(psycopg.errors.UniqueViolation, match="matches_one_running"):
        db.run("update public.matches set status = 'active' where id = %s", MATHEMATICS.id)


def test_a_closed_request_is_not_matched(db: Database) -> None:
    db.call(NADIA, "update_request", p_request_id=OPEN_REQUEST_ID, p_status="closed")
    refused = refused_by(db, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=MARCUS.id)
    assert (refused.status, refused.code) == (409, "in_use")


@pytest.mark.parametrize("tutor", [NADIA, LENA, NEWCOMER, Person(uuid4(), "")])
def test_a_match_needs_an_active_tutor(db: Database, tutor: Person) -> None:
    for function, arguments in (
        ("create_match", {"p_request_id": OPEN_REQUEST_ID}),
        ("update_match", {"p_match_id": MATHEMATICS.id}),
    ):
        refused = refused_by(db, function, p_tutor_id=tutor.id, **arguments)
        assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "tutor_id"})


def test_a_deactivated_tutor_gets_no_match(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=MARCUS.id, p_is_active=False)
    assert refused_by(db, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=MARCUS.id).code == "invalid"


def test_nobody_tutors_themselves(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=OLIVER.id, p_roles=["student", "tutor"])
    refused = refused_by(db, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=OLIVER.id)
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "tutor_id"})
    match = db.call(NADIA, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=MARCUS.id)
    refused = refused_by(db, "update_match", p_match_id=match["id"], p_tutor_id=OLIVER.id)
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "tutor_id"})


def test_a_match_needs_a_request(db: Database) -> None:
    refused = refused_by(db, "create_match", p_request_id=uuid4(), p_tutor_id=MARCUS.id)
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "request_id"})


def test_the_tutor_changes_only_before_the_first_sessions(db: Database) -> None:
    changed = db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_tutor_id=MARCUS.id)
    assert changed["tutor"]["id"] == str(MARCUS.id)
    db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_tutor_id=BILAL.id)
    generate(db, MATHEMATICS)
    refused = refused_by(db, "update_match", p_match_id=MATHEMATICS.id, p_tutor_id=MARCUS.id)
    assert (refused.status, refused.code) == (409, "in_use")
    same = db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_tutor_id=BILAL.id, p_meet_link=LINK)
    assert same["meet_link"] == LINK


def test_a_match_with_sessions_keeps_its_people_in_studio_too(db: Database) -> None:
    lesson(db)
    for column, person in (("tutor_user_id", MARCUS), ("student_user_id", OLIVER)):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            db.run(f"update public.matches set {column} = %s where id = %s", person.id, MATHEMATICS.id)


def test_a_match_is_of_the_requests_student(db: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="matches_student_is_the_requests"):
        db.run("update public.matches set student_user_id = %s where id = %s", OLIVER.id, MATHEMATICS.id)


def test_a_meet_link_is_kept_changed_and_cleared(db: Database) -> None:
    def linked(**arguments: object) -> object:
        return db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, **arguments)["meet_link"]

    assert linked(p_meet_link=LINK) == LINK
    assert linked() == LINK
    assert linked(p_meet_link="") is None


@pytest.mark.parametrize(
    "link",
    [
        "http://meet.google.com/abc-defg-hij",
        "https://meet.google.com/abc-defg-hij/",
        "https://meet.google.com/abc-defg-hij?x=1",
        "https://meet.google.com/ABC-DEFG-HIJ",
        "https://meet.google.com/abcdefghij",
        "https://meet.google.com.evil.example/abc-defg-hij",
        "https://evil.example/https://meet.google.com/abc-defg-hij",
        "https://meet.google.com/abc-defg-hij\n",
        "javascript:alert(1)",
        " ",
    ],
)
def test_anything_else_is_no_meet_link(db: Database, link: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="matches_meet_link_is_google_meet"):
        db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_meet_link=link)


# --- the weekly pattern -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"days": [1, 2, 3, 4, 5, 6, 7]},
        {"days": [7]},
        {"time": "00:00"},
        {"time": "23:59"},
        {"duration_mins": 15},
        {"duration_mins": 480},
        {"timezone": "UTC"},
    ],
)
def test_a_pattern_is_set(db: Database, change: dict[str, Any]) -> None:
    pattern = PATTERN | change
    match = db.call(NADIA, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=pattern)
    assert match["schedule_pattern"] == pattern
    assert match["meet_link"] == "https://meet.google.com/abc-defg-hij", "kept"


BAD_PARTS: list[dict[str, Any]] = [
    {"days": []},
    {"days": [0]},
    {"days": [8]},
    {"days": [1, 1]},
    {"days": [4, 1]},
    {"days": [1.5]},
    {"days": ["1"]},
    {"days": [None]},
    {"days": 1},
    {"days": "1"},
    {"days": [1, 2, 3, 4, 5, 6, 7, 7]},
    {"days": [1e30]},
    {"time": "24:00"},
    {"time": "9:00"},
    {"time": "09:60"},
    {"time": "09:00:00"},
    {"time": "09:00\n"},
    {"time": 9},
    {"time": None},
    {"duration_mins": 14},
    {"duration_mins": 481},
    {"duration_mins": 60.5},
    {"duration_mins": "60"},
    {"duration_mins": -60},
    {"duration_mins": None},
    {"timezone": "EST"},
    {"timezone": "europe/london"},
    {"timezone": "Mars/Base"},
    {"timezone": ""},
    {"timezone": None},
    {"weeks": 2},
]
BAD_PATTERNS: list[dict[str, Any]] = [
    *(PATTERN | part for part in BAD_PARTS),
    *({key: value for key, value in PATTERN.items() if key != missing} for missing in PATTERN),
    {},
]


@pytest.mark.parametrize("pattern", BAD_PATTERNS, ids=str)
def test_what_is_no_pattern_is_refused(db: Database, pattern: dict[str, Any]) -> None:
    refused = refused_by(db, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=pattern)
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "schedule_pattern"})
    with pytest.raises(psycopg.errors.CheckViolation, match="matches_schedule_pattern_is_valid"):
        db.call(
            NADIA, "create_match", p_request_id=OPEN_REQUEST_ID, p_tutor_id=MARCUS.id, p_schedule_pattern=pattern
        )  # fmt: skip


@pytest.mark.parametrize("document", [None, "null", "[]", "1", '"text"', "true", "[1]"])
def test_what_is_no_object_is_no_pattern(db: Database, document: str | None) -> None:
    refused = refused_by(db, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=document)
    assert (refused.status, refused.code) == (422, "invalid")


def test_a_pattern_may_bring_or_clear_the_link(db: Database) -> None:
    def linked(link: str) -> object:
        match = db.call(
            NADIA, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=PATTERN, p_meet_link=link
        )
        return match["meet_link"]

    assert (linked(LINK), linked("")) == (LINK, None)


def test_sessions_that_exist_stay_when_the_pattern_changes(db: Database) -> None:
    before = generate(db, MATHEMATICS)["sessions"]
    db.call(NADIA, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=PATTERN)
    assert db.call(NADIA, "list_sessions")["sessions"] == before


def test_an_ended_match_gets_no_pattern(db: Database) -> None:
    end(db, MATHEMATICS.id)
    refused = refused_by(db, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=PATTERN)
    assert (refused.status, refused.code) == (409, "in_use")


# --- who ----------------------------------------------------------------------------------------------

ADMIN_CALLS: dict[str, dict[str, Any]] = {
    "update_request": {"p_request_id": OPEN_REQUEST_ID, "p_subject": "Go"},
    "create_match": {"p_request_id": OPEN_REQUEST_ID, "p_tutor_id": MARCUS.id},
    "update_match": {"p_match_id": MATHEMATICS.id, "p_meet_link": LINK},
    "set_match_schedule": {"p_match_id": MATHEMATICS.id, "p_schedule_pattern": PATTERN},
}


@pytest.mark.parametrize("function", ADMIN_CALLS)
def test_only_admins_match(db: Database, function: str) -> None:
    for who in EVERYBODY:
        if who != NADIA:
            with pytest.raises(Refused, match="403 not_allowed"):
                db.call(who, function, **ADMIN_CALLS[function])
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", function, **ADMIN_CALLS[function])
    for role in ("anon", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(role, function, **ADMIN_CALLS[function])


@pytest.mark.parametrize("function", ["update_request", "update_match", "set_match_schedule"])
def test_what_is_not_there_cannot_be_changed(db: Database, function: str) -> None:
    arguments = {name: uuid4() if isinstance(value, UUID) else value for name, value in ADMIN_CALLS[function].items()}
    assert refused_by(db, function, **arguments).status == 404


def test_people_read_their_own_requests_and_matches(db: Database) -> None:
    requests = "select id from public.requests"
    matches = "select id from public.matches"
    for who, own_requests, own_matches in (
        (LENA, {MATHEMATICS.request_id}, {MATHEMATICS.id}),
        (BILAL, {MATHEMATICS.request_id}, {MATHEMATICS.id}),
        (MARCUS, {PHYSICS.request_id}, {PHYSICS.id}),
        (NEWCOMER, set[UUID](), set[UUID]()),
    ):
        assert {row for (row,) in db.rows(requests, who=who)} == own_requests
        assert {row for (row,) in db.rows(matches, who=who)} == own_matches
    assert (len(db.rows(requests, who=NADIA)), len(db.rows(matches, who=NADIA))) == (5, 4)
    assert (len(db.rows(requests, who=OLIVER)), len(db.rows(requests, who=HARRIET))) == (2, 2)


def test_everybody_sees_the_names_of_those_they_share_a_match_with(db: Database) -> None:
    for who, others in (
        (HARRIET, {OLIVER.id, ZARA.id}),
        (ZARA, {MARCUS.id, HARRIET.id}),
        (LENA, {BILAL.id}),
        (NEWCOMER, set[UUID]()),
    ):
        seen = {row for (row,) in db.rows("select id from public.profiles", who=who)}
        assert seen == {who.id} | others
    assert len(db.rows("select id from public.profiles", who=NADIA)) == len(EVERYBODY)
