"""Briefs and summaries over HTTP: without a model, and with one that stands in on loopback, as it says or fails."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from lib.brief_prompts import LISTS
from tests.house import ENGLISH, HARRIET, MARCUS, NADIA, OLIVER, Person
from tests.live.answers import answer, problem
from tests.live.receiving import as_scheduler
from tests.live.served import Row, ServedHouse
from tests.thinking import Thinking, functions_thinking, record_in

pytestmark = pytest.mark.live

RECORD = f"/students/{OLIVER.id}"
RESULT: Row = {"subject": "English", "topic": "Essays", "score": 9, "max_score": 20}
AFTER_ONE = "2026-03-03T18:05:00+00:00"
"""The first English lesson is over."""


class Thoughtful:
    """The house's functions with a model on, for whoever signs in."""

    def __init__(self, house: ServedHouse, model: Thinking, url: str) -> None:
        self.house = house
        self.model = model
        self._url = url

    def get(self, who: Person, path: str, **query: str) -> httpx.Response:
        return httpx.get(f"{self._url}{path}", params=query, headers=self._bearer(who), timeout=60)

    def post(self, who: Person, path: str) -> httpx.Response:
        return httpx.post(f"{self._url}{path}", headers=self._bearer(who), timeout=60)

    def embed(self) -> Row:
        """The scheduler's call."""
        headers = as_scheduler(self.house)
        return answer(httpx.get(f"{self._url}/cron/embed-events", headers=headers, timeout=60))

    def _bearer(self, who: Person) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.house.visit(who).token}"}


@pytest.fixture(scope="session")
def model() -> Iterator[Thinking]:
    with Thinking() as thinking:
        yield thinking


@pytest.fixture(scope="session")
def thinking_url(any_house: ServedHouse, model: Thinking) -> Iterator[str]:
    """Functions of their own for each variant, with the model on."""
    with functions_thinking(any_house.env, model) as url:
        yield url


@pytest.fixture
def thoughtful(house: ServedHouse, model: Thinking, thinking_url: str) -> Thoughtful:
    model.forget()
    return Thoughtful(house, model, thinking_url)


def month(house: ServedHouse) -> list[str]:
    """The English month, generated."""
    generated = answer(house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={}), 201)
    return [session["id"] for session in generated["sessions"]]


def write(house: ServedHouse, what: str, who: Person = HARRIET, **body: Any) -> Row:
    return answer(house.sign_in(who).post(f"{RECORD}/{what}", json=body), 201)


def held(house: ServedHouse, notes: str = "Metaphors at last.") -> str:
    """The first English lesson, done."""
    session_id = month(house)[0]
    house.set_clock(AFTER_ONE)
    answer(house.sign_in(HARRIET).post(f"/sessions/{session_id}/status", json={"status": "done", "notes": notes}))
    return session_id


def cites_everything(body: Mapping[str, Any]) -> Row:
    """A good model: a statement of each event."""
    said = [{"text": f"About {each['type']}.", "refs": [each["ref"]]} for each in record_in(body)["events"]]
    return dict.fromkeys(LISTS, said)


# --- briefs ---------------------------------------------------------------------------------------------


def test_without_a_model_rules_write_the_brief_and_it_stays_until_something_happens(house: ServedHouse) -> None:
    session_id = month(house)[0]
    path = f"/sessions/{session_id}/prep"
    empty = answer(house.sign_in(HARRIET).get(path))
    assert (empty["source"], [empty[name] for name in LISTS]) == ("rules", [[], [], [], []])
    event = write(house, "assessments", **RESULT)["event"]
    house.set_clock("2026-02-27T09:00:00+00:00")
    brief = answer(house.sign_in(HARRIET).get(path))
    statement = {"text": "Essays: 9 of 20 (45 %) on 26 February.", "event_ids": [event["id"]]}
    assert brief["challenges"] == [statement]
    house.set_clock("2026-02-28T09:00:00+00:00")
    assert answer(house.sign_in(HARRIET).get(path)) == brief, "nothing has happened since"
    assert answer(house.sign_in(HARRIET).get(path, params={"again": True})) == brief
    write(house, "notes", text="Likes the sea.")
    assert answer(house.sign_in(HARRIET).get(path))["made_at"] == "2026-02-28T09:00:00Z"


def test_a_brief_is_for_its_tutor_and_admins_while_the_lesson_is_to_come(house: ServedHouse) -> None:
    session_id = held(house)
    path = f"/sessions/{session_id}/prep"
    refusal = problem(house.sign_in(HARRIET).get(path), 409, "illegal_transition")
    assert refusal["from"] == "done"
    problem(house.sign_in(OLIVER).get(path), 403, "not_allowed")
    problem(house.sign_in(MARCUS).get(path), 404, "not_found")
    button = answer(house.sign_in(HARRIET).get(f"/sessions/{session_id}"))["actions"]["prep"]
    assert (button["allowed"], button["operation"]) == (False, "prepare_session")


def test_a_model_writes_the_brief_and_every_statement_names_events_of_this_student(thoughtful: Thoughtful) -> None:
    house, session_id = thoughtful.house, month(thoughtful.house)[0]
    events = {write(house, "assessments", **RESULT)["event"]["id"], write(house, "notes", text="Fun.")["event"]["id"]}
    write(house, "notes", text="Asks for a discount canary.", is_private=True)
    thoughtful.model.reply = cites_everything
    brief = answer(thoughtful.get(HARRIET, f"/sessions/{session_id}/prep"))
    assert (brief["source"], brief["model"]) == ("model", "stand-in")
    for name in LISTS:
        assert {id_ for each in brief[name] for id_ in each["event_ids"]} == events
    assert "canary" not in str(thoughtful.model.asked)
    assert answer(thoughtful.get(HARRIET, f"/sessions/{session_id}/prep")) == brief
    assert len(thoughtful.model.asked) == 1, "a brief that is fresh costs nothing"
    (kept,) = house.rows(HARRIET, "briefs")
    assert kept["source"] == "model"
    assert house.rows(OLIVER, "briefs") == []


@pytest.mark.parametrize(
    "reply",
    [
        500,
        401,
        "Certainly!",
        "{",
        {},
        dict.fromkeys(LISTS, ()),
        dict.fromkeys(LISTS, ({"text": "x", "refs": ["e9"]},)),
    ],
    ids=["broken", "bad key", "prose", "half", "another schema", "nothing", "made up"],
)
def test_whatever_the_model_says_there_is_a_brief(thoughtful: Thoughtful, reply: object) -> None:
    session_id = month(thoughtful.house)[0]
    write(thoughtful.house, "assessments", **RESULT)
    thoughtful.model.reply = lambda _: reply
    brief = answer(thoughtful.get(HARRIET, f"/sessions/{session_id}/prep"))
    assert (brief["source"], len(brief["challenges"])) == ("rules", 1)
    assert len(thoughtful.model.asked) == 1


def test_a_model_that_thinks_too_long_is_not_waited_for(thoughtful: Thoughtful) -> None:
    session_id = month(thoughtful.house)[0]
    write(thoughtful.house, "assessments", **RESULT)
    thoughtful.model.seconds = 5
    response = thoughtful.get(HARRIET, f"/sessions/{session_id}/prep")
    assert answer(response)["source"] == "rules"
    assert response.elapsed.total_seconds() < thoughtful.model.seconds


def test_when_the_days_budget_is_used_up_rules_write_until_tomorrow(thoughtful: Thoughtful) -> None:
    house, session_ids = thoughtful.house, month(thoughtful.house)
    write(house, "assessments", **RESULT)
    thoughtful.model.reply = cites_everything
    answer(house.sign_in(NADIA).patch("/settings", json={"model_calls_a_day": 2}))
    sources = [answer(thoughtful.get(HARRIET, f"/sessions/{each}/prep"))["source"] for each in session_ids[:4]]
    assert sources == ["model", "model", "rules", "rules"]
    assert answer(thoughtful.get(HARRIET, f"{RECORD}/search", q="essay"))["by"] == "words"
    assert thoughtful.embed()["allowed"] is False
    assert (len(thoughtful.model.asked), thoughtful.model.embedded) == (2, [])
    house.set_clock("2026-02-27T00:00:00+00:00")
    assert answer(thoughtful.get(HARRIET, f"/sessions/{session_ids[4]}/prep"))["source"] == "model"


def test_of_a_long_record_the_brief_is_shown_what_bears_on_the_lesson(thoughtful: Thoughtful) -> None:
    house, session_id = thoughtful.house, month(thoughtful.house)[0]
    write(house, "notes", text="Old but telling: loses the thread in every essay.")
    house.set_clock("2026-02-26T10:00:00+00:00")
    for number in range(45):
        write(house, "notes", text=f"Number {number}")
    while thoughtful.embed()["more"]:
        pass
    thoughtful.model.reply = cites_everything
    brief = answer(thoughtful.get(HARRIET, f"/sessions/{session_id}/prep"))
    assert brief["source"] == "model"
    (shown,) = [record_in(each)["events"] for each in thoughtful.model.asked]
    assert len(shown) == 40
    assert thoughtful.model.embedded[-1].startswith("English "), "the question was put into a vector"


# --- finding by meaning ---------------------------------------------------------------------------------


def test_what_other_words_say_is_found_by_meaning_once_it_is_known(thoughtful: Thoughtful) -> None:
    house = thoughtful.house
    wanted = write(house, "notes", text="Gets halves and thirds wrong.")["event"]
    write(house, "notes", text="Likes football.")
    write(house, "notes", text="Fractions canary.", is_private=True)
    answer(house.sign_in(HARRIET).post(f"/students/{ENGLISH.student.id}/notes", json={"text": "Halves."}), 201)
    before = answer(thoughtful.get(OLIVER, f"{RECORD}/search", q="fractions"))
    assert (before["by"], before["hits"]) == ("words_and_meaning", [])
    done = thoughtful.embed()
    assert (done["on"], done["embedded"], done["more"]) == (True, 3, False)
    assert not any("canary" in each for each in thoughtful.model.embedded), "a private remark goes to no model"
    after = answer(thoughtful.get(OLIVER, f"{RECORD}/search", q="fractions", limit="2"))
    assert wanted["id"] in {hit["event"]["id"] for hit in after["hits"]}
    assert {hit["text_rank"] for hit in after["hits"]} == {None}
    assert thoughtful.embed()["embedded"] == 0, "each sentence once"


# --- summaries ------------------------------------------------------------------------------------------


def test_a_summary_is_drafted_changed_approved_and_then_read_by_the_student(house: ServedHouse) -> None:
    session_id = held(house)
    path, harriet = f"/sessions/{session_id}/summary", house.sign_in(HARRIET)
    problem(harriet.get(path), 404, "not_found")
    draft = answer(harriet.post(path))["summary"]
    assert draft["text"] == "English lesson on 3 March 2026.\n\nMetaphors at last."
    assert (draft["status"], draft["source"]) == ("draft", "rules")
    problem(house.sign_in(OLIVER).get(path), 404, "not_found")
    assert house.rows(OLIVER, "session_summaries") == []
    for stranger in (MARCUS,):
        problem(house.sign_in(stranger).get(path), 404, "not_found")
    problem(house.sign_in(OLIVER).post(path), 403, "not_allowed")
    changed = answer(harriet.patch(path, json={"text": "We met metaphors.", "expected_version": draft["version"]}))
    problem(harriet.patch(path, json={"text": "No.", "expected_version": draft["version"]}), 409, "stale_version")
    version = changed["summary"]["version"]
    approved = answer(harriet.post(f"{path}/approve", json={"expected_version": version}))
    assert (approved["changed"], approved["summary"]["status"]) == (True, "approved")
    assert answer(house.sign_in(OLIVER).get(path)) == approved["summary"]
    assert answer(harriet.post(f"{path}/approve"))["changed"] is False
    problem(harriet.post(path), 409, "illegal_transition")
    (event,) = [
        each for each in answer(house.sign_in(NADIA).get("/events"))["events"] if each["type"] == "session.summarized"
    ]
    assert event["data"]["text"] == "We met metaphors."


def test_there_is_nothing_to_summarize_before_a_lesson_is_done(house: ServedHouse) -> None:
    session_id = month(house)[0]
    problem(house.sign_in(HARRIET).post(f"/sessions/{session_id}/summary"), 409, "illegal_transition")


def test_a_model_drafts_a_summary_from_what_the_family_may_read(thoughtful: Thoughtful) -> None:
    house = thoughtful.house
    session_id = held(house)
    write(house, "notes", text="Tired canary.", is_private=True, session_id=session_id)
    write(house, "homework", title="Write an essay", session_id=session_id)
    thoughtful.model.reply = lambda _: {"paragraphs": ["We met metaphors.", "An essay is to be written."]}
    summary = answer(thoughtful.post(HARRIET, f"/sessions/{session_id}/summary"))["summary"]
    assert (summary["source"], summary["model"]) == ("model", "stand-in")
    assert summary["text"] == "We met metaphors.\n\nAn essay is to be written."
    (body,) = thoughtful.model.asked
    assert "Write an essay" in body["messages"][1]["content"]
    assert "canary" not in str(body)


def test_a_summary_that_no_model_drafts_is_drafted_by_rules(thoughtful: Thoughtful) -> None:
    session_id = held(thoughtful.house)
    thoughtful.model.reply = lambda _: 503
    assert answer(thoughtful.post(HARRIET, f"/sessions/{session_id}/summary"))["summary"]["source"] == "rules"


def test_admins_are_told_which_model_is_on(thoughtful: Thoughtful) -> None:
    told = answer(thoughtful.get(NADIA, "/health"))["model"]
    assert (told["on"], told["name"], told["embedding_model"]) == (True, "stand-in", "stand-in-vectors")
    assert "model" not in answer(thoughtful.get(HARRIET, "/health"))
