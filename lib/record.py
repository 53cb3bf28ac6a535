"""What a learning record is made of. Pure."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Utc

LearningEventType = Literal[
    "session",
    "assessment",
    "video",
    "quiz",
    "badge",
    "streak",
    "level_up",
    "daily_recommendations",
    "homework",
    "note",
    "session_completed",
    "session_cancelled",
    "session_rescheduled",
    "session_missed",
]


class LearningEvent(Answer):
    """One thing that happened in a student's learning."""

    id: UUID
    event_type: LearningEventType
    student_id: UUID
    tutor_id: UUID | None
    session_id: UUID | None
    author_id: UUID | None = Field(description="Who recorded it; null for what the house itself noted.")
    is_private: bool = Field(description="A remark that only its author and admins read.")
    occurred_at: Utc
    event_data: dict[str, Any] = Field(description="The particulars of its type.")
    content: str = Field(description="The event in sentences, as it is searched.", examples=["Fractions: 9 of 20."])
