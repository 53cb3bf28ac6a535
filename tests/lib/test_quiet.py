"""Quiet hours on the reader's clocks: over midnight, through the night, and on nights on which clocks change."""

from datetime import UTC, datetime

import pytest

from lib.quiet import QuietHours, end_of_quiet
from lib.zones import zone

NIGHT = QuietHours("21:00", "08:00")
SIESTA = QuietHours("13:00", "15:30")


def end(now: str, hours: QuietHours = NIGHT, timezone: str = "UTC") -> str | None:
    """On the clocks of UTC, for times of UTC."""
    until = end_of_quiet(datetime.fromisoformat(now).replace(tzinfo=UTC), hours, zone(timezone))
    return until and until.replace(tzinfo=None).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-02T20:59", None),
        ("2026-03-02T21:00", "2026-03-03T08:00"),
        ("2026-03-02T23:59", "2026-03-03T08:00"),
        ("2026-03-03T00:00", "2026-03-03T08:00"),
        ("2026-03-03T07:59", "2026-03-03T08:00"),
        ("2026-03-03T08:00", None),
    ],
)
def test_a_night_runs_over_midnight(now: str, until: str | None) -> None:
    assert end(now) == until


@pytest.mark.parametrize(
    ("now", "until"),
    [("2026-03-02T12:59", None), ("2026-03-02T13:00", "2026-03-02T15:30"), ("2026-03-02T15:30", None)],
)
def test_hours_of_one_day_end_on_that_day(now: str, until: str | None) -> None:
    assert end(now, SIESTA) == until


def test_the_same_time_twice_means_no_quiet_hours() -> None:
    assert [end(f"2026-03-02T{hour:02}:00", QuietHours("09:00", "09:00")) for hour in range(24)] == [None] * 24


def test_the_clocks_are_the_readers() -> None:
    assert end("2026-03-02T16:00", timezone="Asia/Karachi") == "2026-03-03T03:00"
    assert end("2026-03-02T15:59", timezone="Asia/Karachi") is None
    assert end("2026-03-02T12:59", timezone="America/New_York") == "2026-03-02T13:00"


def test_the_night_of_the_change_to_summer_time_is_an_hour_shorter() -> None:
    assert end("2026-03-28T23:00", timezone="Europe/London") == "2026-03-29T07:00"
    assert end("2026-03-29T07:00", timezone="Europe/London") is None


def test_the_night_of_the_change_to_winter_time_is_an_hour_longer() -> None:
    assert end("2026-10-24T22:00", timezone="Europe/London") == "2026-10-25T08:00"


def test_an_end_that_does_not_exist_moves_forward_by_the_gap() -> None:
    assert end("2026-03-29T00:00", QuietHours("23:00", "01:30"), "Europe/London") == "2026-03-29T01:30"


def test_an_end_that_comes_twice_is_the_first() -> None:
    until_half_past_one = QuietHours("23:00", "01:30")
    assert end("2026-10-25T00:15", until_half_past_one, "Europe/London") == "2026-10-25T00:30"
    assert end("2026-10-25T00:45", until_half_past_one, "Europe/London") is None
    assert end("2026-10-25T01:15", until_half_past_one, "Europe/London") is None
