"""What weekly hours become on real calendars: whole slots, within the hours, whatever the clocks do meanwhile."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from time import perf_counter
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lib.slots import LONGEST_WINDOW, Slot, SlotInputs, WeeklyHours, free_slots, is_offered

NEW_YORK, LONDON, KARACHI, CASABLANCA = "America/New_York", "Europe/London", "Asia/Karachi", "Africa/Casablanca"
ADELAIDE, LORD_HOWE, CAIRO = "Australia/Adelaide", "Australia/Lord_Howe", "Africa/Cairo"
ZONES = [NEW_YORK, LONDON, KARACHI, CASABLANCA, ADELAIDE, LORD_HOWE, CAIRO]
"""Adelaide's clocks are half an hour off; Lord Howe's are, and change by half an hour; Cairo's change at midnight."""
CHANGES = [
    "2026-02-15",  # Casablanca, back for Ramadan
    "2026-03-08",  # New York, forward
    "2026-03-22",  # Casablanca, forward
    "2026-03-29",  # London, forward
    "2026-04-05",  # Adelaide and Lord Howe, back
    "2026-04-24",  # Cairo, forward from midnight to one
    "2026-10-04",  # Adelaide and Lord Howe, forward
    "2026-10-25",  # London, back
    "2026-10-30",  # Cairo, back from midnight to eleven of the day before
    "2026-11-01",  # New York, back
]
MINUTE = timedelta(minutes=1)
SOMEBODY = str(UUID(int=1))

Hours = tuple[int, str, str]


def inputs(
    timezone: str,
    *hours: Hours,
    minutes: int = 60,
    tutor_timezone: str | None = None,
    holidays: tuple[str, ...] = (),
    time_off: tuple[dict[str, str], ...] = (),
    busy: tuple[tuple[str, str], ...] = (),
    now: str = "2026-01-01T00:00:00+00:00",
) -> SlotInputs:
    """The jsonb of ``slot_inputs`` as Postgres writes it."""
    return SlotInputs.model_validate(
        {
            "listing_id": SOMEBODY,
            "duration_mins": minutes,
            "tutor": {"id": SOMEBODY, "display_name": "Amina", "timezone": tutor_timezone or timezone},
            "timezone": timezone,
            "hours": [{"weekday": day, "starts_at": start, "ends_at": end} for day, start, end in hours],
            "holidays": [{"date": each, "name": "Closed"} for each in holidays],
            "time_off": [
                {"starts_on": None, "ends_on": None, "starts_at": None, "ends_at": None} | each for each in time_off
            ],
            "busy": [{"start": start, "end": end, "of": "tutor"} for start, end in busy],
            "now": now,
            "viewer_timezone": "UTC",
            "fingerprint": "f",
        }
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def on(day: str, facts: SlotInputs) -> list[str]:
    """Where the slots of a date of the hours' zone begin, on its clocks with their offset."""
    zone = ZoneInfo(facts.timezone)
    around = utc(day) - timedelta(days=1), utc(day) + timedelta(days=2)
    local = [slot.start.astimezone(zone) for slot in free_slots(facts, *around)]
    return [f"{each:%H:%M%z}" for each in local if str(each.date()) == day]


def every_day(start: str, end: str) -> tuple[Hours, ...]:
    return tuple((day, start, end) for day in range(1, 8))


# --- from hours to slots ------------------------------------------------------------------------------


def test_slots_follow_one_another_from_the_beginning_of_the_hours_and_none_is_cut() -> None:
    facts = inputs(KARACHI, (1, "16:00", "18:30"), (1, "19:15", "20:15"), (3, "09:00", "09:59"))
    assert on("2026-03-02", facts) == ["16:00+0500", "17:00+0500", "19:15+0500"]
    assert on("2026-03-03", facts) == on("2026-03-04", facts) == []
    first = free_slots(facts, utc("2026-03-02"), utc("2026-03-03"))[0]
    assert first == (utc("2026-03-02T11:00"), utc("2026-03-02T12:00"))


def test_hours_that_end_at_midnight_are_open_to_the_last_minute_of_the_day() -> None:
    facts = inputs(LONDON, (1, "22:30", "24:00"), minutes=45)
    assert on("2026-03-02", facts) == ["22:30+0000", "23:15+0000"]
    assert on("2026-03-02", inputs(LONDON, (1, "22:30", "23:59"), minutes=45)) == ["22:30+0000"]
    assert on("2026-03-03", facts) == []


def test_a_slot_runs_on_into_hours_that_follow_without_a_break() -> None:
    over_midnight = inputs(LONDON, (1, "22:00", "24:00"), (2, "00:00", "01:30"), minutes=90)
    assert on("2026-03-02", over_midnight) == ["22:00+0000", "23:30+0000"]
    assert on("2026-03-03", over_midnight) == ["00:00+0000"]
    assert is_offered(over_midnight, utc("2026-03-02T23:30"))
    meeting = inputs(LONDON, (1, "16:00", "17:30"), (1, "17:30", "19:00"))
    assert on("2026-03-02", meeting) == ["16:00+0000", "17:00+0000", "17:30+0000"]
    apart = inputs(LONDON, (1, "16:00", "17:30"), (1, "17:31", "19:00"))
    assert on("2026-03-02", apart) == ["16:00+0000", "17:31+0000"]
    into_a_holiday = inputs(LONDON, *every_day("00:00", "24:00"), minutes=420, holidays=("2026-03-03",))
    assert on("2026-03-02", into_a_holiday) == ["00:00+0000", "07:00+0000", "14:00+0000"]


def test_the_window_takes_in_its_beginning_and_leaves_out_its_end() -> None:
    facts = inputs("UTC", (1, "16:00", "20:00"))
    found = free_slots(facts, utc("2026-03-02T17:00"), utc("2026-03-02T19:00"))
    assert [slot.start.hour for slot in found] == [17, 18]
    assert free_slots(facts, utc("2026-03-02T19:00"), utc("2026-03-02T17:00")) == []
    assert free_slots(facts, utc("2026-03-02T17:00"), utc("2026-03-02T17:00")) == []


def test_what_has_begun_is_not_free() -> None:
    for now, left in (("15:59", 4), ("16:00", 3), ("16:01", 3), ("20:00", 0)):
        facts = inputs("UTC", (1, "16:00", "20:00"), now=f"2026-03-02T{now}:00+00:00")
        assert len(on("2026-03-02", facts)) == left, now


def test_lessons_may_touch_a_slot_and_not_overlap_it() -> None:
    lesson = ("2026-03-02T17:00:00+00:00", "2026-03-02T18:00:00+00:00")
    assert on("2026-03-02", inputs("UTC", (1, "16:00", "20:00"), busy=(lesson,))) == [
        "16:00+0000",
        "18:00+0000",
        "19:00+0000",
    ]
    long = (("2026-03-02T10:00:00+00:00", "2026-03-02T18:01:00+00:00"), lesson)
    assert on("2026-03-02", inputs("UTC", (1, "16:00", "20:00"), busy=long)) == ["19:00+0000"]


def test_holidays_are_dates_of_the_hours_and_time_off_of_the_tutors_own_zone() -> None:
    hours = every_day("08:00", "10:00")
    holiday = inputs(ADELAIDE, *hours, holidays=("2026-03-03",))
    assert [len(on(day, holiday)) for day in ("2026-03-02", "2026-03-03", "2026-03-04")] == [2, 0, 2]
    # The third in New York is 3 March 15:30 to 4 March 15:30 in Adelaide.
    away = {"starts_on": "2026-03-03", "ends_on": "2026-03-03"}
    abroad = inputs(ADELAIDE, *hours, tutor_timezone=NEW_YORK, time_off=(away,))
    assert [len(on(day, abroad)) for day in ("2026-03-03", "2026-03-04", "2026-03-05")] == [2, 0, 2]
    half = {"starts_at": "2026-03-03T09:00:00+00:00", "ends_at": "2026-03-03T09:01:00+00:00"}
    assert on("2026-03-03", inputs("UTC", *hours, time_off=(half,))) == ["08:00+0000"]
    for_good = {"starts_on": "2026-03-03", "ends_on": "9999-12-31"}
    assert [len(on(f"2026-03-{day:02}", inputs("UTC", *hours, time_off=(for_good,)))) for day in (2, 3, 31)] == [
        2,
        0,
        0,
    ]


# --- the clocks change --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timezone", "day", "start", "end", "slots"),
    [
        (NEW_YORK, "2026-03-08", "01:00", "04:00", ["01:00-0500", "03:00-0400"]),
        (NEW_YORK, "2026-11-01", "00:00", "03:00", ["00:00-0400", "01:00-0400", "01:00-0500", "02:00-0500"]),
        (LONDON, "2026-03-29", "00:00", "03:00", ["00:00+0000", "02:00+0100"]),
        (LONDON, "2026-10-25", "01:00", "02:00", ["01:00+0100", "01:00+0000"]),
        (KARACHI, "2026-03-29", "00:00", "03:00", ["00:00+0500", "01:00+0500", "02:00+0500"]),
        (CASABLANCA, "2026-02-15", "01:00", "04:00", ["01:00+0100", "02:00+0100", "02:00+0000", "03:00+0000"]),
        (CASABLANCA, "2026-03-22", "01:00", "04:00", ["01:00+0000", "03:00+0100"]),
        (ADELAIDE, "2026-10-04", "01:30", "04:30", ["01:30+0930", "03:30+1030"]),
        (ADELAIDE, "2026-04-05", "02:00", "03:00", ["02:00+1030", "02:00+0930"]),
        (LORD_HOWE, "2026-10-04", "01:00", "04:00", ["01:00+1030", "02:30+1100"]),
        (LORD_HOWE, "2026-04-05", "01:00", "02:30", ["01:00+1100", "01:30+1030"]),
        (CAIRO, "2026-04-24", "00:00", "03:00", ["01:00+0300", "02:00+0300"]),
        (CAIRO, "2026-10-29", "22:00", "24:00", ["22:00+0300", "23:00+0300", "23:00+0200"]),
    ],
)
def test_a_night_on_which_the_clocks_change_has_as_many_slots_as_it_has_hours(
    timezone: str, day: str, start: str, end: str, slots: list[str]
) -> None:
    assert on(day, inputs(timezone, *every_day(start, end))) == slots


def test_hours_that_the_clocks_jump_over_move_behind_the_jump_and_overlap_nothing() -> None:
    """New York has no 02:00 to 03:00 on 8 March."""
    assert on("2026-03-08", inputs(NEW_YORK, (7, "02:00", "02:30"), minutes=30)) == ["03:00-0400"]
    assert on("2026-03-08", inputs(NEW_YORK, (7, "02:15", "03:15"), minutes=15)) == []
    twice = inputs(NEW_YORK, (7, "02:00", "02:30"), (7, "03:00", "03:30"), minutes=30)
    assert on("2026-03-08", twice) == ["03:00-0400"]


def test_a_day_that_the_calendar_jumps_over_is_taught_once() -> None:
    """Samoa had no 30 December 2011, a Friday."""
    facts = inputs("Pacific/Apia", *every_day("10:00", "12:00"), now="2011-12-01T00:00:00+00:00")
    assert [len(on(f"2011-12-{day}", facts)) for day in (29, 30, 31)] == [2, 0, 2]
    friday = inputs("Pacific/Apia", (5, "10:00", "12:00"), now="2011-12-01T00:00:00+00:00")
    assert on("2011-12-31", friday) == ["10:00+1400", "11:00+1400"]
    assert is_offered(friday, utc("2011-12-30T20:00"))


# --- against watching the clocks ----------------------------------------------------------------------


@cache
def watched(timezone: str, day: date) -> dict[datetime, datetime]:
    """For each wall time that the clocks show in the days around: the first instant at which they do."""
    zone, seen = ZoneInfo(timezone), dict[datetime, datetime]()
    midnight = datetime.combine(day, time.min, tzinfo=UTC)
    for minute in range(-4 * 1440, 5 * 1440):
        instant = midnight + minute * MINUTE
        seen.setdefault(instant.astimezone(zone).replace(tzinfo=None), instant)
    return seen


def first_seen(timezone: str, day: date, wall: datetime) -> datetime:
    """When the clocks show that; if they jump over it, as long after the jump as it is after the last minute before."""
    seen, before = watched(timezone, day), wall
    while before not in seen:
        before -= MINUTE
    return seen[before] + (wall - before)


def minutes_open(timezone: str, day: date, hours: list[Hours]) -> dict[datetime, set[datetime]]:
    """Of the hours of the dates around: the minutes of each, by the first of them."""
    spans: dict[datetime, set[datetime]] = {}
    for each in (day + timedelta(days=n) for n in range(-2, 3)):
        for weekday, start, end in hours:
            if weekday == each.isoweekday():
                opens, closes = (
                    first_seen(timezone, day, datetime.combine(each, time.min) + timedelta(hours=h, minutes=m))
                    for h, m in (map(int, text.split(":")) for text in (start, end))
                )
                count = max(0, (closes - opens) // MINUTE)
                spans.setdefault(opens, set()).update(opens + n * MINUTE for n in range(count))
    return spans


def found_by_watching(facts: SlotInputs, day: date, hours: list[Hours]) -> set[Slot]:
    """Minute by minute: a slot is a whole number of lengths behind an opening, and every minute of it is open."""
    spans = minutes_open(facts.timezone, day, hours)
    every = set[datetime]().union(*spans.values())
    return {
        Slot(start, start + facts.length)
        for opens, minutes in spans.items()
        for start in minutes
        if (start - opens) % facts.length == timedelta(0)
        and all(start + n * MINUTE in every for n in range(facts.length // MINUTE))
    }


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def weekly_hours(draw: st.DrawFn) -> list[Hours]:
    """Hours that do not overlap on a weekday, in quarters of an hour, of which many are small, early or meet."""
    hours: list[Hours] = []
    for day in range(1, 8):
        ends = sorted(draw(st.sets(st.one_of(st.integers(0, 20), st.integers(0, 96)), max_size=6)))
        skipped = draw(st.integers(1, 2))
        hours += [
            (day, clock(start * 15), clock(end * 15))
            for start, end in zip(ends[::skipped], ends[1::skipped], strict=False)
        ]
    return hours


@settings(derandomize=True, print_blob=True, max_examples=300, deadline=None)
@given(
    timezone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    shifted=st.integers(-1, 1),
    hours=weekly_hours(),
    minutes=st.sampled_from([15, 30, 45, 60, 90, 100, 480]),
)
def test_around_a_clock_change_the_slots_are_those_that_watching_the_clocks_finds(
    timezone: str, change: str, shifted: int, hours: list[Hours], minutes: int
) -> None:
    day = date.fromisoformat(change) + timedelta(days=shifted)
    facts = inputs(timezone, *hours, minutes=minutes)
    first = utc(str(day))
    expected = found_by_watching(facts, day, hours)

    found = free_slots(facts, first, first + timedelta(days=1))

    assert found == sorted(slot for slot in expected if first <= slot.start < first + timedelta(days=1))
    assert all(is_offered(facts, slot.start) for slot in found)
    assert {slot.end - slot.start for slot in found} <= {timedelta(minutes=minutes)}


@settings(derandomize=True, print_blob=True, max_examples=200, deadline=None)
@given(timezone=st.sampled_from(ZONES), hours=weekly_hours(), day=st.integers(0, 364), length=st.integers(15, 480))
def test_on_its_own_clocks_no_slot_begins_before_its_hours_or_ends_after_them(
    timezone: str, hours: list[Hours], day: int, length: int
) -> None:
    """On every date that is as long as others. Hours at midnight are not joined here, to keep it plain."""
    hours = [(weekday, start, end) for weekday, start, end in hours if start != "00:00"]
    facts, zone = inputs(timezone, *hours, minutes=length), ZoneInfo(timezone)
    first = utc("2026-01-01") + timedelta(days=day)
    for slot in free_slots(facts, first, first + timedelta(days=7)):
        start, end = (each.astimezone(zone).replace(tzinfo=None) for each in slot)
        midnight = datetime.combine(start, time.min)
        if midnight.replace(tzinfo=zone).utcoffset() != (midnight + timedelta(days=1)).replace(tzinfo=zone).utcoffset():
            continue
        wall = {
            minute
            for weekday, opens, closes in hours
            if weekday == start.isoweekday()
            for minute in range(minute_of(opens), minute_of(closes))
        }
        assert wall.issuperset(range((start - midnight) // MINUTE, (end - midnight) // MINUTE))


def minute_of(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    return 60 * hour + minute


@settings(derandomize=True, print_blob=True, max_examples=100, deadline=None)
@given(timezone=st.sampled_from(ZONES), hours=weekly_hours(), cut=st.integers(1, 10_000), length=st.integers(15, 480))
def test_two_windows_that_meet_show_what_the_whole_shows(
    timezone: str, hours: list[Hours], cut: int, length: int
) -> None:
    facts = inputs(timezone, *hours, minutes=length)
    first, last = utc("2026-03-26"), utc("2026-04-06")
    between = min(first + cut * MINUTE, last)
    assert free_slots(facts, first, between) + free_slots(facts, between, last) == free_slots(facts, first, last)


# --- bounds and shapes --------------------------------------------------------------------------------


def test_however_wide_the_window_the_answer_is_bounded() -> None:
    busy = tuple(
        (f"{start:%FT%TZ}", f"{start + timedelta(minutes=20):%FT%TZ}")
        for start in (utc("2026-01-02") + timedelta(hours=n) for n in range(5000))
    )
    facts = inputs(CASABLANCA, *every_day("00:00", "24:00"), minutes=15, busy=busy)
    began = perf_counter()
    found = free_slots(facts, utc("2026-01-02"), utc("2100-12-31"))
    assert perf_counter() - began < 5
    assert found[-1].start < utc("2026-01-02") + LONGEST_WINDOW
    assert len(found) == 62 * 48


def test_the_edges_of_all_years_raise_nothing() -> None:
    facts = inputs("Pacific/Kiritimati", *every_day("00:00", "24:00"), now="9999-12-31T23:59:59+00:00")
    for edge in ("2000-01-01", "2100-12-31T23:59:59"):
        assert free_slots(facts, utc(edge), utc("2100-12-31T23:59:59")) == []
        is_offered(facts, utc(edge))
    assert free_slots(inputs("UTC"), utc("2026-03-02"), utc("2026-03-09")) == []


def test_only_the_beginning_of_a_slot_is_offered_whether_it_is_free_or_not() -> None:
    lesson = ("2026-03-02T16:00:00+00:00", "2026-03-02T18:00:00+00:00")
    facts = inputs("UTC", (1, "16:00", "18:00"), busy=(lesson,), now="2027-01-01T00:00:00+00:00")
    offered = {"2026-03-02T16:00", "2026-03-02T17:00"}
    for start in (*offered, "2026-03-02T16:00:01", "2026-03-02T15:00", "2026-03-02T18:00", "2026-03-03T16:00"):
        assert is_offered(facts, utc(start)) == (start in offered), start
    assert not is_offered(facts, utc("2026-03-02T16:00") + timedelta.resolution)


@pytest.mark.parametrize(
    ("weekday", "starts_at", "ends_at"),
    [
        (0, "10:00", "11:00"),
        (8, "10:00", "11:00"),
        ("1", "10:00", "11:00"),
        (True, "10:00", "11:00"),
        (1, "24:00", "24:00"),
        (1, "10:00", "10:00"),
        (1, "22:00", "02:00"),
        (1, "10:00", "24:01"),
        (1, "7:30", "8:30"),
        (1, "10:00:00", "11:00:00"),
        (1, "10:00\n", "11:00"),
        (1, "10:00", "11:00\n"),
        (1, "\u0660\u0667:\u0663\u0660", "11:00"),
        (1, None, "11:00"),
    ],
)
def test_hours_are_two_times_of_one_weekday_in_their_order(weekday: object, starts_at: object, ends_at: object) -> None:
    with pytest.raises(ValidationError):
        WeeklyHours.model_validate({"weekday": weekday, "starts_at": starts_at, "ends_at": ends_at})
