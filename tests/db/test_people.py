"""Chapter 2: a sign-in becomes a person only by a confirmed address, and only the role table gives rights."""

import json
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import START, audit, instant, lesson, update
from tests.house import BILAL, EVERYBODY, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, NOW, OLIVER, ZARA, Person

# --- signing up ---------------------------------------------------------------------------------------


def sign_up(
    db: Database, email: str | None, *, confirmed: bool = True, metadata: object = None, user_id: UUID | None = None
) -> Person:
    """Somebody signs up with Supabase Auth, which then knows their address, confirmed or not yet."""
    user_id = user_id or uuid4()
    db.run(
        """insert into auth.users (id, aud, role, email, email_confirmed_at, raw_user_meta_data)
           values (%s, 'authenticated', 'authenticated', %s, case when %s then now() end, %s)""",
        user_id,
        email,
        confirmed,
        json.dumps({} if metadata is None else metadata),
    )
    return Person(user_id, email or "")


def confirm(db: Database, who: Person) -> None:
    db.run("update auth.users set email_confirmed_at = now() where id = %s", who.id)


def enter(db: Database, email: str = "new@lessonkeeper.test", **options: object) -> dict[str, Any]:
    """An admin enters a person."""
    arguments: dict[str, object] = {"p_display_name": "Noor Aziz", "p_timezone": "Asia/Karachi", "p_roles": ["student"]}
    return db.call(NADIA, "create_person", p_email=email, **arguments | options)


def me(db: Database, who: Person) -> dict[str, Any]:
    return db.call(who, "get_me")


def test_a_sign_up_gives_a_profile_without_a_role(db: Database) -> None:
    who = sign_up(db, "Curious@Example.org", metadata={"display_name": " Cleo ", "timezone": "Asia/Tokyo"})
    assert me(db, who) == {
        "id": str(who.id),
        "display_name": "Cleo",
        "timezone": "Asia/Tokyo",
        "email": "curious@example.org",
        "phone": None,
        "whatsapp_opt_in": False,
        "language": None,
        "quiet_from": None,
        "quiet_until": None,
        "google_calendar_id": None,
        "roles": [],
        "is_active": True,
        "has_account": True,
    }


TABLES = [
    "requests", "matches", "packages", "holidays", "time_off", "sessions", "session_moves", "credit_ledger",
    "guardians", "user_roles", "settings", "audit_logs",
]  # fmt: skip


def test_without_a_role_one_sees_oneself_and_nothing_else(db: Database) -> None:
    lesson(db, status="done")
    for table in TABLES:
        assert db.rows(f"select * from public.{table}", who=NEWCOMER) == [], table
        assert table == "session_moves" or db.value(f"select count(*) from public.{table}") > 0
    assert db.rows("select id from public.profiles", who=NEWCOMER) == [(NEWCOMER.id,)]
    assert db.rows("select profile_id from public.accounts", who=NEWCOMER) == [(NEWCOMER.id,)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"role": "admin"},
        {"roles": ["admin"]},
        {"app_role": "admin", "is_admin": True, "user_role": "admin"},
    ],
)
def test_what_one_says_of_oneself_never_gives_a_role(db: Database, metadata: dict[str, Any]) -> None:
    who = sign_up(db, "sly@example.org", metadata=metadata)
    db.run("update auth.users set raw_app_meta_data = %s where id = %s", json.dumps(metadata), who.id)
    confirm(db, who)
    assert me(db, who)["roles"] == []
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "create_holiday", p_on_date="2026-05-01", p_name="Mine")


@pytest.mark.parametrize(
    ("metadata", "name", "timezone"),
    [
        ({}, "plain", "UTC"),
        ({"display_name": "", "timezone": ""}, "New person", "UTC"),
        ({"display_name": "x" * 121, "timezone": "Mars/Base"}, "New person", "UTC"),
        ({"display_name": "a\nb", "timezone": None}, "New person", "UTC"),
        ({"display_name": 7, "timezone": {"a": 1}}, "7", "UTC"),
        ([], "plain", "UTC"),
        ("text", "plain", "UTC"),
    ],
)
def test_what_one_says_of_oneself_never_stops_the_sign_up(
    db: Database, metadata: object, name: str, timezone: str
) -> None:
    found = me(db, sign_up(db, "plain@example.org", metadata=metadata))
    assert (found["display_name"], found["timezone"]) == (name, timezone)


@pytest.mark.parametrize("email", [None, "not an address", "ODD@@example.org"])
def test_a_sign_up_without_a_proper_address_works_without_one(db: Database, email: str | None) -> None:
    found = me(db, sign_up(db, email))
    assert (found["email"], found["roles"], found["has_account"]) == (None, [], True)


def test_an_address_counts_once_it_is_confirmed(db: Database) -> None:
    who = sign_up(db, "slow@example.org", confirmed=False)
    assert (me(db, who)["email"], me(db, who)["roles"]) == (None, [])
    confirm(db, who)
    assert me(db, who)["email"] == "slow@example.org"


def test_a_changed_and_confirmed_address_is_followed(db: Database) -> None:
    db.run("update auth.users set email = 'Lena.New@Example.org' where id = %s", LENA.id)
    assert me(db, LENA)["email"] == "lena.new@example.org"


def test_a_changed_address_that_is_somebodys_is_not_taken_over(db: Database) -> None:
    enter(db, "expected@example.org", p_roles=["tutor"])
    db.run("update auth.users set email = 'expected@example.org' where id = %s", LENA.id)
    assert (me(db, LENA)["id"], me(db, LENA)["roles"]) == (str(LENA.id), ["student"])
    assert me(db, LENA)["email"] == LENA.email


# --- being expected -----------------------------------------------------------------------------------


def test_an_entered_person_waits_for_their_sign_in(db: Database) -> None:
    person = enter(db, "Noor@Example.org", p_phone="+923001234567", p_roles=["student", "tutor"])
    assert person.pop("id")
    assert person == {
        "display_name": "Noor Aziz",
        "timezone": "Asia/Karachi",
        "email": "noor@example.org",
        "phone": "+923001234567",
        "whatsapp_opt_in": False,
        "language": None,
        "quiet_from": None,
        "quiet_until": None,
        "google_calendar_id": None,
        "roles": ["tutor", "student"],
        "is_active": True,
        "has_account": False,
    }


def test_whoever_confirms_the_address_becomes_the_expected_person(db: Database) -> None:
    person = enter(db, "noor@example.org")
    who = sign_up(db, "NOOR@example.org", metadata={"display_name": "Somebody else"})
    assert me(db, who) == person | {"has_account": True}
    assert db.value("select count(*) from public.profiles where id = %s", who.id) == 0, "one person, one profile"


def test_an_unconfirmed_address_opens_nothing_until_it_is_confirmed(db: Database) -> None:
    person = enter(db, "noor@example.org", p_roles=["admin"])
    who = sign_up(db, "noor@example.org", confirmed=False)
    with pytest.raises(Refused, match="403 not_allowed"):
        me(db, who)
    assert db.rows("select * from public.profiles", who=who) == []
    confirm(db, who)
    assert me(db, who) == person | {"has_account": True}


def test_an_unconfirmed_sign_up_is_not_taken_in_by_an_invitation(db: Database) -> None:
    """Else whoever typed in a tutor's address first would be handed the tutor's role."""
    who = sign_up(db, "tutor.to.be@example.org", confirmed=False)
    person = enter(db, "tutor.to.be@example.org", p_roles=["tutor"])
    assert not person["has_account"]
    assert me(db, who)["roles"] == []
    confirm(db, who)
    assert me(db, who) == person | {"has_account": True}


def test_a_confirmed_newcomer_is_taken_in(db: Database) -> None:
    person = enter(db, NEWCOMER.email, p_display_name="Nell Comer", p_phone="+12025550199", p_roles=["tutor"])
    assert (person["id"], person["has_account"]) == (str(NEWCOMER.id), True)
    assert me(db, NEWCOMER) == person
    assert (person["display_name"], person["roles"], person["phone"]) == ("Nell Comer", ["tutor"], "+12025550199")


def test_whoever_is_here_is_not_entered_twice(db: Database) -> None:
    waiting = enter(db, "noor@example.org")
    for email, person_id in ((LENA.email.upper(), str(LENA.id)), ("noor@example.org", waiting["id"])):
        with pytest.raises(Refused) as refused:
            enter(db, email)
        assert (refused.value.status, refused.value.code) == (409, "already_exists")
        assert refused.value.extra == {"person_id": person_id}


def test_entering_a_person_is_audited_without_their_address(db: Database) -> None:
    person = enter(db)
    assert audit(db, person["id"]) == [("role_created", "admin", NADIA.id), ("person_created", "admin", NADIA.id)]


@pytest.mark.parametrize(
    "options",
    [
        {"email": "no address"},
        {"email": ""},
        {"p_display_name": ""},
        {"p_display_name": None},
        {"p_timezone": "Mars/Base"},
        {"p_timezone": None},
        {"p_phone": "0300 1234567"},
    ],
)
def test_a_person_that_cannot_be_is_refused(db: Database, options: dict[str, Any]) -> None:
    before = db.value("select count(*) from public.profiles")
    with pytest.raises((Refused, psycopg.errors.NotNullViolation)) as refused:
        enter(db, **options)
    assert getattr(refused.value, "code", "invalid") == "invalid"
    assert db.value("select count(*) from public.profiles") == before


def test_deleting_the_sign_in_keeps_the_person_and_the_history(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    update(db, BILAL, session_id, "done")
    db.run("delete from auth.identities where user_id = %s", BILAL.id)
    db.run("delete from auth.users where id = %s", BILAL.id)
    with pytest.raises(Refused, match="403 not_allowed"):
        me(db, BILAL)
    session = db.call(NADIA, "get_session", p_session_id=session_id)["session"]
    assert (session["tutor"]["display_name"], session["updated_by_user_id"]) == ("Bilal Siddiqi", str(BILAL.id))
    back = sign_up(db, BILAL.email)
    assert (me(db, back)["id"], me(db, back)["roles"]) == (str(BILAL.id), ["tutor"])


# --- roles and admins ---------------------------------------------------------------------------------


def test_the_first_admin_is_made_by_sql(db: Database) -> None:
    db.run("select private.grant_role('NewComer@lessonkeeper.test', 'admin')")
    db.run("select private.grant_role('newcomer@lessonkeeper.test', 'admin')")
    assert me(db, NEWCOMER)["roles"] == ["admin"]
    assert audit(db, NEWCOMER.id) == [("role_created", "studio", None)]
    with pytest.raises(Refused, match="404 not_found"):
        db.run("select private.grant_role('nobody@example.org', 'admin')")


@pytest.mark.parametrize("who", [NADIA, BILAL, NEWCOMER, "service_role", "anon"])
def test_nobody_grants_roles_over_the_api(db: Database, who: Person | str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.rows("select private.grant_role('newcomer@lessonkeeper.test', 'admin')", who=who)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.rows(
            "insert into public.user_roles (profile_id, role) values (%s, 'admin') returning role", NEWCOMER.id, who=who
        )


@pytest.mark.parametrize(
    "change",
    [
        {"p_is_active": False},
        {"p_roles": []},
        {"p_roles": ["tutor"]},
    ],
)
def test_the_last_admin_stays_one(db: Database, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, "update_person", p_person_id=NADIA.id, **change)
    assert (refused.value.status, refused.value.code) == (409, "last_admin")
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["admin", "tutor"])
    db.call(NADIA, "update_person", p_person_id=NADIA.id, **change)
    assert "admin" in me(db, HARRIET)["roles"]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from public.user_roles where role = 'admin'",
        "update public.user_roles set role = 'tutor' where role = 'admin'",
        "update public.accounts set deactivated_at = now()",
        "delete from public.accounts where email = 'admin@lessonkeeper.test'",
        "delete from public.profiles where display_name = 'Nadia Rahman'",
    ],
)
def test_the_last_admin_stays_one_in_studio_too(db: Database, statement: LiteralString) -> None:
    with pytest.raises(Refused, match="409 last_admin"):
        db.run(statement)


def test_a_house_without_an_admin_can_still_be_tidied(db: Database) -> None:
    with db.connection.transaction(force_rollback=True):
        db.run("alter table public.user_roles disable trigger user_roles_keep_an_admin")
        db.run("delete from public.user_roles where role = 'admin'")
        db.run("update public.accounts set deactivated_at = now() where profile_id = %s", NEWCOMER.id)
        assert db.run("delete from public.profiles where id = %s", NEWCOMER.id) == 1


def test_a_deactivated_admin_does_not_count(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["admin"])
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_is_active=False)
    with pytest.raises(Refused, match="409 last_admin"):
        db.call(NADIA, "update_person", p_person_id=NADIA.id, p_roles=[])


def test_a_role_that_is_taken_is_gone_at_once(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=[])
    with pytest.raises(Refused, match="403 not_allowed"):
        update(db, BILAL, session_id, "done")


ADMIN_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("create_person", {"p_email": "x@example.org", "p_display_name": "X", "p_timezone": "UTC", "p_roles": ["admin"]}),
    ("update_person", {"p_person_id": LENA.id, "p_roles": ["admin"]}),
    ("create_guardian", {"p_student_id": LENA.id, "p_name": "X", "p_timezone": "UTC", "p_phone": "+12025550100"}),
    ("update_guardian", {"p_guardian_id": UUID("d0000000-0000-4000-8000-000000000001"), "p_name": "X"}),
]


@pytest.mark.parametrize(("function", "arguments"), ADMIN_CALLS, ids=[name for name, _ in ADMIN_CALLS])
def test_only_admins_manage_people(db: Database, function: str, arguments: dict[str, Any]) -> None:
    for who in EVERYBODY:
        if who != NADIA:
            with pytest.raises(Refused, match="403 not_allowed"):
                db.call(who, function, **arguments)
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", function, **arguments)
    for role in ("anon", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(role, function, **arguments)


# --- deactivation -------------------------------------------------------------------------------------


def test_the_deactivated_can_do_and_see_nothing_from_that_moment(db: Database) -> None:
    lesson(db)
    assert len(db.rows("select * from public.sessions", who=BILAL)) == 1
    person = db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=False)
    assert not person["is_active"]
    for table in [*TABLES, "profiles", "accounts"]:
        assert db.rows(f"select * from public.{table}", who=BILAL) == [], table
    for function, arguments in (
        ("get_me", {}),
        ("update_me", {"p_display_name": "Ghost"}),
        ("list_sessions", {}),
        ("create_request", {"p_subject": "Chess"}),
    ):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(BILAL, function, **arguments)
    assert db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=True)["is_active"]
    assert len(db.rows("select * from public.sessions", who=BILAL)) == 1


def test_a_deactivated_admin_is_no_admin(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["admin"])
    db.call(HARRIET, "update_person", p_person_id=NADIA.id, p_is_active=False)
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(NADIA, "update_person", p_person_id=NADIA.id, p_is_active=True)
    assert db.rows("select * from public.audit_logs", who=NADIA) == []


def test_deactivating_again_keeps_the_first_moment(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=False)
    db.set_clock("2026-03-01T00:00:00Z")
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=False)
    at = db.value("select deactivated_at from public.accounts where profile_id = %s", BILAL.id)
    assert at == instant(NOW)


# --- changing -----------------------------------------------------------------------------------------


def test_what_is_left_out_stays_and_empty_clears_the_phone(db: Database) -> None:
    before = db.call(NADIA, "update_person", p_person_id=LENA.id)
    assert before == me(db, LENA)
    assert (before["phone"], before["roles"]) == ("+12025550102", ["student"])
    after = db.call(NADIA, "update_person", p_person_id=LENA.id, p_phone="", p_roles=["student", "tutor"])
    assert after == before | {"phone": None, "whatsapp_opt_in": False, "roles": ["tutor", "student"]}
    assert db.call(NADIA, "update_person", p_person_id=LENA.id, p_display_name="Lena") == after | {
        "display_name": "Lena"
    }


def test_a_person_who_is_not_there_cannot_be_changed(db: Database) -> None:
    with pytest.raises(Refused, match="404 not_found"):
        db.call(NADIA, "update_person", p_person_id=uuid4(), p_display_name="X")


def test_people_change_their_own_name_and_time_zone_and_nothing_else(db: Database) -> None:
    before = me(db, LENA)
    changed = db.call(LENA, "update_me", p_timezone="Europe/Lisbon")
    assert changed == before | {"timezone": "Europe/Lisbon"}
    assert db.call(LENA, "update_me", p_display_name="Lena O.") == changed | {"display_name": "Lena O."}
    for arguments in ({"p_display_name": ""}, {"p_timezone": ""}, {"p_timezone": "est"}):
        with pytest.raises(Refused, match="422 invalid"):
            db.call(LENA, "update_me", **arguments)


def test_people_say_how_messages_reach_them_and_empty_gives_it_back_to_the_house(db: Database) -> None:
    ways = {"language": "de", "quiet_from": "22:00", "quiet_until": "06:30", "whatsapp_opt_in": False}
    changed = db.call(LENA, "update_me", **{f"p_{name}": value for name, value in ways.items()})
    assert changed == me(db, LENA)
    assert {name: changed[name] for name in ways} == ways
    assert db.call(LENA, "update_me") == changed, "what is left out stays"
    given_back = db.call(LENA, "update_me", p_language="", p_quiet_from="", p_quiet_until="", p_whatsapp_opt_in=True)
    assert given_back == changed | {
        "language": None,
        "quiet_from": None,
        "quiet_until": None,
        "whatsapp_opt_in": True,
    }


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        ({"p_quiet_from": "22:00"}, "quiet_from and quiet_until are times such as 21:00, both or neither."),
        ({"p_quiet_until": "06:00"}, "quiet_from and quiet_until are times such as 21:00, both or neither."),
        (
            {"p_quiet_from": "25:00", "p_quiet_until": "06:00"},
            "quiet_from and quiet_until are times such as 21:00, both or neither.",
        ),
    ],
)
def test_quiet_hours_are_two_times_or_none(db: Database, hours: dict[str, str], sentence: str) -> None:
    with pytest.raises(Refused, match="422 invalid") as refused:
        db.call(LENA, "update_me", **hours)
    assert refused.value.detail == sentence
    guardian = add_guardian(db)
    with pytest.raises(Refused, match="422 invalid") as refused:
        db.call(NADIA, "update_guardian", p_guardian_id=guardian["id"], **hours)
    assert refused.value.detail == sentence


def test_whatsapp_needs_a_phone(db: Database) -> None:
    with pytest.raises(Refused, match=r"422 invalid: WhatsApp needs a phone\."):
        enter(db, p_whatsapp_opt_in=True)
    person = enter(db, p_phone="+923001234567", p_whatsapp_opt_in=True, p_language="es")
    assert (person["whatsapp_opt_in"], person["language"]) == (True, "es")
    with pytest.raises(Refused, match=r"422 invalid: WhatsApp needs a phone\."):
        db.call(NADIA, "update_person", p_person_id=person["id"], p_phone="", p_whatsapp_opt_in=True)
    assert db.call(NADIA, "update_person", p_person_id=person["id"], p_language="")["language"] is None


def test_people_who_share_a_match_see_a_name_and_a_zone_and_no_more(db: Database) -> None:
    profiles = db.rows("select id from public.profiles", who=BILAL)
    assert {row for (row,) in profiles} == {BILAL.id, LENA.id}
    assert db.rows("select profile_id from public.accounts", who=BILAL) == [(BILAL.id,)]
    assert db.rows("select profile_id from public.user_roles", who=BILAL) == [(BILAL.id,)]
    assert db.rows("select id from public.guardians", who=BILAL) == []
    columns = db.rows("select column_name from information_schema.columns where table_schema = 'public' and table_name = 'profiles'")  # noqa: E501  # fmt: skip
    assert {name for (name,) in columns} == {"id", "display_name", "timezone", "created_at", "updated_at"}


# --- guardians ----------------------------------------------------------------------------------------


def add_guardian(db: Database, student: Person = OLIVER, **options: object) -> dict[str, Any]:
    arguments: dict[str, object] = {"p_name": "Aunt May", "p_timezone": "Europe/London", "p_phone": "+447700900199"}
    return db.call(NADIA, "create_guardian", p_student_id=student.id, **arguments | options)


def primaries(db: Database, student: Person) -> list[str]:
    rows = db.rows("select name from public.guardians where student_user_id = %s and is_primary", student.id)
    return [name for (name,) in rows]


def test_a_guardian_is_shown_whole(db: Database) -> None:
    wishes = {"p_language": "de", "p_quiet_from": "20:00", "p_quiet_until": "08:00"}
    guardian = add_guardian(db, OLIVER, p_email="May@Example.org", p_whatsapp_opt_in=True, **wishes)
    assert guardian.pop("id")
    assert guardian == {
        "student_id": str(OLIVER.id),
        "name": "Aunt May",
        "phone": "+447700900199",
        "email": "may@example.org",
        "timezone": "Europe/London",
        "whatsapp_opt_in": True,
        "language": "de",
        "quiet_from": "20:00",
        "quiet_until": "08:00",
        "is_primary": False,
    }


def test_the_first_guardian_is_primary_and_a_later_one_only_when_said(db: Database) -> None:
    db.run("delete from public.guardians where student_user_id = %s", OLIVER.id)
    assert add_guardian(db)["is_primary"]
    assert not add_guardian(db, p_name="Uncle Ben")["is_primary"]
    assert primaries(db, OLIVER) == ["Aunt May"]


def test_a_new_primary_guardian_replaces_the_old_one(db: Database) -> None:
    assert primaries(db, OLIVER) == ["Grace Finch"]
    may = add_guardian(db, p_is_primary=True)
    assert primaries(db, OLIVER) == ["Aunt May"]
    ben = add_guardian(db, p_name="Uncle Ben")
    assert db.call(NADIA, "update_guardian", p_guardian_id=ben["id"], p_is_primary=True)["is_primary"]
    assert primaries(db, OLIVER) == ["Uncle Ben"]
    assert not db.call(NADIA, "update_guardian", p_guardian_id=ben["id"], p_is_primary=False)["is_primary"]
    assert (primaries(db, OLIVER), primaries(db, LENA)) == ([], ["Rosa Ortiz"])
    assert db.call(NADIA, "update_guardian", p_guardian_id=may["id"])["is_primary"] is False


def test_two_primary_guardians_cannot_be_entered_by_hand(db: Database) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation, match="guardians_one_primary"):
        db.run("update public.guardians set is_primary = true where student_user_id = %s", LENA.id)


@pytest.mark.parametrize(
    ("sentence", "options"),
    [
        ("A guardian needs a phone or an e-mail address.", {"p_phone": None}),
        ("A guardian needs a phone or an e-mail address.", {"p_phone": "", "p_email": ""}),
        ("WhatsApp needs a phone.", {"p_phone": None, "p_email": "m@example.org", "p_whatsapp_opt_in": True}),
        ("A value is missing or not valid.", {"p_phone": "0770 0900199"}),
        ("A value is missing or not valid.", {"p_email": "may"}),
        ("A value is missing or not valid.", {"p_name": "May\n"}),
        ("A value is missing or not valid.", {"p_timezone": "London"}),
    ],
)
def test_a_guardian_can_be_reached_and_has_proper_details(db: Database, sentence: str, options: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        add_guardian(db, **options)
    assert (refused.value.status, refused.value.code, refused.value.detail) == (422, "invalid", sentence)


def test_only_students_have_guardians(db: Database) -> None:
    for who in (BILAL, NADIA, NEWCOMER, Person(uuid4(), "")):
        with pytest.raises(Refused) as refused:
            add_guardian(db, who)
        assert (refused.value.status, refused.value.code) == (422, "invalid")
        assert refused.value.extra == {"field": "student_id"}


def test_changing_a_guardian_keeps_what_is_left_out_and_clears_what_is_empty(db: Database) -> None:
    guardian = add_guardian(db, p_email="may@example.org", p_whatsapp_opt_in=True)
    changed = db.call(NADIA, "update_guardian", p_guardian_id=guardian["id"], p_email="", p_name="May Parker")
    assert changed == guardian | {"email": None, "name": "May Parker"}
    with pytest.raises(Refused, match="422 invalid"):
        db.call(NADIA, "update_guardian", p_guardian_id=guardian["id"], p_phone="")
    changed = db.call(
        NADIA, "update_guardian", p_guardian_id=guardian["id"], p_phone="", p_email="M@example.org",
        p_whatsapp_opt_in=False,
    )  # fmt: skip
    assert (changed["phone"], changed["email"], changed["whatsapp_opt_in"]) == (None, "m@example.org", False)
    with pytest.raises(Refused, match="404 not_found"):
        db.call(NADIA, "update_guardian", p_guardian_id=uuid4(), p_name="X")


def test_guardians_are_for_their_student_and_admins(db: Database) -> None:
    for who, names in ((LENA, {"Rosa Ortiz", "Miguel Ortiz"}), (ZARA, {"Imran Malik"}), (BILAL, set[str]())):
        assert {name for (name,) in db.rows("select name from public.guardians", who=who)} == names
    assert len(db.rows("select name from public.guardians", who=NADIA)) == 4


def test_me_needs_a_sign_in(db: Database) -> None:
    for function in ("get_me", "update_me"):
        with pytest.raises(Refused, match="401 not_signed_in"):
            db.call("authenticated", function)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call("anon", function)


def test_a_token_of_somebody_unknown_is_refused(db: Database) -> None:
    with pytest.raises(Refused, match="403 not_allowed"):
        me(db, Person(uuid4(), ""))
    assert db.rows("select * from public.matches where id = %s", MATHEMATICS.id, who=Person(uuid4(), "")) == []
