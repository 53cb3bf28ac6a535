"""/sessions/{id}/review."""

from uuid import UUID

from fastapi import APIRouter, Response

from functions.callers import AsCallerOnce
from functions.problems import problems
from lib import reviews
from lib.reviews import ReviewCreation, ReviewResult

router = APIRouter(prefix="/api", tags=["Sessions"])

STATUS_OF = {True: 201, False: 200}
"""The status of a review, by whether it is new."""


@router.post(
    "/sessions/{session_id}/review",
    responses={201: {"model": ReviewResult, "description": "It was given."}, **problems(404, 409, body=True)},
)
async def review_session(
    database: AsCallerOnce, session_id: UUID, review: ReviewCreation, response: Response
) -> ReviewResult:
    """Say how a session was that is done (its student), once. The same again changes nothing."""
    result = await reviews.review_session(database, session_id, review)
    response.status_code = STATUS_OF[result.changed]
    return result
