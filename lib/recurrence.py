"""From a weekly pattern to dated sessions. Pure: all it knows, the time included, is handed to it.

``plan`` walks the dates of a package's window in the pattern's timezone and takes each matching weekday
until it has the sessions that are needed. A date that cannot be used is reported with its reason and does not
count: N stays N. The database gives the inputs (RPC ``schedule_inputs``) together with a fingerprint, and
takes the planned times only while that fingerprint still holds. UTC is computed here and nowhere else.

Every range is half-open: a session may begin in the second the last one ends. Every instant is in UTC.
"""

import hashlib
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Annotated, Generic, Literal, NamedTuple, Self, TypeVar
from uuid import UUID

import pendulum
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from lib.zones import Shift, Timezone, to_local, to_utc, zone

T = TypeVar("T")
# Second names, for the classes that have fields called ``date`` and ``time``.
Day = date
WallTime = time

# However wide a package's window is, the walk stays this near to today, which bounds its time and its report.
LOOK_BACK = timedelta(days=366)
LOOK_AHEAD = timedelta(days=3660)

# Time off may be open-ended ("until 9999-12-31"); within these days no arithmetic leaves the calendar.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9998, 12, 31)


# --- the pattern ------------------------------------------------------------------------------------


def _sorted_and_unique(days: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(days)) < len(days):
        raise ValueError("each weekday at most once")
    return tuple(sorted(days))


Weekday = Annotated[int, Field(strict=True, ge=1, le=7)]


class WeeklyTimes(BaseModel):
    """On these ISO weekdays, at this wall time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: Timezone
    days: Annotated[
        tuple[Weekday, ...],
        Field(
            min_length=1,
            max_length=7,
            description="ISO weekdays, Monday = 1.",
            examples=[[2, 4]],
            json_schema_extra={"uniqueItems": True},
        ),
        AfterValidator(_sorted_and_unique),
    ]
    time: Annotated[
        str,
        Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Wall time.", examples=["16:30"]),
    ]

    @property
    def wall_time(self) -> WallTime:
        """``time`` as a value."""
        return WallTime.fromisoformat(self.time)


class SchedulePattern(WeeklyTimes):
    """The weekly rhythm of a match: on these ISO weekdays, at this wall time, for this long."""

    duration_mins: Annotated[int, Field(strict=True, ge=15, le=480, description="Elapsed minutes.")] = 60

    @property
    def length(self) -> timedelta:
        """Elapsed time from start to end, whatever the clocks do in between."""
        return timedelta(minutes=self.duration_mins)


# --- the inputs: the jsonb of the RPC schedule_inputs ------------------------------------------------


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Side = Literal["tutor", "student"]
Sides = Literal["tutor", "student", "both"]


class Facts(BaseModel):
    """What the database said; columns that only SQL needs are ignored."""

    model_config = ConfigDict(frozen=True)


class Person(Facts):
    """A tutor or a student, as far as a plan shows them."""

    id: UUID
    display_name: str
    timezone: Timezone


class Window(Facts):
    """A package's dates, both included."""

    start_date: date
    end_date: date


class Holiday(Facts):
    """A day without lessons: a date in the pattern's timezone."""

    date: Day
    name: str


class Absence(Facts):
    """When a person does not teach or learn: whole days in their own timezone, or a range of instants."""

    starts_on: date | None = None
    ends_on: date | None = None  # included
    starts_at: Instant | None = None
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _is_one_of_the_two(self) -> Self:
        given = [value is not None for value in (self.starts_on, self.ends_on, self.starts_at, self.ends_at)]
        if given not in ([True, True, False, False], [False, False, True, True]):
            raise ValueError("either starts_on and ends_on, or starts_at and ends_at")
        return self

    def span(self, person_timezone: str) -> tuple[datetime, datetime]:
        """The instants it begins and ends; whole days run from midnight to midnight in that timezone."""
        if self.starts_at is not None and self.ends_at is not None:
            return self.starts_at, self.ends_at
        first = max(self.starts_on or FIRST_DAY, FIRST_DAY)
        last = min(self.ends_on or LAST_DAY, LAST_DAY)
        home = zone(person_timezone)
        return to_utc(first, time.min, home).utc, to_utc(last + timedelta(days=1), time.min, home).utc

    def __str__(self) -> str:
        """Its two ends as they were given."""
        return f"{self.starts_on or self.starts_at} to {self.ends_on or self.ends_at}"


class TimeOff(Absence):
    """An absence of the tutor or of the student."""

    id: UUID
    of: Side


class Busy(Facts):
    """A live session of the tutor, of the student, or of both."""

    session_id: UUID
    start: Instant
    end: Instant
    of: Sides


class ScheduleInputs(Facts):
    """All that a plan depends on, read in one trip, and the fingerprint that lets a commit check it.

    ``needed`` is how many sessions the package lacks. ``taken`` holds the ``occurrence_start_utc`` of every
    session it ever had, so that a cancelled or moved date is not generated again. ``busy`` leaves out the
    sessions that may be overlapped (a series may move onto its own old times).
    """

    match_id: UUID
    package_id: UUID
    request_id: UUID
    pattern: SchedulePattern | None
    meet_link: str | None
    tutor: Person
    student: Person
    window: Window
    tier_sessions: int
    opening_used: int
    counted: int
    needed: int
    existing: int
    taken: frozenset[Instant]
    holidays: tuple[Holiday, ...]
    time_off: tuple[TimeOff, ...]
    busy: tuple[Busy, ...]
    now: Instant
    fingerprint: str


# --- the plan ---------------------------------------------------------------------------------------

SkipReason = Literal["holiday", "tutor_time_off", "student_time_off", "past", "already_generated", "conflict"]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One session to be: its instants, and how the clocks of those concerned show them."""

    start_utc: datetime
    end_utc: datetime
    date: Day
    """Of the start, in the pattern's timezone."""
    time: str
    """``HH:MM`` of the start in the pattern's timezone; after a gap it is later than the pattern's."""
    tutor_local: str
    """The start as ISO 8601 with the offset of the tutor's timezone."""
    student_local: str
    """The start as ISO 8601 with the offset of the student's timezone."""
    daylight_saving: Shift | None
    """Whether the pattern's time did not exist that day (``gap``) or came twice (``fold``)."""
    clock_changes: tuple[str, ...]
    """What changed since the occurrence before: ``clocks changed in Europe/London: UTC+0 → UTC+1``."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A date that matched the pattern and was walked past."""

    date: Day
    """As the pattern asked for it, in its timezone."""
    start_utc: datetime
    reason: SkipReason
    detail: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A planned occurrence overlaps a live session or (``session_id`` None) the occurrence before it."""

    start_utc: datetime
    end_utc: datetime
    session_id: UUID | None
    of: Sides


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be generated, and what would not be and why."""

    pattern: SchedulePattern
    from_date: date | None
    skip_conflicts: bool
    needed: int
    fits: int
    """How many occurrences there are: fewer than ``needed`` when the window is too short."""
    occurrences: tuple[Occurrence, ...]
    skipped: tuple[Skipped, ...]
    conflicts: tuple[Conflict, ...]
    """Of ``occurrences``; always empty with ``skip_conflicts``, which walks past them."""


def plan(
    inputs: ScheduleInputs,
    pattern: SchedulePattern,
    *,
    skip_conflicts: bool,
    from_date: date | None = None,
    lengths: Sequence[timedelta] | None = None,
) -> Plan:
    """The next ``inputs.needed`` sessions of the package by this pattern, from ``from_date`` when given.

    Each is as long as the pattern says, or, where sessions that exist are moved, as ``lengths`` says for its place (at
    most 8 hours). Never raises on parsed inputs: too few dates show as ``fits < needed``, overlaps as ``conflicts``.
    """
    zones = _Zones(zone(pattern.timezone), zone(inputs.tutor.timezone), zone(inputs.student.timezone))
    obstacles = _Obstacles(inputs)
    occurrences: list[Occurrence] = []
    skipped: list[Skipped] = []
    conflicts: list[Conflict] = []
    for day in _days(inputs, pattern, from_date):
        if len(occurrences) >= inputs.needed:
            break
        start, shift = to_utc(day, pattern.wall_time, zones.pattern)
        end = start + (lengths[len(occurrences)] if lengths else pattern.length)
        previous = occurrences[-1] if occurrences else None
        refusal = obstacles.refusal(day, start, end)
        clashes = obstacles.conflicts(start, end, previous) if refusal is None else []
        if clashes and skip_conflicts:
            refusal = "conflict", "; ".join(map(_describe, clashes))
        if refusal is not None:
            skipped.append(Skipped(day, start, *refusal))
            continue
        conflicts += clashes
        occurrences.append(_occurrence(start, end, shift, previous, zones))
    return Plan(
        pattern=pattern,
        from_date=from_date,
        skip_conflicts=skip_conflicts,
        needed=inputs.needed,
        fits=len(occurrences),
        occurrences=tuple(occurrences),
        skipped=tuple(skipped),
        conflicts=tuple(conflicts),
    )


def plan_hash(plan: Plan, fingerprint: str) -> str:
    """SHA-256 (hex) of what a commit of this plan would write, and of the inputs and options behind it.

    Skips are left out: as time goes by, more dates lie in the past, and the sessions are the same.
    """
    content = {
        "fingerprint": fingerprint,
        "pattern": plan.pattern.model_dump(mode="json"),
        "from_date": plan.from_date and plan.from_date.isoformat(),
        "skip_conflicts": plan.skip_conflicts,
        "occurrences": [[each.start_utc.isoformat(), each.end_utc.isoformat()] for each in plan.occurrences],
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def falls_on_time_off(start_utc: datetime, end_utc: datetime, time_off: TimeOff, person_timezone: str) -> bool:
    """Whether a session overlaps this time off of a person who lives in ``person_timezone``."""
    return bool(Timeline([(*time_off.span(person_timezone), time_off)]).overlapping(start_utc, end_utc))


# --- walking ----------------------------------------------------------------------------------------


def _days(inputs: ScheduleInputs, pattern: SchedulePattern, from_date: date | None) -> Iterator[date]:
    """The dates of the window, both ends included, that fall on the pattern's weekdays."""
    today = to_local(inputs.now, zone(pattern.timezone)).date()
    first = max(inputs.window.start_date, from_date or date.min, today - LOOK_BACK)
    last = min(inputs.window.end_date, today + LOOK_AHEAD)
    days = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    return (day for day in days if day.isoweekday() in pattern.days)


class Timeline(Generic[T]):
    """Ranges, sorted so that thousands of them can be asked which overlap a given one."""

    def __init__(self, entries: Iterable[tuple[datetime, datetime, T]]) -> None:
        self._entries = sorted(entries, key=lambda entry: entry[0])
        self._starts = [start for start, _, _ in self._entries]
        self._latest_ends = list(accumulate((end for _, end, _ in self._entries), max))

    def overlapping(self, start: datetime, end: datetime) -> list[T]:
        """What overlaps [start, end), earliest first."""
        first = bisect_right(self._latest_ends, start)  # everything before it has ended by then
        behind = bisect_left(self._starts, end)
        return [what for _, ends, what in self._entries[first:behind] if ends > start]


class _Obstacles:
    """What can stand in an occurrence's way."""

    def __init__(self, inputs: ScheduleInputs) -> None:
        self._now = inputs.now
        self._taken = inputs.taken
        self._holidays = {holiday.date: holiday.name for holiday in inputs.holidays}
        self._tutor_away = _away(inputs, "tutor", inputs.tutor.timezone)
        self._student_away = _away(inputs, "student", inputs.student.timezone)
        self._busy = Timeline((each.start, each.end, each) for each in inputs.busy)

    def refusal(self, day: date, start: datetime, end: datetime) -> tuple[SkipReason, str] | None:
        """Why there can be no session then, and in detail, whatever the options; None when there can."""
        if start in self._taken:
            return "already_generated", "the package has had a session for this date"
        if start < self._now:
            return "past", "its start has passed"
        if day in self._holidays:
            return "holiday", self._holidays[day]
        if away := self._tutor_away.overlapping(start, end):
            return "tutor_time_off", str(away[0])
        if away := self._student_away.overlapping(start, end):
            return "student_time_off", str(away[0])
        return None

    def conflicts(self, start: datetime, end: datetime, previous: Occurrence | None) -> list[Conflict]:
        """The live sessions it overlaps, and the plan's own occurrence before it if that one reaches it.

        No earlier one can: it began two dates before, and no session is longer than eight hours.
        """
        found = [Conflict(start, end, each.session_id, each.of) for each in self._busy.overlapping(start, end)]
        if previous is not None and previous.end_utc > start:
            found.append(Conflict(start, end, None, "both"))
        return found


def _away(inputs: ScheduleInputs, side: Side, timezone: str) -> Timeline[TimeOff]:
    return Timeline((*each.span(timezone), each) for each in inputs.time_off if each.of == side)


def _describe(conflict: Conflict) -> str:
    whose = "both" if conflict.of == "both" else f"the {conflict.of}"
    if conflict.session_id is None:
        return "overlaps the occurrence before it"
    return f"overlaps session {conflict.session_id} of {whose}"


class _Zones(NamedTuple):
    pattern: pendulum.Timezone
    tutor: pendulum.Timezone
    student: pendulum.Timezone


def _occurrence(
    start: datetime, end: datetime, shift: Shift | None, previous: Occurrence | None, zones: _Zones
) -> Occurrence:
    wall = to_local(start, zones.pattern)
    return Occurrence(
        start_utc=start,
        end_utc=end,
        date=wall.date(),
        time=f"{wall:%H:%M}",
        tutor_local=to_local(start, zones.tutor).isoformat(),
        student_local=to_local(start, zones.student).isoformat(),
        daylight_saving=shift,
        clock_changes=tuple(_clock_changes(previous.start_utc, start, zones)) if previous else (),
    )


def _clock_changes(before: datetime, after: datetime, zones: _Zones) -> Iterator[str]:
    for timezone in dict.fromkeys(zones):  # each once, the pattern's first
        old, new = (_offset(to_local(instant, timezone)) for instant in (before, after))
        if old != new:
            yield f"clocks changed in {timezone.name}: {old} → {new}"


def _offset(local: datetime) -> str:
    """The offset as people write it: ``UTC-5``, ``UTC+5:30``, ``UTC+0``."""
    sign, hours, minutes = re.findall(r"[+-]|\d\d", f"{local:%z}")[:3]
    return f"UTC{sign}{int(hours)}" + (f":{minutes}" if minutes != "00" else "")
