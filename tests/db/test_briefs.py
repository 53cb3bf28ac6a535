"""Chapter 26: what a brief is made of, whom it is for, and what it may rest on."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, START, booked, instant, lesson, move
from tests.db.test_learning import note, record, take
from tests.db.test_search import embed
from tests.house import BILAL, HARRIET, LENA, NADIA, NOW, OLIVER, Person

LISTS = ("challenges", "motivators", "recommended_activities", "session_focus")


def inputs(db: Database, session_id: UUID, who: Person = BILAL, **more: Any) -> dict[str, Any]:
    return db.call(who, "brief_inputs", p_session_id=session_id, **more)


def brief(*event_ids: str, **lists: Any) -> dict[str, Any]:
    """A brief whose first list says one thing, which rests on these."""
    said = [{"text": "Fractions are hard.", "event_ids": list(event_ids)}] if event_ids else []
    return {name: [] for name in LISTS} | {"challenges": said} | lists


def store(db: Database, session_id: UUID, told: Any, who: Person = BILAL, **more: Any) -> dict[str, Any]:
    """Keep a brief; options without their `p_`."""
    kept = {"fingerprint": "f", "source": "model", "model": "m"} | more
    parameters = {f"p_{name}": value for name, value in kept.items()}
    return db.call(who, "store_brief", p_session_id=session_id, p_brief=told, **parameters)["brief"]


def refused(db: Database, session_id: UUID, told: Any, who: Person = BILAL, **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        store(db, session_id, told, who, **more)
    return caught.value


def contents(answer: dict[str, Any]) -> list[str]:
    return [each["content"].removeprefix("Note: ") for each in answer["events"]]


# --- what it is made of -------------------------------------------------------------------------------


def test_a_brief_is_made_of_what_its_reader_may_read_less_what_others_remarked_in_private(db: Database) -> None:
    session_id = lesson(db)
    note(db, BILAL, "Shared.")
    note(db, BILAL, "The tutor's remark.", is_private=True)
    note(db, NADIA, "The office's.")
    note(db, NADIA, "The office's remark.", is_private=True)
    note(db, HARRIET, "Of another student.", OLIVER)
    booked(db, HARRIET, LENA, START + DAY)
    note(db, HARRIET, "Another tutor's.")
    assert sorted(contents(inputs(db, session_id))) == ["Shared.", "The tutor's remark."]
    assert sorted(contents(inputs(db, session_id, NADIA))) == [
        "Another tutor's.", "Shared.", "The office's remark.", "The office's.",
    ]  # fmt: skip


def test_the_inputs_say_of_whom_and_of_what_they_are(db: Database) -> None:
    session_id = lesson(db)
    answer = inputs(db, session_id)
    assert answer["session"]["id"] == str(session_id)
    assert answer["student"] == {"id": str(LENA.id), "display_name": "Lena Ortiz", "timezone": "America/New_York"}
    assert (answer["events"], answer["brief"], answer["is_fresh"], answer["language"]) == ([], None, False, "en")
    assert answer["viewer_timezone"] == "Asia/Karachi"
    assert "email" not in json.dumps(answer)


def test_the_best_for_the_question_and_the_newest_make_forty(db: Database) -> None:
    session_id = lesson(db)
    for number in range(60):
        topic = "Fractions" if number < 25 else "Whales"
        record(db, BILAL, topic=topic, taken_at=instant(NOW) - (60 - number) * DAY)
    answer = inputs(db, session_id, p_query="fractions")
    topics = [each["event_data"]["topic"] for each in answer["events"]]
    assert len(topics) == 40
    assert topics.count("Fractions") == 20, "the best, though they are the oldest"
    moments = [each["occurred_at"] for each in answer["events"]]
    assert moments == sorted(moments, reverse=True)
    newest = instant(NOW) - DAY
    assert instant(moments[0]) == newest
    plain = inputs(db, session_id)
    assert len(plain["events"]) == 40
    assert [each["event_data"]["subject"] for each in plain["events"]] == ["Mathematics"] * 40


def test_meaning_finds_for_a_brief_too(db: Database) -> None:
    session_id = lesson(db)
    note(db, BILAL, "Divides pizzas well.")
    for number in range(1, 41):
        db.set_clock(instant(NOW) + number * DAY / 100)
        note(db, BILAL, f"Whale {number}.")
    embed(db, {"Divides": [1, 0], "": [0, 1]})
    assert "Divides pizzas well." not in contents(inputs(db, session_id, p_query="fractions"))
    asked: dict[str, Any] = {"p_query": "fractions", "p_embedding": "[1, 0]", "p_model": "m"}
    assert "Divides pizzas well." in contents(inputs(db, session_id, **asked))


def test_the_inputs_say_whether_the_house_would_ask_a_model(db: Database) -> None:
    session_id = lesson(db)
    db.run("update public.settings set model_calls_a_day = 1")
    assert inputs(db, session_id)["model_allowed"] is True
    assert take(db)
    assert inputs(db, session_id)["model_allowed"] is False


@pytest.mark.parametrize("status", ["done", "no_show_student", "no_show_tutor", "cancelled"])
def test_what_is_over_is_not_prepared(db: Database, status: str) -> None:
    session_id = lesson(db, status=status)
    for who in (BILAL, NADIA):
        with pytest.raises(Refused) as caught:
            inputs(db, session_id, who)
        assert (caught.value.code, caught.value.extra) == ("illegal_transition", {"from": status})
        assert refused(db, session_id, brief(), who).code == "illegal_transition"


@pytest.mark.parametrize("status", ["scheduled", "in_progress", "rescheduled"])
def test_what_is_to_come_is_prepared_by_its_tutor_and_admins(db: Database, status: str) -> None:
    session_id = lesson(db, status=status)
    for who in (BILAL, NADIA):
        assert store(db, session_id, brief(), who)["session_id"] == str(session_id)
    with pytest.raises(Refused, match="403 not_allowed"):
        inputs(db, session_id, LENA)
    with pytest.raises(Refused, match="404 not_found"):
        inputs(db, session_id, HARRIET)


# --- what is kept -------------------------------------------------------------------------------------


def test_a_brief_is_kept_for_its_reader_until_something_new_is_known(db: Database) -> None:
    session_id = lesson(db)
    event = note(db, BILAL, "Fractions.")
    read = inputs(db, session_id)
    kept = store(db, session_id, told := brief(event["id"]), fingerprint=read["fingerprint"])
    assert {name: kept[name] for name in LISTS} == told
    assert (kept["source"], kept["model"], instant(kept["based_on"])) == ("model", "m", instant(NOW))
    again = inputs(db, session_id)
    assert (again["brief"], again["is_fresh"]) == (kept, True)
    asked: dict[str, Any] = {"p_query": "whales", "p_embedding": "[1]", "p_model": "m"}
    assert inputs(db, session_id, **asked)["is_fresh"] is True, "another question is no other record"
    note(db, BILAL, "Whales.")
    later = inputs(db, session_id)
    assert (later["brief"], later["is_fresh"]) == (kept, False)
    store(db, session_id, brief(), source="rules", model=None, fingerprint=later["fingerprint"])
    assert inputs(db, session_id)["is_fresh"] is True
    assert db.value("select count(*) from public.briefs") == 1


def test_a_lesson_that_moves_wants_another_brief(db: Database) -> None:
    session_id = lesson(db)
    store(db, session_id, brief(), fingerprint=inputs(db, session_id)["fingerprint"])
    move(db, session_id, START + DAY)
    assert inputs(db, session_id)["is_fresh"] is False


def test_nobody_is_shown_what_was_made_for_somebody_else(db: Database) -> None:
    """An admin's brief may rest on what the tutor may not read."""
    session_id = lesson(db)
    event = note(db, NADIA, "The office's.")
    store(db, session_id, brief(event["id"]), NADIA, fingerprint=inputs(db, session_id, NADIA)["fingerprint"])
    answer = inputs(db, session_id)
    assert (answer["brief"], answer["is_fresh"]) == (None, False)
    assert inputs(db, session_id, NADIA)["is_fresh"] is True
    assert db.rows("select session_id from public.briefs", who=BILAL) == []


def test_a_statement_rests_on_events_that_its_reader_may_read(db: Database) -> None:
    session_id = lesson(db)
    own = note(db, BILAL, "Shared.")["id"]
    booked(db, HARRIET, LENA, START + DAY)
    others = [
        note(db, HARRIET, "Another tutor's.")["id"],
        note(db, NADIA, "The office's.")["id"],
        note(db, NADIA, "The office's remark.", is_private=True)["id"],
        note(db, HARRIET, "Of another student.", OLIVER)["id"],
        str(UUID(int=0)),
    ]
    told = refused(db, session_id, brief(own, *others))
    assert (told.status, told.code) == (422, "unknown_events")
    assert sorted(told.extra["event_ids"]) == sorted(others), "and no difference among them"
    for place in LISTS:
        statement = [{"text": "So they say.", "event_ids": [others[-1]]}]
        assert refused(db, session_id, brief(own, **{place: statement})).code == "unknown_events"
    remark = note(db, BILAL, "The tutor's remark.", is_private=True)["id"]
    assert refused(db, session_id, brief(remark), NADIA).code == "unknown_events"
    assert store(db, session_id, brief(own, remark))["challenges"][0]["event_ids"] == [own, remark]


SAID: dict[str, Any] = {"text": "Good.", "event_ids": ["00000000-0000-4000-8000-000000000000"]}


NO_BRIEFS: list[Any] = [
    None, {}, "[]", "5", {"challenges": []}, brief() | {"more": []}, brief(challenges={}), brief(challenges="x"),
    brief(challenges=["x"]), brief(challenges=[SAID] * 9), brief(challenges=[{"text": "x"}]),
    brief(challenges=[SAID | {"more": 1}]), brief(challenges=[SAID | {"text": ""}]),
    brief(challenges=[SAID | {"text": " "}]), brief(challenges=[SAID | {"text": "x" * 401}]),
    brief(challenges=[SAID | {"text": 5}]), brief(challenges=[SAID | {"event_ids": []}]),
    brief(challenges=[SAID | {"event_ids": None}]), brief(challenges=[SAID | {"event_ids": ["e1"]}]),
    brief(challenges=[SAID | {"event_ids": [5]}]), brief(challenges=[SAID | {"event_ids": SAID["event_ids"] * 41}]),
    brief(session_focus=[[SAID]]), brief(session_focus=[None]),
]  # fmt: skip


@pytest.mark.parametrize("told", NO_BRIEFS)
def test_what_is_no_brief_is_refused(db: Database, told: Any) -> None:
    answer = refused(db, lesson(db), told)
    assert (answer.status, answer.code, answer.extra) == (422, "invalid", {"field": "brief"})
    assert db.value("select count(*) from public.briefs") == 0


@pytest.mark.parametrize(
    "more",
    [
        {"source": None}, {"source": "rules", "model": "m"}, {"source": "model", "model": None},
        {"model": "two\nlines"}, {"fingerprint": None}, {"fingerprint": "no"},
    ],
)  # fmt: skip
def test_a_brief_says_who_wrote_it_and_of_what(db: Database, more: dict[str, Any]) -> None:
    assert refused(db, lesson(db), brief(), **more).code == "invalid"
