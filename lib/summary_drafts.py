"""A first draft of what is told of a lesson afterwards: by rules, or what a model is asked and believed. Pure.

A draft is read, changed and approved by the tutor before anybody else sees it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel

from lib.prompts import DATA_IS_DATA, LONGEST_TEXT, as_data, has_link, plain
from lib.record import LearningEvent
from lib.zones import to_local, zone

LONGEST_SUMMARY = 2_000
"""Characters."""

INSTRUCTIONS = """\
You draft a short summary of one lesson for the student and the student's family. You are given as JSON: `lesson` with
its subject, date and the tutor's notes, and `events`, what was recorded with that lesson.

Rules:
- One to three short paragraphs of plain sentences, together at most 150 words: what was done, what went well, what to
  do until the next lesson. Warm and factual.
- Say nothing that the notes and events do not say. No names of people, no links, no markup, no promises.
- Write in the language with the code that `language` gives.
"""

_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"paragraphs": {"type": "array", "items": {"type": "string"}}},
    "required": ["paragraphs"],
    "additionalProperties": False,
}


class SummaryPrompt(NamedTuple):
    """What a model is given."""

    instructions: str
    data: str
    schema: Mapping[str, Any]


class Lesson(NamedTuple):
    """What is known of a lesson that was held."""

    subject: str | None
    starts_at: datetime
    timezone: str
    notes: str | None

    @property
    def day(self) -> str:
        """On the clocks of ``timezone``."""
        local = to_local(self.starts_at, zone(self.timezone))
        return f"{local.day} {local:%B %Y}"


class _Answered(BaseModel):
    paragraphs: list[str]


def summary_by_rules(lesson: Lesson, events: Sequence[LearningEvent]) -> str:
    """The lesson's date, the tutor's notes and what was recorded with it, as it stands."""
    lines = [f"{lesson.subject or 'Single'} lesson on {lesson.day}.", (lesson.notes or "").strip(), *_recorded(events)]
    return "\n\n".join(line for line in lines if line)[:LONGEST_SUMMARY]


def summary_prompt(lesson: Lesson, events: Sequence[LearningEvent], language: str) -> SummaryPrompt:
    """What a model is asked after a lesson."""
    told = {
        "language": language,
        "lesson": {"subject": lesson.subject, "date": lesson.day, "notes": plain(lesson.notes or "")},
        "events": [{"type": each.event_type, "text": plain(each.content)[:LONGEST_TEXT]} for each in events],
    }
    return SummaryPrompt(INSTRUCTIONS + DATA_IS_DATA, as_data(told), _SCHEMA)


def summary_in(answer: str) -> str:
    """What a model answered, as far as it holds.

    Raises:
        ValueError: it is no answer by the schema, too long, or nothing of it holds.
    """
    paragraphs = (plain(each) for each in _Answered.model_validate_json(answer).paragraphs)
    text = "\n\n".join(each for each in paragraphs if each and not has_link(each))
    if not 0 < len(text) <= LONGEST_SUMMARY:
        raise ValueError(f"must be 1 to {LONGEST_SUMMARY} characters")
    return text


def _recorded(events: Sequence[LearningEvent]) -> Iterator[str]:
    """What people recorded with the lesson; that it took place is said already."""
    for event in events:
        if event.event_type in {"assessment", "homework", "note"}:
            yield " ".join(event.content.split())
