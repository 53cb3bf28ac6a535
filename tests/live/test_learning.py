"""A student's record over HTTP: results, homework and notes, who reads and writes them, and finding things in it."""

from typing import Any

import pytest

from tests.house import BILAL, ENGLISH, HARRIET, LENA, MARCUS, NADIA, OLIVER, ZARA, Person
from tests.live.answers import answer, problem
from tests.live.receiving import as_scheduler
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

RECORD = f"/students/{OLIVER.id}"
RESULT: Row = {"subject": "English", "topic": "Essays", "score": 9, "max_score": 20, "comment": "Loses the thread."}
HOMEWORK: Row = {"title": "Write an essay", "description": "On the sea.", "due_at": "2026-03-01T12:00:00Z"}


def record(house: ServedHouse, who: Person = HARRIET) -> list[Row]:
    """What this person reads of Oliver's record, newest first."""
    return answer(house.sign_in(who).get(f"{RECORD}/learning-events"))["events"]


def write(house: ServedHouse, what: str, who: Person = HARRIET, **body: Any) -> Row:
    return answer(house.sign_in(who).post(f"{RECORD}/{what}", json=body), 201)


def test_a_result_is_recorded_and_read_by_those_concerned(house: ServedHouse) -> None:
    event = write(house, "assessments", **RESULT)["event"]
    assert event["content"] == "Assessment in English (Essays): 9 of 20 (45 %). Loses the thread."
    assert (event["event_data"]["percent"], event["author_id"]) == (45, str(HARRIET.id))
    for who in (HARRIET, OLIVER, NADIA):
        assert answer(house.sign_in(who).get(f"{RECORD}/assessments"))["assessments"] == [event]
    for who in (BILAL, LENA, ZARA):
        problem(house.sign_in(who).get(f"{RECORD}/assessments"), 404, "not_found")
        problem(house.sign_in(who).post(f"{RECORD}/assessments", json=RESULT), 404, "not_found")
    problem(house.sign_in(OLIVER).post(f"{RECORD}/assessments", json=RESULT), 403, "not_allowed")
    impossible = {**RESULT, "score": 21}
    assert problem(house.sign_in(HARRIET).post(f"{RECORD}/assessments", json=impossible), 422, "invalid")["field"]


def test_homework_is_given_handed_in_late_and_looked_through(house: ServedHouse) -> None:
    given = write(house, "homework", **HOMEWORK)["homework"]
    path = f"/homework/{given['id']}"
    problem(house.sign_in(HARRIET).post(f"{path}/review"), 409, "illegal_transition")
    house.set_clock("2026-03-02T12:00:00+00:00")
    assert answer(house.sign_in(OLIVER).get(f"{RECORD}/homework"))["homework"][0]["is_overdue"]
    for stranger in (BILAL, LENA):
        problem(house.sign_in(stranger).post(f"{path}/submit"), 404, "not_found")
    handed_in = answer(house.sign_in(OLIVER).post(f"{path}/submit", json={"comment": "Sorry."}))
    assert (handed_in["changed"], handed_in["homework"]["was_late"]) == (True, True)
    again = answer(house.sign_in(OLIVER).post(f"{path}/submit", json={"comment": "Sorry."}))
    assert again == {**handed_in, "changed": False}
    problem(house.sign_in(OLIVER).post(f"{path}/review", json={"mark": "A"}), 403, "not_allowed")
    house.set_clock("2026-03-03T12:00:00+00:00")
    reviewed = answer(house.sign_in(HARRIET).post(f"{path}/review", json={"mark": "B+", "feedback": "A good ending."}))
    assert (reviewed["homework"]["status"], reviewed["homework"]["mark"]) == ("reviewed", "B+")
    steps = [each["event_data"]["status"] for each in record(house, OLIVER)]
    assert steps == ["reviewed", "submitted", "assigned"]
    listed = answer(house.sign_in(OLIVER).get(f"{RECORD}/homework", params={"status": ["reviewed", "submitted"]}))
    assert [each["id"] for each in listed["homework"]] == [given["id"]]
    assert answer(house.sign_in(OLIVER).get(f"{RECORD}/homework", params={"status": "assigned"}))["homework"] == []


def test_a_private_remark_is_read_by_its_tutor_and_admins_alone(house: ServedHouse) -> None:
    shared = write(house, "notes", text="Likes football.")["event"]
    house.set_clock("2026-02-26T10:00:00+00:00")
    private = write(house, "notes", text="Tired of late.\nAsk at home?", is_private=True)["event"]
    assert private["is_private"]
    for who, seen in ((HARRIET, [private, shared]), (NADIA, [private, shared]), (OLIVER, [shared])):
        assert answer(house.sign_in(who).get(f"{RECORD}/notes"))["notes"] == seen
        assert record(house, who) == seen
        rows = [row["id"] for row in house.rows(who, "learning_events")]
        assert sorted(rows) == sorted(each["id"] for each in seen), "the Data API shows no more"
        found = answer(house.sign_in(who).get(f"{RECORD}/search", params={"q": "tired"}))["hits"]
        assert [hit["event"]["id"] for hit in found] == [each["id"] for each in seen if each["is_private"]]
    remark = write(house, "notes", NADIA, text="Pays late.", is_private=True)["event"]
    assert remark["id"] not in {each["id"] for each in record(house, HARRIET)}, "an admin's is for admins"


def test_a_record_comes_in_pages_and_by_type(house: ServedHouse) -> None:
    for number in range(7):
        house.set_clock(f"2026-02-26T1{number // 2}:00:00+00:00")
        write(house, "notes", text=f"Number {number}")
    write(house, "assessments", **RESULT)
    client, seen, cursor = house.sign_in(OLIVER), list[str](), None
    while cursor or not seen:
        query = {"types": "note", "limit": 3} | ({"cursor": cursor} if cursor else {})
        page = answer(client.get(f"{RECORD}/learning-events", params=query))
        seen += [each["event_data"]["text"] for each in page["events"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == [f"Number {number}" for number in range(7)]
    assert seen[0] == "Number 6"


def test_words_find_in_ones_own_record_alone(house: ServedHouse) -> None:
    write(house, "notes", text="Still mixes up essays and letters.")
    write(house, "assessments", **RESULT)
    theirs = f"/students/{ZARA.id}"
    answer(house.sign_in(HARRIET).post(f"{theirs}/notes", json={"text": "Essays on physics canary."}), 201)
    found = answer(house.sign_in(HARRIET).get(f"{RECORD}/search", params={"q": "essay"}))
    assert (found["by"], len(found["hits"])) == ("words", 2)
    assert "canary" not in str(found)
    assert {hit["text_rank"] for hit in found["hits"]} == {1, 2}
    only = answer(house.sign_in(HARRIET).get(f"{RECORD}/search", params={"q": "essay", "types": "note"}))
    assert [hit["event"]["event_type"] for hit in only["hits"]] == ["note"]
    problem(house.sign_in(MARCUS).get(f"{RECORD}/search", params={"q": "essay"}), 404, "not_found")
    assert answer(house.sign_in(HARRIET).get(f"{RECORD}/search", params={"q": "Oliver"}))["hits"] == []


@pytest.mark.parametrize(
    "query", ['"', "a & | !", "':*", "((", "%", "\\", "the and of", "x" * 200, "-essay", "\U0001f600"]
)
def test_whatever_is_looked_for_is_no_fault(house: ServedHouse, query: str) -> None:
    write(house, "assessments", **RESULT)
    answer(house.sign_in(OLIVER).get(f"{RECORD}/search", params={"q": query}))


def test_a_lesson_that_was_held_is_found_by_its_notes(house: ServedHouse) -> None:
    sessions = answer(house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={}), 201)["sessions"]
    house.set_clock("2026-03-03T18:05:00+00:00")
    body = {"status": "done", "notes": "Metaphors at last."}
    answer(house.sign_in(HARRIET).post(f"/sessions/{sessions[0]['id']}/status", json=body))
    (hit,) = answer(house.sign_in(OLIVER).get(f"{RECORD}/search", params={"q": "metaphor"}))["hits"]
    assert (hit["event"]["event_type"], hit["event"]["session_id"]) == ("session_completed", sessions[0]["id"])


def test_a_repeated_call_records_once(house: ServedHouse) -> None:
    client, key = house.sign_in(HARRIET), {"Idempotency-Key": "a-result"}
    first, again = [answer(client.post(f"{RECORD}/assessments", json=RESULT, headers=key), 201) for _ in range(2)]
    assert first == again
    assert len(record(house)) == 1


def test_without_a_model_nothing_waits_for_a_meaning_and_admins_are_told(house: ServedHouse) -> None:
    write(house, "assessments", **RESULT)
    done = answer(house.anybody.get("/cron/embed-events", headers=as_scheduler(house)))
    assert done == {"on": False, "embedded": 0, "failed": False, "allowed": True, "more": False}
    told = answer(house.sign_in(NADIA).get("/health"))["model"]
    assert told == {"provider": "gemini", "on": False, "missing": ["GEMINI_API_KEY"]}
    assert answer(house.sign_in(HARRIET).get("/health")) == {"status": "ok"}
