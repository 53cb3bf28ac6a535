"""How a period went."""

from datetime import date
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Participant, Utc
from lib.database import Database
from lib.fields import Day, Instant, Request


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


class TutorHours(Answer):
    """How much of a tutor's time is offered for single lessons, and how much any lessons take."""

    tutor: Participant
    offered: float = Field(description="By their weekly hours on its dates (UTC), before days off.", examples=[15.0])
    booked: float = Field(description="Of sessions that are neither cancelled nor parked.", examples=[9.5])


class Hours(Answer):
    """Hours of a period, in total and by tutor."""

    offered: float
    booked: float
    by_tutor: list[TutorHours] = Field(description="By name; only tutors who offer or have lessons.")


class Metrics(Answer):
    """How a period went, in total and by tutor."""

    from_: Utc = Field(alias="from")
    to: Utc
    total: Figures
    by_tutor: list[TutorFigures] = Field(description="By name; only tutors who have sessions in the period.")
    hours: Hours


class DailyQuery(Request):
    """Which days, by the sessions' starts in UTC, and whose."""

    from_: Day = Field(alias="from", description="The first day.")
    to: Day = Field(description="The last day; at most 366 days after the first.")
    tutor_id: UUID | None = Field(default=None, description="Only this tutor's. Left out: everybody's.")


class DayOutcomes(Answer):
    """How the sessions of a day ended, as far as they have."""

    on_date: date
    done: int
    no_show_student: int
    no_show_tutor: int
    cancelled: int
    delayed: int = Field(description="Of all sessions of the day, whatever became of them.")
    hours_done: float = Field(examples=[7.5])


class DailyOutcomes(Answer):
    """How days went."""

    from_: date = Field(alias="from")
    to: date
    days: list[DayOutcomes] = Field(description="Earliest first; only days with something to count.")


async def get_daily_outcomes(database: Database, query: DailyQuery) -> DailyOutcomes:
    """How the sessions of each day ended, from counters that follow every change."""
    return DailyOutcomes.model_validate(await database.rpc("get_daily_outcomes", query.parameters()))


async def get_metrics(database: Database, query: MetricsQuery) -> Metrics:
    """How the sessions went that start within a period."""
    return Metrics.model_validate(await database.rpc("get_metrics", query.parameters()))
