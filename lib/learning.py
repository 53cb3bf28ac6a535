"""The learning record: results, homework and notes, and finding things among them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Utc
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.fields import Flag, Instant, Mark, Name, Opinion, Passage, Request, SearchWords, TaskTitle
from lib.models import NoAnswer, model, note_failure, take_call
from lib.record import LearningEvent, LearningEventType

HomeworkStatus = Literal["assigned", "submitted", "reviewed"]
Score = Annotated[float, Field(strict=True, ge=0, le=100_000, allow_inf_nan=False, examples=[9])]
MaxScore = Annotated[float, Field(strict=True, gt=0, le=100_000, allow_inf_nan=False, examples=[20])]


class Homework(Answer):
    """What a student is to do, and what became of it."""

    id: UUID
    student_id: UUID
    tutor_id: UUID | None = Field(description="Who looks it through; null: an admin does.")
    session_id: UUID | None = Field(description="The lesson it comes from, if it does.")
    author_id: UUID | None
    title: str = Field(examples=["Fractions, page 12"])
    description: str | None
    due_at: Utc | None
    status: HomeworkStatus
    submitted_at: Utc | None
    submission: str | None = Field(description="What the student says with it.")
    was_late: bool = Field(description="Handed in after its date.")
    is_overdue: bool = Field(description="Not handed in, and its date is over.")
    reviewed_at: Utc | None
    mark: str | None = Field(examples=["B+"])
    feedback: str | None
    version: int
    created_at: Utc
    updated_at: Utc


class Recorded(Answer):
    """An event that was put into a record."""

    event: LearningEvent
    changed: bool


class HomeworkResult(Answer):
    """Homework after an action."""

    homework: Homework
    changed: bool = Field(description="False when everything was so already.")


class LearningEventPage(Answer):
    """Events of a record, newest first."""

    events: list[LearningEvent]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class AssessmentPage(Answer):
    """Results, newest first."""

    assessments: list[LearningEvent]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class NotePage(Answer):
    """Notes, newest first."""

    notes: list[LearningEvent]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class HomeworkPage(Answer):
    """Homework, newest first."""

    homework: list[Homework]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class SearchHit(Answer):
    """An event that was found."""

    event: LearningEvent
    text_rank: int | None = Field(description="Its place by words; null when they do not find it.")
    vector_rank: int | None = Field(description="Its place by meaning; null when it was not looked for that way.")
    score: float = Field(description="Of both places together (reciprocal rank fusion); the best comes first.")


class SearchResult(Answer):
    """What was found, the best first."""

    hits: list[SearchHit]
    by: Literal["words", "words_and_meaning"] = Field(
        description="`words` alone while no model is on, its budget is used up, or it gave no answer."
    )


class AssessmentRecord(Request):
    """A result."""

    subject: Name
    score: Score
    max_score: MaxScore
    topic: Name | None = None
    comment: Opinion | None = None
    taken_at: Instant | None = Field(default=None, description="Left out: now.")
    session_id: UUID | None = Field(default=None, description="The lesson it was taken in, if it was.")


class HomeworkAssignment(Request):
    """New homework."""

    title: TaskTitle
    description: Passage | None = None
    due_at: Instant | None = Field(default=None, description="Handed in later, it is late.")
    session_id: UUID | None = Field(default=None, description="The lesson it comes from, if it does.")


class HomeworkSubmission(Request):
    """Handing homework in. There may be no body at all."""

    comment: Passage | None = Field(default=None, description="What the student says with it.")


class HomeworkReview(Request):
    """Looking homework through. There may be no body at all."""

    mark: Mark | None = None
    feedback: Passage | None = None


class NoteCreation(Request):
    """A note on a student."""

    text: Annotated[Passage, Field(min_length=1)]
    is_private: Flag = Field(default=False, description="A remark that only its author and admins read.")
    session_id: UUID | None = Field(default=None, description="The lesson it is about, if it is.")


class PageQuery(Request):
    """Which page."""

    limit: int = Field(default=50, ge=1, le=200, description="How many a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class LearningEventQuery(PageQuery):
    """Which events."""

    types: list[LearningEventType] | None = Field(default=None, max_length=14, description="May be repeated.")


class HomeworkQuery(PageQuery):
    """Which homework."""

    status: list[HomeworkStatus] | None = Field(default=None, max_length=3, description="May be repeated.")


class SearchQuery(Request):
    """What to look for."""

    q: Annotated[SearchWords, Field(description="Words, or a question.")]
    types: list[LearningEventType] | None = Field(default=None, max_length=14, description="May be repeated.")
    limit: int = Field(default=20, ge=1, le=50, description="Hits at most.")


async def record_assessment(database: Database, student_id: UUID, assessment: AssessmentRecord) -> Recorded:
    """Put a result into a student's record."""
    answer = await database.write("record_assessment", assessment.parameters(student_id=str(student_id)))
    return Recorded.model_validate(answer)


async def add_note(database: Database, student_id: UUID, note: NoteCreation) -> Recorded:
    """Put a note into a student's record."""
    return Recorded.model_validate(await database.write("add_note", note.parameters(student_id=str(student_id))))


async def assign_homework(database: Database, student_id: UUID, assignment: HomeworkAssignment) -> HomeworkResult:
    """Give a student homework."""
    answer = await database.write("assign_homework", assignment.parameters(student_id=str(student_id)))
    return HomeworkResult.model_validate(answer)


async def submit_homework(database: Database, homework_id: UUID, submission: HomeworkSubmission) -> HomeworkResult:
    """Hand homework in."""
    answer = await database.write("submit_homework", submission.parameters(homework_id=str(homework_id)))
    return HomeworkResult.model_validate(answer)


async def review_homework(database: Database, homework_id: UUID, review: HomeworkReview) -> HomeworkResult:
    """Look homework through that was handed in."""
    answer = await database.write("review_homework", review.parameters(homework_id=str(homework_id)))
    return HomeworkResult.model_validate(answer)


async def list_learning_events(database: Database, student_id: UUID, query: LearningEventQuery) -> LearningEventPage:
    """One page of a student's record."""
    answer = await database.rpc("list_learning_events", _page(student_id, query, p_types=query.types))
    events, cursor = _events_in(answer, "events")
    return LearningEventPage(events=events, next_cursor=cursor)


async def list_assessments(database: Database, student_id: UUID, query: PageQuery) -> AssessmentPage:
    """One page of a student's results."""
    events, cursor = _events_in(await database.rpc("list_assessments", _page(student_id, query)), "assessments")
    return AssessmentPage(assessments=events, next_cursor=cursor)


async def list_notes(database: Database, student_id: UUID, query: PageQuery) -> NotePage:
    """One page of the notes on a student."""
    events, cursor = _events_in(await database.rpc("list_notes", _page(student_id, query)), "notes")
    return NotePage(notes=events, next_cursor=cursor)


async def list_homework(database: Database, student_id: UUID, query: HomeworkQuery) -> HomeworkPage:
    """One page of a student's homework."""
    parameters = {"p_student_id": str(student_id), "p_status": query.status, "p_limit": query.limit}
    answer = await database.rpc("list_homework", parameters | after(query.cursor, "created_at"))
    homework = [Homework.model_validate(each) for each in answer["homework"]]
    cursor = str(Cursor(homework[-1].created_at, homework[-1].id)) if answer["has_more"] else None
    return HomeworkPage(homework=homework, next_cursor=cursor)


async def search_learning_events(database: Database, student_id: UUID, query: SearchQuery) -> SearchResult:
    """What a student's record has on something: by words and, while a model is on, by meaning too."""
    parameters: dict[str, object] = {
        "p_student_id": str(student_id),
        "p_query": query.q,
        "p_types": query.types,
        "p_limit": query.limit,
    }
    # By words first: whoever may not look at this student costs nobody a call.
    found = await database.rpc("search_learning_events", parameters)
    meaning = await _meaning_of(database, query.q)
    if meaning is None:
        return SearchResult(hits=found["hits"], by="words")
    found = await database.rpc("search_learning_events", parameters | meaning)
    return SearchResult(hits=found["hits"], by="words_and_meaning")


async def _meaning_of(database: Database, text: str) -> dict[str, object] | None:
    """The arguments that look for a meaning; None when nobody can say it now."""
    asked = model()
    if asked is None:
        return None
    try:
        await take_call(database, "search")
        (vector,) = await asked.embed([text], as_question=True)
    except NoAnswer as failure:
        note_failure("search", failure)
        return None
    return {"p_embedding": vector, "p_model": asked.embedding_model}


def _page(student_id: UUID, query: PageQuery, **filters: object) -> dict[str, object]:
    parameters = {"p_student_id": str(student_id), "p_limit": query.limit, **filters}
    return parameters | after(query.cursor, "occurred_at")


def _events_in(answer: Mapping[str, Any], name: str) -> tuple[list[LearningEvent], str | None]:
    """The events of a page, and where the next one begins."""
    events = [LearningEvent.model_validate(each) for each in answer[name]]
    return events, str(Cursor(events[-1].occurred_at, events[-1].id)) if answer["has_more"] else None
