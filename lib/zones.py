"""Timezones: which names count, and how wall time becomes UTC and back. Pure.

Importing this module makes the pinned ``tzdata`` package the only source of zone rules in the process,
for ``zoneinfo`` and for pendulum alike (a ``pendulum.Timezone`` is a ``ZoneInfo`` and reads through the same
search path). Countries change their rules several times a year, and a host's own copy is as old as its
image: with the rules of 2025, lessons in Casablanca and Vancouver are an hour off from autumn 2026 on.

Sources: the docs of ``zoneinfo.reset_tzpath``; PEP 495 for the meaning of ``fold``.
"""

import functools
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from typing import Annotated, Literal, NamedTuple

import pendulum
import tzdata
from pydantic import AfterValidator, Field


def _prefer_pinned_rules() -> None:
    """Hide the system's zone files, and forget the zones that were read from them before."""
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    pendulum.Timezone.clear_cache()  # a subclass has a cache of its own


_prefer_pinned_rules()

TZDATA_VERSION: str = tzdata.IANA_VERSION
"""The release of the IANA database in force, such as ``2026f``."""

Shift = Literal["gap", "fold"]
"""What the clocks did to a wall time: it did not exist (``gap``), or came twice (``fold``)."""

_AREAS = frozenset(
    {
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
    }
)


@functools.cache
def _names() -> frozenset[str]:
    """Every accepted name. From the package's list, not its folder: a file system may ignore case."""
    listed = resources.files(tzdata).joinpath("zones").read_text(encoding="utf-8").split()
    return frozenset(name for name in listed if name.partition("/")[0] in _AREAS) | {"UTC"}


@functools.cache
def zone(name: str) -> pendulum.Timezone:
    """The zone called ``name``: an IANA ``Area/City`` name or ``UTC``, in exactly that spelling.

    Raises:
        ValueError: everything else, such as abbreviations (``EST``), POSIX strings (``EST5EDT``), fixed
            offsets (``Etc/GMT+5``) and the old country names (``US/Eastern``).
    """
    if name not in _names():
        raise ValueError("not an IANA timezone such as Europe/London, nor UTC")
    return pendulum.Timezone(name)


def _known(name: str) -> str:
    zone(name)
    return name


Timezone = Annotated[
    str,
    Field(description="An IANA timezone, or UTC.", examples=["Europe/London"], max_length=64),
    AfterValidator(_known),
]
"""A timezone's name in a request body."""


class Moment(NamedTuple):
    """An instant found from a wall time, and what the clocks did to that wall time."""

    utc: datetime
    shift: Shift | None


def to_utc(day: date, wall_time: time, timezone: pendulum.Timezone) -> Moment:
    """When the clocks of ``timezone`` show ``wall_time`` on ``day``.

    A time that does not exist moves forward by the length of the gap; one that happens twice means the
    first. Both come from the offset in force *before* the change, which is what ``fold=0`` asks for.
    Plain datetimes, because pendulum's own constructors cannot say this in one call: their ``fold=1`` takes
    the second of two times, their ``fold=0`` moves a time in a gap backwards.

    Raises:
        ValueError: the instant lies outside the years 1 to 9999.
    """
    wall = datetime.combine(day, wall_time, tzinfo=timezone)
    try:
        before, after = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error
    if before == after:
        return Moment(before, None)
    return Moment(before, "gap" if before > after else "fold")


def to_local(utc: datetime, timezone: pendulum.Timezone) -> datetime:
    """The aware instant ``utc`` on the clocks of ``timezone``; its ``isoformat()`` carries the offset."""
    return utc.astimezone(timezone)


# --- when the clocks change ---------------------------------------------------------------------------

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


class Change(NamedTuple):
    """An instant at which the clocks of a zone change, and their offset until then."""

    utc: datetime
    before: timedelta


def changes(timezone: pendulum.Timezone, since: datetime, until: datetime) -> Iterator[Change]:
    """Every change between two instants; no zone has two within a day."""
    day = since
    while day < until:
        before = offset(day, timezone)
        if offset(day + _DAY, timezone) != before:
            yield Change(_change_within(timezone, day, before), before)
        day += _DAY


def offset(utc: datetime, timezone: pendulum.Timezone) -> timedelta:
    """What the clocks of ``timezone`` are ahead of UTC at that instant."""
    return to_local(utc, timezone).utcoffset() or timedelta()


def _change_within(timezone: pendulum.Timezone, day: datetime, before: timedelta) -> datetime:
    """The first second of the 24 hours from ``day`` on at which ``before`` no longer holds."""
    still, no_longer = day, day + _DAY
    while no_longer - still > _SECOND:
        between = still + (no_longer - still) // _SECOND // 2 * _SECOND
        if offset(between, timezone) == before:
            still = between
        else:
            no_longer = between
    return no_longer
