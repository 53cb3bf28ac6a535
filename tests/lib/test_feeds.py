"""The calendar, read by another library than the one that writes it, and its text by the letter of RFC 5545."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import vobject  # pyright: ignore[reportMissingTypeStubs]
from dateutil.tz import tzical

from lib.answers import SessionStatus
from lib.feeds import Feed, as_calendar
from tests.functions import samples as s

UNFOLDED_AT_MOST = 75
"""Bytes of a line, without its end (RFC 5545 §3.1)."""
LESSON: dict[str, Any] = s.feed["sessions"][0]


def calendar(*lessons: dict[str, Any], **feed: object) -> str:
    return as_calendar(Feed.model_validate({**s.feed, "sessions": lessons, **feed}))


def read(text: str) -> Any:
    """By vobject, which knows nothing of icalendar."""
    return vobject.readOne(text)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def unfolded(text: str) -> list[str]:
    return text.replace("\r\n ", "").split("\r\n")[:-1]


def properties(text: str, component: str) -> dict[str, str]:
    """Name with parameters → value, of the only component of that kind, as written."""
    lines = unfolded(text)
    inside = lines[lines.index(f"BEGIN:{component}") + 1 : lines.index(f"END:{component}")]
    return dict(line.split(":", 1) for line in inside)


def test_a_lesson_says_all_that_a_calendar_needs_and_no_more() -> None:
    assert properties(calendar(LESSON), "VEVENT") == {
        "UID": f"{s.SESSION}@lessonkeeper",
        "SEQUENCE": "3",
        "DTSTAMP": "20260201T090000Z",
        "LAST-MODIFIED": "20260201T090000Z",
        "DTSTART;TZID=Europe/London": "20260331T163000",
        "DTEND;TZID=Europe/London": "20260331T173000",
        "SUMMARY": "Mathematics with Amina Siddiqui",
        "STATUS": "CONFIRMED",
        "LOCATION": s.MEET,
        "URL": s.MEET,
    }


def test_another_library_reads_the_same() -> None:
    found = read(calendar(LESSON))
    (event,) = found.vevent_list
    assert event.uid.value == f"{s.SESSION}@lessonkeeper"
    assert event.sequence.value == "3"
    assert event.summary.value == "Mathematics with Amina Siddiqui"
    assert event.dtstart.value == datetime(2026, 3, 31, 15, 30, tzinfo=UTC)
    assert event.dtend.value == datetime(2026, 3, 31, 16, 30, tzinfo=UTC)
    assert event.last_modified.value == datetime(2026, 2, 1, 9, tzinfo=UTC)
    assert event.url.value == event.location.value == s.MEET


def test_the_calendar_introduces_itself() -> None:
    lines = unfolded(calendar())
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-1] == "END:VCALENDAR"
    assert {
        "VERSION:2.0",
        "PRODID:-//Lessonkeeper//Lessons//EN",
        "X-WR-CALNAME:Lessons of Oliver Hughes",
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
    } < set(lines)
    assert not [line for line in lines if line.startswith("METHOD")], "an invitation has one, a feed has none"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("scheduled", "CONFIRMED"),
        ("in_progress", "CONFIRMED"),
        ("done", "CONFIRMED"),
        ("no_show_student", "CONFIRMED"),
        ("no_show_tutor", "CONFIRMED"),
        ("rescheduled", "TENTATIVE"),
        ("cancelled", "CANCELLED"),
    ],
)
def test_a_status_is_one_of_the_three_that_calendars_know(status: SessionStatus, told: str) -> None:
    assert read(calendar(LESSON | {"status": status})).vevent.status.value == told


def test_a_lesson_without_a_link_has_no_place() -> None:
    found = properties(calendar(LESSON | {"meet_link": None}), "VEVENT")
    assert not found.keys() & {"LOCATION", "URL"}


def test_a_changed_lesson_is_the_same_event_with_a_higher_sequence() -> None:
    moved = LESSON | {"version": 4, "scheduled_start_utc": "2026-04-01T15:30:00Z"}
    before, after = read(calendar(LESSON)).vevent, read(calendar(moved)).vevent
    assert before.uid.value == after.uid.value
    assert int(before.sequence.value) < int(after.sequence.value)


def test_the_same_feed_is_the_same_text() -> None:
    assert calendar(LESSON) == calendar(LESSON)


@pytest.mark.parametrize("subject", ["A, B; C\\D: E", "Ünïcödé " * 20, "日本語の授業" * 19, "x" * 120, 'He said "no"'])
def test_every_text_comes_back_as_it_was(subject: str) -> None:
    subject = subject.strip()
    text = calendar(LESSON | {"subject": subject, "other_name": "O'Hara; Zoë, Jr."}, display_name=subject)
    found = read(text)
    assert found.vevent.summary.value == f"{subject} with O'Hara; Zoë, Jr."
    assert found.x_wr_calname.value.replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\") == (
        f"Lessons of {subject}"
    )


def test_no_line_is_longer_than_allowed_and_every_one_ends_as_it_should() -> None:
    text = calendar(LESSON | {"subject": "日本語の授業" * 19}, LESSON | {"subject": "x" * 120})
    lines = text.encode().split(b"\r\n")
    assert lines[-1] == b""
    assert max(len(line) for line in lines) <= UNFOLDED_AT_MOST
    assert b"\n" not in b"".join(lines)
    assert b"\r" not in b"".join(lines)
    for line in lines:
        line.decode()  # no character is cut in two


def test_no_text_can_begin_a_line_of_its_own() -> None:
    text = calendar(LESSON | {"subject": "x\r\nSTATUS:CANCELLED", "other_name": "y\nATTACH:z"}, display_name="a\r\nb")
    assert read(text).vevent.status.value == "CONFIRMED"
    assert not [line for line in unfolded(text) if line.startswith(("STATUS:CANCELLED", "ATTACH", "b"))]


# --- the zone -----------------------------------------------------------------------------------------

ZONES = [
    "Europe/London", "Europe/Dublin", "America/New_York", "Asia/Karachi", "Africa/Casablanca", "Australia/Lord_Howe",
    "America/Vancouver", "Pacific/Apia", "Africa/Cairo", "UTC",
]  # fmt: skip


def instants(text: str, name: str) -> list[datetime]:
    """What the lines of that property say, by the zone that the text itself brings along, as dateutil reads it."""
    here: Any = tzical(StringIO(text)).get()
    found = [line for line in unfolded(text[text.index("BEGIN:VEVENT") :]) if line.startswith(name)]
    return [
        datetime.strptime(line.rpartition(":")[2].rstrip("Z"), "%Y%m%dT%H%M%S")
        .replace(tzinfo=UTC if line.endswith("Z") else here)
        .astimezone(UTC)
        for line in found
    ]


@pytest.mark.parametrize("name", ZONES)
def test_another_library_finds_every_hour_by_the_zone_that_is_written_there(name: str) -> None:
    """A lesson every nineteen hours and a half for more than a year."""
    start = datetime(2025, 12, 2, tzinfo=UTC)
    starts = [start + nth * timedelta(hours=19, minutes=30) for nth in range(580)]
    ends = [each + timedelta(minutes=45) for each in starts]
    lessons = [
        LESSON | {"scheduled_start_utc": start, "scheduled_end_utc": end}
        for start, end in zip(starts, ends, strict=True)
    ]
    text = calendar(*lessons, timezone=name)
    assert instants(text, "DTSTART") == starts
    assert instants(text, "DTEND") == ends


def observances(text: str) -> list[dict[str, str]]:
    """The zone's parts, in order."""
    parts: list[dict[str, str]] = []
    for line in unfolded(text):
        if line in {"BEGIN:STANDARD", "BEGIN:DAYLIGHT"}:
            parts.append({"": line.removeprefix("BEGIN:")})
        elif parts and line.startswith(("DTSTART:", "TZ")) and not line.startswith("TZID"):
            name, value = line.split(":", 1)
            parts[-1].setdefault(name, value)
    return parts


def test_the_zone_says_when_its_clocks_change_on_the_clocks_of_before() -> None:
    found = observances(calendar())
    assert [(each[""], each["DTSTART"], each["TZOFFSETFROM"], each["TZOFFSETTO"]) for each in found] == [
        ("STANDARD", "20251201T000000", "+0000", "+0000"),
        ("DAYLIGHT", "20260329T010000", "+0000", "+0100"),
        ("STANDARD", "20261025T020000", "+0100", "+0000"),
        ("DAYLIGHT", "20270328T010000", "+0000", "+0100"),
    ]


def test_the_zone_is_the_pinned_one() -> None:
    """Morocco gives up its summer time for good in September 2026, which older rules do not know."""
    last = observances(calendar(timezone="Africa/Casablanca"))[-1]
    assert (last["DTSTART"], last["TZOFFSETTO"]) == ("20260920T020000", "+0000")


def test_a_zone_without_changes_has_one_rule() -> None:
    assert len(observances(calendar(timezone="Asia/Karachi"))) == 1


def test_of_a_time_that_comes_twice_the_second_is_told_in_utc() -> None:
    """RFC 5545 takes a wall time that happens twice for the first."""
    twice = [
        LESSON | {"scheduled_start_utc": f"2026-10-25T{hour}:30:00Z", "scheduled_end_utc": f"2026-10-25T{hour}:50:00Z"}
        for hour in ("00", "01")
    ]
    text = calendar(*twice)
    assert "DTSTART;TZID=Europe/London:20261025T013000" in text
    assert "DTSTART:20261025T013000Z" in text
    assert ZoneInfo("Europe/London").utcoffset(datetime(2026, 10, 25, 1, 30)) == timedelta(hours=1)  # noqa: DTZ001


def test_a_zone_that_nobody_knows_is_utc() -> None:
    assert "DTSTART:20260331T153000Z" in calendar(LESSON, timezone="US/Eastern")
