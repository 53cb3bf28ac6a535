"""Reviews: what a student says of a session that was held, once."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Utc
from lib.database import Database
from lib.fields import Opinion, Request

Rating = Annotated[int, Field(strict=True, ge=1, le=5, description="One to five; five is best.", examples=[5])]


class ReviewCreation(Request):
    """How a session was."""

    rating: Rating
    comment: Opinion | None = Field(default=None, description="Its tutor and admins read it.")


class Review(Answer):
    """A review; it stays as it was given."""

    session_id: UUID
    rating: Rating
    comment: str | None
    student_user_id: UUID
    tutor_user_id: UUID
    created_at: Utc


class ReviewResult(Answer):
    """A session's review after asking for one."""

    review: Review
    changed: bool = Field(description="False when it had been given before, in the same words.")


async def review_session(database: Database, session_id: UUID, review: ReviewCreation) -> ReviewResult:
    """Review a session that is done, within the days that the house allows."""
    answer = await database.write("review_session", review.parameters(session_id=str(session_id)))
    return ReviewResult.model_validate(answer)
