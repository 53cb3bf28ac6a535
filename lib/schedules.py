"""From a match's weekly pattern to its sessions.

Preview and commit read the same inputs in one trip and plan here, because only Python knows the timezones.
Commit then sends the plan in a second trip, with the fingerprint of what it was made from; the database
decides everything: whether that still holds, whether the package has its sessions, whether a slot is taken.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Session, session_seen_from, viewer_timezone
from lib.database import Database
from lib.errors import Invalid
from lib.fields import Day, Flag, Instant, PlanHash, Reason, Request
from lib.recurrence import (
    Conflict,
    Occurrence,
    Plan,
    ScheduleInputs,
    SchedulePattern,
    Skipped,
    plan,
    plan_hash,
)


class PreviewRequest(Request):
    """What to plan."""

    package_id: UUID | None = Field(default=None, description="Needed when the request has several packages.")
    from_date: Day | None = Field(default=None, description="No session before this date, in the pattern's timezone.")
    skip_conflicts: Flag = Field(default=False, description="Walk past dates on which somebody is busy.")


class GenerationRequest(PreviewRequest):
    """What to plan and write."""

    plan_hash: PlanHash | None = Field(
        default=None, description="Of a preview: refused with `plan_changed` if the plan is another by now."
    )
    allow_partial: Flag = Field(default=False, description="Take what fits when the window is too short.")
    fill: Flag = Field(default=False, description="Add what is missing to a package that has sessions.")


class ExtraSessionRequest(Request):
    """One session outside the pattern, such as a make-up."""

    start_utc: Instant
    reason: Reason
    duration_mins: Annotated[int, Field(strict=True, ge=15, le=480)] | None = Field(
        default=None, description="Left out: the pattern's."
    )
    package_id: UUID | None = Field(default=None, description="Needed when the request has several packages.")


class Preview(Answer):
    """What would be generated now. Nothing was written."""

    match_id: UUID
    package_id: UUID
    pattern: SchedulePattern
    from_date: date | None
    needed: int = Field(description="How many sessions the package lacks.")
    fits: int = Field(description="How many of them the window has room for.")
    occurrences: list[Occurrence]
    skipped: list[Skipped]
    conflicts: list[Conflict]
    plan_hash: str = Field(description="Send it with the commit to get exactly this plan or a refusal.")


class Generated(Answer):
    """The package's sessions after the commit."""

    created: int = Field(description="How many are new; 0 when they were there already.")
    match_id: UUID
    package_id: UUID
    sessions: list[Session]


async def preview_sessions(database: Database, match_id: UUID, request: PreviewRequest) -> Preview:
    """The plan as it would be written now.

    Raises:
        Invalid: ``schedule_missing``: the match has no pattern yet. The rest is the database's.
    """
    inputs, planned = await _plan(database, match_id, request)
    return Preview(
        match_id=inputs.match_id,
        package_id=inputs.package_id,
        pattern=planned.pattern,
        from_date=planned.from_date,
        needed=planned.needed,
        fits=planned.fits,
        occurrences=list(planned.occurrences),
        skipped=list(planned.skipped),
        conflicts=list(planned.conflicts),
        plan_hash=plan_hash(planned, inputs.fingerprint),
    )


async def generate_sessions(
    database: Database, match_id: UUID, request: GenerationRequest, timezone: str | None
) -> Generated:
    """Write the plan: all of it or, when the database refuses, none.

    Raises:
        Invalid: as ``preview_sessions``. The rest is the database's.
    """
    inputs, planned = await _plan(database, match_id, request)
    answer = await database.write("generate_sessions", _parameters(inputs, planned, request))
    viewer = viewer_timezone(answer, timezone)
    sessions = [session_seen_from(viewer, each) for each in answer["sessions"]]
    return Generated.model_validate({**answer, "sessions": sessions})


async def add_extra_session(
    database: Database, match_id: UUID, request: ExtraSessionRequest, timezone: str | None
) -> Session:
    """Add one session by hand."""
    answer = await database.write("add_extra_session", request.parameters(match_id=str(match_id)))
    return session_seen_from(viewer_timezone(answer, timezone), answer["session"])


async def _plan(database: Database, match_id: UUID, request: PreviewRequest) -> tuple[ScheduleInputs, Plan]:
    parameters = {
        "p_match_id": str(match_id),
        "p_package_id": request.package_id and str(request.package_id),
        "p_from_date": request.from_date and request.from_date.isoformat(),
    }
    inputs = ScheduleInputs.model_validate(await database.rpc("schedule_inputs", parameters))
    if inputs.pattern is None:
        raise Invalid("schedule_missing", "Set the weekly pattern of this match first.")

    planned = plan(inputs, inputs.pattern, skip_conflicts=request.skip_conflicts, from_date=request.from_date)
    return inputs, planned


def _parameters(inputs: ScheduleInputs, planned: Plan, request: GenerationRequest) -> Mapping[str, Any]:
    return {
        "p_match_id": str(inputs.match_id),
        "p_package_id": str(inputs.package_id),
        "p_from_date": request.from_date and request.from_date.isoformat(),
        "p_fingerprint": inputs.fingerprint,
        "p_occurrences": [
            {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
            for each in planned.occurrences
        ],
        "p_plan_hash": plan_hash(planned, inputs.fingerprint),
        "p_expected_plan_hash": request.plan_hash,
        "p_allow_partial": request.allow_partial,
        "p_fill": request.fill,
    }
