"""Summaries: what a student's family is told of a lesson, drafted for the tutor, who changes and approves it."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from lib.answers import Answer, Participant, Utc
from lib.database import Database
from lib.fields import Changes, ExpectedVersion, Language, Request, SummaryText
from lib.models import Model, NoAnswer, model, note_failure, take_call
from lib.record import LearningEvent
from lib.summary_drafts import Lesson, summary_by_rules, summary_in, summary_prompt


class Summary(Answer):
    """What is told of a lesson."""

    session_id: UUID
    student_id: UUID
    tutor_id: UUID
    status: Literal["draft", "approved"] = Field(description="A draft is seen by its tutor and admins alone.")
    text: str = Field(examples=["We worked on fractions."])
    source: Literal["model", "rules"] = Field(description="Who wrote the first draft.")
    model: str | None = Field(description="Which model; null for rules.", examples=["gemini-3.5-flash-lite"])
    approved_at: Utc | None
    version: int = Field(description="Send it as `expected_version` to be told when somebody was faster.")
    created_at: Utc
    updated_at: Utc


class SummaryResult(Answer):
    """A summary after an action."""

    summary: Summary
    changed: bool = Field(description="False when everything was so already.")


class SummaryUpdate(Changes):
    """The text as it shall be."""

    text: SummaryText
    expected_version: ExpectedVersion | None = None


class SummaryApproval(Request):
    """Approving what is there. There may be no body at all."""

    expected_version: ExpectedVersion | None = None


class _Held(BaseModel):
    """The session that is summarized."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    scheduled_start_utc: AwareDatetime
    tutor: Participant
    student: Participant
    subject: str | None
    tutor_notes: str | None

    @property
    def lesson(self) -> Lesson:
        """As its student's family knows it."""
        return Lesson(self.subject, self.scheduled_start_utc, self.student.timezone, self.tutor_notes)


class _Inputs(BaseModel):
    """What the database hands out for a summary."""

    model_config = ConfigDict(frozen=True)

    session: _Held
    events: list[LearningEvent]
    language: Language
    model_allowed: bool


async def draft_summary(database: Database, session_id: UUID) -> SummaryResult:
    """Draft the summary of a session that is done, in place of an earlier draft."""
    inputs = _Inputs.model_validate(await database.rpc("summary_inputs", {"p_session_id": str(session_id)}))
    maker, text = await _drafted(database, inputs)
    answer = await database.write("store_summary_draft", _stored(session_id, maker, text))
    return SummaryResult.model_validate(answer)


async def get_summary(database: Database, session_id: UUID) -> Summary:
    """The summary of a session; for its student once it is approved."""
    answer = await database.rpc("get_summary", {"p_session_id": str(session_id)})
    return Summary.model_validate(answer["summary"])


async def update_summary(database: Database, session_id: UUID, change: SummaryUpdate) -> SummaryResult:
    """Change the text of a draft."""
    answer = await database.write("update_summary", change.parameters(session_id=str(session_id)))
    return SummaryResult.model_validate(answer)


async def approve_summary(database: Database, session_id: UUID, approval: SummaryApproval) -> SummaryResult:
    """Let a summary go out as it is."""
    answer = await database.write("approve_summary", approval.parameters(session_id=str(session_id)))
    return SummaryResult.model_validate(answer)


async def _drafted(database: Database, inputs: _Inputs) -> tuple[Model | None, str]:
    """The text, and the model that wrote it, if one did."""
    asked = model()
    if asked is not None and inputs.model_allowed:
        try:
            return asked, await _by_model(database, asked, inputs)
        except NoAnswer as failure:
            note_failure("summary", failure)
    return None, summary_by_rules(inputs.session.lesson, inputs.events)


async def _by_model(database: Database, asked: Model, inputs: _Inputs) -> str:
    """What a model says, as far as it holds.

    Raises:
        NoAnswer: today's budget is used up, or the model says nothing that can be used.
    """
    prompt = summary_prompt(inputs.session.lesson, inputs.events, inputs.language)
    await take_call(database, "summary")
    answer = await asked.complete(prompt.instructions, prompt.data, prompt.schema)
    try:
        return summary_in(answer)
    except (ValueError, RecursionError):
        raise NoAnswer("nothing that holds") from None


def _stored(session_id: UUID, maker: Model | None, text: str) -> dict[str, Any]:
    return {
        "p_session_id": str(session_id),
        "p_source": "model" if maker else "rules",
        "p_model": maker.name if maker else None,
        "p_text": text,
    }
