"""Chapter 12: a house brought from elsewhere, all lines or none, and every bad line named."""

from contextlib import ExitStack
from typing import Any

import pytest

from tests.database import Database, Refused
from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, OPEN_REQUEST_ID, Person
from tests.proof.clients import Clients, split

PATTERN = {"timezone": "Europe/London", "days": [1], "time": "09:00", "duration_mins": 60}


def person(line: int, name: str, *roles: str, **changed: object) -> dict[str, Any]:
    return {
        "line": line,
        "email": f"{name}@example.com",
        "display_name": name.title(),
        "timezone": "Europe/London",
        "roles": list(roles),
        "phone": None,
    } | changed


def match(line: int, student: str, tutor: str, subject: str, **changed: object) -> dict[str, Any]:
    return {
        "line": line,
        "student_email": f"{student}@example.com",
        "tutor_email": f"{tutor}@example.com",
        "subject": subject,
        "level": None,
        "schedule_pattern": PATTERN,
        "meet_link": None,
    } | changed


def package(line: int, student: str, subject: str, **changed: object) -> dict[str, Any]:
    return {
        "line": line,
        "student_email": f"{student}@example.com",
        "subject": subject,
        "tier_sessions": 12,
        "opening_used": 5,
        "start_date": "2026-03-01",
        "end_date": "2026-04-30",
    } | changed


PEOPLE = [person(2, "ann", "tutor"), person(3, "ben", "student"), person(4, "cyd", "student", "tutor")]
MATCHES = [match(2, "ben", "ann", "Maths"), match(3, "cyd", "ann", "Latin")]
PACKAGES = [package(2, "ben", "Maths"), package(3, "cyd", "Latin")]


def bring(  # as the function has them
    db: Database,
    people: list[dict[str, Any]] = PEOPLE,
    matches: list[dict[str, Any]] = MATCHES,
    packages: list[dict[str, Any]] = PACKAGES,
    *,
    dry_run: bool | None = False,
    who: Person = NADIA,
) -> dict[str, Any]:
    return db.call(
        who,
        "import_house",
        p_people=people or "[]",
        p_matches=matches or "[]",
        p_packages=packages or "[]",
        p_dry_run=dry_run,
    )


def size(db: Database) -> tuple[int, ...]:
    """How much there is of everything that an import enters."""
    tables = ("profiles", "accounts", "user_roles", "requests", "matches", "packages", "audit_logs")
    return tuple(db.value(f"select count(*) from public.{table}") for table in tables)


def errors(db: Database, *sheets: list[dict[str, Any]]) -> list[tuple[str, int, str, str | None]]:
    """Where and with which code the import is refused."""
    before = size(db)
    with pytest.raises(Refused) as refused:
        bring(db, *sheets)
    assert (refused.value.status, refused.value.code) == (422, "import_refused")
    assert size(db) == before
    told = refused.value.extra["errors"]
    assert all(each["message"] for each in told)
    dry = bring(db, *sheets, dry_run=True)
    assert (dry["imported"], dry["dry_run"], dry["errors"]) == (False, True, told)
    assert size(db) == before
    return [(each["sheet"], each["line"], each["code"], each.get("field")) for each in told]


# --- all of it -----------------------------------------------------------------------------------------


def test_a_house_is_entered_as_an_admin_would_by_hand(db: Database) -> None:
    report = bring(db)
    assert report == {
        "imported": True,
        "dry_run": False,
        "created": {"people": 3, "matches": 2, "packages": 2},
        "known": {"people": 0, "matches": 0, "packages": 0},
        "errors": [],
    }
    ((status, pattern, used, left),) = db.rows(
        """
        select r.status, m.schedule_pattern, p.sessions_used, p.tier_sessions - p.sessions_used
          from public.requests r
          join public.matches m on m.request_id = r.id
          join public.packages p on p.request_id = r.id
          join public.accounts a on a.profile_id = r.student_user_id
         where a.email = 'ben@example.com'
        """
    )
    assert (status, pattern, used, left) == ("matched", PATTERN, 5, 7)
    assert db.value(
        """
        select array_agg(role::text order by role)
          from public.user_roles join public.accounts using (profile_id) where email = 'cyd@example.com'
        """
    ) == ["tutor", "student"]


def test_what_is_entered_is_audited_like_work_by_hand(db: Database) -> None:
    before = db.value("select coalesce(max(id), 0) from public.audit_logs")
    bring(db)
    done = dict(
        db.rows(
            """
            select action, count(*) from public.audit_logs
             where id > %s and actor_user_id = %s and actor_role = 'admin' group by 1
            """,
            before,
            NADIA.id,
        )
    )
    assert {name: done[name] for name in ("person_created", "match_created", "package_created")} == {
        "person_created": 3,
        "match_created": 2,
        "package_created": 2,
    }


@pytest.mark.parametrize("dry_run", [True, None])
def test_a_dry_run_reports_and_writes_nothing(db: Database, *, dry_run: bool | None) -> None:
    before = size(db)
    report = bring(db, dry_run=dry_run)
    assert (report["imported"], report["dry_run"]) == (False, True)
    assert report["created"] == {"people": 3, "matches": 2, "packages": 2}
    assert size(db) == before


def test_the_same_file_again_changes_nothing(db: Database) -> None:
    bring(db)
    before = size(db)
    report = bring(db)
    assert report["imported"]
    assert report["created"] == {"people": 0, "matches": 0, "packages": 0}
    assert report["known"] == {"people": 3, "matches": 2, "packages": 2}
    assert size(db) == before


def test_a_longer_file_adds_what_is_new(db: Database) -> None:
    bring(db)
    report = bring(db, [*PEOPLE, person(5, "dot", "student")], [*MATCHES, match(4, "dot", "cyd", "Maths")])
    assert report["created"] == {"people": 1, "matches": 1, "packages": 0}


def test_a_line_that_is_there_twice_is_entered_once(db: Database) -> None:
    report = bring(db, [*PEOPLE, PEOPLE[0] | {"email": "ANN@example.com"}], [*MATCHES, MATCHES[0]])
    assert (report["created"]["people"], report["known"]["people"], report["known"]["matches"]) == (3, 1, 1)


def test_nothing_is_an_import_too(db: Database) -> None:
    assert bring(db, [], [], [])["created"] == {"people": 0, "matches": 0, "packages": 0}


# --- who is there already --------------------------------------------------------------------------------


def test_people_of_the_house_are_referred_to_by_address(db: Database) -> None:
    seeded = match(2, "", "", "Latin", student_email=LENA.email.upper(), tutor_email=HARRIET.email)
    assert bring(db, [], [seeded], [])["created"]["matches"] == 1


def test_whoever_signed_up_unasked_is_taken_in(db: Database) -> None:
    newcomer = person(2, "new", "student", email=NEWCOMER.email, display_name="Nia")
    assert bring(db, [newcomer], [], [])["created"]["people"] == 1
    me = db.call(NEWCOMER, "get_me")
    assert (me["display_name"], me["roles"]) == ("Nia", ["student"])


def test_a_known_person_keeps_name_and_roles(db: Database) -> None:
    other = person(2, "", "admin", email=BILAL.email, display_name="Somebody else")
    assert bring(db, [other], [], [])["known"]["people"] == 1
    me = db.call(BILAL, "get_me")
    assert (me["display_name"], me["roles"]) == ("Bilal Siddiqi", ["tutor"])


def test_an_open_request_of_that_subject_gets_the_match(db: Database) -> None:
    ((email, subject),) = db.rows(
        "select email, subject from public.requests join public.accounts on profile_id = student_user_id where id = %s",
        OPEN_REQUEST_ID,
    )
    line = match(2, "", "", subject, student_email=email, tutor_email=BILAL.email)
    before = db.value("select count(*) from public.requests")
    bring(db, [], [line], [package(2, "", subject, student_email=email)])
    assert db.value("select count(*) from public.requests") == before
    assert db.value("select status::text from public.requests where id = %s", OPEN_REQUEST_ID) == "matched"


# --- bad lines -------------------------------------------------------------------------------------------


def test_every_bad_line_is_named_and_nothing_is_entered(db: Database) -> None:
    people = [*PEOPLE, person(5, "eve", "student", timezone="Mars"), person(6, "fay", "student", email="fay")]
    matches = [*MATCHES, match(4, "nobody", "ann", "Maths"), match(5, "ben", "ben", "Art")]
    packages = [*PACKAGES, package(4, "ben", "Art"), package(5, "ben", "Maths", tier_sessions=9, end_date="2026-05-31")]
    assert [each[:3] for each in errors(db, people, matches, packages)] == [
        ("people", 5, "invalid"),
        ("people", 6, "invalid"),
        ("matches", 4, "invalid"),
        ("matches", 5, "invalid"),
        ("packages", 4, "invalid"),
        ("packages", 5, "invalid"),
    ]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (match(2, "nobody", "ann", "Maths"), "student_email"),
        (match(2, "ben", "nobody", "Maths"), "tutor_email"),
        (match(2, "ben", "cyd", "Maths", tutor_email=None), "tutor_email"),
        (match(2, "ann", "cyd", "Maths"), "student_email"),
        (match(2, "cyd", "cyd", "Maths"), "tutor_id"),
    ],
)
def test_a_match_is_of_a_student_and_another_tutor(db: Database, line: dict[str, Any], field: str) -> None:
    assert errors(db, PEOPLE, [line], []) == [("matches", 2, "invalid", field)]


def test_a_subject_that_is_taught_already_needs_its_match_ended(db: Database) -> None:
    """A second tutor is another request; a package would not know which of the two is meant."""
    matches = [*MATCHES, match(4, "ben", "cyd", "Maths")]
    assert errors(db, PEOPLE, matches, PACKAGES) == [("packages", 2, "invalid", "subject")]


def test_a_package_needs_a_request(db: Database) -> None:
    assert errors(db, PEOPLE, MATCHES, [package(2, "ben", "Art")]) == [("packages", 2, "invalid", "subject")]


@pytest.mark.parametrize(
    "changed",
    [
        {"tier_sessions": 9},
        {"tier_sessions": None},
        {"opening_used": 13},
        {"end_date": "2026-02-01"},
        {"start_date": "the first"},
        {"start_date": None},
        {"tier_sessions": 10**12},
        {"subject": None},
    ],
)
def test_a_package_that_cannot_be_is_named(db: Database, changed: dict[str, Any]) -> None:
    (error,) = errors(db, PEOPLE, MATCHES, [package(7, "ben", "Maths") | changed])
    assert error[:3] == ("packages", 7, "invalid")


@pytest.mark.parametrize(
    "changed", [{"roles": ["owner"]}, {"roles": "tutor"}, {"email": None}, {"display_name": ""}, {"phone": "0300"}]
)
def test_a_person_who_cannot_be_is_named(db: Database, changed: dict[str, Any]) -> None:
    (error,) = errors(db, [person(7, "eve", "student") | changed], [], [])
    assert error[:3] == ("people", 7, "invalid")


def test_no_error_shows_what_a_line_held(db: Database) -> None:
    line = person(7, "canary", "student", timezone="Mars", phone="canary")
    with pytest.raises(Refused) as refused:
        bring(db, [line], [], [])
    assert "canary" not in str(refused.value.extra)


def test_one_bad_line_does_not_hide_what_depends_on_it(db: Database) -> None:
    people = [PEOPLE[0], PEOPLE[1] | {"timezone": "Mars"}, PEOPLE[2]]
    assert [each[:2] for each in errors(db, people, MATCHES, PACKAGES)] == [
        ("people", 3),
        ("matches", 2),
        ("packages", 2),
    ]


@pytest.mark.parametrize("sheet", ["{}", "null", '"people"', "1"])
def test_a_sheet_is_a_list(db: Database, sheet: str) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        db.call(NADIA, "import_house", p_people=sheet)


@pytest.mark.parametrize("line", ["null", "1", '"x"', "[]", "{}"])
def test_a_line_that_is_no_object_is_a_bad_line(db: Database, line: str) -> None:
    report = db.call(NADIA, "import_house", p_people=f"[{line}]")
    assert [each["code"] for each in report["errors"]] == ["invalid"]


def test_a_sheet_has_at_most_2000_lines(db: Database) -> None:
    assert db.call(NADIA, "import_house", p_people=[PEOPLE[0]] * 2000)["known"]["people"] == 1999
    with pytest.raises(Refused, match="422 invalid"):
        db.call(NADIA, "import_house", p_people=[PEOPLE[0]] * 2001)


def test_only_admins_import(db: Database) -> None:
    for who in (BILAL, LENA, NEWCOMER):
        with pytest.raises(Refused, match="403 not_allowed"):
            bring(db, who=who)


# --- at once -----------------------------------------------------------------------------------------------


def test_the_same_file_sent_by_many_is_entered_once(database_url: str) -> None:
    """Half of them in the opposite order: without a lock on imports they would wait for each other."""
    with Clients.of(database_url, 6) as clients:

        def act(client: Database, number: int) -> dict[str, Any]:
            return bring(client, PEOPLE[:: (-1) ** number], MATCHES[:: (-1) ** number], PACKAGES)

        reports, refused = split(clients.at_once(act))
    assert refused == []
    assert sum(each["created"]["people"] for each in reports) == 3
    assert sum(each["created"]["matches"] for each in reports) == 2
    assert sum(each["created"]["packages"] for each in reports) == 2


def test_an_import_waits_with_its_locks_from_the_beginning(database_url: str) -> None:
    """A request it will need is locked before its first line, in order; so it holds nothing another waits for."""
    with ExitStack() as connections:
        holder, importer = Database.open(database_url), Database.open(database_url)
        connections.enter_context(holder.connection)
        connections.enter_context(importer.connection)
        importer.run("set lock_timeout = '50ms'")
        line = package(2, "", "Mathematics", student_email=LENA.email)
        with holder.connection.transaction():
            holder.call(NADIA, "update_request", p_request_id=MATHEMATICS.request_id, p_level="GCSE")
            with pytest.raises(Exception, match="lock timeout"):
                bring(importer, [], [], [line])
