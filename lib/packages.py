"""Packages: prepaid sessions of one request, within a window of dates, and the statement of what became of them."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, computed_field, model_validator

from lib.answers import Answer, Participant, SessionStatus, Utc, viewer_timezone
from lib.database import Database
from lib.fields import Changes, Day, Flag, Request
from lib.recurrence import SchedulePattern
from lib.zones import to_local, zone

Tier = Annotated[Literal[8, 12, 20], Field(description="Sessions bought.", examples=[12])]


class Package(Answer):
    """A package and how much of it is left."""

    id: UUID
    request_id: UUID
    student_id: UUID
    tier_sessions: int = Field(examples=[12])
    opening_used: int = Field(description="Used before the package came here.")
    sessions_used: int
    sessions_left: int
    start_date: date
    end_date: date = Field(description="Included.")
    status: Literal["active", "cancelled"]
    standing: Literal["active", "exhausted", "expired", "cancelled"] = Field(
        description="What it comes to today, credits and dates considered."
    )


class Proposal(Answer):
    """The package that would follow: the same tier, the next window, the pattern that the lessons keep."""

    request_id: UUID
    match_id: UUID | None = Field(description="Null when no tutor is on the request any more.")
    tier_sessions: int = Field(examples=[12])
    start_date: date
    end_date: date = Field(description="Included.")
    schedule_pattern: SchedulePattern | None
    meet_link: str | None = Field(examples=["https://meet.google.com/abc-defg-hij"])


class Renewal(Answer):
    """What a renewal comes to."""

    proposal: Proposal
    renewed_by: UUID | None = Field(description="The package that follows already, if there is one.")
    package: Package | None = Field(description="The new package; null when only a proposal was asked for.")


class Entry(Answer):
    """One credit, taken or given back."""

    at: Utc = Field(description="When it was taken or given back.")
    session_id: UUID
    entry_no: int = Field(description="Counts the entries of a session; odd ones take, even ones give back.")
    amount: Literal[1, -1] = Field(description="Credits used: 1 taken, -1 given back.")
    sessions_left: int = Field(description="Of the package, after this entry.")
    sequence_number: int
    scheduled_start_utc: Utc
    status: SessionStatus = Field(description="Of the session as it is now.")
    tutor: str = Field(examples=["Amina Siddiqui"])
    by_role: Literal["admin", "tutor", "student", "clock", "service", "studio"]
    by_name: str | None = Field(description="Who, when it was somebody of the lesson; admins see every name.")
    reason: str | None
    timezone: str = Field(description="Of the local times.", examples=["Europe/London"])

    @computed_field(description="`at` on the viewer's clocks.", examples=["2026-03-02T15:04:00+00:00"])
    @property
    def at_local(self) -> AwareDatetime:
        """``at`` in ``timezone``."""
        return to_local(self.at, zone(self.timezone))

    @computed_field(description="The lesson's start on the viewer's clocks.", examples=["2026-03-02T14:00:00+00:00"])
    @property
    def start_local(self) -> AwareDatetime:
        """``scheduled_start_utc`` in ``timezone``."""
        return to_local(self.scheduled_start_utc, zone(self.timezone))


class Statement(Answer):
    """Every credit of a package, oldest first."""

    package: Package
    student: Participant
    subject: str = Field(examples=["Mathematics"])
    level: str | None = Field(examples=["GCSE"])
    timezone: str = Field(description="Of the local times: the profile's, or as asked with `tz`.")
    entries: list[Entry]


LONGEST_WINDOW = timedelta(days=730)


def _require_window(start_date: date | None, end_date: date | None) -> None:
    if start_date is None or end_date is None:
        return
    if not timedelta(0) <= end_date - start_date <= LONGEST_WINDOW:
        raise ValueError("end_date must lie within the two years after start_date")


class PackageCreation(Request):
    """A new package."""

    request_id: UUID
    tier_sessions: Tier
    start_date: Day
    end_date: Day = Field(description="Included.")
    opening_used: Annotated[int, Field(strict=True, ge=0, le=20)] = Field(
        default=0, description="Sessions used before, for a package brought from elsewhere."
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _require_window(self.start_date, self.end_date)
        if self.opening_used > self.tier_sessions:
            raise ValueError("opening_used must not exceed tier_sessions")
        return self


class PackageUpdate(Changes):
    """What an admin may change of a package. The tier may shrink to what is used."""

    tier_sessions: Tier | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    status: Literal["active", "cancelled"] | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _require_window(self.start_date, self.end_date)
        return self


class RenewalRequest(Request):
    """Whether to sell the next package or only to see it, and where it differs from this one."""

    create: Flag = Field(default=False, description="Sell it. Left out: only propose.")
    tier_sessions: Tier | None = Field(default=None, description="Left out: as many as before.")
    start_date: Day | None = Field(default=None, description="Left out: the day after this package ends.")
    end_date: Day | None = Field(default=None, description="Included. Left out: as long as this package.")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _require_window(self.start_date, self.end_date)
        return self


async def create_package(database: Database, package: PackageCreation) -> Package:
    """Enter a package for a request."""
    return Package.model_validate(await database.write("create_package", package.parameters()))


async def update_package(database: Database, package_id: UUID, changes: PackageUpdate) -> Package:
    """Change a package; its credits move only with its sessions."""
    parameters = changes.parameters(package_id=str(package_id))
    return Package.model_validate(await database.write("update_package", parameters))


async def renew_package(database: Database, package_id: UUID, renewal: RenewalRequest) -> Renewal:
    """Propose the package that follows this one, or sell it."""
    parameters = renewal.parameters(package_id=str(package_id))
    return Renewal.model_validate(await database.write("renew_package", parameters))


async def get_statement(database: Database, package_id: UUID, timezone: str | None) -> Statement:
    """Every credit of a package, for its student and for admins."""
    answer = await database.rpc("get_statement", {"p_package_id": str(package_id)})
    viewer = viewer_timezone(answer, timezone)
    entries = [{**each, "timezone": viewer} for each in answer["entries"]]
    return Statement.model_validate({**answer, "timezone": viewer, "entries": entries})


# --- the statement as a table ---------------------------------------------------------------------------

HEADINGS = (
    "Lesson date",
    "Lesson time",
    "Time zone",
    "Lesson number",
    "Tutor",
    "What happened",
    "Credits used",
    "Credits left",
    "Entered on",
    "Entered by",
    "Reason",
)

_WHAT_HAPPENED: Mapping[SessionStatus, str] = {
    "scheduled": "Lesson is still to come",
    "in_progress": "Lesson is under way",
    "done": "Lesson took place",
    "no_show_student": "Student did not come",
    "no_show_tutor": "Tutor did not come",
    "rescheduled": "Lesson was put off",
    "cancelled": "Lesson was cancelled",
}
_WHO: Mapping[str, str] = {
    "admin": "The office",
    "tutor": "The tutor",
    "student": "The student",
    "clock": "Automatic",
    "service": "Automatic",
    "studio": "The office",
}
_COSTS_A_CREDIT = ("done", "no_show_student")
_READ_AS_FORMULA = re.compile(r"[=+\-@\t\r]")


def statement_as_csv(statement: Statement) -> str:
    """The statement for a spreadsheet and its reader: RFC 4180, one heading line, then a line an entry.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which shows it as text.
    """
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(HEADINGS)
    if statement.package.opening_used:
        writer.writerow(_opening(statement.package))
    writer.writerows(_lines(statement.entries))
    return lines.getvalue()


def statement_filename(statement: Statement) -> str:
    """What the file is called: subject and first day, in plain letters."""
    subject = re.sub(r"[^a-z0-9]+", "-", statement.subject.lower()).strip("-")
    return "-".join(filter(None, ("statement", subject, statement.package.start_date.isoformat()))) + ".csv"


def _opening(package: Package) -> list[object]:
    left = package.tier_sessions - package.opening_used
    return ["", "", "", "", "", "Used before this statement begins", f"+{package.opening_used}", left, "", "", ""]


def _lines(entries: list[Entry]) -> Iterator[list[object]]:
    last_of = {each.session_id: each.entry_no for each in entries}
    for each in entries:
        yield [
            each.start_local.date().isoformat(),
            _time(each.start_local),
            each.timezone,
            each.sequence_number,
            _as_text(each.tutor),
            _what_happened(each, is_last=each.entry_no == last_of[each.session_id]),
            f"{each.amount:+d}",
            each.sessions_left,
            f"{each.at_local.date().isoformat()} {_time(each.at_local)}",
            _as_text(each.by_name or _WHO[each.by_role]),
            _as_text(each.reason or ""),
        ]


def _time(moment: datetime) -> str:
    return moment.strftime("%H:%M")


def _what_happened(entry: Entry, *, is_last: bool) -> str:
    """In words. Only the last entry of a session here goes with the status that the session has now."""
    if entry.amount == 1:
        return _WHAT_HAPPENED[entry.status] if is_last else "Charged, given back later"
    if not is_last:
        return "Given back"
    if entry.status in _COSTS_A_CREDIT:
        return "Given back: charged to another package"
    return f"Given back: {_WHAT_HAPPENED[entry.status].lower()}"


def _as_text(text: str) -> str:
    return f"'{text}" if _READ_AS_FORMULA.match(text) else text
