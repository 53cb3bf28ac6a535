"""How a period went."""

from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Participant, Utc
from lib.database import Database
from lib.fields import Instant, Request


class MetricsQuery(Request):
    """Which period, by the sessions' starts, and whose."""

    from_: Instant = Field(alias="from", description="Sessions that start at this time or later.")
    to: Instant = Field(description="Sessions that start before this time.")
    tutor_id: UUID | None = Field(default=None, description="Only this tutor's. Left out: everybody's.")


class Figures(Answer):
    """What became of sessions. Rates are shares of `done` and both no-shows; null when there are none of these."""

    sessions: int
    done: int
    no_show_student: int
    no_show_tutor: int
    cancelled: int
    open: int = Field(description="Scheduled or in progress.")
    parked: int
    delayed: int = Field(description="Begun by the clock, or reopened after their end; whatever became of them.")
    moved: int = Field(description="Had another time before, once or more often.")
    completion_rate: float | None = Field(examples=[0.875])
    no_show_student_rate: float | None
    no_show_tutor_rate: float | None


class TutorFigures(Figures):
    """The same, of one tutor."""

    tutor: Participant


class Metrics(Answer):
    """How a period went, in total and by tutor."""

    from_: Utc = Field(alias="from")
    to: Utc
    total: Figures
    by_tutor: list[TutorFigures] = Field(description="By name; only tutors who have sessions in the period.")


async def get_metrics(database: Database, query: MetricsQuery) -> Metrics:
    """How the sessions went that start within a period."""
    return Metrics.model_validate(await database.rpc("get_metrics", query.parameters()))
