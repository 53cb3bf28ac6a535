"""What a language model is asked for a brief, and what of its answer is believed. Pure.

A model sees short names, e1 to en, in the place of ids: it cannot name an event that it was not given. Of its answer a
statement stays that is one plain sentence without a link and names at least one event of those; the rest falls away
without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from lib.brief_rules import LONGEST_STATEMENT, MOST, BriefStatement, Statements
from lib.prompts import DATA_IS_DATA, LONGEST_TEXT, as_data, has_link, plain
from lib.record import LearningEvent

LISTS = tuple(Statements.model_fields)

INSTRUCTIONS = """\
You prepare a tutor for the next lesson with one student. You are given the student's learning record as JSON: `events`,
newest first, each with `ref`, `type`, `date` and `text`.

Write four lists of statements:
- challenges: what is hard for the student now.
- motivators: what went well and may encourage.
- recommended_activities: what to do in the lesson or after it.
- session_focus: where to begin.

Rules:
- A statement is one plain sentence for the tutor, at most 200 characters, without links, markup or names of people.
- In `refs` it names the events it rests on. Say nothing that the events do not say; an empty list is a good answer.
- At most five statements a list, the most useful first.
- Write in the language that most of the texts are written in.
"""


class Prompt(NamedTuple):
    """What a model is given, and the events behind the short names."""

    instructions: str
    data: str
    schema: Mapping[str, Any]
    refs: Mapping[str, UUID]


class _Said(BaseModel):
    text: str
    refs: list[str]


class _Answered(BaseModel):
    challenges: list[_Said]
    motivators: list[_Said]
    recommended_activities: list[_Said]
    session_focus: list[_Said]


def brief_prompt(events: Sequence[LearningEvent], subject: str | None, level: str | None) -> Prompt:
    """What a model is asked before a lesson, with these events and nothing else of the student."""
    named = {f"e{number}": event for number, event in enumerate(events, start=1)}
    record = {
        "lesson": {"subject": subject, "level": level},
        "events": [
            {
                "ref": ref,
                "type": event.event_type,
                "date": f"{event.occurred_at:%Y-%m-%d}",
                "text": plain(event.content)[:LONGEST_TEXT],
            }
            for ref, event in named.items()
        ],
    }
    return Prompt(
        INSTRUCTIONS + DATA_IS_DATA,
        as_data(record),
        _schema(list(named)),
        {ref: each.id for ref, each in named.items()},
    )


def statements_in(answer: str, refs: Mapping[str, UUID]) -> Statements:
    """What a model answered, as far as it holds.

    Raises:
        ValueError: it is no answer by the schema, or nothing of it holds.
    """
    answered = _Answered.model_validate_json(answer)
    kept = {name: _kept(getattr(answered, name), refs) for name in LISTS}
    if not any(kept.values()):
        raise ValueError("must hold at least one statement that names an event")
    return Statements.model_validate(kept)


def _kept(said: Sequence[_Said], refs: Mapping[str, UUID]) -> list[BriefStatement]:
    statements = ((plain(each.text), _supported(each.refs, refs)) for each in said)
    return [
        BriefStatement(text=text, event_ids=ids)
        for text, ids in statements
        if ids and 0 < len(text) <= LONGEST_STATEMENT and not has_link(text)
    ][:MOST]


def _supported(named: Sequence[str], refs: Mapping[str, UUID]) -> list[UUID]:
    """The events behind the names that were given out, each once."""
    return list(dict.fromkeys(refs[name] for name in named if name in refs))


def _schema(names: Sequence[str]) -> Mapping[str, Any]:
    """In the words that every provider's strict mode knows."""
    said = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "One plain sentence of at most 200 characters."},
            "refs": {"type": "array", "items": {"type": "string", "enum": list(names)}},
        },
        "required": ["text", "refs"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": said} for name in LISTS},
        "required": list(LISTS),
        "additionalProperties": False,
    }
