"""A guardian's say in a wish to cancel: what the link shows, the answer that it takes, and the silence that consents.

Postgres knows the token, decides once and says what became of it. Here it becomes a page or a document.
"""

import re
import time
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from lib import pages, times
from lib.answers import Answer, Asker, CancellationStatus, SessionStatus, Utc, viewer_timezone
from lib.database import Database
from lib.deadlines import Clock, Deadline
from lib.errors import NotFound
from lib.fields import Language, Request
from lib.pages import Page
from lib.times import Span
from lib.wording import BUTTONS

ConsentAnswer = Literal["approve", "reschedule", "call", "keep"]
Outcome = Literal["decided", "already", "too_late"]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_MADE_OF: Mapping[ConsentAnswer, frozenset[CancellationStatus]] = {
    "approve": frozenset({"approved", "auto_approved"}),
    "reschedule": frozenset({"reschedule_requested", "call_requested"}),
    "call": frozenset({"call_requested"}),
    "keep": frozenset({"rejected"}),
}
"""What this answer makes of a request in time. The times of a booking never change: who wants another is called."""


class ConsentReply(Request):
    """One of the four answers."""

    answer: ConsentAnswer = Field(
        description="`approve`: the session is cancelled. `keep`: it takes place. `reschedule`: it stays until there "
        "is another time. `call`: it stays, and an admin calls."
    )


class Decided(Answer):
    """What was decided, by whomever."""

    status: CancellationStatus
    at: Utc


class Consent(Answer):
    """A wish to cancel as the guardian who is asked sees it."""

    status: CancellationStatus
    answer_open: bool = Field(description="Whether an answer still decides.")
    answers: list[ConsentAnswer] = Field(description="What may be answered now; empty when nothing may.")
    guardian_name: str
    language: Language
    timezone: str = Field(description="The guardian's.", examples=["Europe/London"])
    student_name: str
    student_timezone: str
    tutor_name: str
    tutor_timezone: str
    subject: str | None
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    session_status: SessionStatus
    reason: str
    asked_by: Asker
    expires_at: Utc | None = Field(description="Until when an answer counts; null while no time runs.")
    silence_cancels: bool = Field(description="Whether the session is cancelled then if nobody answers.")
    decided: Decided | None


class ConsentResult(Consent):
    """The same after an answer."""

    outcome: Outcome = Field(
        description="`already`: it was so before. `too_late`: something else was decided, or the session has begun."
    )


class Consented(Answer):
    """What silence decided."""

    approved: int
    failed: int = Field(description="Could not be approved; the clock tries again later.")
    more: bool = Field(description="The time was up. The next call goes on.")


async def read_consent(database: Database, token: str) -> Consent:
    """The question behind a link, or what became of it. Decides nothing.

    Raises:
        NotFound: there is no such question, or the link is too old.
    """
    return Consent.model_validate(await database.rpc("read_consent", {"p_token": _checked(token)}))


async def answer_consent(database: Database, token: str, reply: ConsentReply) -> ConsentResult:
    """Answer through the link; the same again changes nothing.

    Raises:
        NotFound: as ``read_consent``.
    """
    answer = await database.rpc("answer_consent", {"p_token": _checked(token), "p_answer": reply.answer})
    return ConsentResult.model_validate(answer)


async def auto_approve_cancellations(
    database: Database, budget_seconds: float, clock: Clock = time.monotonic
) -> Consented:
    """Take silence for consent where the time is over, until nothing is due or ``budget_seconds`` are nearly over."""
    deadline = Deadline(budget_seconds, clock)
    done = Consented(approved=0, failed=0, more=True)
    while done.more:
        step = Consented.model_validate(await database.rpc("auto_approve_cancellations"))
        done = Consented(approved=done.approved + step.approved, failed=done.failed + step.failed, more=step.more)
        if not deadline.leaves_time_for_another_lap():
            break
    return done


def page_of(consent: Consent, answered: ConsentAnswer | None) -> Page:
    """The page in the guardian's language and on their clocks, beside them those of the lesson where they differ.

    Args:
        consent: how it stands.
        answered: what the guardian has just said, if anything; the page thanks them, or says that it came too late.
    """
    in_time = answered is not None and consent.status in _MADE_OF[answered]
    return pages.render(
        "consent",
        consent.language,
        consent=consent,
        timezone=_known(consent.timezone),
        when=_when(consent),
        labels={answer: by_language[consent.language] for answer, by_language in BUTTONS.items()},
        in_time=in_time,
        too_late=answered is not None and not consent.answer_open and not in_time,
    )


def _when(consent: Consent) -> list[str]:
    """The lesson's time on the guardian's clocks, and on the student's, or the tutor's, where those tell otherwise."""
    here, student, tutor = map(_known, (consent.timezone, consent.student_timezone, consent.tutor_timezone))
    lesson = Span(consent.scheduled_start_utc, consent.scheduled_end_utc)
    there = [each for each in (student, tutor) if times.hours(lesson, each) != times.hours(lesson, here)]
    return [times.written(lesson, consent.language, each, each) for each in (here, *there[:1])]


def _known(timezone: str) -> str:
    return viewer_timezone({"viewer_timezone": timezone}, None)


def _checked(token: str) -> str:
    if _TOKEN.fullmatch(token) is None:
        raise NotFound(detail="There is no such question.")
    return token
