"""Which zone rules are in force, which names count, and what wall time means when the clocks change."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pendulum
import pytest
import tzdata
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from lib.zones import Timezone, to_local, to_utc, zone

ROOT = Path(__file__).parents[2]

# The offsets that every way to a zone gives in a process that used pendulum before it imported lib.zones.
USES_PENDULUM_FIRST = """
import datetime, zoneinfo, pendulum

noon = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC)
names = "Africa/Casablanca", "America/Vancouver"
kept = [pendulum.timezone(name) for name in names] + [zoneinfo.ZoneInfo(name) for name in names]
print(*(noon.astimezone(each).strftime("%z") for each in kept))

from lib.zones import zone

for name in names:
    for source in zone, zoneinfo.ZoneInfo, pendulum.timezone:
        print(noon.astimezone(source(name)).strftime("%z"), end=" ")
    print(pendulum.instance(noon).in_timezone(name).strftime("%z"), end=" ")
    print(pendulum.datetime(2026, 12, 1, 12, tz=name).strftime("%z"))
"""


def test_the_pinned_rules_win_over_the_systems_even_when_pendulum_came_first(tmp_path: Path) -> None:
    """The "system" here says that Casablanca and Vancouver keep Karachi's time."""
    karachi = Path(str(resources.files(tzdata))) / "zoneinfo" / "Asia" / "Karachi"
    for name in ("Africa/Casablanca", "America/Vancouver"):
        planted = tmp_path / name
        planted.parent.mkdir()
        shutil.copy(karachi, planted)

    said = subprocess.run(
        [sys.executable, "-c", USES_PENDULUM_FIRST],
        cwd=ROOT,
        env=os.environ | {"PYTHONTZPATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said.splitlines() == [
        "+0500 +0500 +0500 +0500",  # the trap is real
        "+0000 +0000 +0000 +0000 +0000",  # Casablanca gave up +01 on 20 September 2026
        "-0700 -0700 -0700 -0700 -0700",  # Vancouver stays on daylight time from 2026 on
    ]


@pytest.mark.parametrize(
    ("name", "instant", "local"),
    [
        ("Africa/Casablanca", datetime(2026, 9, 20, 0, 59, tzinfo=UTC), "2026-09-20T01:59:00+01:00"),
        ("Africa/Casablanca", datetime(2026, 9, 20, 1, 0, tzinfo=UTC), "2026-09-20T01:00:00+00:00"),
        ("Africa/Casablanca", datetime(2027, 6, 1, 12, 0, tzinfo=UTC), "2027-06-01T12:00:00+00:00"),
        ("America/Vancouver", datetime(2026, 11, 1, 9, 0, tzinfo=UTC), "2026-11-01T02:00:00-07:00"),
        ("America/Vancouver", datetime(2027, 1, 15, 12, 0, tzinfo=UTC), "2027-01-15T05:00:00-07:00"),
        ("Asia/Kolkata", datetime(2026, 6, 1, 12, 0, tzinfo=UTC), "2026-06-01T17:30:00+05:30"),
        ("UTC", datetime(2026, 6, 1, 12, 0, tzinfo=UTC), "2026-06-01T12:00:00+00:00"),
    ],
)
def test_local_time_follows_the_rules_of_2026(name: str, instant: datetime, local: str) -> None:
    assert to_local(instant, zone(name)).isoformat() == local


@pytest.mark.parametrize(
    "name", ["Europe/London", "America/Argentina/Ushuaia", "Asia/Calcutta", "Arctic/Longyearbyen", "UTC"]
)
def test_an_area_and_city_or_utc_is_a_zone(name: str) -> None:
    assert isinstance(zone(name), pendulum.Timezone)
    assert zone(name).name == name


UNKNOWN = [
    *(
        "",
        " ",
        "Europe/Atlantis",
        "europe/london",
        "EUROPE/LONDON",
        "Europe/London ",
        " Europe/London",
        "utc",
    ),
    *("EST5EDT", "EST", "PST8PDT", "GMT", "CET", "Z", "+01:00", "UTC+1", "Etc/GMT+5", "Etc/UTC", "Factory"),
    *("US/Eastern", "Singapore", "posix/Europe/London", "right/Europe/London", "posixrules", "local"),
    *("Europe", "Europe/", "Europe/../Asia/Karachi", "/etc/localtime", "Europe/London\0", "Europe/\ud800"),
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_nothing_else_is_a_zone(name: str) -> None:
    with pytest.raises(ValueError, match="not an IANA timezone"):
        zone(name)


class Body(BaseModel):
    timezone: Timezone


@pytest.mark.parametrize("name", [*UNKNOWN, None, 5, ["Europe/London"], "Europe/London" * 100_000])
def test_a_request_body_with_an_unknown_zone_is_invalid(name: object) -> None:
    with pytest.raises(ValidationError):
        Body.model_validate({"timezone": name})


def test_a_request_body_keeps_the_name_of_its_zone() -> None:
    assert Body.model_validate({"timezone": "Asia/Kolkata"}).model_dump() == {"timezone": "Asia/Kolkata"}


@pytest.mark.parametrize(
    ("name", "asked", "utc", "shift"),
    [
        # New York springs forward at 07:00 UTC on 8 March 2026, from 02:00 to 03:00.
        ("America/New_York", "2026-03-08 01:59", "2026-03-08 06:59", None),
        ("America/New_York", "2026-03-08 02:00", "2026-03-08 07:00", "gap"),
        ("America/New_York", "2026-03-08 02:30", "2026-03-08 07:30", "gap"),
        ("America/New_York", "2026-03-08 03:00", "2026-03-08 07:00", None),
        # It falls back at 06:00 UTC on 1 November 2026, from 02:00 to 01:00.
        ("America/New_York", "2026-11-01 00:59", "2026-11-01 04:59", None),
        ("America/New_York", "2026-11-01 01:00", "2026-11-01 05:00", "fold"),
        ("America/New_York", "2026-11-01 01:30", "2026-11-01 05:30", "fold"),
        ("America/New_York", "2026-11-01 02:00", "2026-11-01 07:00", None),
        # Lord Howe moves by half an hour: forward at 02:00 on 4 October 2026, back at 02:00 on 5 April.
        ("Australia/Lord_Howe", "2026-10-04 02:10", "2026-10-03 15:40", "gap"),
        ("Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04 14:45", "fold"),
        # Nuuk's gap lies before midnight, on the eve: half past eleven becomes half past midnight.
        ("America/Nuuk", "2026-03-28 23:30", "2026-03-29 01:30", "gap"),
        # Havana has no first hour on 8 March 2026: its day begins at 01:00.
        ("America/Havana", "2026-03-08 00:00", "2026-03-08 05:00", "gap"),
        # Samoa had no 30 December 2011 at all.
        ("Pacific/Apia", "2011-12-30 10:00", "2011-12-30 20:00", "gap"),
    ],
)
def test_a_missing_time_moves_forward_by_the_gap_and_the_first_of_two_counts(
    name: str, asked: str, utc: str, shift: str | None
) -> None:
    wall = datetime.fromisoformat(asked)

    moment = to_utc(wall.date(), wall.time(), zone(name))

    assert moment == (datetime.fromisoformat(f"{utc}Z"), shift)


def test_an_instant_outside_the_calendar_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="outside the years"):
        to_utc(date.max, time(23, 59), zone("America/New_York"))
    with pytest.raises(ValueError, match="outside the years"):
        to_utc(date.min, time.min, zone("Asia/Karachi"))


@settings(derandomize=True, print_blob=True, max_examples=500, deadline=None)
@given(
    name=st.sampled_from(
        [
            *("America/New_York", "Europe/London", "Asia/Karachi", "Africa/Casablanca", "Asia/Kolkata"),
            *("Australia/Lord_Howe", "America/Vancouver", "America/Nuuk", "America/Havana", "Pacific/Apia"),
            *("Asia/Kathmandu", "Antarctica/Troll"),
        ]
    ),
    # Weighted towards the nights on which clocks change.
    day=st.one_of(
        st.dates(date(2005, 1, 1), date(2037, 12, 31)),
        st.sampled_from([date(2026, 3, 8), date(2026, 3, 29), date(2026, 3, 28), date(2026, 10, 4)]),
        st.sampled_from([date(2026, 11, 1), date(2026, 10, 25), date(2026, 4, 5), date(2026, 9, 20)]),
    ),
    wall_time=st.builds(time, st.integers(0, 23), st.integers(0, 59)),
)
def test_wall_time_becomes_the_first_instant_that_shows_it_or_passes_the_gap(
    name: str, day: date, wall_time: time
) -> None:
    """Against an oracle that asks ``zoneinfo`` only what clocks show at an instant, never the reverse."""
    wall = datetime.combine(day, wall_time, tzinfo=UTC)  # the wall's digits, as if they were UTC
    clocks = ZoneInfo(name)

    def shown(instant: datetime) -> datetime:
        return instant.astimezone(clocks).replace(tzinfo=UTC)

    nearby = [wall + timedelta(hours=hours) for hours in range(-40, 41)]
    offsets = {shown(instant) - instant for instant in nearby}
    instants = sorted(wall - offset for offset in offsets if shown(wall - offset) == wall)

    moment = to_utc(day, wall_time, zone(name))

    if instants:
        assert moment == (instants[0], "fold" if len(instants) > 1 else None)
    else:
        assert moment.shift == "gap"
        assert shown(moment.utc) == wall + (max(offsets) - min(offsets))
