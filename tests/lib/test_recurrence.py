"""What a pattern becomes on real calendars: exact instants, and every date walked past explained."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from lib.recurrence import (
    LOOK_AHEAD,
    LOOK_BACK,
    Plan,
    ScheduleInputs,
    SchedulePattern,
    TimeOff,
    falls_on_time_off,
    plan,
    plan_hash,
)

NEW_YORK, LONDON, KARACHI = "America/New_York", "Europe/London", "Asia/Karachi"
CASABLANCA, KOLKATA, LORD_HOWE = "Africa/Casablanca", "Asia/Kolkata", "Australia/Lord_Howe"
VANCOUVER = "America/Vancouver"
ZONES = [NEW_YORK, LONDON, KARACHI, CASABLANCA, KOLKATA, LORD_HOWE, VANCOUVER]
EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]


def some_id(name: str) -> str:
    return str(uuid5(UUID(int=0), name))


def inputs(
    *,
    tutor_timezone: str = "UTC",
    student_timezone: str = "UTC",
    start_date: str = "2026-01-01",
    end_date: str = "2027-12-31",
    **changes: object,
) -> ScheduleInputs:
    """The jsonb of ``schedule_inputs`` as Postgres writes it."""
    answer: dict[str, object] = {
        "match_id": some_id("match"),
        "package_id": some_id("package"),
        "request_id": some_id("request"),
        "pattern": None,
        "meet_link": None,
        "tutor": person("tutor", tutor_timezone),
        "student": person("student", student_timezone),
        "window": {"start_date": start_date, "end_date": end_date},
        "tier_sessions": 8,
        "opening_used": 0,
        "counted": 0,
        "needed": 8,
        "existing": 0,
        "taken": [],
        "holidays": [],
        "time_off": [],
        "busy": [],
        "now": "2025-12-01T00:00:00+00:00",
        "fingerprint": "f",
    }
    return ScheduleInputs.model_validate(answer | changes)


def person(name: str, timezone: str) -> dict[str, str]:
    return {"id": some_id(name), "display_name": name.title(), "timezone": timezone}


def pattern(
    timezone: str = "UTC", days: list[int] | None = None, at: str = "16:00", duration_mins: int = 60
) -> SchedulePattern:
    return SchedulePattern.model_validate(
        {"timezone": timezone, "days": days or EVERY_DAY, "time": at, "duration_mins": duration_mins}
    )


def planned(
    facts: ScheduleInputs,
    weekly: SchedulePattern,
    *,
    skip_conflicts: bool = False,
    from_date: date | None = None,
) -> Plan:
    return plan(facts, weekly, skip_conflicts=skip_conflicts, from_date=from_date)


def starts(made: Plan) -> list[str]:
    return [f"{each.start_utc:%Y-%m-%d %H:%M}" for each in made.occurrences]


def dates(made: Plan) -> list[str]:
    return [str(each.date) for each in made.occurrences]


def skips(made: Plan) -> list[tuple[str, str]]:
    return [(str(each.date), each.reason) for each in made.skipped]


def all_day(of: str, starts_on: str, ends_on: str) -> dict[str, Any]:
    both = {"starts_on": starts_on, "ends_on": ends_on, "starts_at": None, "ends_at": None}
    return {"id": some_id(f"{of} {starts_on}"), "of": of, **both}


def hours_off(of: str, starts_at: str, ends_at: str) -> dict[str, Any]:
    both = {"starts_on": None, "ends_on": None, "starts_at": starts_at, "ends_at": ends_at}
    return {"id": some_id(f"{of} {starts_at}"), "of": of, **both}


def busy(name: str, start: str, end: str, of: str = "tutor") -> dict[str, str]:
    return {"session_id": some_id(name), "start": start, "end": end, "of": of}


# --- exact UTC across every change of 2026 and 2027 ----------------------------------------------------

# Written from the zones' laws: two days on either side of each change, and what 16:00 means there in UTC.
CHANGES = [
    (NEW_YORK, "2026-03-07", ["03-07 21:00", "03-08 20:00"]),
    (NEW_YORK, "2026-10-31", ["10-31 20:00", "11-01 21:00"]),
    (NEW_YORK, "2027-03-13", ["03-13 21:00", "03-14 20:00"]),
    (NEW_YORK, "2027-11-06", ["11-06 20:00", "11-07 21:00"]),
    (LONDON, "2026-03-28", ["03-28 16:00", "03-29 15:00"]),
    (LONDON, "2026-10-24", ["10-24 15:00", "10-25 16:00"]),
    (LONDON, "2027-03-27", ["03-27 16:00", "03-28 15:00"]),
    (LONDON, "2027-10-30", ["10-30 15:00", "10-31 16:00"]),
    (CASABLANCA, "2026-02-14", ["02-14 15:00", "02-15 16:00"]),
    (CASABLANCA, "2026-03-21", ["03-21 16:00", "03-22 15:00"]),
    (CASABLANCA, "2026-09-19", ["09-19 15:00", "09-20 16:00"]),
    (LORD_HOWE, "2026-04-04", ["04-04 05:00", "04-05 05:30"]),
    (LORD_HOWE, "2026-10-03", ["10-03 05:30", "10-04 05:00"]),
    (LORD_HOWE, "2027-04-03", ["04-03 05:00", "04-04 05:30"]),
    (LORD_HOWE, "2027-10-02", ["10-02 05:30", "10-03 05:00"]),
    (VANCOUVER, "2026-03-07", ["03-08 00:00", "03-08 23:00"]),
]


@pytest.mark.parametrize(("timezone", "eve", "utc"), CHANGES)
def test_every_change_of_2026_and_2027_gives_the_utc_of_its_law(timezone: str, eve: str, utc: list[str]) -> None:
    made = planned(inputs(start_date=eve, needed=2), pattern(timezone))

    assert starts(made) == [f"{eve[:4]}-{each}" for each in utc]
    assert [each.time for each in made.occurrences] == ["16:00", "16:00"]
    assert made.occurrences[0].clock_changes == ()
    assert len(made.occurrences[1].clock_changes) == 1


@pytest.mark.parametrize("timezone", ZONES)
def test_the_table_of_changes_lacks_none(timezone: str) -> None:
    made = planned(inputs(needed=730), pattern(timezone))

    changed = [str(each.date - timedelta(days=1)) for each in made.occurrences if each.clock_changes]
    assert changed == [eve for name, eve, _ in CHANGES if name == timezone]


QUARTER = timedelta(minutes=15)


@cache
def first_instants(timezone: str) -> dict[datetime, datetime]:
    """What the clocks showed in 2026 and 2027 → the first instant they showed it, found by watching them."""
    clocks = ZoneInfo(timezone)
    seen: dict[datetime, datetime] = {}
    instant = datetime(2025, 12, 30, tzinfo=UTC)
    while instant < datetime(2028, 1, 3, tzinfo=UTC):
        seen.setdefault(instant.astimezone(clocks).replace(tzinfo=None), instant)
        instant += QUARTER
    return seen


def watched(timezone: str, wall: datetime) -> datetime:
    """When the clocks show ``wall``; if they jump over it, when they show it plus the length of the jump."""
    seen = first_instants(timezone)
    before, after = wall, wall
    while before not in seen:
        before -= QUARTER
    while after not in seen:
        after += QUARTER
    return seen[wall if wall in seen else wall + (after - before - QUARTER)]


@pytest.mark.parametrize("at", ["00:00", "01:00", "01:45", "02:00", "02:15", "02:30", "03:00", "16:00", "23:45"])
@pytest.mark.parametrize("timezone", ZONES)
def test_two_years_of_days_agree_with_watching_the_clocks(timezone: str, at: str) -> None:
    made = planned(inputs(needed=1000), pattern(timezone, at=at, duration_mins=90))

    every_date = [date(2026, 1, 1) + timedelta(days=days) for days in range(730)]
    expected = [watched(timezone, datetime.combine(day, time.fromisoformat(at))) for day in every_date]
    assert [each.start_utc for each in made.occurrences] == expected
    assert [each.end_utc - each.start_utc for each in made.occurrences] == [timedelta(minutes=90)] * 730
    assert made.skipped == ()
    assert made.conflicts == ()


@pytest.mark.parametrize("timezone", ZONES)
def test_wall_time_stays_the_same_all_year_round(timezone: str) -> None:
    made = planned(inputs(needed=200, tutor_timezone=timezone), pattern(timezone, [2, 4], "16:30"))

    assert len(made.occurrences) == 200
    assert {each.time for each in made.occurrences} == {"16:30"}
    assert {each.tutor_local[11:16] for each in made.occurrences} == {"16:30"}
    assert {each.date.isoweekday() for each in made.occurrences} == {2, 4}
    assert {each.daylight_saving for each in made.occurrences} == {None}


def test_a_session_across_a_change_keeps_its_elapsed_length() -> None:
    weekly = pattern(NEW_YORK, [7], "00:30", duration_mins=120)
    spring = planned(inputs(start_date="2026-03-08", needed=1), weekly).occurrences[0]
    autumn = planned(inputs(start_date="2026-11-01", needed=1), weekly).occurrences[0]

    assert spring.end_utc == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)  # 03:30 on the wall, not 02:30
    assert autumn.end_utc == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)  # 01:30 again, not 02:30


def test_sessions_that_are_moved_keep_their_own_lengths_whatever_is_walked_past() -> None:
    facts = inputs(
        start_date="2026-01-05",
        needed=3,
        holidays=[{"date": "2026-01-12", "name": "Founders"}],
        busy=[busy("other", "2026-01-19T16:45:00Z", "2026-01-19T17:45:00Z")],
    )
    lengths = [timedelta(minutes=each) for each in (90, 45, 60)]
    made = plan(facts, pattern(LONDON, [1], duration_mins=30), skip_conflicts=False, lengths=lengths)

    # The second one ends when the other lesson begins.
    assert dates(made) == ["2026-01-05", "2026-01-19", "2026-01-26"]
    assert [each.end_utc - each.start_utc for each in made.occurrences] == lengths
    assert made.conflicts == ()

    lengths[1] += timedelta(minutes=1)
    made = plan(facts, pattern(LONDON, [1], duration_mins=30), skip_conflicts=True, lengths=lengths)
    assert dates(made) == ["2026-01-05", "2026-01-26", "2026-02-02"]
    assert [each.end_utc - each.start_utc for each in made.occurrences] == lengths


def test_a_time_that_does_not_exist_moves_forward_and_says_so() -> None:
    made = planned(inputs(start_date="2026-03-01", needed=3), pattern(NEW_YORK, [7], "02:30"))

    assert starts(made) == ["2026-03-01 07:30", "2026-03-08 07:30", "2026-03-15 06:30"]
    assert [each.time for each in made.occurrences] == ["02:30", "03:30", "02:30"]
    assert [each.daylight_saving for each in made.occurrences] == [None, "gap", None]


def test_a_time_that_happens_twice_means_the_first_and_says_so() -> None:
    made = planned(inputs(start_date="2026-10-25", needed=3), pattern(NEW_YORK, [7], "01:30"))

    assert starts(made) == ["2026-10-25 05:30", "2026-11-01 05:30", "2026-11-08 06:30"]
    assert [each.daylight_saving for each in made.occurrences] == [None, "fold", None]


def test_a_gap_across_midnight_gives_the_date_on_which_the_lesson_is() -> None:
    made = planned(inputs(start_date="2026-03-28", needed=1), pattern("America/Nuuk", [6], "23:30"))

    assert starts(made) == ["2026-03-29 01:30"]
    assert (dates(made), made.occurrences[0].time) == (["2026-03-29"], "00:30")


def test_each_changed_clock_is_named_once_on_the_first_lesson_after_it() -> None:
    facts = inputs(start_date="2026-03-01", needed=5, tutor_timezone=NEW_YORK, student_timezone=LONDON)
    made = planned(facts, pattern(NEW_YORK, [7]))

    assert [each.clock_changes for each in made.occurrences] == [
        (),
        ("clocks changed in America/New_York: UTC-5 → UTC-4",),
        (),
        (),
        ("clocks changed in Europe/London: UTC+0 → UTC+1",),
    ]


def test_a_half_hour_change_is_named_with_its_minutes() -> None:
    made = planned(inputs(start_date="2026-10-03", needed=2), pattern(LORD_HOWE))

    assert made.occurrences[1].clock_changes == ("clocks changed in Australia/Lord_Howe: UTC+10:30 → UTC+11",)


def test_both_people_see_the_start_on_their_own_clocks() -> None:
    facts = inputs(start_date="2026-07-07", needed=1, tutor_timezone=KOLKATA, student_timezone=NEW_YORK)
    only = planned(facts, pattern(LONDON, [2], "01:00")).occurrences[0]

    assert (only.date, only.time) == (date(2026, 7, 7), "01:00")
    assert only.tutor_local == "2026-07-07T05:30:00+05:30"
    assert only.student_local == "2026-07-06T20:00:00-04:00"


# --- the window ---------------------------------------------------------------------------------------


def test_both_ends_of_the_window_are_taught() -> None:
    made = planned(inputs(start_date="2026-05-05", end_date="2026-05-12"), pattern(days=[2]))
    assert dates(made) == ["2026-05-05", "2026-05-12"]

    inner = planned(inputs(start_date="2026-05-06", end_date="2026-05-11"), pattern(days=[2]))
    assert dates(inner) == []


@pytest.mark.parametrize(
    ("timezone", "at", "utc"),
    [(KARACHI, "02:00", ["2026-05-04 21:00"]), (VANCOUVER, "21:00", ["2026-05-06 04:00"])],
)
def test_the_window_is_counted_in_the_patterns_timezone_not_in_utc(timezone: str, at: str, utc: list[str]) -> None:
    facts = inputs(start_date="2026-05-05", end_date="2026-05-05")

    assert starts(planned(facts, pattern(timezone, at=at))) == utc


def test_february_29_is_taught() -> None:
    facts = inputs(start_date="2028-02-22", end_date="2028-03-07", needed=20)

    assert dates(planned(facts, pattern(days=[2]))) == ["2028-02-22", "2028-02-29", "2028-03-07"]


@pytest.mark.parametrize(("needed", "last"), [(8, "2026-01-29"), (12, "2026-02-12"), (20, "2026-03-12")])
def test_a_tier_is_filled_to_the_last_session_and_not_beyond(needed: int, last: str) -> None:
    made = planned(inputs(start_date="2026-01-06", needed=needed), pattern(LONDON, [2, 4]))

    assert (made.needed, made.fits, len(made.occurrences)) == (needed, needed, needed)
    assert dates(made)[-1] == last
    assert made.skipped == ()


@pytest.mark.parametrize("needed", [0, -3])
def test_nothing_needed_plans_nothing(needed: int) -> None:
    made = planned(inputs(needed=needed), pattern())

    assert (made.occurrences, made.skipped, made.fits) == ((), (), 0)


def test_a_window_that_is_too_short_says_how_many_fit() -> None:
    facts = inputs(start_date="2026-01-06", end_date="2026-01-31", needed=12)
    made = planned(facts, pattern(days=[2, 4]))

    assert (made.needed, made.fits, len(made.occurrences)) == (12, 8, 8)


def test_from_date_moves_the_first_day_forward_and_never_before_the_window() -> None:
    facts = inputs(start_date="2026-01-06", needed=2)

    later = planned(facts, pattern(days=[2]), from_date=date(2026, 2, 3))
    assert dates(later) == ["2026-02-03", "2026-02-10"]
    earlier = planned(facts, pattern(days=[2]), from_date=date(2025, 12, 1))
    assert dates(earlier) == ["2026-01-06", "2026-01-13"]
    beyond = planned(facts, pattern(days=[2]), from_date=date(2029, 1, 1))
    assert dates(beyond) == []


def test_a_window_as_wide_as_the_calendar_is_walked_near_today_only() -> None:
    facts = inputs(start_date="0001-01-01", end_date="9999-12-31", needed=10_000, now="2026-06-01T00:00:00Z")
    made = planned(facts, pattern())

    assert made.skipped[0].date == date(2026, 6, 1) - LOOK_BACK
    assert made.occurrences[-1].date == date(2026, 6, 1) + LOOK_AHEAD


# --- what is walked past, while N stays N --------------------------------------------------------------

TUESDAYS = ["2026-01-06", "2026-01-13", "2026-01-20", "2026-01-27", "2026-02-03", "2026-02-10"]


@pytest.mark.parametrize(
    ("reason", "obstacle", "detail"),
    [
        ("holiday", {"holidays": [{"date": TUESDAYS[1], "name": "Eid"}]}, "Eid"),
        (
            "tutor_time_off",
            {"time_off": [all_day("tutor", "2026-01-12", "2026-01-14")]},
            "2026-01-12 to 2026-01-14",
        ),
        (
            "student_time_off",
            {"time_off": [all_day("student", TUESDAYS[1], TUESDAYS[1])]},
            "2026-01-13 to 2026-01-13",
        ),
        (
            "tutor_time_off",
            {"time_off": [hours_off("tutor", "2026-01-13T16:59:00Z", "2026-01-13T18:00:00Z")]},
            "2026-01-13 16:59:00+00:00 to 2026-01-13 18:00:00+00:00",
        ),
        (
            "already_generated",
            {"taken": ["2026-01-13T16:00:00+00:00"]},
            "the package has had a session for this date",
        ),
        (
            "conflict",
            {"busy": [busy("other", "2026-01-13T16:30:00Z", "2026-01-13T17:30:00Z", "student")]},
            f"overlaps session {some_id('other')} of the student",
        ),
    ],
)
def test_a_date_walked_past_is_explained_and_made_up_for(reason: str, obstacle: dict[str, Any], detail: str) -> None:
    facts = inputs(start_date=TUESDAYS[0], needed=5, **obstacle)
    made = planned(facts, pattern(days=[2]), skip_conflicts=True)

    assert dates(made) == [TUESDAYS[0], *TUESDAYS[2:]]
    assert skips(made) == [(TUESDAYS[1], reason)]
    assert made.skipped[0].detail == detail
    assert made.skipped[0].start_utc == datetime(2026, 1, 13, 16, tzinfo=UTC)
    assert made.conflicts == ()


def test_what_has_begun_is_past_and_what_begins_now_is_not() -> None:
    begun = inputs(start_date=TUESDAYS[0], needed=2, now="2026-01-06T16:00:00.000001Z")
    assert dates(planned(begun, pattern(days=[2]))) == TUESDAYS[1:3]
    assert skips(planned(begun, pattern(days=[2]))) == [(TUESDAYS[0], "past")]

    begins = inputs(start_date=TUESDAYS[0], needed=2, now="2026-01-06T16:00:00Z")
    assert dates(planned(begins, pattern(days=[2]))) == TUESDAYS[0:2]


def test_what_a_package_has_had_is_never_generated_again_not_even_when_it_is_past() -> None:
    facts = inputs(
        start_date=TUESDAYS[0],
        needed=2,
        taken=["2026-01-06T16:00:00Z", "2026-01-20T11:00:00-05:00"],
        now="2026-01-14T00:00:00Z",
    )
    made = planned(facts, pattern(days=[2]))

    assert skips(made) == [
        (TUESDAYS[0], "already_generated"),
        (TUESDAYS[1], "past"),
        (TUESDAYS[2], "already_generated"),
    ]
    assert dates(made) == TUESDAYS[3:5]


def test_a_holiday_is_a_date_on_the_patterns_clocks() -> None:
    facts = inputs(start_date="2026-05-04", needed=2, holidays=[{"date": "2026-05-05", "name": "Holiday"}])
    made = planned(facts, pattern(KARACHI, at="02:00"))

    assert starts(made) == ["2026-05-03 21:00", "2026-05-05 21:00"]  # 4 and 6 May in Karachi


def test_a_day_off_is_a_day_on_the_clocks_of_the_person_who_takes_it() -> None:
    """Tuesday 20:00 in New York is Wednesday 05:00 in Karachi: the tutor's Wednesday off hits it."""
    people = {"tutor_timezone": KARACHI, "student_timezone": NEW_YORK}
    weekly = pattern(NEW_YORK, [2], "20:00")

    for off, first in [
        (all_day("tutor", "2026-05-06", "2026-05-06"), "2026-05-12"),
        (all_day("tutor", "2026-05-05", "2026-05-05"), "2026-05-05"),
        (all_day("student", "2026-05-05", "2026-05-05"), "2026-05-12"),
        (all_day("student", "2026-05-06", "2026-05-06"), "2026-05-05"),
    ]:
        facts = inputs(**people, start_date="2026-05-05", needed=1, time_off=[off])
        assert dates(planned(facts, weekly)) == [first]


@pytest.mark.parametrize(
    ("timezone", "start", "end", "hit"),
    [
        (NEW_YORK, "2026-07-01T03:00Z", "2026-07-01T04:00Z", False),  # ends as the day begins
        (NEW_YORK, "2026-07-01T03:00Z", "2026-07-01T04:01Z", True),
        (NEW_YORK, "2026-07-04T03:59Z", "2026-07-04T05:00Z", True),  # the last day is included
        (NEW_YORK, "2026-07-04T04:00Z", "2026-07-04T05:00Z", False),
        (KARACHI, "2026-06-30T18:59Z", "2026-06-30T19:00Z", False),
        (KARACHI, "2026-06-30T19:00Z", "2026-06-30T20:00Z", True),
        (KARACHI, "2026-07-03T18:59Z", "2026-07-03T20:00Z", True),
        (KARACHI, "2026-07-03T19:00Z", "2026-07-03T20:00Z", False),
    ],
)
def test_whole_days_off_run_from_midnight_to_midnight_at_home(
    timezone: str, start: str, end: str, *, hit: bool
) -> None:
    off = TimeOff.model_validate(all_day("tutor", "2026-07-01", "2026-07-03"))

    assert falls_on_time_off(datetime.fromisoformat(start), datetime.fromisoformat(end), off, timezone) is hit


@pytest.mark.parametrize(
    ("start", "end", "hit"),
    [
        ("09:00", "10:00", False),
        ("09:59", "10:01", True),
        ("10:30", "10:45", True),
        ("11:00", "12:00", False),
    ],
)
def test_hours_off_are_half_open(start: str, end: str, *, hit: bool) -> None:
    off = TimeOff.model_validate(hours_off("student", "2026-07-01T10:00:00Z", "2026-07-01T11:00:00Z"))
    begins, ends = (datetime.fromisoformat(f"2026-07-01T{each}Z") for each in (start, end))

    assert falls_on_time_off(begins, ends, off, KARACHI) is hit  # wherever the student lives


@pytest.mark.parametrize("timezone", [VANCOUVER, KARACHI, "Pacific/Kiritimati"])
def test_time_off_without_an_end_hits_every_lesson_from_its_first_day_on(timezone: str) -> None:
    off = all_day("tutor", "2026-01-20", "9999-12-31")
    made = planned(inputs(start_date=TUESDAYS[0], tutor_timezone=timezone, time_off=[off]), pattern(timezone, [2]))
    assert dates(made) == TUESDAYS[:2]

    always = all_day("student", "0001-01-01", "9999-12-31")
    assert planned(inputs(student_timezone=timezone, time_off=[always]), pattern()).fits == 0


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"starts_on": "2026-01-01"},
        {"starts_on": "2026-01-01", "ends_at": "2026-01-02T00:00:00Z"},
        {"starts_on": "2026-01-01", "ends_on": "2026-01-02", "starts_at": "2026-01-01T00:00:00Z"},
        {"starts_at": "2026-01-01T00:00:00", "ends_at": "2026-01-02T00:00:00"},  # no offset
    ],
)
def test_time_off_is_either_days_or_instants(times: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        TimeOff.model_validate({"id": some_id("off"), "of": "tutor", **times})


# --- conflicts ----------------------------------------------------------------------------------------


def test_every_conflict_is_listed_and_its_occurrence_kept_when_conflicts_are_not_skipped() -> None:
    facts = inputs(
        start_date=TUESDAYS[0],
        needed=6,
        busy=[
            busy("late", "2026-02-10T16:59:00Z", "2026-02-10T17:59:00Z", "both"),
            busy("one", "2026-01-13T15:30:00Z", "2026-01-13T16:30:00Z", "tutor"),
            busy("two", "2026-01-13T16:30:00Z", "2026-01-13T17:30:00Z", "student"),
        ],
    )
    made = planned(facts, pattern(days=[2]))

    assert dates(made) == TUESDAYS
    assert made.skipped == ()
    assert [(str(each.session_id), each.of, each.start_utc.day) for each in made.conflicts] == [
        (some_id("one"), "tutor", 13),
        (some_id("two"), "student", 13),
        (some_id("late"), "both", 10),
    ]
    assert made.conflicts[0].end_utc == datetime(2026, 1, 13, 17, tzinfo=UTC)


def test_lessons_may_touch() -> None:
    touching = [
        busy("before", "2026-01-06T15:00:00Z", "2026-01-06T16:00:00Z"),
        busy("after", "2026-01-06T17:00:00Z", "2026-01-06T18:00:00Z"),
    ]
    made = planned(inputs(start_date=TUESDAYS[0], needed=1, busy=touching), pattern(days=[2]))

    assert (dates(made), made.conflicts) == ([TUESDAYS[0]], ())


def test_a_long_session_that_began_before_shorter_ones_is_still_seen() -> None:
    nested = [
        busy("long", "2026-01-06T08:00:00Z", "2026-01-06T18:00:00Z"),
        busy("short", "2026-01-06T09:00:00Z", "2026-01-06T16:00:00Z"),
    ]
    made = planned(inputs(start_date=TUESDAYS[0], needed=1, busy=nested), pattern(days=[2]))

    assert [str(each.session_id) for each in made.conflicts] == [some_id("long")]


def test_a_plan_does_not_overlap_itself() -> None:
    """Samoa had no 30 December 2011: that day's lesson moves onto the next day's."""
    facts = inputs(start_date="2011-12-29", end_date="2012-01-02", now="2011-12-01T00:00:00Z", needed=4)

    kept = planned(facts, pattern("Pacific/Apia"))
    assert starts(kept) == ["2011-12-30 02:00", "2011-12-31 02:00", "2011-12-31 02:00", "2012-01-01 02:00"]
    assert [(each.session_id, each.of, each.start_utc.day) for each in kept.conflicts] == [(None, "both", 31)]

    skipped = planned(facts, pattern("Pacific/Apia"), skip_conflicts=True)
    assert dates(skipped) == ["2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]
    assert skips(skipped) == [("2011-12-31", "conflict")]
    assert skipped.skipped[0].detail == "overlaps the occurrence before it"


@settings(derandomize=True, print_blob=True, max_examples=150, deadline=None)
@given(
    timezone=st.sampled_from(ZONES),
    days=st.sets(st.integers(1, 7), min_size=1),
    at=st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30])),
    length=st.integers(15, 480),
    ranges=st.lists(
        # From a quarter hour of the window on, for so many quarters, of this side.
        st.tuples(st.integers(0, 40 * 96), st.integers(1, 200), st.sampled_from(["tutor", "student", "both"])),
        max_size=12,
    ),
    holidays=st.sets(st.integers(0, 40), max_size=5),
    needed=st.integers(0, 20),
    skip_conflicts=st.booleans(),
)
def test_whatever_stands_in_the_way_the_plan_is_what_a_patient_person_would_find(
    *,
    timezone: str,
    days: set[int],
    at: str,
    length: int,
    ranges: list[tuple[int, int, str]],
    holidays: set[int],
    needed: int,
    skip_conflicts: bool,
) -> None:
    """Against the plainest possible walk: every date, every busy range, nothing sorted."""
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    live = [(new_year + start * QUARTER, new_year + (start + quarters) * QUARTER, of) for start, quarters, of in ranges]
    closed = {date(2026, 1, 1) + timedelta(days=each) for each in holidays}
    facts = inputs(
        end_date="2026-02-09",
        needed=needed,
        now="2026-01-05T12:00:00Z",
        busy=[busy(f"{nth}", f"{a:%FT%TZ}", f"{b:%FT%TZ}", of) for nth, (a, b, of) in enumerate(live)],
        holidays=[{"date": str(each), "name": "Closed"} for each in closed],
    )

    kept: list[datetime] = []
    walked_past: list[tuple[date, str]] = []
    overlaps = 0
    for day in (date(2026, 1, 1) + timedelta(days=each) for each in range(40)):
        if day.isoweekday() not in days or len(kept) == needed:
            continue
        start = watched(timezone, datetime.combine(day, time.fromisoformat(at)))
        end = start + timedelta(minutes=length)
        hits = sum(max(start, a) < min(end, b) for a, b, _ in live)
        if start < facts.now:
            walked_past.append((day, "past"))
        elif day in closed:
            walked_past.append((day, "holiday"))
        elif hits and skip_conflicts:
            walked_past.append((day, "conflict"))
        else:
            kept.append(start)
            overlaps += hits

    made = planned(facts, pattern(timezone, list(days), at, duration_mins=length), skip_conflicts=skip_conflicts)

    assert [each.start_utc for each in made.occurrences] == kept
    assert [(each.date, each.reason) for each in made.skipped] == walked_past
    assert len(made.conflicts) == overlaps
    assert made.fits == len(kept)


@settings(derandomize=True, print_blob=True, max_examples=100, deadline=None)
@given(
    timezone=st.sampled_from(ZONES),
    days=st.sets(st.integers(1, 7), min_size=1),
    had=st.sets(st.integers(0, 19)),
)
def test_filling_a_package_completes_what_it_has_had_without_repeating_any(
    timezone: str, days: set[int], had: set[int]
) -> None:
    weekly = pattern(timezone, list(days), "02:30")
    whole = planned(inputs(needed=20), weekly)
    taken = [whole.occurrences[nth].start_utc for nth in sorted(had)]

    rest = planned(inputs(needed=20 - len(taken), taken=taken), weekly)

    assert sorted([*taken, *(each.start_utc for each in rest.occurrences)]) == [
        each.start_utc for each in whole.occurrences
    ]


# --- the hash -----------------------------------------------------------------------------------------


def test_the_hash_holds_while_nothing_that_would_be_written_changes() -> None:
    weekly = pattern(LONDON, [2])
    today = planned(inputs(start_date=TUESDAYS[0], now="2026-01-07T00:00:00Z"), weekly)
    tomorrow = planned(inputs(start_date=TUESDAYS[0], now="2026-01-08T00:00:00Z"), weekly)

    assert plan_hash(today, "f") == plan_hash(tomorrow, "f")
    assert plan_hash(replace(today, skipped=()), "f") == plan_hash(today, "f")
    assert len(plan_hash(today, "f")) == 64
    assert set(plan_hash(today, "f")) <= set("0123456789abcdef")


def test_the_hash_changes_with_every_time_option_and_input() -> None:
    facts = inputs(start_date=TUESDAYS[0])
    plain = planned(facts, pattern(LONDON, [2]))
    others = [
        (plain, "g"),
        (planned(facts, pattern(LONDON, [2]), skip_conflicts=True), "f"),
        (planned(facts, pattern(LONDON, [2]), from_date=date(2026, 1, 1)), "f"),
        (planned(facts, pattern(LONDON, [2], "16:15")), "f"),
        (planned(facts, pattern(LONDON, [2], duration_mins=61)), "f"),
        (planned(facts, pattern("UTC", [2])), "f"),
        (planned(inputs(start_date=TUESDAYS[0], needed=7), pattern(LONDON, [2])), "f"),
        (planned(inputs(start_date=TUESDAYS[0], taken=["2026-01-20T16:00:00Z"]), pattern(LONDON, [2])), "f"),
    ]
    hashes = {plan_hash(plain, "f"), *(plan_hash(made, fingerprint) for made, fingerprint in others)}

    assert len(hashes) == 1 + len(others)


# --- shapes -------------------------------------------------------------------------------------------


def test_a_pattern_is_read_and_written_in_the_shape_of_the_column() -> None:
    column = {"timezone": KOLKATA, "days": [2, 4], "time": "09:05", "duration_mins": 45}

    assert SchedulePattern.model_validate(column).model_dump(mode="json") == column
    assert SchedulePattern.model_validate(column | {"days": [4, 2]}).days == (2, 4)
    del column["duration_mins"]
    assert SchedulePattern.model_validate(column).duration_mins == 60


@pytest.mark.parametrize(
    "at",
    [
        "24:00",
        "7:30",
        "07:60",
        "07:30:00",
        "07:30\n",
        "\u0660\u0667:\u0663\u0660",
        "",
        "-7:30",
        "0730",
        450,
        None,
    ],
)
def test_a_time_is_two_digits_a_colon_and_two_digits_of_one_day(at: object) -> None:
    with pytest.raises(ValidationError):
        SchedulePattern.model_validate({"timezone": LONDON, "days": [1], "time": at})


@pytest.mark.parametrize("days", [[], [0], [8], [1, 1], [-1], ["1"], [1.5], [True], "1", 1, None, [*EVERY_DAY, 1]])
def test_days_are_different_iso_weekdays(days: object) -> None:
    with pytest.raises(ValidationError):
        SchedulePattern.model_validate({"timezone": LONDON, "days": days, "time": "10:00"})


def test_the_published_schema_says_that_days_differ() -> None:
    assert SchedulePattern.model_json_schema()["properties"]["days"]["uniqueItems"] is True


@pytest.mark.parametrize("length", [0, 14, 481, -60, "60", 60.5, True, None])
def test_a_lesson_is_fifteen_minutes_to_eight_hours_long(length: object) -> None:
    with pytest.raises(ValidationError):
        SchedulePattern.model_validate({"timezone": LONDON, "days": [1], "time": "10:00", "duration_mins": length})


def test_a_pattern_has_no_other_keys_no_unknown_zone_and_never_changes() -> None:
    column = {"timezone": LONDON, "days": [1], "time": "10:00"}
    with pytest.raises(ValidationError, match="extra"):
        SchedulePattern.model_validate(column | {"weeks": 3})
    with pytest.raises(ValidationError, match="IANA"):
        SchedulePattern.model_validate(column | {"timezone": "EST5EDT"})
    with pytest.raises(ValidationError, match="frozen"):
        SchedulePattern.model_validate(column).time = "11:00"


def test_the_databases_answer_is_read_whole_and_its_instants_become_utc() -> None:
    column = {"timezone": LONDON, "days": [1], "time": "10:00", "duration_mins": 60}
    facts = inputs(
        pattern=column,
        now="2026-01-01T05:00:00.25+05:00",
        busy=[busy("x", "2026-01-01T11:00:00+01:00", "2026-01-01T11:00:00+00:00")],
    )

    assert facts.pattern == SchedulePattern.model_validate(column)
    assert (facts.now, facts.now.tzinfo) == (datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC), UTC)
    assert facts.busy[0].start == datetime(2026, 1, 1, 10, tzinfo=UTC)
    with pytest.raises(ValidationError, match="timezone"):
        inputs(now="2026-01-01T00:00:00")


def test_a_plan_is_json_with_utc_marked_as_such() -> None:
    facts = inputs(start_date="2026-03-07", needed=2, tutor_timezone=NEW_YORK, student_timezone=KARACHI)
    made = planned(facts, pattern(NEW_YORK))

    assert TypeAdapter(Plan).dump_python(made, mode="json")["occurrences"][1] == {
        "start_utc": "2026-03-08T20:00:00Z",
        "end_utc": "2026-03-08T21:00:00Z",
        "date": "2026-03-08",
        "time": "16:00",
        "tutor_local": "2026-03-08T16:00:00-04:00",
        "student_local": "2026-03-09T01:00:00+05:00",
        "daylight_saving": None,
        "clock_changes": ["clocks changed in America/New_York: UTC-5 → UTC-4"],
    }
