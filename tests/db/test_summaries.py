"""Chapter 26: a lesson in words for the family, from a draft to what a person approved."""

from typing import Any
from uuid import UUID

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, MATHEMATICS, START, audit, booked, events, lesson, update
from tests.db.test_learning import note, record
from tests.house import BILAL, HARRIET, LENA, NADIA, OLIVER, Person

AFTER = START + HOUR


@pytest.fixture
def session_id(db: Database) -> UUID:
    """A lesson of B's with L that is done."""
    session_id = lesson(db)
    db.set_clock(AFTER)
    update(db, BILAL, session_id, "done", notes="Sines.")
    return session_id


def draft(db: Database, session_id: UUID, text: str = "We did sines.", who: Person = BILAL, **more: Any) -> Any:
    """Keep a draft; options without their `p_`."""
    written = {f"p_{name}": value for name, value in ({"source": "rules"} | more).items()}
    return db.call(who, "store_summary_draft", p_session_id=session_id, p_text=text, **written)["summary"]


def change(db: Database, session_id: UUID, text: str, who: Person = BILAL, version: int | None = None) -> Any:
    return db.call(who, "update_summary", p_session_id=session_id, p_text=text, p_expected_version=version)


def approve(db: Database, session_id: UUID, who: Person = BILAL, version: int | None = None) -> Any:
    return db.call(who, "approve_summary", p_session_id=session_id, p_expected_version=version)


def get(db: Database, session_id: UUID, who: Person) -> Any:
    return db.call(who, "get_summary", p_session_id=session_id)["summary"]


def told_of(db: Database) -> list[dict[str, Any]]:
    query = "select payload from private.outbox_events where event_type = 'session.summarized'"
    return [payload for (payload,) in db.rows(query)]


def test_a_summary_is_drafted_changed_and_approved(db: Database, session_id: UUID) -> None:
    written = draft(db, session_id, source="model", model="m")
    assert (written["status"], written["source"], written["model"], written["version"]) == ("draft", "model", "m", 1)
    changed = change(db, session_id, " We did sines and cosines. ", version=1)
    assert changed["changed"] is True
    assert changed["summary"]["text"] == "We did sines and cosines."
    assert told_of(db) == []
    approved = approve(db, session_id, version=2)
    assert approved["changed"] is True
    assert (approved["summary"]["status"], approved["summary"]["version"]) == ("approved", 3)
    assert get(db, session_id, LENA) == get(db, session_id, BILAL) == get(db, session_id, NADIA) == approved["summary"]
    assert told_of(db) == [
        {
            "session_id": str(session_id), "tutor_id": str(BILAL.id), "student_id": str(LENA.id),
            "text": "We did sines and cosines.",
        }
    ]  # fmt: skip
    assert events(db, session_id) == ["session.completed", "session.summarized"]
    assert [action for action, _, _ in audit(db, session_id)][-3:] == [
        "summary_drafted", "summary_updated", "summary_approved",
    ]  # fmt: skip
    query = "select content_for_embedding from public.learning_events where event_type = 'session'"
    assert db.rows(query) == [("Summary of the lesson: We did sines and cosines.",)]


def test_a_student_does_not_see_a_draft_nor_that_there_is_one(db: Database, session_id: UUID) -> None:
    refusals: list[str] = []
    for number in range(2):
        if number:
            draft(db, session_id)
        with pytest.raises(Refused) as caught:
            get(db, session_id, LENA)
        refusals.append(str(caught.value))
    assert refusals == ["404 not_found: There is no such summary. {}"] * 2
    assert db.rows("select * from public.session_summaries", who=LENA) == []
    assert get(db, session_id, BILAL)["status"] == "draft"


def test_what_was_approved_stays_as_it_is(db: Database, session_id: UUID) -> None:
    draft(db, session_id)
    text = approve(db, session_id)["summary"]["text"]
    assert approve(db, session_id, version=1)["changed"] is False
    assert change(db, session_id, text)["changed"] is False
    for act in (lambda: change(db, session_id, "Other."), lambda: draft(db, session_id, "Other.")):
        with pytest.raises(Refused) as caught:
            act()
        assert (caught.value.status, caught.value.code) == (409, "illegal_transition")
    assert len(told_of(db)) == 1


def test_whoever_read_another_version_neither_changes_nor_approves_it(db: Database, session_id: UUID) -> None:
    draft(db, session_id)
    draft(db, session_id, "We did cosines.", NADIA)
    for act in (lambda: change(db, session_id, "Other.", version=1), lambda: approve(db, session_id, version=1)):
        with pytest.raises(Refused) as caught:
            act()
        assert (caught.value.code, caught.value.extra) == ("stale_version", {"version": 2})
    assert get(db, session_id, BILAL)["text"] == "We did cosines."


def test_a_lesson_that_was_not_held_has_no_summary(db: Database, session_id: UUID) -> None:
    draft(db, session_id)
    update(db, NADIA, session_id, "no_show_student", reason="Was not there.")
    for act in (
        lambda: db.call(BILAL, "summary_inputs", p_session_id=session_id),
        lambda: draft(db, session_id),
        lambda: change(db, session_id, "Other."),
        lambda: approve(db, session_id),
    ):
        with pytest.raises(Refused) as caught:
            act()
        assert (caught.value.code, caught.value.extra) == ("illegal_transition", {"from": "no_show_student"})


def test_nobody_but_its_tutor_and_admins_writes_one(db: Database, session_id: UUID) -> None:
    draft(db, session_id)
    for who, refusal in ((LENA, "403 not_allowed"), (HARRIET, "404 not_found"), (OLIVER, "404 not_found")):
        with pytest.raises(Refused, match=refusal):
            draft(db, session_id, who=who)
        with pytest.raises(Refused, match=refusal):
            change(db, session_id, "Other.", who)
        with pytest.raises(Refused, match=refusal):
            approve(db, session_id, who)
    assert approve(db, session_id, NADIA)["summary"]["status"] == "approved"


def test_nothing_is_approved_or_changed_that_was_not_written(db: Database, session_id: UUID) -> None:
    for act in (
        lambda: change(db, session_id, "x"),
        lambda: approve(db, session_id),
        lambda: get(db, session_id, NADIA),
    ):
        with pytest.raises(Refused, match="404 not_found: There is no such summary"):
            act()


@pytest.mark.parametrize("text", [None, "", " \n", "x" * 4001])
def test_a_summary_has_something_to_say(db: Database, session_id: UUID, text: Any) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        draft(db, session_id, text)
    draft(db, session_id)
    with pytest.raises(Refused, match="422 invalid"):
        change(db, session_id, text)


@pytest.mark.parametrize("more", [{"source": None}, {"source": "model"}, {"source": "rules", "model": "m"}])
def test_a_draft_says_who_wrote_it(db: Database, session_id: UUID, more: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        draft(db, session_id, **more)


def test_a_summary_is_made_of_what_tutor_and_student_both_may_read(db: Database, session_id: UUID) -> None:
    other = booked(db, HARRIET, LENA, START - DAY)
    note(db, BILAL, "In the lesson.", session_id=session_id)
    note(db, BILAL, "On its day.")
    record(db, BILAL, session_id=session_id)
    note(db, BILAL, "Seems sad.", is_private=True, session_id=session_id)
    note(db, NADIA, "The office's remark.", is_private=True, session_id=session_id)
    note(db, NADIA, "The office's.")
    note(db, HARRIET, "Another tutor's.", session_id=other)
    db.set_clock(AFTER + DAY)
    note(db, BILAL, "A day later.")
    for who in (BILAL, NADIA):
        answer = db.call(who, "summary_inputs", p_session_id=session_id)
        assert sorted(each["content"] for each in answer["events"]) == [
            "Assessment in Mathematics: 9 of 20 (45 %).",
            "Mathematics lesson on 2026-03-10 15:00 UTC was held. Notes: Sines.",
            "Note: In the lesson.",
            "Note: On its day.",
        ]
        assert (answer["summary"], answer["language"], answer["model_allowed"]) == (None, "es", True)
    draft(db, session_id)
    assert db.call(BILAL, "summary_inputs", p_session_id=session_id)["summary"]["status"] == "draft"


def test_a_tutor_who_lost_the_role_approves_nothing(db: Database, session_id: UUID) -> None:
    draft(db, session_id)
    db.call(NADIA, "update_person", p_person_id=MATHEMATICS.tutor.id, p_roles=["student"])
    with pytest.raises(Refused, match="403 not_allowed"):
        approve(db, session_id)
