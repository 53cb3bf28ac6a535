"""A whole house's month: the sessions of every match whose package lacks them, told line by line.

A run walks over the packages in chunks: one read of what their plans rest on, the plans here, one write in
which each match stands or falls by itself. It keeps nothing between two chunks but where it is. Broken off
anywhere and sent again, it finds what still lacks its sessions, and creates none twice.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from lib.answers import Answer, Participant
from lib.database import Database
from lib.deadlines import Clock, Deadline
from lib.errors import Invalid, Problem
from lib.fields import Flag, Request
from lib.recurrence import ScheduleInputs, plan, plan_hash

CHUNK = 20
"""Packages a trip. All of them are locked while they are written, so that many would keep others waiting."""

Row: TypeAlias = Mapping[str, Any]


def _each_once(ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    if len(set(ids)) < len(ids):
        raise ValueError("must name each match once")
    return ids


Month = Annotated[str, Field(pattern=r"^(20[0-9]{2}|2100)-(0[1-9]|1[0-2])$", examples=["2026-03"])]


class MonthRequest(Request):
    """Which month, of whom, and how."""

    month: Month = Field(description="Packages whose dates meet it.")
    match_ids: (
        Annotated[
            tuple[UUID, ...],
            Field(min_length=1, max_length=1000, json_schema_extra={"uniqueItems": True}),
            AfterValidator(_each_once),
        ]
        | None
    ) = Field(default=None, description="Only these matches. Left out: all.")
    skip_conflicts: Flag = Field(default=False, description="Walk past dates on which somebody is busy.")
    allow_partial: Flag = Field(default=False, description="Take what fits when a window is too short.")
    after: UUID | None = Field(default=None, description="The `after` of a summary: go on behind it.")
    budget_seconds: Annotated[int, Field(strict=True, ge=1, le=600)] | None = Field(
        default=None, description="Stop within this time; never longer than the server's own budget."
    )


class ProgressLine(Answer):
    """How far the run is."""

    type: Literal["progress"] = "progress"
    left: int = Field(description="Packages to go, those of the next lines included.", examples=[160])


def _is_none(value: object) -> bool:
    return value is None


class MatchLine(Answer):
    """What became of one match's package. Of a refusal, its members stand beside `code`."""

    model_config = ConfigDict(extra="allow")

    type: Literal["match"] = "match"
    match_id: UUID
    package_id: UUID
    tutor: Participant
    student: Participant
    created: int = Field(description="Its new sessions; 0 when it failed or lacked none.", examples=[8])
    code: str | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Only when it failed: as in a problem document, or `failed`.",
        examples=["window_too_short"],
    )
    detail: str | None = Field(default=None, exclude_if=_is_none, description="With `code`, for people.")


class SummaryLine(Answer):
    """The last line. A stream without it is incomplete: send the same again."""

    type: Literal["summary"] = "summary"
    matches: int = Field(description="How many lines of type `match` there were.")
    created_sessions: int
    generated: int = Field(description="Matches that got sessions.")
    failed: int = Field(description="Matches with a `code`.")
    more: bool = Field(description="The time was up. Send the same again with this `after`.")
    after: UUID | None = Field(description="Null when there is no more.")


Line: TypeAlias = ProgressLine | MatchLine | SummaryLine


async def generate_month(
    database: Database, request: MonthRequest, budget_seconds: float, clock: Clock = time.monotonic
) -> AsyncGenerator[Line]:
    """Begin a run: what refuses it as a whole is raised here, before its first line.

    It stops before ``budget_seconds`` by ``clock`` are over, though never before its first chunk is written.
    Iterating raises the Problem that ended the run early; there is no summary then.
    """
    deadline = Deadline(min(budget_seconds, request.budget_seconds or budget_seconds), clock)
    return _lines(database, request, await _read(database, request, request.after), deadline)


async def _lines(
    database: Database, request: MonthRequest, chunk: "_Chunk", deadline: Deadline
) -> AsyncGenerator[Line]:
    told: list[MatchLine] = []
    while True:
        yield ProgressLine(left=chunk.left)
        for line in await _generate(database, request, chunk):
            told.append(line)
            yield line
        if not chunk.has_more or not deadline.leaves_time_for_another_lap():
            break
        chunk = await _read(database, request, chunk.last_package_id)
    yield SummaryLine(
        matches=len(told),
        created_sessions=sum(line.created for line in told),
        generated=sum(line.created > 0 for line in told),
        failed=sum(line.code is not None for line in told),
        more=chunk.has_more,
        after=chunk.last_package_id if chunk.has_more else None,
    )


class _Chunk(Answer):
    """What ``month_inputs`` answers: packages in order of their ids."""

    inputs: tuple[Row, ...]
    has_more: bool
    left: int

    @property
    def last_package_id(self) -> UUID | None:
        """Where the next chunk begins."""
        return UUID(self.inputs[-1]["package_id"]) if self.inputs else None


async def _read(database: Database, request: MonthRequest, after: UUID | None) -> _Chunk:
    parameters = {
        "p_month": f"{request.month}-01",
        "p_match_ids": request.match_ids and [str(each) for each in request.match_ids],
        "p_after_package_id": after and str(after),
        "p_limit": CHUNK,
    }
    return _Chunk.model_validate(await database.rpc("month_inputs", parameters))


async def _generate(database: Database, request: MonthRequest, chunk: _Chunk) -> list[MatchLine]:
    """Write a chunk: what became of each of its packages, those that could not even be planned first."""
    plans: list[Row] = []
    results: list[Row] = []
    for row in chunk.inputs:
        try:
            plans.append(_plan(row, request))
        except Problem as problem:
            ids = {"match_id": row["match_id"], "package_id": row["package_id"]}
            results.append({**ids, "created": 0, "code": problem.code, "detail": problem.detail})
    results += await _write(database, request, plans)
    people = {row["package_id"]: {"tutor": row["tutor"], "student": row["student"]} for row in chunk.inputs}
    return [MatchLine.model_validate({**each, **people[each["package_id"]], "type": "match"}) for each in results]


def _plan(row: Row, request: MonthRequest) -> Row:
    """One match's plan, as ``generate_month`` takes it.

    Raises:
        Invalid: there is nothing that could be planned.
    """
    try:
        inputs = ScheduleInputs.model_validate(row)
    except ValidationError:
        # An edit in Studio, or zones that Postgres knows and we do not. One such row stops nobody else.
        raise Invalid(detail="The pattern or the timezones of this match cannot be read.") from None
    if inputs.pattern is None:
        raise Invalid("schedule_missing", "Set the weekly pattern of this match first.")
    planned = plan(inputs, inputs.pattern, skip_conflicts=request.skip_conflicts)
    return {
        "match_id": str(inputs.match_id),
        "package_id": str(inputs.package_id),
        "fingerprint": inputs.fingerprint,
        "occurrences": [
            {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
            for each in planned.occurrences
        ],
        "plan_hash": plan_hash(planned, inputs.fingerprint),
    }


async def _write(database: Database, request: MonthRequest, plans: list[Row]) -> list[Row]:
    if not plans:
        return []
    parameters = {"p_plans": plans, "p_allow_partial": request.allow_partial}
    return (await database.rpc("generate_month", parameters))["results"]
