"""Other times for lessons: wishes for one, and whole series on a weekly pattern.

A wish is the tutor's or the student's, and an admin accepts one of its times or rejects it. A series is planned as
a generation is (``lib.schedules``): preview and commit read the same inputs in one trip and plan here, and commit
sends the times in a second one, with the fingerprint of what they were made from.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from lib.answers import Answer, Asker, Participant, Session, Utc, session_seen_from, viewer_timezone
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.errors import Invalid
from lib.fields import Day, Flag, Instant, PlanHash, Reason, Request
from lib.recurrence import (
    Conflict,
    Facts,
    Occurrence,
    Plan,
    ScheduleInputs,
    SchedulePattern,
    Skipped,
    WeeklyTimes,
    plan,
    plan_hash,
)
from lib.recurrence import Instant as StoredInstant
from lib.zones import Timezone, to_local, zone

RescheduleStatus = Literal["pending", "accepted", "rejected", "withdrawn", "lapsed"]
Scope = Literal["one", "following", "all"]
Starts = Annotated[list[Instant], Field(max_length=3, json_schema_extra={"uniqueItems": True})]


# --- wishes -----------------------------------------------------------------------------------------


class RescheduleWish(Request):
    """Why a session should have another time, and which would suit."""

    reason: Reason
    proposed_starts_utc: Starts | None = Field(
        default=None, description="Up to three, the best one first. Left out: any time would do."
    )


class RescheduleAcceptance(Request):
    """The time that an admin chooses. There may be no body at all."""

    start_utc: Instant | None = Field(
        default=None, description="One of the proposed, or any where none was. Left out: the only one proposed."
    )
    reason: Reason | None = None


class RescheduleRejection(Request):
    """What an admin says about a wish. There may be no body at all."""

    reason: Reason | None = None


class RescheduleQuery(Request):
    """Which wishes. Filters narrow what the caller may see anyway."""

    status: RescheduleStatus | None = None
    session_id: UUID | None = None
    tz: Timezone | None = Field(default=None, description="Show times in this zone, not in the profile's.")
    limit: int = Field(default=50, ge=1, le=200, description="Requests a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class ProposedStart(Answer):
    """A time that would suit."""

    start_utc: Utc
    start_local: AwareDatetime = Field(description="On the viewer's clocks.")
    is_free: bool | None = Field(description="Whether both could come then; only admins are told, null for others.")


class RescheduleRequest(Answer):
    """A wish for another time, and what became of it."""

    id: UUID
    status: RescheduleStatus = Field(description="`lapsed`: the session changed before anybody decided.")
    reason: str = Field(examples=["School trip"])
    proposals: list[ProposedStart]
    accepted_start_utc: Utc | None
    requested_by: Participant
    requested_by_role: Asker = Field(description="`guardian`: in the student's name.")
    decided_at: Utc | None
    decision_reason: str | None
    session: Session = Field(description="As it is now.")
    created_at: Utc


class RescheduleResult(Answer):
    """A wish after an action."""

    request: RescheduleRequest
    changed: bool = Field(description="False when everything was so already.")


class ReschedulePage(Answer):
    """Wishes by age, oldest first."""

    requests: list[RescheduleRequest]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")
    timezone: str = Field(description="The zone of the local times.", examples=["Europe/London"])


async def request_reschedule(
    database: Database, session_id: UUID, wish: RescheduleWish, timezone: str | None
) -> RescheduleResult:
    """Ask for another time. A new wish takes the place of the caller's last one."""
    return _result(await database.write("request_reschedule", wish.parameters(session_id=str(session_id))), timezone)


async def list_reschedule_requests(database: Database, query: RescheduleQuery) -> ReschedulePage:
    """One page of the caller's wishes; for admins everybody's, with which times are free."""
    filters = query.model_dump(mode="json", exclude={"tz", "cursor"})
    parameters = {f"p_{name}": value for name, value in filters.items()}
    answer = await database.rpc("list_reschedule_requests", parameters | after(query.cursor, "created"))
    timezone = viewer_timezone(answer, query.tz)
    requests = [_seen(each, timezone) for each in answer["requests"]]
    return ReschedulePage(
        requests=requests,
        next_cursor=str(Cursor(requests[-1].created_at, requests[-1].id)) if answer["has_more"] else None,
        timezone=timezone,
    )


async def accept_reschedule_request(
    database: Database, request_id: UUID, acceptance: RescheduleAcceptance, timezone: str | None
) -> RescheduleResult:
    """Move the session as was asked. Other wishes about it lapse."""
    parameters = acceptance.parameters(request_id=str(request_id))
    return _result(await database.write("accept_reschedule_request", parameters), timezone)


async def reject_reschedule_request(
    database: Database, request_id: UUID, rejection: RescheduleRejection, timezone: str | None
) -> RescheduleResult:
    """Leave the session at its time."""
    parameters = rejection.parameters(request_id=str(request_id))
    return _result(await database.write("reject_reschedule_request", parameters), timezone)


async def withdraw_reschedule_request(database: Database, request_id: UUID, timezone: str | None) -> RescheduleResult:
    """Take one's own wish back."""
    return _result(await database.write("withdraw_reschedule_request", {"p_request_id": str(request_id)}), timezone)


def _result(answer: dict[str, Any], timezone: str | None) -> RescheduleResult:
    return RescheduleResult(
        request=_seen(answer["request"], viewer_timezone(answer, timezone)), changed=answer["changed"]
    )


def _seen(stored: dict[str, Any], timezone: str) -> RescheduleRequest:
    def proposal(each: dict[str, Any]) -> dict[str, Any]:
        return {**each, "start_local": to_local(datetime.fromisoformat(each["start_utc"]), zone(timezone))}

    return RescheduleRequest.model_validate(
        {
            **stored,
            "proposals": [proposal(each) for each in stored["proposals"]],
            "session": session_seen_from(timezone, stored["session"]),
        }
    )


# --- a series ---------------------------------------------------------------------------------------


class SeriesPreviewRequest(Request):
    """What to move, and where to."""

    scope: Scope = Field(description="One session, it and the following of its package, or all that are open.")
    session_id: UUID | None = Field(default=None, description="For `one` the session, for `following` the first.")
    package_id: UUID | None = Field(default=None, description="For `all`, when the request has several packages.")
    schedule_pattern: WeeklyTimes | None = Field(default=None, description="Left out: the match's.")
    from_date: Day | None = Field(
        default=None,
        description="No session before this date, in the pattern's timezone. Left out: that of the first session "
        "that moves, or today, whichever is later.",
    )
    skip_conflicts: Flag = Field(default=False, description="Walk past dates on which somebody is busy.")

    @model_validator(mode="after")
    def _says_which_session(self) -> Self:
        if (self.session_id is None) != (self.scope == "all"):
            raise ValueError("session_id belongs to the scopes one and following")
        if self.package_id is not None and self.scope != "all":
            raise ValueError("package_id belongs to the scope all")
        return self


class SeriesRequest(SeriesPreviewRequest):
    """What to move, and to write."""

    plan_hash: PlanHash | None = Field(
        default=None, description="Of a preview: refused with `plan_changed` if the plan is another by now."
    )
    reason: Reason | None = None
    set_schedule: Flag = Field(
        default=False, description="Make the times the match's for months to come, too; it keeps its duration."
    )


@dataclass(frozen=True, slots=True)
class SeriesMove(Occurrence):
    """A session's new time, and whose it is."""

    session_id: UUID
    sequence_number: int
    from_start_utc: datetime


class SeriesPreview(Answer):
    """What would be moved now. Nothing was written."""

    match_id: UUID
    package_id: UUID
    pattern: SchedulePattern = Field(description="Each session keeps its own length.")
    from_date: date
    needed: int = Field(description="How many sessions move.")
    fits: int = Field(description="For how many of them there are dates.")
    after_package_end: int = Field(description="How many go beyond the package's last date, which hinders none.")
    moves: list[SeriesMove]
    skipped: list[Skipped]
    conflicts: list[Conflict]
    plan_hash: str = Field(description="Send it with the commit to get exactly this plan or a refusal.")


class SeriesResult(Answer):
    """The series after the commit."""

    moved: int = Field(description="How many have another time; 0 when they were there already.")
    match_id: UUID
    package_id: UUID
    sessions: list[Session]


class MovingSession(Facts):
    """A session that the move takes along."""

    session_id: UUID
    sequence_number: int
    scheduled_start_utc: StoredInstant
    scheduled_end_utc: StoredInstant

    @property
    def length(self) -> timedelta:
        """It keeps it."""
        return self.scheduled_end_utc - self.scheduled_start_utc


class SeriesInputs(ScheduleInputs):
    """The jsonb of the RPC ``series_inputs``: that of a plan, and the sessions that it moves, in order."""

    package_end_date: date
    moving: tuple[MovingSession, ...]


async def preview_series(database: Database, match_id: UUID, request: SeriesPreviewRequest) -> SeriesPreview:
    """The moves as they would be written now.

    Raises:
        Invalid: ``schedule_missing``: no pattern is given, and the match has none. The rest is the database's.
    """
    inputs, planned = await _plan(database, match_id, request)
    return SeriesPreview(
        match_id=inputs.match_id,
        package_id=inputs.package_id,
        pattern=planned.pattern,
        from_date=planned.from_date or _first_date(inputs, planned.pattern),
        needed=planned.needed,
        fits=planned.fits,
        after_package_end=sum(each.date > inputs.package_end_date for each in planned.occurrences),
        moves=_moves(inputs, planned),
        skipped=list(planned.skipped),
        conflicts=list(planned.conflicts),
        plan_hash=plan_hash(planned, inputs.fingerprint),
    )


async def reschedule_series(
    database: Database, match_id: UUID, request: SeriesRequest, timezone: str | None
) -> SeriesResult:
    """Move all of them or, when the database refuses, none.

    Raises:
        Invalid: as ``preview_series``. The rest is the database's.
    """
    inputs, planned = await _plan(database, match_id, request)
    answer = await database.write("reschedule_series", _parameters(inputs, planned, request))
    viewer = viewer_timezone(answer, timezone)
    sessions = [session_seen_from(viewer, each) for each in answer["sessions"]]
    return SeriesResult.model_validate({**answer, "sessions": sessions})


async def _plan(database: Database, match_id: UUID, request: SeriesPreviewRequest) -> tuple[SeriesInputs, Plan]:
    answer = await database.rpc("series_inputs", _which(match_id, request))
    inputs = SeriesInputs.model_validate(answer)
    pattern = _pattern(inputs, request.schedule_pattern)
    planned = plan(
        inputs,
        pattern,
        skip_conflicts=request.skip_conflicts,
        from_date=request.from_date or _first_date(inputs, pattern),
        lengths=[each.length for each in inputs.moving],
    )
    # The plan is known by the date that was asked for: the same moves are the same plan after midnight, too.
    return inputs, replace(planned, from_date=request.from_date)


def _which(match_id: UUID, request: SeriesPreviewRequest) -> dict[str, object]:
    chosen = request.model_dump(mode="json", include={"scope", "session_id", "package_id", "from_date"})
    return {"p_match_id": str(match_id), **{f"p_{name}": value for name, value in chosen.items()}}


def _pattern(inputs: SeriesInputs, asked: WeeklyTimes | None) -> SchedulePattern:
    times = asked or inputs.pattern
    if times is None:
        raise Invalid("schedule_missing", "Say on which weekdays and when: this match has no weekly pattern.")
    lasting = inputs.pattern.model_dump(include={"duration_mins"}) if inputs.pattern else {}
    return SchedulePattern.model_validate({**times.model_dump(), **lasting})


def _first_date(inputs: SeriesInputs, pattern: SchedulePattern) -> date:
    earliest = max(inputs.now, inputs.moving[0].scheduled_start_utc)
    return to_local(earliest, zone(pattern.timezone)).date()


def _moves(inputs: SeriesInputs, planned: Plan) -> list[SeriesMove]:
    """The k-th session goes to the k-th date, as far as there are dates."""
    return [
        SeriesMove(
            **asdict(to),
            session_id=session.session_id,
            sequence_number=session.sequence_number,
            from_start_utc=session.scheduled_start_utc,
        )
        for session, to in zip(inputs.moving, planned.occurrences, strict=False)
    ]


def _parameters(inputs: SeriesInputs, planned: Plan, request: SeriesRequest) -> Mapping[str, object]:
    return _which(inputs.match_id, request) | {
        "p_fingerprint": inputs.fingerprint,
        "p_moves": [
            {"session_id": str(each.session_id), "start_utc": each.start_utc.isoformat()}
            for each in _moves(inputs, planned)
        ],
        "p_plan_hash": plan_hash(planned, inputs.fingerprint),
        "p_expected_plan_hash": request.plan_hash,
        "p_reason": request.reason,
        "p_schedule_pattern": planned.pattern.model_dump(mode="json") if request.set_schedule else None,
    }
