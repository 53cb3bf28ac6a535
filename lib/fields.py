"""The kinds of value that travel in requests, and what all request bodies have in common. Pure.

Every text has a length and no control characters, every time an offset and a sane year, so that nothing
reaches Postgres that it cannot hold. Messages say what a value should be and never repeat what it was.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

FIRST_YEAR, LAST_YEAR = 2000, 2100

_Date = TypeVar("_Date", bound=date)

_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"  # with tabs and line ends
_FILLED_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
_PHONE = r"^\+[1-9][0-9]{6,14}$"
_EMAIL = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$"
_MEET_LINK = r"^https://meet\.google\.com/[a-z]{3}-[a-z]{4}-[a-z]{3}$"
_CALENDAR_ID = r"^[!-~]*$"
_WEB_ADDRESS = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!-\"$-~]*)?$"
_INSTANT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$"
_DATE = r"^\d{4}-\d\d-\d\d$"


def _form(pattern: str, message: str) -> AfterValidator:
    """Lets text of this form through."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if form.fullmatch(value) is None:
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _or_empty(pattern: str) -> str:
    """The same form, or nothing: in a change, nothing clears."""
    return f"^$|{pattern}"


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _shown(pattern: str) -> dict[str, Any]:
    return {"pattern": pattern}


_TEXT_FORM = _form(_LINE, "must be text in one line, without control characters")
_LINES_FORM = _form(_LINES, "must be text without control characters")
_FILLED_FORM = _form(_FILLED_LINE, "must be text in one line, not empty and without control characters")
_PHONE_MESSAGE = "must be a phone number in E.164 form, such as +923001234567"
_EMAIL_MESSAGE = "must be an e-mail address"
_MEET_MESSAGE = "must be a link such as https://meet.google.com/abc-defg-hij"

Name = Annotated[
    str,
    Field(min_length=1, max_length=120, json_schema_extra=_shown(_FILLED_LINE), examples=["Amina Siddiqui"]),
    BeforeValidator(_stripped),
    _FILLED_FORM,
]
"""What a person or a holiday is called; a subject too."""

ClearableSubject = Annotated[
    str,
    Field(max_length=120, json_schema_extra=_shown(_LINE), examples=["Mathematics"]),
    BeforeValidator(_stripped),
    _TEXT_FORM,
]

Level = Annotated[
    str,
    Field(max_length=60, json_schema_extra=_shown(_LINE), examples=["GCSE"]),
    BeforeValidator(_stripped),
    _TEXT_FORM,
]
"""How far a student is. May be empty, which clears it."""

Notes = Annotated[
    str,
    Field(max_length=10_000, json_schema_extra=_shown(_LINES), examples=["Fractions went well."]),
    _LINES_FORM,
]
"""Longer text in lines. May be empty, which clears it."""

Description = Annotated[
    str,
    Field(max_length=4_000, json_schema_extra=_shown(_LINES), examples=["Bring a past paper."]),
    _LINES_FORM,
]
"""What is offered, in lines. May be empty, which clears it."""

Remark = Annotated[
    str,
    Field(max_length=500, json_schema_extra=_shown(_LINES), examples=["At a conference."]),
    _LINES_FORM,
]
"""A few words in lines. May be empty, which clears it."""

Opinion = Annotated[
    str,
    Field(max_length=2_000, json_schema_extra=_shown(_LINES), examples=["I understand fractions now."]),
    _LINES_FORM,
]
"""What somebody thinks, in lines. Empty means nothing."""

Title = Annotated[
    str,
    Field(max_length=200, json_schema_extra=_shown(_LINE)),
    BeforeValidator(_stripped),
    _TEXT_FORM,
]
"""What something is, in one line. May be empty, which clears it."""

TaskTitle = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra=_shown(_FILLED_LINE), examples=["Fractions, page 12"]),
    BeforeValidator(_stripped),
    _FILLED_FORM,
]
"""What is to be done, in one line."""

Passage = Annotated[
    str,
    Field(max_length=5_000, json_schema_extra=_shown(_LINES), examples=["Understands halves, not yet thirds."]),
    _LINES_FORM,
]
"""What people write into a record, in lines. Empty means nothing."""

SummaryText = Annotated[
    str,
    Field(min_length=1, max_length=4_000, json_schema_extra=_shown(_LINES), examples=["We worked on fractions."]),
    _LINES_FORM,
]
"""What a family is told of a lesson, in lines."""

Mark = Annotated[
    str,
    Field(max_length=40, json_schema_extra=_shown(_LINE), examples=["B+"]),
    BeforeValidator(_stripped),
    _TEXT_FORM,
]
"""How good something is, in the tutor's own scale. Empty means nothing."""

SearchWords = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra=_shown(_FILLED_LINE), examples=["fractions"]),
    BeforeValidator(_stripped),
    _FILLED_FORM,
]
"""What somebody looks for."""

Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1_000,
        json_schema_extra=_shown(_FILLED_LINE),
        examples=["Make-up for Friday"],
    ),
    BeforeValidator(_stripped),
    _FILLED_FORM,
]
"""Why somebody does what is out of the ordinary; kept in the audit."""

Phone = Annotated[
    str,
    Field(max_length=16, json_schema_extra=_shown(_PHONE), examples=["+923001234567"]),
    _form(_PHONE, _PHONE_MESSAGE),
]
ClearablePhone = Annotated[
    str,
    Field(max_length=16, json_schema_extra=_shown(_or_empty(_PHONE)), examples=["+923001234567", ""]),
    _form(_or_empty(_PHONE), _PHONE_MESSAGE),
]

Email = Annotated[
    str,
    Field(max_length=254, json_schema_extra=_shown(_EMAIL), examples=["amina@example.com"]),
    _form(_EMAIL, _EMAIL_MESSAGE),
]
ClearableEmail = Annotated[
    str,
    Field(max_length=254, json_schema_extra=_shown(_or_empty(_EMAIL)), examples=["amina@example.com", ""]),
    _form(_or_empty(_EMAIL), _EMAIL_MESSAGE),
]

ClearableCalendarId = Annotated[
    str,
    Field(max_length=254, json_schema_extra=_shown(_CALENDAR_ID), examples=["amina@example.com", ""]),
    _form(_CALENDAR_ID, "must be the id of a Google calendar, such as an e-mail address"),
]
"""Which Google calendar. May be empty, which clears it."""

MeetLink = Annotated[
    str,
    Field(max_length=36, json_schema_extra=_shown(_MEET_LINK), examples=["https://meet.google.com/abc-defg-hij"]),
    _form(_MEET_LINK, _MEET_MESSAGE),
]
ClearableMeetLink = Annotated[
    str,
    Field(
        max_length=36,
        json_schema_extra=_shown(_or_empty(_MEET_LINK)),
        examples=["https://meet.google.com/abc-defg-hij", ""],
    ),
    _form(_or_empty(_MEET_LINK), _MEET_MESSAGE),
]

WebAddress = Annotated[
    str,
    Field(
        max_length=2_000,
        json_schema_extra=_shown(_WEB_ADDRESS),
        examples=["https://hooks.example.com/lessons"],
    ),
    _form(_WEB_ADDRESS, "must be an address such as https://hooks.example.com/lessons, in ASCII, without a fragment"),
]

PlanHash = Annotated[
    str,
    Field(max_length=64, json_schema_extra=_shown(r"^[0-9a-f]{64}$")),
    _form(r"^[0-9a-f]{64}$", "must be a plan_hash as the preview gave it"),
]

LARGEST_VERSION = 2**31 - 1
Version = Annotated[int, Field(strict=True, ge=0, le=LARGEST_VERSION)]
"""The version of a row that a decision rests on."""

ExpectedVersion = Annotated[
    Version, Field(description="The version it was decided on; refused with `stale_version` if it has moved on.")
]

Flag = Annotated[bool, Field(strict=True)]

Language = Literal["en", "de", "es"]
"""What messages and pages are written in."""

ClearableLanguage = Literal["en", "de", "es", ""]


# --- times --------------------------------------------------------------------------------------------


def _written(pattern: str, message: str) -> BeforeValidator:
    """Lets text of this form through; pydantic itself would take a bare number for seconds since 1970."""
    form = re.compile(pattern)

    def check(value: object) -> object:
        if isinstance(value, str) and form.fullmatch(value) is None:
            raise ValueError(message)
        if not isinstance(value, str | date):
            raise ValueError(message)  # noqa: TRY004  # pydantic reports ValueError, not TypeError
        return value

    return BeforeValidator(check)


def _in_sane_year(value: _Date) -> _Date:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Instant = Annotated[
    AwareDatetime,
    _written(_INSTANT, "must be a time with its offset, such as 2026-03-02T14:00:00Z"),
    AfterValidator(_in_sane_year),
    AfterValidator(_in_utc),
    Field(examples=["2026-03-02T14:00:00Z"]),
]
"""A moment; in whatever offset it comes, it goes on in UTC."""

ClockTime = Annotated[
    str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Wall time.", examples=["16:30"])
]
"""A time of the day; on whose clocks, the field says."""

ClearableClockTime = Annotated[
    str, Field(pattern=r"^$|^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Wall time.", examples=["21:00", ""])
]

Day = Annotated[
    date,
    _written(_DATE, "must be a date such as 2026-03-02"),
    AfterValidator(_in_sane_year),
    Field(examples=["2026-03-02"]),
]
"""A date; in whose timezone, the field says."""


# --- bodies -------------------------------------------------------------------------------------------


def _without_null_defaults(schema: dict[str, Any]) -> None:
    """A field that may be left out has no default that could be sent."""
    for field in schema.get("properties", {}).values():
        if field.get("default", ...) is None:
            del field["default"]


class Request(BaseModel):
    """What a client sends. A field that is unknown is refused, because it is a typing error."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_without_null_defaults)

    def parameters(self, **more: object) -> dict[str, object]:
        """The arguments of the RPC of the same name: JSON values under ``p_…``, and ``more`` beside them."""
        fields = self.model_dump(mode="json", by_alias=True) | more
        return {f"p_{name}": value for name, value in fields.items()}


def _changes_schema(schema: dict[str, Any]) -> None:
    """None stands for a field that was left out; it cannot be sent."""
    _without_null_defaults(schema)
    schema["minProperties"] = 1
    for field in schema["properties"].values():
        kinds = [kind for kind in field.pop("anyOf", ()) if kind != {"type": "null"}]
        field.update(*kinds)


class Changes(Request):
    """The body of a PATCH: what is left out keeps its value; an empty text clears where that may be."""

    model_config = ConfigDict(json_schema_extra=_changes_schema)

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, body: object) -> object:
        """Null is refused, because it would keep the value where its sender means to clear it."""
        if not isinstance(body, dict):
            return body
        fields = cast("dict[str, object]", body)
        if not fields:
            raise ValueError("must change at least one field")
        if any(value is None for value in fields.values()):
            raise ValueError("must not hold null: leave a field out to keep it, send an empty text to clear it")
        return fields
