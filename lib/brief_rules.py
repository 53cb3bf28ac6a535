"""A brief without a language model: what a student's record itself says, put into sentences. Pure.

Misses, low results and late homework are challenges; good and better results, lessons attended in a row and badges
motivate; homework that is open and topics that went badly are worth doing; the weakest topic and the last note are
where to begin. Every sentence names the events it rests on, and where there is nothing to say it says nothing.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import NamedTuple, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from lib.answers import Answer
from lib.record import LearningEvent
from lib.zones import to_local, zone

MOST = 5
"""Statements in a list; a tutor reads it in the minute before the lesson."""
LONGEST_STATEMENT = 400
"""Characters."""
LOW, HIGH = 60, 80
"""Percent: below is a challenge, from there on a success."""
RECENT = timedelta(days=60)
"""How long a missed lesson is worth a word."""
A_STREAK = 3
"""Lessons in a row from which on they are one."""

_LONGEST_QUOTATION = 160
_A_NOTE = "Notes: "
"""Before the tutor's notes in the sentences of a lesson that was held."""

_Shape = TypeVar("_Shape", bound=BaseModel)
_Thing = TypeVar("_Thing")


class BriefStatement(Answer):
    """One sentence, and the events that say so."""

    text: str = Field(min_length=1, max_length=LONGEST_STATEMENT)
    event_ids: list[UUID] = Field(min_length=1, description="Of the student's learning events.")


class Statements(Answer):
    """What a tutor should know before a lesson."""

    challenges: list[BriefStatement] = Field(description="What is hard for the student now.")
    motivators: list[BriefStatement] = Field(description="What went well.")
    recommended_activities: list[BriefStatement] = Field(description="What to do in the lesson or after it.")
    session_focus: list[BriefStatement] = Field(description="Where to begin.")


class _Assessment(BaseModel):
    subject: str
    score: float
    max_score: float = Field(gt=0)
    topic: str | None = None


class _Homework(BaseModel):
    homework_id: UUID
    title: str
    status: str
    due_at: AwareDatetime | None = None


class _Note(BaseModel):
    text: str


class _Result(NamedTuple):
    """How an assessment went."""

    event: LearningEvent
    told: _Assessment

    @property
    def about(self) -> str:
        return _quoted(self.told.topic or self.told.subject)

    @property
    def topic(self) -> str:
        """What it is about, however it was written."""
        return self.about.casefold()

    @property
    def percent(self) -> int:
        return round(100 * self.told.score / self.told.max_score)


class _Task(NamedTuple):
    """The last that is known of a piece of homework."""

    event: LearningEvent
    told: _Homework


class _Record:
    """The events, newest first, and the clocks that dates are told by."""

    def __init__(self, events: Sequence[LearningEvent], lesson_at: datetime, timezone: str) -> None:
        self.events = sorted(events, key=lambda event: (event.occurred_at, event.id), reverse=True)
        self.lesson_at = lesson_at
        self._zone = zone(timezone)
        self.results = [_Result(*each) for each in _told(self.of("assessment"), _Assessment)]
        tasks = (_Task(*each) for each in _told(self.of("homework"), _Homework))
        self.tasks = _first_of_each(tasks, lambda task: task.told.homework_id)
        # A correction is the last word on a lesson, also where it says that the tutor failed to come.
        ends = self.of("session_completed", "session_missed")
        last = _first_of_each(ends, lambda event: event.session_id or event.id)
        self.lessons = [event for event in last if not _failed_by_tutor(event)]

    def of(self, *types: str) -> Iterator[LearningEvent]:
        return (event for event in self.events if event.event_type in types)

    def on(self, instant: datetime) -> str:
        local = to_local(instant, self._zone)
        return f"{local.day} {local:%B}"

    def latest_results(self) -> list[_Result]:
        """The newest of each topic."""
        return _first_of_each(self.results, lambda result: result.topic)


def brief_by_rules(events: Sequence[LearningEvent], lesson_at: datetime, timezone: str) -> Statements:
    """What the events say before the lesson at ``lesson_at``, with dates on the clocks of ``timezone``."""
    record = _Record(events, lesson_at, timezone)
    return Statements(
        challenges=_some(_misses(record), _low_results(record), _late_homework(record)),
        motivators=_some(_rises(record), _good_results(record), _streak(record), _honours(record)),
        recommended_activities=_some(_open_homework(record), _handed_in(record), _practice(record)),
        session_focus=_some(_weakest(record), _last_note(record)),
    )


# --- challenges -----------------------------------------------------------------------------------------


def _misses(record: _Record) -> Iterator[BriefStatement]:
    missed = [
        event
        for event in record.lessons
        if event.event_type == "session_missed" and event.occurred_at > record.lesson_at - RECENT
    ]
    if missed:
        times = "a lesson" if len(missed) == 1 else f"{len(missed)} lessons"
        yield _statement(f"Missed {times} of late, the last one on {record.on(missed[0].occurred_at)}.", *missed)


def _low_results(record: _Record) -> Iterator[BriefStatement]:
    for result in sorted(record.latest_results(), key=lambda each: each.percent):
        if result.percent < LOW:
            yield _as_it_went(record, result)


def _late_homework(record: _Record) -> Iterator[BriefStatement]:
    late = [task for task in record.tasks if task.told.status == "assigned" and _is_due(task, record.lesson_at)]
    if late:
        titles = _listed(task.told.title for task in late)
        yield _statement(f"Homework not handed in by its date: {titles}.", *(task.event for task in late))


# --- motivators -----------------------------------------------------------------------------------------


def _rises(record: _Record) -> Iterator[BriefStatement]:
    for result in record.latest_results():
        before = next(
            (each for each in record.results if each.topic == result.topic and each.event.id != result.event.id), None
        )
        if before is not None and result.percent > before.percent:
            text = f"{result.about} rose from {before.percent} % to {result.percent} %."
            yield _statement(text, result.event, before.event)


def _good_results(record: _Record) -> Iterator[BriefStatement]:
    for result in sorted(record.latest_results(), key=lambda each: -each.percent):
        if result.percent >= HIGH:
            yield _as_it_went(record, result)


def _streak(record: _Record) -> Iterator[BriefStatement]:
    attended = list(takewhile(lambda event: event.event_type == "session_completed", record.lessons))
    if len(attended) >= A_STREAK:
        yield _statement(f"Came to the last {len(attended)} lessons.", *attended)


def _honours(record: _Record) -> Iterator[BriefStatement]:
    for event in record.of("badge", "streak", "level_up"):
        if event.content.strip():
            yield _statement(_quoted(event.content), event)


# --- activities -----------------------------------------------------------------------------------------


def _open_homework(record: _Record) -> Iterator[BriefStatement]:
    for task in record.tasks:
        if task.told.status == "assigned":
            due = f", due on {record.on(task.told.due_at)}" if task.told.due_at else ""
            yield _statement(f"Go over the homework “{_quoted(task.told.title)}”{due}.", task.event)


def _handed_in(record: _Record) -> Iterator[BriefStatement]:
    for task in record.tasks:
        if task.told.status == "submitted":
            yield _statement(f"Look through “{_quoted(task.told.title)}”, which was handed in.", task.event)


def _practice(record: _Record) -> Iterator[BriefStatement]:
    for result in sorted(record.latest_results(), key=lambda each: each.percent):
        if result.percent < LOW:
            yield _statement(f"Practise {result.about} again.", result.event)


# --- where to begin -------------------------------------------------------------------------------------


def _weakest(record: _Record) -> Iterator[BriefStatement]:
    weak = min(record.latest_results(), key=lambda each: each.percent, default=None)
    if weak is not None and weak.percent < HIGH:
        yield _statement(f"Begin with {weak.about}, the weakest topic of late ({weak.percent} %).", weak.event)


def _last_note(record: _Record) -> Iterator[BriefStatement]:
    for event in record.of("note", "session_completed"):
        if said := _noted(event):
            yield _statement(f"Take up the note of {record.on(event.occurred_at)}: {_quoted(said)}", event)
            return


# --- small parts ----------------------------------------------------------------------------------------


def _told(events: Iterable[LearningEvent], shape: type[_Shape]) -> Iterator[tuple[LearningEvent, _Shape]]:
    """Events with their particulars; what was imported in another shape has none."""
    for event in events:
        try:
            yield event, shape.model_validate(event.event_data)
        except ValidationError:
            continue


def _first_of_each(things: Iterable[_Thing], key: Callable[[_Thing], Hashable]) -> list[_Thing]:
    """Of those with the same key the first, which is the newest."""
    first: dict[Hashable, _Thing] = {}
    for thing in things:
        first.setdefault(key(thing), thing)
    return list(first.values())


def _failed_by_tutor(event: LearningEvent) -> bool:
    return event.event_data.get("status") == "no_show_tutor"


def _is_due(task: _Task, at: datetime) -> bool:
    return task.told.due_at is not None and task.told.due_at <= at


def _noted(event: LearningEvent) -> str:
    if event.event_type == "session_completed":
        return event.content.partition(_A_NOTE)[2].strip()
    return next((told.text.strip() for _, told in _told([event], _Note)), "")


def _as_it_went(record: _Record, result: _Result) -> BriefStatement:
    score = f"{result.told.score:g} of {result.told.max_score:g} ({result.percent} %)"
    return _statement(f"{result.about}: {score} on {record.on(result.event.occurred_at)}.", result.event)


def _listed(titles: Iterable[str]) -> str:
    return ", ".join(f"“{_quoted(title)}”" for title in islice(titles, 3))


def _quoted(text: str) -> str:
    """In one line, and cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_QUOTATION else line[: _LONGEST_QUOTATION - 1].rstrip() + "…"


def _statement(text: str, *events: LearningEvent) -> BriefStatement:
    return BriefStatement(text=_cut(text), event_ids=[event.id for event in events])


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_STATEMENT else text[: LONGEST_STATEMENT - 1] + "…"


def _some(*groups: Iterator[BriefStatement]) -> list[BriefStatement]:
    return list(islice((statement for group in groups for statement in group), MOST))
