"""Briefs: what a tutor should know before a lesson, each sentence with the events it rests on.

The database hands out what the caller may read of this student and nothing else, a model (or rules, where there is
none) puts it into sentences, and the database keeps them after a look at every event they name. A brief is made once;
it is made again when the record has grown, or when somebody asks.
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from lib.answers import Participant, Utc
from lib.brief_prompts import brief_prompt, statements_in
from lib.brief_rules import Statements, brief_by_rules
from lib.database import Database
from lib.fields import Request
from lib.models import Model, NoAnswer, model, note_failure, take_call
from lib.record import LearningEvent

MOST_EVENTS = 40
"""That many the database hands out at most."""
QUESTION = "{subject} difficulties mistakes progress interests homework next steps"
"""What is looked for in a long record."""


class Brief(Statements):
    """What a tutor should know before a lesson."""

    session_id: UUID
    source: Literal["model", "rules"] = Field(
        description="`rules`: no model is on, today's budget for it is used up, or it gave no answer that holds."
    )
    model: str | None = Field(description="Which model; null for rules.", examples=["gemini-3.5-flash-lite"])
    made_at: Utc


class BriefQuery(Request):
    """Whether a brief that is there will do."""

    again: bool = Field(default=False, description="Make it anew, though nothing has happened since.")


class _Lesson(BaseModel):
    """The session that is prepared."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    scheduled_start_utc: AwareDatetime
    tutor: Participant
    subject: str | None
    level: str | None


class _Inputs(BaseModel):
    """What the database hands out for a brief."""

    model_config = ConfigDict(frozen=True)

    session: _Lesson
    events: list[LearningEvent]
    brief: Brief | None
    is_fresh: bool
    fingerprint: str
    model_allowed: bool

    @property
    def shared_events(self) -> list[LearningEvent]:
        """Those that a model may see: a private remark leaves the house for nobody, its own author included."""
        return [event for event in self.events if not event.is_private]


async def prepare_session(database: Database, session_id: UUID, query: BriefQuery) -> Brief:
    """The brief for a session: the one that is there while it is fresh, else a new one."""
    inputs = await _inputs(database, session_id)
    fresh = inputs.brief if inputs.is_fresh else None
    if fresh is not None and not query.again:
        return fresh
    maker, statements = await _made(database, inputs)
    if fresh is not None and maker is None:
        return fresh  # rules would say the same again, or less than a model has said
    answer = await database.rpc("store_brief", _stored(inputs, maker, statements))
    return Brief.model_validate(answer["brief"])


async def _inputs(database: Database, session_id: UUID, **asked_for: object) -> _Inputs:
    answer = await database.rpc("brief_inputs", {"p_session_id": str(session_id), **asked_for})
    return _Inputs.model_validate(answer)


async def _made(database: Database, inputs: _Inputs) -> tuple[Model | None, Statements]:
    """The statements, and the model that made them, if one did."""
    asked = model()
    if asked is not None and inputs.model_allowed and inputs.shared_events:
        try:
            return asked, await _by_model(database, asked, inputs)
        except NoAnswer as failure:
            note_failure("brief", failure)
    lesson = inputs.session
    return None, brief_by_rules(inputs.events, lesson.scheduled_start_utc, lesson.tutor.timezone)


async def _by_model(database: Database, asked: Model, inputs: _Inputs) -> Statements:
    """What a model says, as far as it holds.

    Raises:
        NoAnswer: today's budget is used up, or the model says nothing that can be used.
    """
    events = (await _best_inputs(database, asked, inputs)).shared_events
    prompt = brief_prompt(events, inputs.session.subject, inputs.session.level)
    await take_call(database, "brief")
    answer = await asked.complete(prompt.instructions, prompt.data, prompt.schema)
    try:
        return statements_in(answer, prompt.refs)
    except (ValueError, RecursionError):
        raise NoAnswer("nothing that holds") from None


async def _best_inputs(database: Database, asked: Model, inputs: _Inputs) -> _Inputs:
    """Of a long record what bears on the lesson by its meaning too; a short one is there as a whole."""
    if len(inputs.events) < MOST_EVENTS:
        return inputs
    await take_call(database, "brief")
    question = QUESTION.format(subject=inputs.session.subject or "")
    (vector,) = await asked.embed([question], as_question=True)
    return await _inputs(
        database, inputs.session.id, p_query=question, p_embedding=vector, p_model=asked.embedding_model
    )


def _stored(inputs: _Inputs, maker: Model | None, statements: Statements) -> dict[str, Any]:
    return {
        "p_session_id": str(inputs.session.id),
        "p_fingerprint": inputs.fingerprint,
        "p_source": "model" if maker else "rules",
        "p_model": maker.name if maker else None,
        "p_brief": statements.model_dump(mode="json"),
    }
