"""Chapter 27: how a student is getting on, who may know it, and the addresses that guardians are given."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, audit, booked, instant, lesson, package, update
from tests.house import (
    BILAL,
    ENGLISH,
    HARRIET,
    IELTS,
    LENA,
    MARCUS,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    NOW,
    OLIVER,
    PHYSICS,
    ZARA,
    Match,
    Person,
)

SERVICE = "service_role"
TODAY = instant(NOW)
MONTH = 30 * DAY
ROSA, GRACE = (UUID(f"d0000000-0000-4000-8000-00000000000{number}") for number in (1, 3))
"""Guardians of Lena and of Oliver."""


def progress(
    db: Database, who: Person = NADIA, student: Person = LENA, *, since: str | None = None, until: str | None = None
) -> dict[str, Any]:
    return db.call(who, "get_progress", p_student_id=student.id, p_from=since, p_to=until)


def mark(
    db: Database,
    score: object,
    at: datetime = TODAY - DAY,
    subject: str = "Algebra",
    *,
    max_score: object = 100,
    match: Match = MATHEMATICS,
    **more: object,
) -> None:
    """An assessment in the record, as the table's owner may put it there."""
    db.run(
        "insert into public.learning_events"
        " (event_type, student_user_id, tutor_user_id, event_data, content_for_embedding, occurred_at)"
        " values ('assessment', %s, %s, %s, 'An assessment.', %s)",
        match.student.id,
        match.tutor.id,
        json.dumps({"subject": subject, "score": score, "max_score": max_score, **more}),
        at,
    )


def homework(db: Database, status: str = "assigned", *, match: Match = MATHEMATICS, **columns: Any) -> None:
    """Homework that was set ten days ago, unless said otherwise, in whatever state."""
    row = {
        "student_user_id": match.student.id,
        "tutor_user_id": match.tutor.id,
        "title": "Fractions",
        "status": status,
        "due_at": None,
        "submitted_at": None if status == "assigned" else TODAY - 6 * DAY,
        "reviewed_at": TODAY - 5 * DAY if status == "reviewed" else None,
        "created_at": TODAY - 10 * DAY,
    } | columns
    db.run(
        f"insert into public.homework ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})",
        *row.values(),
    )


def held(db: Database, *days_ago: int, match: Match = MATHEMATICS, status: str = "done", **columns: Any) -> None:
    """Lessons that ended in this way, each so many days ago."""
    for days in days_ago:
        lesson(db, match, TODAY - days * DAY, status=status, **columns)


# --- the trend ------------------------------------------------------------------------------------------


def trend(db: Database, days: Sequence[float], percents: Sequence[float]) -> dict[str, Any]:
    times = [TODAY + timedelta(days=each) for each in days]
    return db.value("select private.trend(%s::timestamptz[], %s::float8[])", times, list(percents))


def t_tail(t: float, freedom: int) -> float:
    """The chance that Student's t with so many degrees of freedom exceeds t: its density, summed by Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def density(x: float) -> float:
        return scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2)

    steps = 4_000
    width = t / steps
    inner = sum(density(width * step) * (4 if step % 2 else 2) for step in range(1, steps))
    return 0.5 - (density(0) + inner + density(t)) * width / 3


def test_the_range_around_a_trend_is_students(db: Database) -> None:
    for freedom in (*range(1, 41), 60, 120, 1000):
        t = db.value("select private.t_quantile(%s)", freedom)
        assert t_tail(t, freedom) == pytest.approx(0.025, abs=0.0002), freedom


def by_hand(days: Sequence[float], percents: Sequence[float]) -> tuple[float, float, float, float, float]:
    """Least squares as the books have it: slope, its error, the line's middle in x and y, and the scatter."""
    x = [each / 30 for each in days]
    n, mean_x, mean_y = len(x), sum(x) / len(x), sum(percents) / len(x)
    sxx = sum((each - mean_x) ** 2 for each in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, percents, strict=True)) / sxx
    left = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, percents, strict=True))
    scatter = math.sqrt(left / (n - 2))
    return slope, scatter / math.sqrt(sxx), mean_x, mean_y, scatter


def test_the_line_and_its_uncertainty_are_those_of_least_squares(db: Database, chance: Random) -> None:
    for _ in range(40):
        n = chance.randint(4, 30)
        days = sorted(chance.uniform(0, 400) for _ in range(n))
        days[-1] = days[0] + chance.uniform(14, 400) if days[-1] - days[0] < 14 else days[-1]
        percents = [chance.uniform(0, 100) for _ in days]
        told = trend(db, days, percents)
        slope, error, mean_x, mean_y, scatter = by_hand(days, percents)
        t = db.value("select private.t_quantile(%s)", n - 2)
        assert (told["n"], told["enough"]) == (n, True)
        assert told["slope"] == pytest.approx(slope, abs=0.0051)
        assert told["standard_error"] == pytest.approx(error, abs=0.0051)
        assert (told["low"], told["high"]) == pytest.approx((slope - t * error, slope + t * error), abs=0.0051)
        sxx = sum((each / 30 - mean_x) ** 2 for each in days)
        assert len(told["line"]) == 13
        for point, share in zip(told["line"], range(13), strict=True):
            x = (days[0] + (days[-1] - days[0]) * share / 12) / 30
            y = mean_y + slope * (x - mean_x)
            reach = t * scatter * math.sqrt(1 / n + (x - mean_x) ** 2 / sxx)
            assert instant(point["at"]) == pytest.approx(TODAY + timedelta(days=x * 30), abs=timedelta(seconds=1))
            assert (point["percent"], point["low"], point["high"]) == pytest.approx(
                (y, y - reach, y + reach), abs=0.0051
            )


def test_a_straight_row_of_marks_is_told_without_a_doubt(db: Database) -> None:
    told = trend(db, [0, 30, 60, 90], [40, 50, 60, 70])
    assert (told["slope"], told["standard_error"], told["low"], told["high"]) == (10, 0, 10, 10)
    assert told["verdict"] == "rising"
    assert trend(db, [0, 30, 60, 90], [70, 60, 50, 40])["verdict"] == "falling"
    assert trend(db, [0, 30, 60, 90], [70, 70, 70, 70])["verdict"] == "steady"


def test_marks_that_scatter_have_no_direction(db: Database) -> None:
    told = trend(db, [0, 30, 60, 90, 120], [20, 90, 40, 95, 60])
    assert told["low"] < 0 < told["high"]
    assert told["verdict"] == "unclear"


def test_many_marks_around_one_height_are_steady(db: Database) -> None:
    told = trend(db, [10 * each for each in range(30)], [70 + each % 2 for each in range(30)])
    assert told["verdict"] == "steady"
    assert -2 < told["low"] < told["high"] < 2


@pytest.mark.parametrize(
    "days", [[], [0], [0, 30], [0, 30, 60], [0, 0, 0, 0], [0, 4, 9, 13.9]], ids=lambda days: f"{len(days)}: {days}"
)
def test_of_too_few_marks_or_too_short_a_time_nothing_is_said(db: Database, days: list[float]) -> None:
    assert trend(db, days, [10.0 * each for each in range(len(days))]) == {
        "n": len(days),
        "enough": False,
        "verdict": "too_few",
        "slope": None,
        "standard_error": None,
        "low": None,
        "high": None,
        "line": [],
    }


# --- assessments ----------------------------------------------------------------------------------------


def test_marks_are_told_by_subject_in_the_order_they_were_given(db: Database) -> None:
    mark(db, 17, TODAY - 3 * DAY, max_score=20, topic="Fractions")
    mark(db, 12.5, TODAY - 9 * DAY, " algebra ", max_score=25)
    mark(db, 30, TODAY - 5 * DAY, "Geometry", max_score=40)
    algebra, geometry = progress(db)["assessments"]
    assert (algebra["subject"], geometry["subject"]) == ("Algebra", "Geometry")
    assert [(each["score"], each["max_score"], each["percent"], each["topic"]) for each in algebra["marks"]] == [
        (12.5, 25, 50, None),
        (17, 20, 85, "Fractions"),
    ]
    assert (algebra["latest"], algebra["average"]) == (85, 67.5)
    assert [instant(each["taken_at"]) for each in geometry["marks"]] == [TODAY - 5 * DAY]
    assert geometry["trend"]["verdict"] == "too_few"


def test_the_trend_of_a_subject_is_that_of_its_marks_alone(db: Database) -> None:
    days, percents = [-100, -80, -40, -3], [41.0, 56.0, 52.0, 77.0]
    for each, percent in zip(days, percents, strict=True):
        mark(db, percent, TODAY + each * DAY)
        mark(db, 5, TODAY + each * DAY, "Geometry")
        mark(db, 99, TODAY + each * DAY, match=ENGLISH)
    algebra = progress(db)["assessments"][0]
    told = trend(db, days, percents)
    assert algebra["trend"] == told
    assert told["slope"] == pytest.approx(by_hand(days, percents)[0], abs=0.0051)


def test_what_a_hand_has_put_into_the_record_wrongly_breaks_nothing(db: Database) -> None:
    wrong: list[tuple[object, object]] = [("17", 20), (17, 0), (None, 20), (-1, 20), (17, "x"), ({}, True)]
    for score, max_score in wrong:
        mark(db, score, max_score=max_score)
    assert progress(db)["assessments"] == []


# --- lessons --------------------------------------------------------------------------------------------


def test_lessons_are_counted_by_what_became_of_them(db: Database) -> None:
    held(db, 1, 2, 3)
    held(db, 4, length=timedelta(minutes=90))
    held(db, 5, status="no_show_student")
    held(db, 6, status="no_show_tutor")
    held(db, 7, 8, status="cancelled")
    held(db, -1, status="scheduled")
    held(db, 9, match=ENGLISH)
    booked(db, HARRIET, LENA, TODAY - 10 * DAY, status="done")
    assert progress(db)["lessons"] == {
        "done": 5,
        "no_show_student": 1,
        "no_show_tutor": 1,
        "cancelled": 2,
        "hours_done": 5.5,
        "completion_rate": 0.7143,
    }


def test_where_there_is_nothing_no_rate_is_made_up(db: Database) -> None:
    held(db, 7, status="cancelled")
    told = progress(db)
    assert told["lessons"]["completion_rate"] is None
    assert told["homework"]["completion_rate"] is None
    assert told["streak"] == {"current": 0, "since": None, "longest": 0}
    assert told["assessments"] == []


def test_a_miss_of_the_student_ends_the_streak_and_nothing_else_does(db: Database) -> None:
    held(db, 60, 58, 56, 54)
    held(db, 52, status="no_show_student")
    held(db, 50)
    held(db, 48, status="no_show_tutor")
    held(db, 46, status="cancelled")
    held(db, 44, 42)
    held(db, -1, status="scheduled")
    streak = progress(db)["streak"]
    assert (streak["current"], streak["longest"]) == (3, 4)
    assert instant(streak["since"]) == TODAY - 50 * DAY
    assert progress(db, until="2026-01-05")["streak"]["current"] == 0, "on the day of the miss"
    assert progress(db, until="2026-01-04")["streak"]["current"] == 4


def test_a_streak_reaches_back_beyond_the_period(db: Database) -> None:
    held(db, 60, 58, 56, 2)
    told = progress(db, since="2026-02-20")
    assert (told["lessons"]["done"], told["streak"]["current"]) == (1, 4)


def test_a_streak_whose_last_lesson_was_missed_is_over(db: Database) -> None:
    held(db, 9, 8)
    held(db, 7, status="no_show_student")
    assert progress(db)["streak"] == {"current": 0, "since": None, "longest": 2}


# --- homework -------------------------------------------------------------------------------------------


def test_homework_is_counted_by_what_became_of_it(db: Database) -> None:
    homework(db, "reviewed", due_at=TODAY - 6 * DAY)  # in the very last moment
    homework(db, "submitted", due_at=TODAY - 7 * DAY)
    homework(db, "submitted")
    homework(db, due_at=TODAY - DAY)
    homework(db, due_at=TODAY)
    homework(db, due_at=TODAY + DAY)
    homework(db)
    homework(db, match=ENGLISH)
    assert progress(db)["homework"] == {
        "assigned": 7,
        "submitted": 3,
        "late": 1,
        "reviewed": 1,
        "overdue": 1,
        "open": 3,
        "completion_rate": 0.75,
    }


# --- packages -------------------------------------------------------------------------------------------


def only_package(db: Database, student: Person = LENA) -> dict[str, Any]:
    (one,) = progress(db, student=student)["packages"]
    return one


def test_a_package_tells_what_is_left_of_it(db: Database) -> None:
    held(db, 20, 10)
    one = only_package(db)
    assert {
        name: one[name] for name in ("id", "subject", "tier_sessions", "sessions_used", "sessions_left", "standing")
    } == {
        "id": str(MATHEMATICS.package_id),
        "subject": "Mathematics",
        "tier_sessions": 8,
        "sessions_used": 2,
        "sessions_left": 6,
        "standing": "active",
    }
    assert progress(db)["sessions_left"] == 6


def test_the_end_of_the_credits_follows_the_pace_of_eight_weeks(db: Database) -> None:
    held(db, 70, 60)  # before them
    held(db, 50, 40, 30, status="done")
    held(db, 20, status="no_show_student")
    held(db, 10, status="no_show_tutor")  # costs nothing
    one = only_package(db)
    assert (one["sessions_left"], one["pace_per_week"]) == (2, 0.5), "four in eight weeks"
    assert (one["expected_end"], one["expected_by"]) == ("2026-03-26", "pace"), "two at one in a fortnight"


def test_whoever_began_less_than_eight_weeks_ago_has_the_pace_of_the_time_since(db: Database) -> None:
    held(db, 21, 14, 7)
    one = only_package(db)
    assert (one["pace_per_week"], one["expected_end"]) == (1.0, "2026-04-02"), "five weeks for five"


@pytest.mark.parametrize("days", [[], [30], [13, 6, 2], [80, 75, 70]], ids=["none", "one", "two weeks", "long ago"])
def test_without_a_pace_nobody_says_when_the_credits_end(db: Database, days: list[int]) -> None:
    held(db, *days)
    one = only_package(db)
    assert (one["pace_per_week"], one["expected_end"], one["expected_by"]) == (None, None, None)


def test_what_is_planned_goes_before_the_pace(db: Database) -> None:
    held(db, 35, 28, 21, 14, 7, 3)
    held(db, -9, status="scheduled")
    assert only_package(db)["expected_by"] == "pace", "one of two is planned"
    held(db, -5, status="scheduled")
    one = only_package(db)
    assert (one["sessions_left"], one["expected_end"], one["expected_by"]) == (2, "2026-03-07", "plan")
    held(db, -40, status="cancelled")
    assert only_package(db)["expected_end"] == "2026-03-07"


def test_a_package_that_follows_another_begins_when_that_one_is_used_up(db: Database) -> None:
    held(db, 35, 28, 21, 14, 7)
    followed = {"p_start_date": "2026-04-05", "p_end_date": "2026-06-30"}
    db.call(NADIA, "create_package", p_request_id=MATHEMATICS.request_id, p_tier_sessions=8, **followed)
    first, second = progress(db)["packages"]
    assert (first["sessions_left"], second["sessions_left"], progress(db)["sessions_left"]) == (3, 8, 11)
    assert first["pace_per_week"] == second["pace_per_week"] == 1.0
    assert (first["expected_end"], second["expected_end"]) == ("2026-03-19", "2026-05-14"), "three and eleven weeks"


def test_a_package_without_credits_ends_at_no_time_and_a_cancelled_one_is_not_told(db: Database) -> None:
    package(db, MATHEMATICS, used=8)
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_status="cancelled")
    db.set_clock("2026-03-02T09:00:00Z")
    one = only_package(db)
    assert (one["standing"], one["sessions_left"], one["expected_end"]) == ("exhausted", 0, None)


def test_what_has_expired_is_told_and_not_counted(db: Database) -> None:
    db.set_clock("2026-04-05T00:00:00Z")
    one = only_package(db)
    assert (one["standing"], one["sessions_left"], one["expected_end"]) == ("expired", 8, None)
    assert progress(db)["sessions_left"] == 0
    assert progress(db, since="2026-04-05")["packages"] == [], "nor is it of that period"


# --- the period -----------------------------------------------------------------------------------------


def test_a_period_is_days_of_utc_with_both_ends(db: Database) -> None:
    first, last = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)
    for at in (first, last + 23 * HOUR, first - timedelta(seconds=1), last + DAY):
        mark(db, 50, at)
        homework(db, created_at=at)
    held_at = [
        lesson(db, MATHEMATICS, at, status="done") for at in (first, last + 23 * HOUR, first - 2 * HOUR, last + DAY)
    ]
    assert len(held_at) == 4
    told = progress(db, since="2026-01-10", until="2026-01-20")
    assert (told["from"], told["to"]) == ("2026-01-10", "2026-01-20")
    assert [instant(each["taken_at"]) for each in told["assessments"][0]["marks"]] == [first, last + 23 * HOUR]
    assert (told["lessons"]["done"], told["homework"]["assigned"]) == (2, 2)


def test_without_a_period_it_is_the_last_365_days(db: Database) -> None:
    told = progress(db)
    assert (told["from"], told["to"]) == ("2025-02-27", "2026-02-26")
    assert instant(told["as_of"]) == TODAY
    assert progress(db, until="2025-12-31")["from"] == "2025-01-01"


@pytest.mark.parametrize(("since", "until"), [("2026-03-02", "2026-03-01"), ("2026-02-27", None), ("2021-02-20", None)])
def test_a_period_that_is_none_or_too_long_is_refused(db: Database, since: str, until: str | None) -> None:
    with pytest.raises(Refused, match="422 invalid") as refused:
        progress(db, since=since, until=until)
    assert refused.value.extra == {"field": "from"}


# --- who may read it ------------------------------------------------------------------------------------


def filled(db: Database) -> None:
    """Everything of physics and of IELTS, whose student is one and whose tutors are two."""
    for days, match in ((3, PHYSICS), (2, IELTS)):
        held(db, days, match=match)
        mark(db, 50 + days, subject=f"Of {match.tutor.email}", match=match)
        homework(db, match=match)


def test_the_student_and_admins_see_everything(db: Database) -> None:
    filled(db)
    for who in (ZARA, NADIA):
        told = progress(db, who, ZARA)
        assert told["tutor"] is None
        assert told["student"]["id"] == str(ZARA.id)
        assert (told["lessons"]["done"], told["homework"]["assigned"], told["streak"]["current"]) == (2, 2, 2)
        assert len(told["assessments"]) == len(told["packages"]) == 2
    assert progress(db, NADIA, ZARA)["viewer_timezone"] == "Asia/Karachi"


def test_a_tutor_sees_what_they_have_a_part_in_and_nothing_of_the_others(db: Database) -> None:
    filled(db)
    for who, match in ((HARRIET, IELTS), (MARCUS, PHYSICS)):
        told = progress(db, who, ZARA)
        assert told["tutor"]["id"] == str(who.id)
        assert [each["subject"] for each in told["assessments"]] == [f"Of {who.email}"]
        assert [each["id"] for each in told["packages"]] == [str(match.package_id)]
        assert (told["lessons"]["done"], told["homework"]["assigned"], told["streak"]["current"]) == (1, 1, 1)
        assert told["sessions_left"] == match.tier - 1


def refusal_of(db: Database, who: Person, student_id: object) -> str:
    with pytest.raises(Refused) as refused:
        db.call(who, "get_progress", p_student_id=student_id)
    return str(refused.value)


def test_somebody_elses_student_is_as_unknown_as_nobody(db: Database) -> None:
    unknown = refusal_of(db, NADIA, uuid4())
    assert unknown.startswith("404 not_found")
    strangers = [(BILAL, OLIVER), (LENA, OLIVER), (HARRIET, LENA), (NEWCOMER, LENA)]
    for who, student in (*strangers, (NADIA, BILAL), (BILAL, BILAL)):
        assert refusal_of(db, who, student.id) == unknown, (who, student)


def test_a_tutor_whose_match_has_ended_still_reads_their_own_part_as_it_was(db: Database) -> None:
    filled(db)
    before = progress(db, MARCUS, ZARA)
    db.call(NADIA, "end_match", p_match_id=PHYSICS.id, p_reason="moving away")
    assert progress(db, MARCUS, ZARA) == before


# --- links for guardians --------------------------------------------------------------------------------


def link(db: Database, guardian_id: UUID = ROSA) -> dict[str, Any]:
    return db.call(NADIA, "create_progress_link", p_guardian_id=guardian_id)


def links(db: Database, guardian_id: UUID = ROSA) -> list[dict[str, Any]]:
    return db.call(NADIA, "list_progress_links", p_guardian_id=guardian_id)["links"]


def opened(db: Database, token: object) -> dict[str, Any]:
    return db.call(SERVICE, "read_progress_link", p_token=token)


def closed(db: Database, token: object) -> str:
    with pytest.raises(Refused) as refused:
        opened(db, token)
    return str(refused.value)


def test_a_link_opens_what_the_student_sees_and_on_the_guardians_clocks(db: Database) -> None:
    held(db, 3)
    mark(db, 80)
    mark(db, 10, subject="Another's", match=ENGLISH)
    miguel = UUID("d0000000-0000-4000-8000-000000000002")
    told, of_student = opened(db, link(db, miguel)["token"]), progress(db, LENA)
    assert told["viewer_timezone"] == "America/Chicago"
    assert told == of_student | {"viewer_timezone": "America/Chicago"}


def test_each_guardian_opens_their_own_student(db: Database) -> None:
    assert {opened(db, link(db, guardian)["token"])["student"]["id"] for guardian in (ROSA, GRACE)} == {
        str(LENA.id),
        str(OLIVER.id),
    }


def test_a_token_is_random_fits_an_address_and_only_its_hash_is_kept(db: Database) -> None:
    made = link(db)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", made["token"])
    hashed = hashlib.sha256(made["token"].encode()).digest()
    assert db.rows("select id::text, token_hash from private.progress_links") == [(made["id"], hashed)]
    tables = db.rows("select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'private')")
    assert [
        name
        for (name,) in tables
        if db.value(f"select exists (select from {name} t where t::text ~ '{made['token']}')")
    ] == []
    assert len({link(db)["token"] for _ in range(10)}) == 10


def test_a_link_that_is_revoked_stops_at_once_and_the_others_go_on(db: Database) -> None:
    made, other = link(db), link(db)
    gone = db.call(NADIA, "revoke_progress_link", p_link_id=made["id"])
    assert gone["standing"] == "revoked"
    assert instant(gone["revoked_at"]) == TODAY
    db.set_clock("2026-02-27T09:00:00Z")
    assert db.call(NADIA, "revoke_progress_link", p_link_id=made["id"]) == gone, "once more is the same"
    assert closed(db, made["token"]) == closed(db, "x" * 43)
    assert opened(db, other["token"])["student"]["id"] == str(LENA.id)


def test_a_link_lasts_ninety_days_of_the_real_clock_whatever_the_house_says(db: Database) -> None:
    made = link(db)
    left = instant(made["expires_at"]) - datetime.now(UTC)
    assert abs(left - 90 * DAY) < HOUR
    db.set_clock("2040-01-01T00:00:00Z")
    opened(db, made["token"])
    db.run("update private.progress_links set expires_at = now() + interval '1 minute'")
    opened(db, made["token"])
    db.run("update private.progress_links set expires_at = now()")
    assert closed(db, made["token"]) == closed(db, "x" * 43)
    assert [each["standing"] for each in links(db)] == ["expired"]


def test_nothing_that_is_no_open_link_tells_anything(db: Database) -> None:
    revoked, expired, deactivated, token = (link(db, each) for each in (ROSA, ROSA, GRACE, ROSA))
    db.call(NADIA, "revoke_progress_link", p_link_id=revoked["id"])
    db.run("update private.progress_links set expires_at = now() - interval '1 day' where id = %s", expired["id"])
    db.call(NADIA, "update_person", p_person_id=OLIVER.id, p_is_active=False)
    good = token["token"]
    calendar = db.call(LENA, "rotate_calendar_token")["token"]
    near = [good[:-1], good + "x", good.swapcase(), f" {good}", token["id"]]
    odd = [None, "", "%", "x" * 43, *near, str(ROSA), calendar]
    stopped = [each["token"] for each in (revoked, expired, deactivated)]
    assert {closed(db, each) for each in (*odd, *stopped)} == {"404 not_found: There is no such page. {}"}
    opened(db, good)


def test_admins_see_a_guardians_links_without_their_tokens(db: Database) -> None:
    first = link(db)
    db.set_clock("2026-02-27T09:00:00Z")
    second = link(db)
    link(db, GRACE)
    listed = links(db)
    assert [each["id"] for each in listed] == [second["id"], first["id"]]
    assert listed[0] == {name: value for name, value in second.items() if name != "token"}
    assert (listed[0]["standing"], listed[0]["created_by"]["display_name"]) == ("open", "Nadia Rahman")


def test_making_and_ending_a_link_are_in_the_audit(db: Database) -> None:
    made = link(db)
    for _ in range(2):
        db.call(NADIA, "revoke_progress_link", p_link_id=made["id"])
    assert audit(db, ROSA)[1:] == [
        ("progress_link_created", "admin", NADIA.id),
        ("progress_link_revoked", "admin", NADIA.id),
    ]


def test_unknown_guardians_and_links_are_not_found(db: Database) -> None:
    for function, name in (
        ("create_progress_link", "p_guardian_id"),
        ("list_progress_links", "p_guardian_id"),
        ("revoke_progress_link", "p_link_id"),
    ):
        with pytest.raises(Refused, match="404 not_found"):
            db.call(NADIA, function, **{name: uuid4()})
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(LENA, function, **{name: ROSA})


def test_a_status_that_is_corrected_is_told_at_once(db: Database) -> None:
    held(db, 2)
    (session_id,) = db.rows("select id from public.sessions where student_user_id = %s", LENA.id)[0]
    update(db, NADIA, session_id, "no_show_student", reason="was not there")
    told = progress(db)
    assert (told["lessons"]["done"], told["lessons"]["completion_rate"], told["streak"]["current"]) == (0, 0, 0)
