"""A house brought from elsewhere: three sheets of CSV, people, matches and packages, entered all or not at all.

Reading the sheets happens here, entering them in the database. A line that cannot be read is told with its sheet,
its number in the file and its field; so is one that the database refuses. Both come in the same shape. As long as
one line cannot be read, nothing is sent, because what the others lead to would be guesswork.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from lib.answers import Answer, Role
from lib.database import Database
from lib.errors import Invalid
from lib.fields import Day, Email, Flag, Level, MeetLink, Name, Phone, Request
from lib.recurrence import SchedulePattern
from lib.zones import Timezone

MOST_LINES = 2000
"""Of one sheet; the database takes no more at once."""
LONGEST_SHEET = 1024 * 1024

SheetName: TypeAlias = Literal["people", "matches", "packages"]
Row: TypeAlias = Mapping[str, str]
Parameters: TypeAlias = dict[str, object]

_SEPARATORS = re.compile(r"[\s,;]+")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORTEST_WEEKDAY = 2
_WALL_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::00)?")
_LINE_END = re.compile(r"[\r\n]")
_NUMBER = re.compile(r"[0-9]{1,4}")
_SHOWN_HEADING = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,63}")

Sheet = Annotated[str, Field(max_length=LONGEST_SHEET, description="CSV with a heading line.")]


class Import(Request):
    """The sheets to bring. What is left out is empty."""

    people: Sheet = Field(
        default="",
        examples=["email,display_name,timezone,roles,phone\namina@example.com,Amina,Asia/Karachi,tutor,\n"],
        description="Columns: email, display_name, timezone, roles (several with spaces between), phone.",
    )
    matches: Sheet = Field(
        default="",
        description="Columns: student_email, tutor_email, subject, level, timezone, days (`Mon Wed` or `1 3`), time, "
        "duration_mins, meet_link. Without timezone, days and time a match has no pattern yet.",
    )
    packages: Sheet = Field(
        default="",
        description="Columns: student_email, subject, tier_sessions, opening_used, start_date, end_date.",
    )
    dry_run: Flag = Field(default=True, description="Only report what would come of it.")


class LineError(Answer):
    """What is wrong with one line."""

    sheet: SheetName
    line: int = Field(description="In the file, as editors count; the heading is in line 1.", examples=[2])
    field: str = Field(description="The column; empty for the line as a whole.", examples=["timezone"])
    code: str = Field(examples=["invalid"])
    message: str


class Counts(Answer):
    """How many of each."""

    people: int
    matches: int
    packages: int


class ImportReport(Answer):
    """What came of an import, or would come of it."""

    imported: bool = Field(description="False on a dry run.")
    dry_run: bool
    created: Counts = Field(description="What is new.")
    known: Counts = Field(description="Lines that were there already; they change nothing.")
    errors: list[LineError] = Field(description="Only on a dry run; without it they refuse the import.")


async def import_house(database: Database, house: Import) -> ImportReport:
    """Enter the sheets, or report what entering them would come to.

    Raises:
        Invalid: ``import_refused`` with ``errors``: one line or more is not right, and it was no dry run.
    """
    sheets = {kind.name: _read(kind, getattr(house, kind.name)) for kind in _KINDS}
    unreadable = [error for sheet in sheets.values() for error in sheet.errors]
    if unreadable:
        await database.rpc("import_house", {"p_dry_run": True})  # whether the caller may import at all
        return _refused(unreadable, dry_run=house.dry_run)
    lines = {f"p_{name}": sheet.lines for name, sheet in sheets.items()}
    answer = await database.write("import_house", {**lines, "p_dry_run": house.dry_run})
    return ImportReport.model_validate({**answer, "errors": [_told(each) for each in answer["errors"]]})


def _refused(errors: list[LineError], *, dry_run: bool) -> ImportReport:
    if not dry_run:
        raise Invalid(
            "import_refused",
            "Nothing was imported: some lines cannot be read.",
            members={"errors": [each.model_dump() for each in errors]},
        )
    none = Counts(people=0, matches=0, packages=0)
    return ImportReport(imported=False, dry_run=True, created=none, known=none, errors=errors)


def _told(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """An error of the database's, which knows ids where a sheet has addresses."""
    field = error.get("field", "")
    return {**error, "field": _COLUMN_OF.get(field, field)}


_COLUMN_OF = {"student_id": "student_email", "tutor_id": "tutor_email"}


# --- the kinds of line ----------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return [word.lower() for word in _SEPARATORS.split(text) if word]


def _each_once(roles: list[Role]) -> list[Role]:
    return list(dict.fromkeys(roles))


def _days(text: str) -> list[int]:
    """ISO weekdays from numbers or English names, of which two letters are enough."""
    return [_day(word) for word in _words(text)]


def _day(word: str) -> int:
    found = [
        number
        for number, name in enumerate(_WEEKDAYS, start=1)
        if word == str(number) or (len(word) >= _SHORTEST_WEEKDAY and name.startswith(word))
    ]
    if not found:
        raise ValueError("must be weekdays such as Mon Wed, or 1 3")
    return found[0]


def _wall_time(text: str) -> str:
    """As spreadsheets write it: a leading zero may lack, seconds may follow."""
    if time := _WALL_TIME.fullmatch(text):
        return f"{time[1]:0>2}:{time[2]}"
    raise ValueError("must be a time such as 16:30")


def _whole_number(text: str) -> int:
    if _NUMBER.fullmatch(text):
        return int(text)
    raise ValueError("must be a whole number")


Number = Annotated[int, BeforeValidator(_whole_number)]


class PersonLine(Request):
    """A line of people."""

    email: Email
    display_name: Name
    timezone: Timezone
    roles: Annotated[list[Role], Field(min_length=1), BeforeValidator(_words), AfterValidator(_each_once)]
    phone: Phone | None = None

    def content(self) -> Parameters:
        """As the database takes it."""
        return self.model_dump(mode="json")


class MatchLine(Request):
    """A line of matches; the pattern comes in four columns."""

    student_email: Email
    tutor_email: Email
    subject: Name
    level: Level | None = None
    timezone: Timezone | None = None
    days: Annotated[list[int], BeforeValidator(_days)] | None = None
    time: Annotated[str, BeforeValidator(_wall_time)] | None = None
    duration_mins: Annotated[Number, Field(ge=15, le=480)] = 60
    meet_link: MeetLink | None = None

    def content(self) -> Parameters:
        """As the database takes it.

        Raises:
            ValueError: the pattern is there in part.
        """
        match = self.model_dump(mode="json", include={"student_email", "tutor_email", "subject", "level", "meet_link"})
        return match | {"schedule_pattern": self._pattern()}

    def _pattern(self) -> object:
        parts = (self.timezone, self.days, self.time)
        if parts == (None, None, None):
            return None
        if self.timezone is None or self.days is None or self.time is None:
            raise ValueError("needs timezone, days and time together, or none of them")
        pattern = SchedulePattern(
            timezone=self.timezone,
            days=tuple(dict.fromkeys(self.days)),
            time=self.time,
            duration_mins=self.duration_mins,
        )
        return pattern.model_dump(mode="json")


class PackageLine(Request):
    """A line of packages."""

    student_email: Email
    subject: Name
    tier_sessions: Annotated[Literal[8, 12, 20], BeforeValidator(_whole_number)]
    opening_used: Annotated[Number, Field(ge=0, le=20)] = 0
    start_date: Day
    end_date: Day

    def content(self) -> Parameters:
        """As the database takes it.

        Raises:
            ValueError: no package can be so.
        """
        if self.end_date < self.start_date:
            raise ValueError("end_date must not come before start_date")
        if self.opening_used > self.tier_sessions:
            raise ValueError("opening_used must not exceed tier_sessions")
        return self.model_dump(mode="json")


Line: TypeAlias = PersonLine | MatchLine | PackageLine


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the lines of a sheet are."""

    name: SheetName
    line: type[Line]

    @property
    def columns(self) -> frozenset[str]:
        """All that a line may have."""
        return frozenset(self.line.model_fields)

    @property
    def needed(self) -> frozenset[str]:
        """What every line must have."""
        return frozenset(name for name, field in self.line.model_fields.items() if field.is_required())


_KINDS = (_Kind("people", PersonLine), _Kind("matches", MatchLine), _Kind("packages", PackageLine))


# --- reading a sheet ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    """A sheet's lines as the database takes them, or what is wrong with it."""

    lines: list[Parameters]
    errors: list[LineError]


class _NotCsvError(Exception):
    """The record that begins in this line cannot be taken apart."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _read(kind: _Kind, text: str) -> _Read:
    """Read a whole sheet. Faults of the heading come alone: the lines below mean nothing without it."""
    fault = _fault_of(kind)
    try:
        records = list(_records(text))
    except _NotCsvError as error:
        message = "is not CSV: a quote is not closed, or stands in a wrong place"
        return _Read([], [fault(error.line, "", message)])
    if not records:
        return _Read([], [])
    (heading_line, heading), *rest = records
    names = [name.strip().lower() for name in heading]
    errors = [fault(heading_line, field, message) for field, message in _heading_faults(kind, names)]
    if errors:
        return _Read([], errors)
    if len(rest) > MOST_LINES:
        return _Read([], [fault(rest[MOST_LINES][0], "", f"is one too many: a sheet has at most {MOST_LINES} lines")])
    lines: list[Parameters] = []
    for number, values in rest:
        try:
            lines.append({"line": number, **_content(kind, names, values)})
        except ValidationError as error:
            errors += [fault(number, _column(each["loc"]), _message(each)) for each in error.errors()]
        except ValueError as error:
            errors.append(fault(number, "", str(error)))
    return _Read(lines, errors)


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not empty, with the number of the file's line it begins in.

    The first line says what stands between two values: a comma, or a semicolon or tab where a spreadsheet writes such.
    """
    text = text.removeprefix("\ufeff")
    first_line = _LINE_END.split(text.lstrip("\r\n"), maxsplit=1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first_line.count), strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise _NotCsvError(begins) from None
        if any(value.strip() for value in values):
            yield begins, values


def _heading_faults(kind: _Kind, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the first line, by column."""
    named = [name for name in names if name]
    for name in dict.fromkeys(named):
        if name not in kind.columns:
            yield (name if _SHOWN_HEADING.fullmatch(name) else "?"), f"is no column of {kind.name}"
        elif named.count(name) > 1:
            yield name, "is there more than once"
    for name in sorted(kind.needed - set(names)):
        yield name, "is missing in the first line"


def _content(kind: _Kind, names: Sequence[str], values: Sequence[str]) -> Parameters:
    """A record as the database takes it; an empty value is one that was left out.

    Raises:
        ValueError: it cannot be read. A ``ValidationError`` says which columns.
    """
    beyond = [value for name, value in zip(names, values, strict=False) if not name] + list(values[len(names) :])
    if any(value.strip() for value in beyond):
        raise ValueError("has more values than the first line has columns")
    row = {name: value.strip() for name, value in zip(names, values, strict=False) if name and value.strip()}
    return kind.line.model_validate(row).content()


def _column(location: tuple[int | str, ...]) -> str:
    return str(location[0]) if location else ""


def _message(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "missing":
        return "must not be empty"
    return str(fault["msg"]).removeprefix("Value error, ")


def _fault_of(kind: _Kind) -> Callable[[int, str, str], LineError]:
    def fault(line: int, field: str, message: str) -> LineError:
        return LineError(sheet=kind.name, line=line, field=field, code="invalid", message=message)

    return fault
