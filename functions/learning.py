"""/students/{id}/assessments, /homework, /notes, /learning-events, /search; /homework."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import learning
from lib.learning import (
    AssessmentPage,
    AssessmentRecord,
    HomeworkAssignment,
    HomeworkPage,
    HomeworkQuery,
    HomeworkResult,
    HomeworkReview,
    HomeworkSubmission,
    LearningEventPage,
    LearningEventQuery,
    NoteCreation,
    NotePage,
    PageQuery,
    Recorded,
    SearchQuery,
    SearchResult,
)

router = APIRouter(prefix="/api", tags=["Learning"])

Submission = Annotated[HomeworkSubmission, Body(default_factory=HomeworkSubmission)]
Review = Annotated[HomeworkReview, Body(default_factory=HomeworkReview)]


@router.post("/students/{student_id}/assessments", status_code=201, responses=problems(404, 429, body=True))
async def record_assessment(database: AsCallerOnce, student_id: UUID, assessment: AssessmentRecord) -> Recorded:
    """Put a result into a student's record (who teaches them, admin)."""
    return await learning.record_assessment(database, student_id, assessment)


@router.get("/students/{student_id}/assessments", responses=problems(404))
async def list_assessments(
    database: AsCaller, student_id: UUID, query: Annotated[PageQuery, Query()]
) -> AssessmentPage:
    """A student's results, newest first, in pages; for the student, their tutors and admins."""
    return await learning.list_assessments(database, student_id, query)


@router.post("/students/{student_id}/homework", status_code=201, responses=problems(404, 429, body=True))
async def assign_homework(database: AsCallerOnce, student_id: UUID, assignment: HomeworkAssignment) -> HomeworkResult:
    """Give a student homework (who teaches them, admin)."""
    return await learning.assign_homework(database, student_id, assignment)


@router.get("/students/{student_id}/homework", responses=problems(404))
async def list_homework(database: AsCaller, student_id: UUID, query: Annotated[HomeworkQuery, Query()]) -> HomeworkPage:
    """A student's homework, newest first, in pages; for the student, their tutors and admins."""
    return await learning.list_homework(database, student_id, query)


@router.post("/homework/{homework_id}/submit", responses=problems(404, 409, body=True))
async def submit_homework(database: AsCallerOnce, homework_id: UUID, submission: Submission) -> HomeworkResult:
    """Hand homework in (its student; its tutor or an admin for them). After its date it is late."""
    return await learning.submit_homework(database, homework_id, submission)


@router.post("/homework/{homework_id}/review", responses=problems(404, 409, body=True))
async def review_homework(database: AsCallerOnce, homework_id: UUID, review: Review) -> HomeworkResult:
    """Look homework through that was handed in, with a mark and feedback if you like (its tutor, admin)."""
    return await learning.review_homework(database, homework_id, review)


@router.post("/students/{student_id}/notes", status_code=201, responses=problems(404, 429, body=True))
async def add_note(database: AsCallerOnce, student_id: UUID, note: NoteCreation) -> Recorded:
    """Put a note into a student's record (who teaches them, admin). The student reads it unless it is private."""
    return await learning.add_note(database, student_id, note)


@router.get("/students/{student_id}/notes", responses=problems(404))
async def list_notes(database: AsCaller, student_id: UUID, query: Annotated[PageQuery, Query()]) -> NotePage:
    """The notes on a student that you may read, newest first, in pages."""
    return await learning.list_notes(database, student_id, query)


@router.get("/students/{student_id}/learning-events", responses=problems(404))
async def list_learning_events(
    database: AsCaller, student_id: UUID, query: Annotated[LearningEventQuery, Query()]
) -> LearningEventPage:
    """What happened in a student's learning, as far as you may read it, newest first, in pages."""
    return await learning.list_learning_events(database, student_id, query)


@router.get("/students/{student_id}/search", responses=problems(404, 429))
async def search_learning_events(
    database: AsCaller, student_id: UUID, query: Annotated[SearchQuery, Query()]
) -> SearchResult:
    """Find things in a student's record that you may read: by words and, while a model is on, by meaning."""
    return await learning.search_learning_events(database, student_id, query)
