"""Chapters 7 and 11: sessions that change their package, packages that follow each other, and the statement."""

from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, START, instant, lesson
from tests.house import BILAL, ENGLISH, HARRIET, LENA, MARCUS, MATHEMATICS, NADIA, NEWCOMER, OLIVER, ZARA, Person

NEXT_PERIOD = {"p_create": True, "p_start_date": "2026-03-20"}


def renewed(db: Database, **options: object) -> UUID:
    """The package that follows Mathematics'."""
    sold = db.call(NADIA, "renew_package", p_package_id=MATHEMATICS.package_id, **({"p_create": True} | options))
    return UUID(sold["package"]["id"])


def move(db: Database, session_id: object, package_id: object, reason: str = "Belongs there.") -> dict[str, Any]:
    return db.call(NADIA, "move_session_to_package", p_session_id=session_id, p_package_id=package_id, p_reason=reason)


def statement(db: Database, package_id: object, who: Person | str | None = NADIA) -> dict[str, Any]:
    return db.call(who, "get_statement", p_package_id=package_id)


def used(db: Database, package_id: object) -> int:
    return db.value("select sessions_used from public.packages where id = %s", package_id)


# --- the move -----------------------------------------------------------------------------------------


def test_a_moved_session_gets_the_next_number_and_leaves_a_gap(db: Database) -> None:
    there = renewed(db)
    lesson(db, start=START + 40 * DAY, package_id=there)
    first, second = lesson(db), lesson(db, start=START + DAY)
    moved = move(db, first, there)["session"]
    assert (moved["sequence_number"], moved["package"]["id"]) == (2, str(there))
    assert (moved["status_reason"], moved["version"]) == ("Belongs there.", 2)
    kept = db.call(NADIA, "get_session", p_session_id=second)["session"]
    assert (kept["sequence_number"], kept["package"]["position"]) == (2, 1)


def test_a_session_keeps_its_number_when_it_comes_back_only_by_chance(db: Database) -> None:
    there = renewed(db)
    first = lesson(db)
    lesson(db, start=START + DAY)
    move(db, first, there)
    assert move(db, first, MATHEMATICS.package_id)["session"]["sequence_number"] == 3


def test_a_date_is_in_a_package_once_also_by_moving(db: Database) -> None:
    there = renewed(db)
    session_id = lesson(db)
    lesson(db, package_id=there, status="cancelled")
    with pytest.raises(Refused, match="409 already_exists"):
        move(db, session_id, there)


def test_a_cancelled_session_moves_to_a_full_package_for_it_counts_nowhere(db: Database) -> None:
    there = renewed(db, p_tier_sessions=8)
    for number in range(8):
        lesson(db, start=START + (40 + number) * DAY, package_id=there)
    with pytest.raises(Refused, match="402 package_exhausted"):
        move(db, lesson(db, start=START + DAY), there)
    assert move(db, lesson(db, status="cancelled"), there)["changed"]


def test_what_moves_away_makes_room_to_fill(db: Database) -> None:
    there = renewed(db)
    sessions = [lesson(db, start=START + number * DAY) for number in range(8)]

    def needed() -> int:
        return db.call(NADIA, "schedule_inputs", p_match_id=MATHEMATICS.id, p_package_id=MATHEMATICS.package_id)[
            "needed"
        ]

    assert needed() == 0
    move(db, sessions[0], there)
    assert needed() == 1


def test_a_session_may_be_moved_to_a_package_that_has_expired(db: Database) -> None:
    there = renewed(db)
    session_id = lesson(db, status="done")
    db.set_clock("2027-01-01T00:00:00Z")
    assert move(db, session_id, there)["changed"]


def test_random_moves_and_corrections_keep_both_packages_right(db: Database, chance: Random) -> None:
    packages = [MATHEMATICS.package_id, renewed(db)]
    sessions = [lesson(db, start=START + number * DAY) for number in range(5)]
    db.set_clock(START - HOUR)
    for _ in range(120):
        session_id = chance.choice(sessions)
        if chance.random() < 0.5:
            move(db, session_id, chance.choice(packages), reason="x")
        else:
            status = chance.choice(["done", "no_show_student", "no_show_tutor", "cancelled", "scheduled"])
            db.call(NADIA, "tutor_update_session", p_session_id=session_id, p_status=status, p_reason="x")
    assert db.rows("select * from private.credit_differences") == []
    for package_id in packages:
        charged = db.value(
            "select count(*) from public.sessions where package_id = %s and status in ('done', 'no_show_student')",
            package_id,
        )
        entries = statement(db, package_id)["entries"]
        assert used(db, package_id) == charged == sum(each["amount"] for each in entries)
        tier = db.value("select tier_sessions from public.packages where id = %s", package_id)
        assert tier - charged == (entries[-1]["sessions_left"] if entries else tier)


# --- a package that begins early ------------------------------------------------------------------------


def test_a_package_that_is_used_up_early_is_renewed_early_and_once(db: Database) -> None:
    early = renewed(db, **NEXT_PERIOD)
    proposal = db.call(NADIA, "renew_package", p_package_id=MATHEMATICS.package_id)
    assert proposal["renewed_by"] == str(early)
    with pytest.raises(Refused, match="409 already_exists"):
        renewed(db, **NEXT_PERIOD)


@pytest.mark.parametrize("start", ["2026-03-01", "2026-02-01"])
def test_the_next_package_begins_after_the_one_before(db: Database, start: str) -> None:
    with pytest.raises(Refused) as refused:
        renewed(db, p_start_date=start)
    assert (refused.value.status, refused.value.extra) == (422, {"field": "start_date"})


# --- the statement ------------------------------------------------------------------------------------


@pytest.fixture
def told(db: Database) -> dict[str, UUID]:
    """Three lessons: one done, one corrected away from the student, one moved to the next package."""
    sessions = {name: lesson(db, start=START + n * DAY) for n, name in enumerate(("done", "missed", "moved"))}
    for number, session_id in enumerate(sessions.values()):
        db.set_clock(START + number * DAY + timedelta(minutes=50))
        db.call(
            BILAL,
            "tutor_update_session",
            p_session_id=session_id,
            p_status="no_show_student" if number == 1 else "done",
        )
    db.set_clock(START + 3 * DAY)
    db.call(
        NADIA,
        "tutor_update_session",
        p_session_id=sessions["missed"],
        p_status="no_show_tutor",
        p_reason="Bilal was ill.",
    )
    db.set_clock(START + 4 * DAY)
    move(db, sessions["moved"], renewed(db))
    return sessions


def test_a_statement_tells_every_credit_in_order(db: Database, told: dict[str, UUID]) -> None:
    entries = statement(db, MATHEMATICS.package_id)["entries"]
    assert [(UUID(each["session_id"]), each["amount"], each["sessions_left"]) for each in entries] == [
        (told["done"], 1, 7),
        (told["missed"], 1, 6),
        (told["moved"], 1, 5),
        (told["missed"], -1, 6),
        (told["moved"], -1, 7),
    ]
    assert [each["reason"] for each in entries] == [None, None, None, "Bilal was ill.", "Belongs there."]
    assert [instant(each["at"]) for each in entries][:1] == [START + timedelta(minutes=50)]
    assert {each["tutor"] for each in entries} == {"Bilal Siddiqi"}


def test_the_other_package_tells_of_what_came_to_it(db: Database, told: dict[str, UUID]) -> None:
    other = db.value("select package_id from public.sessions where id = %s", told["moved"])
    (entry,) = statement(db, other)["entries"]
    assert (entry["entry_no"], entry["amount"], entry["sessions_left"], entry["status"]) == (3, 1, 7, "done")


@pytest.mark.usefixtures("told")
def test_a_family_reads_the_tutors_name_and_not_the_offices(db: Database) -> None:
    seen = [(each["by_role"], each["by_name"]) for each in statement(db, MATHEMATICS.package_id, LENA)["entries"]]
    assert seen == [("tutor", "Bilal Siddiqi")] * 3 + [("admin", None)] * 2
    office = {
        each["by_name"] for each in statement(db, MATHEMATICS.package_id)["entries"] if each["by_role"] == "admin"
    }
    assert office == {db.value("select display_name from public.profiles where id = %s", NADIA.id)}


def test_entries_of_one_moment_are_told_in_the_order_they_were_made(db: Database) -> None:
    sessions = [lesson(db, start=START + number * DAY) for number in range(6)]
    for session_id in sessions:
        for status in ("done", "no_show_tutor", "done"):
            db.call(NADIA, "tutor_update_session", p_session_id=session_id, p_status=status, p_reason="x")
    told = statement(db, MATHEMATICS.package_id)["entries"]
    assert [each["session_id"] for each in told] == [str(each) for each in sessions for _ in range(3)]
    assert [each["sessions_left"] for each in told][:6] == [7, 8, 7, 6, 7, 6]


def test_an_edit_in_studio_is_told_without_a_name(db: Database) -> None:
    session_id = lesson(db)
    db.run("update public.sessions set status = 'done' where id = %s", session_id)
    (entry,) = statement(db, MATHEMATICS.package_id)["entries"]
    assert (entry["by_role"], entry["by_name"]) == ("studio", None)


def test_what_was_used_elsewhere_is_left_out_of_the_entries_and_counted(db: Database) -> None:
    package = db.call(
        NADIA,
        "create_package",
        p_request_id=MATHEMATICS.request_id,
        p_tier_sessions=8,
        p_start_date="2026-03-01",
        p_end_date="2026-03-31",
        p_opening_used=5,
    )
    lesson(db, package_id=UUID(package["id"]), status="done")
    told = statement(db, package["id"])
    assert [each["sessions_left"] for each in told["entries"]] == [2]
    assert told["package"]["sessions_left"] == 2


def test_a_statement_shows_the_zone_of_whoever_looks(db: Database) -> None:
    assert statement(db, MATHEMATICS.package_id, LENA)["viewer_timezone"] == "America/New_York"
    assert statement(db, MATHEMATICS.package_id)["viewer_timezone"] != "America/New_York"


@pytest.mark.parametrize("who", [HARRIET, MARCUS, OLIVER, ZARA, NEWCOMER])
def test_a_statement_is_for_its_student_and_admins_alone(db: Database, who: Person) -> None:
    with pytest.raises(Refused) as refused:
        statement(db, MATHEMATICS.package_id, who)
    with pytest.raises(Refused) as unknown:
        statement(db, ENGLISH.id, who)
    assert (refused.value.status, str(refused.value)) == (404, str(unknown.value))


def test_its_tutor_sees_the_package_but_no_statement(db: Database) -> None:
    with pytest.raises(Refused, match="403 not_allowed"):
        statement(db, MATHEMATICS.package_id, BILAL)
