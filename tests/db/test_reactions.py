"""Chapter 20: what follows from a session's change by itself, however late, in whatever order, once."""

import re
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tests.database import Database, Refused, clone, refusal
from tests.db.dispatch import claim, endpoint
from tests.db.lessons import DAY, HOUR, START, audit, booked, column, events, instant, lesson, move, package, update
from tests.house import BILAL, ENGLISH, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, OLIVER, PHYSICS, Match, Person

ROOT = Path(__file__).parents[2]
MIGRATIONS = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))
AFTER = START + HOUR
MINUTE = timedelta(minutes=1)

FACTS: dict[str, LiteralString] = {
    "public.learning_events": (
        "select event_type::text, student_user_id, tutor_user_id, session_id, event_data, content_for_embedding,"
        " outbox_event_id, occurred_at from public.learning_events order by outbox_event_id"
    ),
    "public.review_windows": "select session_id, closes_at, as_of from public.review_windows order by 1",
    "private.outcome_counts": (
        "select event_id, outcome, on_date, tutor_user_id, amount, minutes from private.outcome_counts order by 1, 2, 5"
    ),
}
"""What the reactions leave in each of their tables, less when and under which id."""
REACTIONS = {
    "learning_record": ("learn_from_session", "public.learning_events"),
    "review_window": ("set_review_window", "public.review_windows"),
    "outcome_counts": ("count_outcome", "private.outcome_counts"),
}
OF_LATER_CHAPTERS = {"notices", "reminders", "consent"}


def facts(db: Database, *tables: str) -> list[list[tuple[Any, ...]]]:
    return [db.rows(FACTS[table]) for table in tables or FACTS]


def learned(db: Database, session_id: object) -> list[tuple[str, dict[str, Any], str]]:
    """A session's learning events: type, data, sentences; oldest first."""
    return db.rows(
        "select event_type::text, event_data, content_for_embedding from public.learning_events"
        " where session_id = %s order by outbox_event_id",
        session_id,
    )  # pyright: ignore[reportReturnType]


def edit(db: Database, session_id: UUID, **columns: object) -> None:
    """An edit in Studio."""
    statement = sql.SQL("update public.sessions set {} where id = {}").format(
        sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in columns.items()),
        session_id,
    )
    try:
        with db.connection.transaction():
            db.connection.execute(statement)
    except psycopg.Error as error:
        raise refusal(error) from None


@pytest.fixture(autouse=True)
def nothing_fails_unasked(request: pytest.FixtureRequest, db: Database) -> object:
    """After every test here that does not break a reaction itself, none has failed."""
    yield
    if "broken" not in request.fixturenames:
        assert db.rows("select reaction, sqlstate from private.reaction_failures") == []


# --- the learning record ------------------------------------------------------------------------------

LESSON = "Mathematics lesson on 2026-03-10 15:00 UTC"
ACTIONS: list[tuple[str, dict[str, str], str, str]] = [
    ("done", {}, "session_completed", f"{LESSON} was held."),
    ("done", {"notes": "Sines."}, "session_completed", f"{LESSON} was held. Notes: Sines."),
    ("no_show_student", {}, "session_missed", f"{LESSON} was missed by the student."),
    ("no_show_tutor", {"notes": "Train."}, "session_missed", f"{LESSON} was missed by the tutor. Notes: Train."),
    ("cancelled", {"reason": "Flu."}, "session_cancelled", f"{LESSON} was cancelled. Reason: Flu."),
    ("rescheduled", {"reason": "Exam."}, "session_rescheduled", f"{LESSON} was put off. Reason: Exam."),
]


@pytest.mark.parametrize(("status", "more", "event_type", "told"), ACTIONS)
def test_an_action_leaves_one_mark_in_the_record(
    db: Database, status: str, more: dict[str, str], event_type: str, told: str
) -> None:
    session_id = lesson(db)
    db.set_clock(AFTER)
    update(db, NADIA, session_id, status, **more)
    data = {"status": status, "previous_status": "scheduled", "scheduled_start_utc": "2026-03-10T15:00:00+00:00"}
    if "reason" in more:
        data["reason"] = more["reason"]
    assert learned(db, session_id) == [(event_type, data, told)]
    assert update(db, NADIA, session_id, status)["changed"] is False
    ((student, tutor, occurred_at),) = db.rows(
        "select student_user_id, tutor_user_id, occurred_at from public.learning_events where session_id = %s",
        session_id,
    )
    assert (student, tutor, occurred_at) == (LENA.id, BILAL.id, AFTER), "the same again leaves no other"


@pytest.mark.parametrize(
    ("status", "_more", "event_type", "told"), [each for each in ACTIONS if "notes" not in each[1]]
)
def test_an_edit_in_studio_leaves_the_same_mark(
    db: Database, status: str, _more: dict[str, str], event_type: str, told: str
) -> None:
    session_id = lesson(db)
    db.set_clock(AFTER)
    edit(db, session_id, status=status)
    ((kind, data, sentence),) = learned(db, session_id)
    assert (kind, data["status"], data["previous_status"]) == (event_type, status, "scheduled")
    assert sentence == told.partition(" Reason: ")[0]


def test_what_the_clock_completes_is_recorded_as_of_its_end(db: Database) -> None:
    session_id = booked(db, HARRIET, LENA)
    db.set_clock(START)
    db.call(LENA, "start_session", p_session_id=session_id)
    db.set_clock(AFTER + DAY)
    db.call("service_role", "sweep_session_statuses")
    ((kind, _, sentence),) = learned(db, session_id)
    assert (kind, sentence) == ("session_completed", "Single lesson on 2026-03-10 15:00 UTC was held.")
    occurred_at = "select occurred_at from public.learning_events where session_id = %s"
    assert db.value(occurred_at, session_id) == AFTER


def test_a_move_is_recorded_with_both_times(db: Database) -> None:
    session_id = lesson(db)
    move(db, session_id, START + DAY)
    ((kind, data, sentence),) = learned(db, session_id)
    assert kind == "session_rescheduled"
    assert (instant(data["previous_start_utc"]), instant(data["scheduled_start_utc"])) == (START, START + DAY)
    assert sentence == f"{LESSON} was moved to 2026-03-11 15:00 UTC."


def test_an_edit_of_time_and_status_at_once_is_two_actions(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(AFTER)
    edit(
        db, session_id, status="done", scheduled_start_utc=START - HOUR, scheduled_end_utc=START, status_reason="Early."
    )
    assert [(kind, sentence) for kind, _, sentence in learned(db, session_id)] == [
        ("session_rescheduled", f"{LESSON} was moved to 2026-03-10 14:00 UTC. Reason: Early."),
        ("session_completed", "Mathematics lesson on 2026-03-10 14:00 UTC was held. Reason: Early."),
    ]


def test_a_correction_says_what_it_corrects(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(AFTER)
    update(db, BILAL, session_id, "done")
    update(db, NADIA, session_id, "no_show_student", reason="Was not there.")
    assert [(kind, data["previous_status"]) for kind, data, _ in learned(db, session_id)] == [
        ("session_completed", "scheduled"),
        ("session_missed", "done"),
    ]


def test_beginning_reopening_notes_and_disputes_are_no_learning(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    db.call(LENA, "start_session", p_session_id=session_id)
    update(db, BILAL, session_id, "in_progress", notes="On page 12.")
    db.set_clock(AFTER)
    db.call("service_role", "sweep_session_statuses")
    db.call(LENA, "dispute_session", p_session_id=session_id, p_reason="Nobody came.")
    update(db, NADIA, session_id, "in_progress", reason="Still going on.")
    assert [kind for kind, _, _ in learned(db, session_id)] == ["session_completed"]


# --- failing and repairing ----------------------------------------------------------------------------


@pytest.fixture(params=REACTIONS)
def broken(request: pytest.FixtureRequest, db: Database) -> tuple[str, str, str]:
    """A reaction whose table refuses every row from now on: its name, function and table."""
    name: str = request.param
    function, table = REACTIONS[name]
    break_table(db, table)
    return name, function, table


def break_table(db: Database, table: str) -> None:
    """From now on the table refuses every row, until it is mended."""
    db.run(
        "create function private.fail() returns trigger language plpgsql as"
        " $$ begin if current_setting('lk.broken') = 'on' then raise division_by_zero; end if; return new; end $$"
    )
    with db.connection.transaction():
        db.connection.execute(
            sql.SQL("create trigger fail before insert on {} for each row execute function private.fail()").format(
                sql.Identifier(*table.split("."))
            )
        )
    set_broken(db, "on")


def set_broken(db: Database, on_or_off: str) -> None:
    db.rows("select set_config('lk.broken', %s, false)", on_or_off)


def mend(db: Database) -> None:
    set_broken(db, "off")


def test_a_reaction_that_fails_leaves_the_lesson_done_and_is_repaired_to_the_same_rows(
    db: Database, broken: tuple[str, str, str]
) -> None:
    name, _, table = broken
    session_id = lesson(db)
    db.set_clock(AFTER)
    update(db, BILAL, session_id, "done", notes="Sines.")
    assert column(db, session_id, "status") == "done"
    assert events(db, session_id) == ["session.completed"]
    assert db.rows("select reaction, sqlstate, failures from private.reaction_failures") == [(name, "22012", 1)]
    assert facts(db, table) == [[]]
    others = [other for _, other in REACTIONS.values() if other != table]
    assert all(facts(db, *others)), "it fails alone"

    db.set_clock(AFTER + MINUTE)
    assert db.call("service_role", "clean_up")["failed"] == 1
    mend(db)
    db.set_clock(AFTER + HOUR)
    assert db.call("service_role", "clean_up")["repaired"] == 1
    assert db.rows("select * from private.reaction_failures") == []
    repaired = facts(db, table)

    # The same lesson, with nothing broken.
    with db.connection.transaction(force_rollback=True):
        db.run("delete from private.outcome_counts")
        db.run("delete from public.learning_events")
        db.run("delete from public.review_windows")
        run_again(db)
        assert facts(db, table) == repaired


def test_a_repair_that_comes_after_a_correction_leaves_what_punctual_ones_would_have_left(
    db: Database, broken: tuple[str, str, str]
) -> None:
    _, _, table = broken
    late, punctual = lesson(db), lesson(db, ENGLISH)
    db.set_clock(AFTER)
    update(db, NADIA, late, "done", reason="By phone.")
    mend(db)
    update(db, NADIA, punctual, "done", reason="By phone.")
    for session_id in (late, punctual):
        update(db, NADIA, session_id, "no_show_student", reason="Was not there.")
    db.set_clock(AFTER + MINUTE)
    assert db.call("service_role", "clean_up")["repaired"] == 1
    match table:
        case "public.review_windows":
            closed = [(late, None, 2), (punctual, None, 2)]
            assert sorted(facts(db, table)[0]) == sorted(closed)
        case "private.outcome_counts":
            assert outcomes(db) == recount(db)
        case _:
            (first, second), (other, _) = learned(db, late), learned(db, punctual)
            assert [each[0] for each in (first, second)] == ["session_completed", "session_missed"]
            assert other[1].pop("reason") == "By phone."
            assert first[1] == other[1], "the reason by then is another action's"
            assert first[2] == f"{LESSON} was held."


def run_again(db: Database) -> None:
    """Every reaction to every event, once more."""
    db.rows("select private.run_reactions(e) from private.outbox_events e order by e.id")


def test_every_reaction_may_run_again_for_the_same_event(db: Database) -> None:
    session_id, other = lesson(db), lesson(db, ENGLISH)
    db.set_clock(AFTER)
    update(db, BILAL, session_id, "done", notes="Sines.")
    move(db, other, START + DAY)
    for status in ("no_show_student", "in_progress", "done"):
        update(db, NADIA, session_id, status, reason="As it was.")
    before = facts(db)
    assert all(before)
    run_again(db)
    assert facts(db) == before


def test_a_sweep_with_a_reaction_that_always_fails_moves_everything(db: Database, broken: tuple[str, str, str]) -> None:
    sessions = [booked(db, HARRIET, LENA, START + number * HOUR) for number in range(5)]
    db.set_clock(START + DAY)
    assert db.call("service_role", "sweep_session_statuses")["started"] == 5
    for session_id in sessions:
        edit(db, session_id, is_delayed=False)
    assert db.call("service_role", "sweep_session_statuses")["completed"] == 5
    of_events = db.value("select count(*) from private.reaction_failures where reaction = %s", broken[0])
    assert of_events == db.value("select count(*) from private.reaction_failures")
    assert of_events >= 5


# --- reviews ------------------------------------------------------------------------------------------


def review(db: Database, who: Person, session_id: UUID, rating: int | None = 5, comment: str | None = None) -> Any:
    return db.call(who, "review_session", p_session_id=session_id, p_rating=rating, p_comment=comment)


def refused(db: Database, who: Person, session_id: UUID, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        review(db, who, session_id, **more)
    return caught.value


def done(db: Database, match: Match = MATHEMATICS) -> UUID:
    """A session that has just been done."""
    session_id = lesson(db, match)
    db.set_clock(AFTER)
    update(db, match.tutor, session_id, "done")
    return session_id


def test_a_student_reviews_a_lesson_once(db: Database) -> None:
    session_id = done(db)
    answer = review(db, LENA, session_id, 4, "  Slow, but clear.\nThanks.  ")
    given = answer["review"]
    assert answer["changed"] is True
    assert (given["rating"], given["comment"], given["tutor_user_id"]) == (
        4,
        "Slow, but clear.\nThanks.",
        str(BILAL.id),
    )
    assert review(db, LENA, session_id, 4, "Slow, but clear.\nThanks.") == {"review": given, "changed": False}
    again = refused(db, LENA, session_id, rating=5)
    assert (again.status, again.code) == (409, "already_reviewed")
    assert db.value("select count(*) from public.reviews") == 1
    assert audit(db, session_id)[-1] == ("session_reviewed", "student", LENA.id)
    assert events(db, session_id) == ["session.completed", "session.reviewed"]
    payload = db.value("select payload from private.outbox_events where event_type = 'session.reviewed'")
    assert payload == {
        "session_id": str(session_id), "tutor_id": str(BILAL.id), "student_id": str(LENA.id), "rating": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        (BILAL, 403, "not_allowed"),
        (NADIA, 403, "not_allowed"),
        (OLIVER, 404, "not_found"),
        (HARRIET, 404, "not_found"),
        (NEWCOMER, 404, "not_found"),
    ],
    ids=["its tutor", "admin", "another student", "another tutor", "newcomer"],
)
def test_only_its_student_reviews_a_lesson(db: Database, who: Person, status: int, code: str) -> None:
    refusal = refused(db, who, done(db))
    assert (refusal.status, refusal.code) == (status, code)


@pytest.mark.parametrize(
    "status", ["scheduled", "in_progress", "no_show_student", "no_show_tutor", "rescheduled", "cancelled"]
)
def test_only_what_is_done_is_reviewed(db: Database, status: str) -> None:
    session_id = lesson(db)
    db.set_clock(AFTER)
    if status != "scheduled":
        update(db, NADIA, session_id, status, reason="As it was.")
    refusal = refused(db, LENA, session_id)
    assert (refusal.status, refusal.code, refusal.extra) == (409, "illegal_transition", {"from": status})


@pytest.mark.parametrize("by_hand", [False, True], ids=["by a function", "in Studio"])
def test_a_review_closes_with_a_correction_and_opens_when_the_lesson_is_done_again(db: Database, by_hand: bool) -> None:  # noqa: FBT001
    def change(status: str) -> None:
        if by_hand:
            edit(db, session_id, status=status)
        else:
            update(db, NADIA, session_id, status, reason="As it was.")

    session_id = done(db)
    for status in ("no_show_student", "in_progress", "cancelled", "rescheduled"):
        change(status)
        assert refused(db, LENA, session_id).code == "illegal_transition"
        db.set_clock(AFTER + 30 * DAY)
        change("done")
        db.set_clock(AFTER)
    assert facts(db, "public.review_windows")[0][0][1] == AFTER + 44 * DAY, "it counts from the last time"
    assert review(db, LENA, session_id)["changed"] is True


def test_a_done_lesson_that_gets_a_time_to_come_is_not_reviewed_and_one_whose_past_is_put_right_is(
    db: Database,
) -> None:
    session_id = done(db)
    move(db, session_id, START - HOUR)
    assert facts(db, "public.review_windows") == [[(session_id, AFTER + 14 * DAY, 1)]]
    edit(db, session_id, status="scheduled", scheduled_start_utc=START + DAY, scheduled_end_utc=AFTER + DAY)
    assert refused(db, LENA, session_id).code == "illegal_transition"


@pytest.mark.parametrize("days", [1, 14, 365])
def test_the_window_is_as_long_as_the_house_says_to_the_instant(db: Database, days: int) -> None:
    db.call(NADIA, "update_settings", p_review_window_days=days)
    session_id = done(db)
    db.set_clock(AFTER + days * DAY)
    late = refused(db, LENA, session_id)
    assert (late.status, late.code, late.extra["policy"]) == (409, "too_late", "review_window_days")
    assert instant(late.extra["closed_at"]) == AFTER + days * DAY
    db.set_clock(AFTER + days * DAY - timedelta(microseconds=1))
    assert review(db, LENA, session_id)["changed"] is True
    db.set_clock(AFTER + days * DAY)
    assert review(db, LENA, session_id)["changed"] is False, "what was given in time may be asked for again"


def test_a_late_sweep_gives_no_more_days_than_a_punctual_one(db: Database) -> None:
    session_id = booked(db, HARRIET, LENA)
    db.set_clock(START)
    db.call(HARRIET, "start_session", p_session_id=session_id)
    db.set_clock(AFTER + 3 * DAY)
    db.call("service_role", "sweep_session_statuses")
    assert facts(db, "public.review_windows") == [[(session_id, AFTER + 14 * DAY, 3)]]


@pytest.mark.parametrize("rating", [0, 6, -1, None])
def test_a_rating_is_one_to_five(db: Database, rating: int | None) -> None:
    refusal = refused(db, LENA, done(db), rating=rating)
    assert (refusal.status, refusal.code, refusal.detail) == (422, "invalid", "rating is 1 to 5.")


def test_a_comment_is_of_one_to_two_thousand_characters_or_none(db: Database) -> None:
    session_id = done(db)
    refusal = refused(db, LENA, session_id, comment="x" * 2001)
    assert (refusal.status, refusal.detail) == (422, "comment has at most 2000 characters.")
    assert review(db, LENA, session_id, 1, "  ")["review"]["comment"] is None


@pytest.mark.parametrize(
    "statement", ["update public.reviews set rating = 1", "delete from public.reviews", "truncate public.reviews"]
)
def test_a_review_stays_as_it_was_given(db: Database, statement: str) -> None:
    review(db, LENA, done(db))
    with pytest.raises(Refused, match="stays as it was given"):
        db.run(statement)


# --- counting the days --------------------------------------------------------------------------------

OUTCOMES = ("done", "no_show_student", "no_show_tutor", "cancelled", "delayed")


def days(db: Database, tutor: Person | None = None) -> list[dict[str, Any]]:
    answer = db.call(
        NADIA,
        "get_daily_outcomes",
        p_from="2026-02-01",
        p_to="2026-06-30",
        p_tutor_id=tutor and tutor.id,
    )
    return answer["days"]


def outcomes(db: Database) -> list[tuple[Any, ...]]:
    """The counters of every day and tutor."""
    tutors = db.rows("select distinct tutor_user_id from public.sessions")
    return sorted(
        (tutor_id, day["on_date"], *(day[name] for name in OUTCOMES), day["hours_done"])
        for (tutor_id,) in tutors
        for day in db.call(NADIA, "get_daily_outcomes", p_from="2025-07-01", p_to="2026-06-30", p_tutor_id=tutor_id)[
            "days"
        ]
    )


def recount(db: Database) -> list[tuple[Any, ...]]:
    """The same from the sessions as they are."""
    return sorted(
        (tutor_id, str(day), *counts, float(hours))
        for tutor_id, day, hours, *counts in db.rows(
            """
            select tutor_user_id, scheduled_start_utc::date,
                   round(coalesce(sum(extract(epoch from scheduled_end_utc - scheduled_start_utc) / 60)
                                  filter (where status = 'done'), 0) / 60, 2),
                   count(*) filter (where status = 'done'), count(*) filter (where status = 'no_show_student'),
                   count(*) filter (where status = 'no_show_tutor'), count(*) filter (where status = 'cancelled'),
                   count(*) filter (where is_delayed)
              from public.sessions
             where status in ('done', 'no_show_student', 'no_show_tutor', 'cancelled') or is_delayed
             group by 1, 2
            """
        )
    )


def test_the_days_say_how_their_lessons_ended(db: Database) -> None:
    second = package(db, MATHEMATICS)
    sessions = [lesson(db, MATHEMATICS, START + number * HOUR, package_id=second) for number in range(4)]
    half = lesson(db, ENGLISH, START + DAY, length=HOUR / 2)
    db.set_clock(START + 2 * DAY)
    for session_id, status in zip(sessions, ("done", "no_show_student", "no_show_tutor", "cancelled"), strict=True):
        update(db, NADIA, session_id, status, reason="As it was.")
    update(db, HARRIET, half, "done")
    first_day = {"on_date": "2026-03-10"} | dict.fromkeys(OUTCOMES, 1) | {"delayed": 0, "hours_done": 1.0}
    second_day = {"on_date": "2026-03-11"} | dict.fromkeys(OUTCOMES, 0) | {"done": 1, "hours_done": 0.5}
    assert days(db) == [first_day, second_day]
    assert days(db, HARRIET) == [second_day]
    for session_id in [*sessions, half]:
        update(db, NADIA, session_id, "rescheduled", reason="All wrong.")
    assert days(db) == [], "what is taken back leaves no empty day"


def test_a_lesson_is_counted_on_the_day_it_is_on_now(db: Database) -> None:
    session_id = done(db)
    move(db, session_id, START - DAY, length=HOUR / 2)
    (day,) = days(db)
    assert (day["on_date"], day["done"], day["hours_done"]) == ("2026-03-09", 1, 0.5)


@pytest.mark.parametrize("steps", [60, pytest.param(1500, marks=pytest.mark.long)])
def test_the_counters_equal_a_recount_whatever_happened(db: Database, chance: Random, steps: int) -> None:
    """Random steps, corrections, moves, sweeps, and edits of time and status at once; now and then counting fails."""
    break_table(db, "private.outcome_counts")
    statuses = ("scheduled", "in_progress", "done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled")
    slots = iter(range(10_000))
    sessions = [
        lesson(db, match, START + number * 6 * HOUR, package_id=sold)
        for match in (MATHEMATICS, ENGLISH, PHYSICS)
        for sold in [package(db, match, 20)]
        for number in range(4)
    ] + [booked(db, HARRIET, LENA, START + (number * 6 + 2) * HOUR) for number in range(2)]
    taken = failing = 0
    for _ in range(steps):
        set_broken(db, chance.choice(("on", "off", "off", "off")))
        session_id, status = chance.choice(sessions), chance.choice(statuses)
        db.set_clock(START + chance.randrange(-12, 72) * HOUR)
        starts = START + 4 * DAY + next(slots) * HOUR if chance.random() < 0.5 else START - next(slots) * 2 * HOUR
        both = {"scheduled_start_utc": starts, "scheduled_end_utc": starts + chance.choice((HOUR / 2, HOUR))}
        try:
            match chance.randrange(6):
                case 0 | 1:
                    update(db, NADIA, session_id, status, reason="As it was.")
                case 2:
                    edit(db, session_id, status=status)
                case 3:
                    edit(db, session_id, **both)
                case 4:
                    edit(db, session_id, status=status, **both)
                case _:
                    db.call("service_role", "sweep_session_statuses")
        except (Refused, psycopg.errors.ExclusionViolation, psycopg.errors.CheckViolation):
            continue
        taken += 1
        failing = db.value("select count(*) from private.reaction_failures")
        assert failing or outcomes(db) == recount(db)
    assert taken > steps / 3
    assert failing
    mend(db)
    db.set_clock(START + 30 * DAY)
    assert db.call("service_role", "clean_up", p_limit=5000)["repaired"] == failing
    assert outcomes(db) == recount(db) != []


@pytest.mark.parametrize(
    ("first", "last"), [("2026-03-02", "2026-03-01"), ("2026-01-01", "2027-01-03"), (None, "2026-03-01")]
)
def test_days_that_are_no_period_are_refused(db: Database, first: str | None, last: str) -> None:
    with pytest.raises(Refused) as caught:
        db.call(NADIA, "get_daily_outcomes", p_from=first, p_to=last)
    assert (caught.value.status, caught.value.extra) == (422, {"field": "from"})


# --- Realtime, where it is there ----------------------------------------------------------------------

# As far as the chapter knows it: where messages are sent to, who may hear what on which topic.
STAND_IN = """
    create schema realtime;
    grant usage on schema realtime to authenticated;
    create table realtime.messages (
      id bigint generated always as identity, topic text, event text, payload jsonb, private boolean,
      extension text not null default 'broadcast');
    alter table realtime.messages enable row level security;
    grant select on realtime.messages to authenticated;
    create function realtime.topic() returns text language sql stable
      return nullif(current_setting('realtime.topic', true), '');
    grant execute on function realtime.topic() to authenticated;
    create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
      language sql as $$ insert into realtime.messages (payload, event, topic, private) values ($1, $2, $3, $4) $$;
"""


@pytest.fixture(scope="session")
def with_realtime(server: str) -> str:
    """A database that had Realtime before the first chapter."""
    url = clone(server, "with_realtime", "pristine")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "drop schema public, private, extensions cascade; truncate auth.users cascade;"
            "create schema public; grant usage on schema public to public"
        )
        connection.execute(STAND_IN)
        for chapter in [*MIGRATIONS, ROOT / "scripts" / "movable_clock.sql"]:
            connection.execute(chapter.read_bytes())
        connection.execute("set lessonkeeper.local = 'on'")
        connection.execute((ROOT / "supabase" / "seed.sql").read_bytes())
    return url


def heard(db: Database, who: Person, topic: str) -> list[str]:
    """What somebody hears who joins a topic."""
    with db.connection.transaction(), db.acting(who) as connection:
        connection.execute("select set_config('realtime.topic', %s, true)", (topic,))
        messages = connection.execute("select payload ->> 'event' from realtime.messages where topic = %s", (topic,))
        return [event for (event,) in messages.fetchall()]


def test_both_peoples_private_channels_hear_of_a_change_and_nobody_joins_another_ones(with_realtime: str) -> None:
    with psycopg.connect(with_realtime) as connection:
        connection.execute("select 1")
        db = Database(connection)
        db.set_clock(START)
        session_id = lesson(db)
        update(db, BILAL, session_id, "done")
        messages = db.rows("select topic, event, private, payload from realtime.messages order by topic")
        told = {"event": "session.completed", "session_id": str(session_id), "status": "done", "version": 2}
        assert messages == [
            (f"user:{who.id}", "session_changed", True, told) for who in sorted((BILAL, LENA), key=lambda each: each.id)
        ]
        for who in (BILAL, LENA):
            assert heard(db, who, f"user:{who.id}") == ["session.completed"]
        for who in (HARRIET, OLIVER, NEWCOMER, NADIA, BILAL):
            assert heard(db, who, f"user:{LENA.id}") == []
        assert db.rows("select * from private.reaction_failures") == []
        connection.rollback()


def test_a_realtime_that_fails_stops_no_lesson(with_realtime: str) -> None:
    with psycopg.connect(with_realtime) as connection:
        connection.execute("select 1")
        db = Database(connection)
        db.run("drop function realtime.send")
        db.set_clock(START)
        session_id = lesson(db)
        update(db, BILAL, session_id, "done")
        assert column(db, session_id, "status") == "done"
        assert db.rows("select reaction, sqlstate from private.reaction_failures") == [("realtime", "42883")]
        assert len(learned(db, session_id)) == 1
        connection.rollback()


def test_without_realtime_there_is_nothing_of_it(db: Database) -> None:
    assert db.value("select to_regnamespace('realtime') is null")
    assert db.rows("select name from private.reactions order by 1") == [
        (name,) for name in sorted({*REACTIONS, *OF_LATER_CHAPTERS})
    ]


# --- as the document shows it -------------------------------------------------------------------------

EXTENDING = ROOT / "docs" / "extending.md"


def blocks(language: str) -> list[str]:
    """The blocks of code of a language in docs/extending.md."""
    return re.findall(rf"^```{language}\n(.*?)^```$", EXTENDING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_reaction_of_the_document_does_what_the_document_says(db: Database) -> None:
    reaction, _ = blocks("sql")
    assert len(reaction.splitlines()) <= 30
    db.connection.execute(reaction.encode())
    poor, good = done(db), done(db, ENGLISH)
    review(db, LENA, poor, 2)
    review(db, OLIVER, good, 3)
    run_again(db)
    assert db.rows("select * from private.poor_reviews") == [(poor, 2, AFTER)]


def test_the_subscription_of_the_document_gets_its_messages(db: Database) -> None:
    _, subscription = blocks("sql")
    endpoint(db, "session.no_show")
    db.connection.execute(subscription.encode())
    db.set_clock(AFTER)
    update(db, BILAL, lesson(db), "no_show_student")
    chat, webhook = sorted(claim(db), key=lambda each: each["consumer"])
    assert (chat["consumer"], webhook["consumer"]) == ("chat", "webhook")
    assert "url" not in chat
    assert (chat["event_type"], chat["body"]) == ("session.no_show", webhook["body"])
