"""A brief by rules: what a record says, told in sentences that name their events."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from lib.brief_rules import LONGEST_STATEMENT, MOST, BriefStatement, brief_by_rules
from lib.record import LearningEvent, LearningEventType

LESSON = datetime(2026, 3, 10, 17, tzinfo=UTC)
STUDENT = UUID("00000000-0000-4000-8000-0000000000c1")
NOTHING: dict[str, list[Any]] = {
    "challenges": [],
    "motivators": [],
    "recommended_activities": [],
    "session_focus": [],
}


def event(kind: LearningEventType, days_ago: float, content: str = "", **data: Any) -> LearningEvent:
    return LearningEvent(
        id=uuid4(),
        event_type=kind,
        student_id=STUDENT,
        tutor_id=None,
        session_id=data.pop("session_id", None),
        author_id=None,
        is_private=False,
        occurred_at=LESSON - timedelta(days=days_ago),
        event_data=data,
        content=content,
    )


def result(topic: str, score: float, days_ago: float, most: float = 20) -> LearningEvent:
    return event("assessment", days_ago, subject="Mathematics", topic=topic, score=score, max_score=most)


def homework(status: str, days_ago: float, title: str = "Page 12", **data: Any) -> LearningEvent:
    known = {"homework_id": "00000000-0000-4000-8000-000000000077"}
    return event("homework", days_ago, title=title, status=status, **{**known, **data})


def texts(statements: list[BriefStatement]) -> list[str]:
    return [each.text for each in statements]


def test_an_empty_record_says_nothing() -> None:
    assert brief_by_rules([], LESSON, "UTC").model_dump() == NOTHING


def test_a_low_result_is_a_challenge_worth_practising_and_where_to_begin() -> None:
    low, fair = result("Fractions", 9, 3), result("Angles", 14, 5)
    brief = brief_by_rules([fair, low], LESSON, "UTC")
    assert texts(brief.challenges) == ["Fractions: 9 of 20 (45 %) on 7 March."]
    assert texts(brief.recommended_activities) == ["Practise Fractions again."]
    assert texts(brief.session_focus) == ["Begin with Fractions, the weakest topic of late (45 %)."]
    assert [each.event_ids for each in brief.session_focus] == [[low.id]]
    assert brief.motivators == []


def test_only_the_newest_result_of_a_topic_counts_and_a_rise_motivates() -> None:
    before, since = result("Fractions", 9, 20), result("fractions", 17, 2)
    brief = brief_by_rules([before, since], LESSON, "UTC")
    assert brief.challenges == []
    assert texts(brief.motivators) == ["fractions rose from 45 % to 85 %.", "fractions: 17 of 20 (85 %) on 8 March."]
    assert brief.motivators[0].event_ids == [since.id, before.id]


def test_lessons_that_the_student_missed_are_counted_and_those_of_the_tutor_are_not() -> None:
    missed = [event("session_missed", days, status="no_show_student") for days in (2, 9, 61)]
    tutors = event("session_missed", 4, status="no_show_tutor")
    brief = brief_by_rules([*missed, tutors], LESSON, "UTC")
    assert texts(brief.challenges) == ["Missed 2 lessons of late, the last one on 8 March."]
    assert brief.challenges[0].event_ids == [missed[0].id, missed[1].id]


@pytest.mark.parametrize("last_word", [("session_completed", "done"), ("session_missed", "no_show_tutor")])
def test_of_a_lesson_that_was_corrected_only_the_last_word_counts(last_word: tuple[LearningEventType, str]) -> None:
    same_lesson = {"session_id": uuid4()}
    kind, status = last_word
    corrected = event("session_missed", 2.1, status="no_show_student").model_copy(update=same_lesson)
    after = event(kind, 2, status=status).model_copy(update=same_lesson)
    assert brief_by_rules([corrected, after], LESSON, "UTC").challenges == []


@pytest.mark.parametrize(("attended", "said"), [(2, []), (3, ["Came to the last 3 lessons."])])
def test_lessons_in_a_row_motivate_from_the_third_on(attended: int, said: list[str]) -> None:
    lessons = [event("session_completed", day, status="done") for day in range(1, attended + 1)]
    absent = event("session_missed", 30, status="no_show_student")
    earlier = event("session_completed", 40, status="done")
    assert texts(brief_by_rules([*lessons, absent, earlier], LESSON, "UTC").motivators) == said


def test_homework_is_late_only_once_it_was_due_and_as_long_as_it_is_not_handed_in() -> None:
    due, not_yet = {"due_at": "2026-03-09T00:00:00Z"}, {"due_at": "2026-03-11T00:00:00Z"}
    late = brief_by_rules([homework("assigned", 6, **due)], LESSON, "UTC")
    assert texts(late.challenges) == ["Homework not handed in by its date: “Page 12”."]
    assert texts(late.recommended_activities) == ["Go over the homework “Page 12”, due on 9 March."]
    assert brief_by_rules([homework("assigned", 6, **not_yet)], LESSON, "UTC").challenges == []
    handed_in = brief_by_rules([homework("assigned", 6, **due), homework("submitted", 1, **due)], LESSON, "UTC")
    assert handed_in.challenges == []
    assert texts(handed_in.recommended_activities) == ["Look through “Page 12”, which was handed in."]
    assert brief_by_rules([homework("submitted", 2), homework("reviewed", 1)], LESSON, "UTC").model_dump() == NOTHING


def test_the_last_note_is_taken_up_be_it_a_note_or_one_of_a_lesson() -> None:
    lesson = event("session_completed", 3, "Mathematics lesson was held. Notes: Ended in the middle of ratios.")
    note = event("note", 5, text="Likes\nfootball  examples.")
    assert texts(brief_by_rules([note, lesson], LESSON, "UTC").session_focus) == [
        "Take up the note of 7 March: Ended in the middle of ratios."
    ]
    assert texts(brief_by_rules([note], LESSON, "UTC").session_focus) == [
        "Take up the note of 5 March: Likes football examples."
    ]


def test_badges_streaks_and_levels_motivate() -> None:
    told = [event("badge", 1, "Earned “Number hero”."), event("level_up", 2, "Reached level 4."), event("streak", 3)]
    assert texts(brief_by_rules(told, LESSON, "UTC").motivators) == ["Earned “Number hero”.", "Reached level 4."]


def test_dates_are_told_on_the_tutors_clocks() -> None:
    late_evening = result("Fractions", 1, 0).model_copy(update={"occurred_at": datetime(2026, 3, 7, 20, tzinfo=UTC)})
    assert "on 8 March" in brief_by_rules([late_evening], LESSON, "Asia/Karachi").challenges[0].text


def test_lists_and_sentences_are_bounded() -> None:
    many = [result(f"{number} {'long ' * 80}", 1, number) for number in range(1, 30)]
    brief = brief_by_rules(many, LESSON, "UTC")
    assert len(brief.challenges) == MOST
    assert all(len(each.text) <= LONGEST_STATEMENT for each in brief.challenges)


@pytest.mark.parametrize(
    "data", [{}, {"subject": "Art", "score": "x", "max_score": 1}, {"subject": "Art", "score": 1, "max_score": 0}]
)
def test_what_was_imported_in_another_shape_is_left_out(data: dict[str, Any]) -> None:
    strange = [event("assessment", 1, **data), event("homework", 1, **data), event("note", 1, **data)]
    assert brief_by_rules(strange, LESSON, "UTC").model_dump() == NOTHING
