"""Shapes that several parts of the domain answer with. Pure.

The database gives instants in UTC; the same instants on the viewer's clocks are added here, with the pinned
zone rules, and nowhere else.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from lib.zones import to_local, zone

SessionStatus = Literal[
    "scheduled", "in_progress", "done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled"
]
SessionOrigin = Literal["match", "booking"]
Role = Literal["admin", "tutor", "student"]
Side = Literal["tutor", "student"]
Asker = Literal["tutor", "student", "guardian"]
"""Whose wish it is; a guardian's stands in the student's name."""
Capacity = Literal["admin", "tutor", "student", "guardian", "clock", "service", "studio"]
CancellationStatus = Literal[
    "pending",
    "approved",
    "auto_approved",
    "rejected",
    "reschedule_requested",
    "call_requested",
    "withdrawn",
    "lapsed",
]
Operation = Literal[
    "start_session",
    "complete_session",
    "mark_missed",
    "dispute_session",
    "reschedule_session",
    "request_reschedule",
    "cancel_session",
    "request_cancellation",
    "prepare_session",
]
Utc = Annotated[AwareDatetime, Field(examples=["2026-03-02T14:00:00Z"])]


class Answer(BaseModel):
    """What we answer. Columns that the database adds are not shown before a shape here names them."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Participant(Answer):
    """All that people who share a lesson see of each other."""

    id: UUID
    display_name: str = Field(examples=["Amina Siddiqui"])
    timezone: str = Field(examples=["Asia/Karachi"])


class PackageProgress(Answer):
    """Where a session stands in its package."""

    id: UUID
    tier_sessions: int = Field(description="Sessions bought: the N of “k of N”.", examples=[12])
    sessions_used: int = Field(examples=[3])
    sessions_left: int = Field(examples=[9])
    position: int | None = Field(
        description="The k of “k of N”: its rank by start. Null when the session is not counted.",
        examples=[4],
    )


class Blocker(Answer):
    """An earlier session of the package that is still open."""

    session_id: UUID
    sequence_number: int
    scheduled_start_utc: Utc


def _is_absent(value: object) -> bool:
    return value is None


def _if_any(**described: Any) -> Any:  # noqa: ANN401  # what pydantic's own Field answers
    """A member that is left out where it has nothing to say; a page of sessions has hundreds of them."""
    return Field(default=None, exclude_if=_is_absent, **described)


class Action(Answer):
    """One button beside a session. When it is not allowed, ``code`` says why, with the members of that code."""

    allowed: bool = Field(description="Whether the viewer may do it now.")
    operation: Operation | None = Field(description="What it calls; null for joining, which is the Meet link.")
    needs_reason: bool = Field(description="Whether it is refused without a reason.")
    code: str | None = _if_any(
        description="As the operation would answer; `already_so` where it would change nothing, `no_meet_link`.",
        examples=["too_early"],
    )
    detail: str | None = _if_any()
    opens_at: Utc | None = _if_any()
    closed_at: Utc | None = _if_any()
    policy: str | None = _if_any(description="The setting of the house behind it.", examples=["start_window_mins"])
    blockers: list[Blocker] | None = _if_any()
    from_: SessionStatus | None = _if_any(alias="from")
    to: SessionStatus | None = _if_any()
    field: str | None = _if_any(examples=["reason"])
    package_id: UUID | None = _if_any()


class Actions(Answer):
    """What the viewer may do with a session now. The rules are those of the calls themselves."""

    prep: Action = Field(description="To read the brief.")
    join: Action
    start: Action
    complete: Action
    missed: Action = Field(description="That the student was not there; for the student, to dispute the session.")
    reschedule: Action = Field(description="Another time, or the wish for one.")
    cancel: Action = Field(description="At once, or the wish for it.")


class Session(Answer):
    """One lesson, with its times in UTC and on the viewer's clocks."""

    id: UUID
    origin: SessionOrigin
    match_id: UUID | None
    booking_id: UUID | None
    package_id: UUID | None
    sequence_number: int | None = Field(description="Unique within the package; only grows.")
    occurrence_start_utc: Utc | None = Field(description="The start it was generated for; never changes.")
    is_extra: bool = Field(description="Added by hand, outside the weekly pattern.")
    status: SessionStatus
    status_reason: str | None
    is_delayed: bool = Field(description="The clock, not a person, moved it to in_progress.")
    started_at: Utc | None
    started_by: UUID | None
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    timezone: str = Field(
        description="The viewer's: of the profile, or as asked with `tz`.", examples=["Europe/London"]
    )
    tutor: Participant
    student: Participant
    subject: str | None
    level: str | None
    meet_link: str | None = Field(examples=["https://meet.google.com/abc-defg-hij"])
    tutor_notes: str | None = Field(description="The student reads them too.")
    package: PackageProgress | None
    actions: Actions
    version: int = Field(description="Send it as `expected_version` to be told when somebody was faster.")
    updated_by_user_id: UUID | None
    updated_at: Utc
    created_at: Utc

    @computed_field(description="The start on the viewer's clocks.", examples=["2026-03-02T14:00:00+00:00"])
    @property
    def start_local(self) -> AwareDatetime:
        """``scheduled_start_utc`` in ``timezone``."""
        return self._local(self.scheduled_start_utc)

    @computed_field(description="The end on the viewer's clocks.", examples=["2026-03-02T15:00:00+00:00"])
    @property
    def end_local(self) -> AwareDatetime:
        """``scheduled_end_utc`` in ``timezone``."""
        return self._local(self.scheduled_end_utc)

    @computed_field(description="Elapsed minutes from start to end.", examples=[60])
    @property
    def duration_mins(self) -> int:
        """The length in minutes, whatever the clocks do meanwhile."""
        return int((self.scheduled_end_utc - self.scheduled_start_utc).total_seconds() // 60)

    def _local(self, instant: datetime) -> datetime:
        return to_local(instant, zone(self.timezone))


def session_seen_from(timezone: str, stored: Mapping[str, Any]) -> Session:
    """A session as the database gives it, with its times on the clocks of ``timezone``."""
    return Session.model_validate({**stored, "timezone": timezone})


def viewer_timezone(answer: Mapping[str, Any], asked: str | None) -> str:
    """The zone to show times in: the one asked for, else the one of the viewer's profile.

    A profile that was edited in Studio may hold a name that we do not know; UTC then, so that its owner still
    sees the lessons.
    """
    wanted = asked or str(answer.get("viewer_timezone") or "UTC")
    try:
        return zone(wanted).name
    except ValueError:
        return "UTC"
