"""How a student is getting on: for programs, and as a page that a family reads and prints."""

import re
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, computed_field

from lib import pages
from lib.answers import Answer, Participant, Utc, viewer_timezone
from lib.database import Database
from lib.errors import NotFound
from lib.fields import Day, Language, Request
from lib.figures import Chart, Figures, Range, Reading, chart
from lib.pages import Page

Verdict = Literal["rising", "falling", "steady", "unclear", "too_few"]
Standing = Literal["open", "expired", "revoked"]
Percent = Annotated[float, Field(examples=[85.0])]
Points = Annotated[float | None, Field(examples=[4.2])]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
MOST_RECENT = 6
"""So many marks of a subject stand on the page at once; those before them unfold."""


class ProgressQuery(Request):
    """Which days: of UTC, both ends included."""

    from_: Day | None = Field(
        default=None, alias="from", description="The first day. Left out: 364 days before the last."
    )
    to: Day | None = Field(default=None, description="The last day. Left out: today.")


class ProgressPageQuery(ProgressQuery):
    """The same, and in which words."""

    lang: Language | None = Field(default=None, description="The language of the page. Left out: the house's.")


class Mark(Answer):
    """One assessment."""

    taken_at: Utc
    topic: str | None
    score: float = Field(examples=[17])
    max_score: float = Field(examples=[20])
    percent: Percent


class TrendPoint(Answer):
    """A point of the line, and between what it lies in 95 of 100 cases."""

    at: Utc
    percent: float
    low: float
    high: float


class Trend(Answer):
    """A straight line through the marks by least squares, and how far it can be relied on.

    With fewer than four marks, or within less than 14 days, nothing is said (`too_few`). `steady` is less than two
    points in 30 days at either end of the range, `unclear` a range that holds both a rise and a fall.
    """

    n: int = Field(description="How many marks it rests on.")
    enough: bool
    verdict: Verdict
    slope: Points = Field(description="Points of a hundred in 30 days.")
    standard_error: Points = Field(description="Of the slope.")
    low: Points = Field(description="The range that holds the true slope in 95 of 100 cases: its lower end.")
    high: Points = Field(description="Its upper end.")
    line: list[TrendPoint] = Field(description="From the first mark to the last.")


class SubjectProgress(Answer):
    """The assessments of one subject."""

    subject: str = Field(examples=["Algebra"])
    latest: Percent
    average: Percent
    trend: Trend
    marks: list[Mark] = Field(description="Earliest first.")


class LessonProgress(Answer):
    """What became of lessons. The rate is the share of `done` in `done` and both no-shows; null without any."""

    done: int
    no_show_student: int
    no_show_tutor: int
    cancelled: int
    hours_done: float = Field(examples=[17.5])
    completion_rate: float | None = Field(examples=[0.92])


class Streak(Answer):
    """Lessons attended in a row. The student's own misses alone break it."""

    current: int
    since: Utc | None = Field(description="The first lesson of the present row.")
    longest: int


class HomeworkProgress(Answer):
    """What became of homework that was set. The rate is the share of `submitted` in `submitted` and `overdue`."""

    assigned: int
    submitted: int = Field(description="Handed in, reviewed or not.")
    late: int = Field(description="Of these, after it was due.")
    reviewed: int
    overdue: int = Field(description="Due and not handed in.")
    open: int = Field(description="Neither handed in nor due yet.")
    completion_rate: float | None = Field(examples=[0.875])


class PackageOutlook(Answer):
    """What is left of a package, and how long it will last."""

    id: UUID
    subject: str
    tier_sessions: int
    sessions_used: int
    sessions_left: int
    start_date: date
    end_date: date
    standing: Literal["active", "exhausted", "expired"]
    pace_per_week: float | None = Field(description="Credits used a week, in the last eight weeks at most.")
    expected_end: date | None = Field(description="When the last credit is used; null when nobody can say.")
    expected_by: Literal["plan", "pace"] | None = Field(
        description="`plan`: that lesson is in the calendar. `pace`: at the pace of late."
    )


class Progress(Answer):
    """How a student is getting on in a period."""

    student: Participant
    tutor: Participant | None = Field(description="For a tutor: only what has to do with them is told. Else null.")
    from_: date = Field(alias="from")
    to: date
    as_of: Utc
    assessments: list[SubjectProgress] = Field(description="By subject; the one with most marks first.")
    lessons: LessonProgress
    streak: Streak
    homework: HomeworkProgress
    packages: list[PackageOutlook] = Field(description="Active ones, and those of the period.")
    sessions_left: int = Field(description="Of active packages.")


class ProgressLink(Answer):
    """An address under which a guardian reads how their student is getting on."""

    id: UUID
    guardian_id: UUID
    created_by: Participant
    created_at: Utc
    expires_at: Utc = Field(description="By the real clock.")
    revoked_at: Utc | None
    standing: Standing = Field(description="Only an `open` one opens anything.")


class NewProgressLink(ProgressLink):
    """One that was made just now."""

    token: str | None = Field(
        default=None,
        description="Shown here alone: null when the request is repeated. Whoever has it reads this student's page.",
    )

    @computed_field(description="Where the page is, on this host.", examples=["/api/progress/…"])
    @property
    def path(self) -> str | None:
        """The address, from the host on."""
        return self.token and f"/api/progress/{self.token}"


class ProgressLinks(Answer):
    """The links that a guardian was given."""

    links: list[ProgressLink] = Field(description="Newest first.")


class _Reader(BaseModel):
    """What the database tells of whoever reads."""

    viewer_timezone: str
    language: Language


async def get_progress(database: Database, student_id: UUID, query: ProgressQuery) -> Progress:
    """How a student is getting on."""
    parameters = query.parameters(student_id=str(student_id))
    return Progress.model_validate(await database.rpc("get_progress", parameters))


async def get_progress_page(database: Database, student_id: UUID, query: ProgressPageQuery) -> Page:
    """The same as a page."""
    parameters = query.parameters(student_id=str(student_id))
    del parameters["p_lang"]
    return as_page(await database.rpc("get_progress", parameters), query.lang)


async def read_progress_link(database: Database, token: str, language: Language | None) -> Page:
    """The page behind a guardian's secret address.

    Raises:
        NotFound: it opens nothing, or not any more.
    """
    if _TOKEN.fullmatch(token) is None:
        raise NotFound(detail="There is no such page.")
    return as_page(await database.rpc("read_progress_link", {"p_token": token}), language)


async def create_progress_link(database: Database, guardian_id: UUID) -> NewProgressLink:
    """A secret address for a guardian. The answer is kept nowhere, so no key may repeat it."""
    return NewProgressLink.model_validate(
        await database.write("create_progress_link", {"p_guardian_id": str(guardian_id)})
    )


async def list_progress_links(database: Database, guardian_id: UUID) -> ProgressLinks:
    """The addresses that a guardian was given."""
    return ProgressLinks.model_validate(await database.rpc("list_progress_links", {"p_guardian_id": str(guardian_id)}))


async def revoke_progress_link(database: Database, link_id: UUID) -> ProgressLink:
    """End a guardian's address."""
    return ProgressLink.model_validate(await database.write("revoke_progress_link", {"p_link_id": str(link_id)}))


# --- the page -------------------------------------------------------------------------------------------


def as_page(answer: dict[str, object], language: Language | None) -> Page:
    """The page of what the database answered, in a language or in the reader's own."""
    progress, reader = Progress.model_validate(answer), _Reader.model_validate(answer)
    timezone = viewer_timezone(answer, None)
    figures = Figures(language or reader.language, timezone)
    return pages.render(
        "progress",
        figures.language,
        progress=progress,
        timezone=timezone,
        charts=[_chart(each, figures) for each in progress.assessments],
        credits_end=_credits_end(progress),
        most_recent=MOST_RECENT,
        figures=figures,
    )


def _chart(subject: SubjectProgress, figures: Figures) -> Chart:
    marks = [Reading(each.taken_at, each.percent) for each in subject.marks]
    line = [Range(each.at, each.percent, each.low, each.high) for each in subject.trend.line]
    return chart(marks, line, figures)


def _credits_end(progress: Progress) -> date | None:
    """When the last credit of all is used, if that can be said of every package."""
    ends = [each.expected_end for each in progress.packages if each.standing == "active"]
    known = [each for each in ends if each is not None]
    return max(known) if known and len(known) == len(ends) else None
