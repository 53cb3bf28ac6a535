"""Briefs, summaries, search and meanings: with a model, without one, and with one that fails in every way."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import httpx
import pytest
import respx

from lib import config, embeddings, models
from lib.auth import Service
from lib.brief_prompts import LISTS
from lib.database import Database
from tests.functions import samples as s
from tests.functions.conftest import Rpcs
from tests.functions.test_models import FAILURES, GOOGLE, KEY

PREP = f"/sessions/{s.SESSION}/prep"
SUMMARY = f"/sessions/{s.SESSION}/summary"
SEARCH = f"/students/{s.STUDENT}/search?q=fractions"
HIT: Mapping[str, Any] = {"event": s.learning_event, "text_rank": 1, "vector_rank": None, "score": 0.016393}
NOTHING: Mapping[str, Sequence[Any]] = {name: [] for name in LISTS}
BY_RULES = ["Fractions: 9 of 20 (45 %) on 24 March."]
Gemini: TypeAlias = Callable[..., respx.Route]


@pytest.fixture
def gemini(rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch) -> Gemini:
    """Turns Gemini on, with this outcome."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("EMBEDDING_DIMENSION", "3")
    config.settings.cache_clear()
    models.model.cache_clear()
    rpcs.answer("take_model_call", {"allowed": True})

    def outcome(each: object, url: str = GOOGLE.completion_url) -> respx.Route:
        return rpcs.elsewhere(url, each)

    return outcome


def generated(document: object) -> Mapping[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": json.dumps(document)}]}}]}


def says(**lists: Sequence[Any]) -> Mapping[str, Any]:
    return generated({**NOTHING, **lists})


def storing(rpcs: Rpcs, inputs: Mapping[str, Any] = s.brief_inputs) -> None:
    rpcs.answer("brief_inputs", inputs)
    rpcs.answer("store_brief", {"brief": s.brief})


# --- briefs ---------------------------------------------------------------------------------------------


async def test_a_brief_that_is_fresh_is_answered_as_it_is(tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini) -> None:
    route = gemini(says())
    storing(rpcs, {**s.brief_inputs, "brief": s.brief, "is_fresh": True})
    answer = (await tutor.get(PREP)).json()
    assert (answer["source"], [each["text"] for each in answer["challenges"]]) == ("rules", BY_RULES)
    assert not route.called
    assert not rpcs.was_called("store_brief")


async def test_without_a_model_rules_write_it_and_it_says_so(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    storing(rpcs)
    assert (await tutor.get(PREP)).status_code == 200
    sent = rpcs.sent("store_brief")
    assert (sent["p_source"], "p_model" in sent) == ("rules", False)
    assert sent["p_fingerprint"] == s.brief_inputs["fingerprint"]
    assert sent["p_brief"]["challenges"] == [{"text": BY_RULES[0], "event_ids": [s.EVENT]}]
    assert rpcs.count == 2, "nothing is counted"


async def test_a_model_writes_it_and_its_names_become_events(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini
) -> None:
    made_up = {"text": "He cheats.", "refs": ["e2", s.OTHER]}
    route = gemini(says(challenges=[{"text": "Thirds are hard.", "refs": ["e1", "e7"]}, made_up]))
    storing(rpcs, {**s.brief_inputs, "brief": s.brief})
    assert (await tutor.get(PREP)).status_code == 200
    assert rpcs.sent("take_model_call") == {"p_kind": "brief"}
    sent = rpcs.sent("store_brief")
    assert (sent["p_source"], sent["p_model"]) == ("model", "gemini-3.5-flash-lite")
    assert sent["p_brief"] == {**NOTHING, "challenges": [{"text": "Thirds are hard.", "event_ids": [s.EVENT]}]}
    asked = route.calls.last.request.content.decode()
    for word in ("Oliver", "Amina", s.STUDENT, s.TUTOR, s.EVENT, s.SESSION, s.MEET):
        assert word not in asked


async def test_a_private_remark_is_told_to_no_model_and_heeded_by_the_rules(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini
) -> None:
    remark = {
        **s.learning_event,
        "id": s.OTHER,
        "event_type": "note",
        "is_private": True,
        "event_data": {"text": "canary"},
        "content": "Note: canary",
    }
    route = gemini(says(challenges=[{"text": "Thirds are hard.", "refs": ["e1"]}]))
    storing(rpcs, {**s.brief_inputs, "events": [remark, s.learning_event]})
    await tutor.get(PREP)
    assert "canary" not in route.calls.last.request.content.decode()
    assert rpcs.sent("store_brief")["p_brief"]["challenges"][0]["event_ids"] == [s.EVENT]
    storing(rpcs, {**s.brief_inputs, "events": [remark]})
    await tutor.get(PREP)
    assert route.call_count == 1, "there is nothing to show to a model"
    assert rpcs.sent("store_brief")["p_brief"]["session_focus"][0]["event_ids"] == [s.OTHER]


USELESS: Mapping[str, object] = {
    **FAILURES,
    "prose": {"candidates": [{"content": {"parts": [{"text": "Certainly! Here it is."}]}}]},
    "another schema": generated({"brief": "canary"}),
    "nothing to say": says(),
    "only made-up events": says(challenges=[{"text": "canary", "refs": ["e99", s.OTHER]}]),
    "only a link": says(challenges=[{"text": "See https://example.com", "refs": ["e1"]}]),
}


@pytest.mark.parametrize("outcome", USELESS.values(), ids=USELESS.keys())
async def test_whatever_goes_wrong_with_a_model_rules_write_the_brief(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini, capsys: pytest.CaptureFixture[str], outcome: object
) -> None:
    route = gemini(outcome)
    storing(rpcs)
    response = await tutor.get(PREP)
    assert (response.status_code, route.call_count) == (200, 1)
    sent = rpcs.sent("store_brief")
    assert (sent["p_source"], [each["text"] for each in sent["p_brief"]["challenges"]]) == ("rules", BY_RULES)
    logged = capsys.readouterr().out
    assert "model gave no answer" in logged
    for word in (KEY, "canary", "Fractions"):
        assert word not in logged


@pytest.mark.parametrize("budget", ["none left", "somebody was faster", "too often"])
async def test_without_a_budget_no_model_is_asked(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini, budget: str
) -> None:
    route = gemini(says())
    storing(rpcs, {**s.brief_inputs, "model_allowed": budget != "none left"})
    if budget == "somebody was faster":
        rpcs.answer("take_model_call", {"allowed": False})
    elif budget == "too often":
        rpcs.refuse("take_model_call", 429, "too_many_requests")
    assert (await tutor.get(PREP)).status_code == 200
    assert not route.called
    assert rpcs.sent("store_brief")["p_source"] == "rules"


async def test_asked_again_a_fresh_brief_is_made_anew_but_not_by_rules(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini
) -> None:
    route = gemini(says(challenges=[{"text": "Thirds are hard.", "refs": ["e1"]}]))
    storing(rpcs, {**s.brief_inputs, "brief": s.brief, "is_fresh": True})
    await tutor.get(PREP, params={"again": "true"})
    assert rpcs.sent("store_brief")["p_source"] == "model"
    stored = len(rpcs.all_sent("store_brief"))
    route.mock(httpx.Response(503))
    assert (await tutor.get(PREP, params={"again": "true"})).json()["made_at"] == "2026-03-31T09:00:00Z"
    assert len(rpcs.all_sent("store_brief")) == stored


async def test_of_a_long_record_a_model_is_shown_what_bears_on_the_lesson_by_meaning_too(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini
) -> None:
    gemini({"embeddings": [{"values": [0.1, 0.2, 0.3]}]}, GOOGLE.embedding_url)
    gemini(says(challenges=[{"text": "Thirds are hard.", "refs": ["e40"]}]))
    storing(rpcs, {**s.brief_inputs, "events": [s.learning_event] * 40})
    assert (await tutor.get(PREP)).status_code == 200
    first, second = rpcs.all_sent("brief_inputs")
    assert first == {"p_session_id": s.SESSION}
    assert (second["p_embedding"], second["p_model"]) == ([0.1, 0.2, 0.3], "gemini-embedding-2")
    assert second["p_query"].startswith("Mathematics ")
    assert len(rpcs.all_sent("take_model_call")) == 2
    assert rpcs.sent("store_brief")["p_source"] == "model"


# --- summaries ------------------------------------------------------------------------------------------


def drafting(rpcs: Rpcs) -> None:
    rpcs.answer("summary_inputs", s.summary_inputs)
    rpcs.answer("store_summary_draft", {"summary": s.summary, "changed": True})


async def test_rules_draft_a_summary_of_date_notes_and_what_was_recorded(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    drafting(rpcs)
    response = await tutor.post(SUMMARY)
    assert (response.status_code, response.json()["summary"]["text"]) == (200, "We worked on fractions.")
    sent = rpcs.sent("store_summary_draft")
    assert sent == {
        "p_session_id": s.SESSION,
        "p_source": "rules",
        "p_text": "Mathematics lesson on 31 March 2026.\n\nHalves and thirds.\n\n"
        "Assessment in Mathematics (Fractions): 9 of 20 (45 %).",
    }


async def test_a_model_drafts_a_summary(tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini) -> None:
    route = gemini(generated({"paragraphs": ["We did\u202e halves.", "", "See https://example.com", "Well done."]}))
    drafting(rpcs)
    assert (await tutor.post(SUMMARY)).status_code == 200
    sent = rpcs.sent("store_summary_draft")
    assert (sent["p_source"], sent["p_text"]) == ("model", "We did halves.\n\nWell done.")
    assert rpcs.sent("take_model_call") == {"p_kind": "summary"}
    asked = json.loads(route.calls.last.request.content)["contents"][0]["parts"][0]["text"]
    assert json.loads(asked)["lesson"] == {
        "subject": "Mathematics",
        "date": "31 March 2026",
        "notes": "Halves and thirds.",
    }


USELESS_SUMMARIES: Mapping[str, object] = {
    **FAILURES,
    "another schema": generated({"text": "x"}),
    "nothing": generated({"paragraphs": []}),
    "blanks": generated({"paragraphs": [" \n\u200b"]}),
    "a book": generated({"paragraphs": ["word " * 1000]}),
}


@pytest.mark.parametrize("outcome", USELESS_SUMMARIES.values(), ids=USELESS_SUMMARIES.keys())
async def test_whatever_goes_wrong_with_a_model_rules_draft_the_summary(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini, outcome: object
) -> None:
    gemini(outcome)
    drafting(rpcs)
    assert (await tutor.post(SUMMARY)).status_code == 200
    assert rpcs.sent("store_summary_draft")["p_source"] == "rules"


# --- search ---------------------------------------------------------------------------------------------


async def test_without_a_model_words_alone_find(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("search_learning_events", {"hits": [HIT]})
    answer = (await tutor.get(SEARCH)).json()
    assert (answer["by"], len(answer["hits"])) == ("words", 1)
    assert rpcs.count == 1


async def test_with_a_model_the_meaning_of_the_question_finds_too(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini
) -> None:
    gemini({"embeddings": [{"values": [0.1, 0.2, 0.3]}]}, GOOGLE.embedding_url)
    rpcs.answer_in_turn(
        "search_learning_events", {"hits": []}, {"hits": [{**HIT, "text_rank": None, "vector_rank": 1}]}
    )
    answer = (await tutor.get(SEARCH)).json()
    assert (answer["by"], answer["hits"][0]["vector_rank"]) == ("words_and_meaning", 1)
    sent = rpcs.sent("search_learning_events")
    assert (sent["p_embedding"], sent["p_model"]) == ([0.1, 0.2, 0.3], "gemini-embedding-2")
    assert rpcs.sent("take_model_call") == {"p_kind": "search"}


async def test_whoever_may_not_look_costs_nobody_a_call(tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini) -> None:
    route = gemini({}, GOOGLE.embedding_url)
    rpcs.refuse("search_learning_events", 404, "not_found")
    assert (await tutor.get(SEARCH)).status_code == 404
    assert not route.called
    assert not rpcs.was_called("take_model_call")


@pytest.mark.parametrize("outcome", FAILURES.values(), ids=FAILURES.keys())
async def test_when_the_model_fails_words_alone_find(
    tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini, outcome: object
) -> None:
    gemini(outcome, GOOGLE.embedding_url)
    rpcs.answer("search_learning_events", {"hits": [HIT]})
    answer = (await tutor.get(SEARCH)).json()
    assert (answer["by"], len(answer["hits"])) == ("words", 1)


async def test_without_a_budget_words_alone_find(tutor: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini) -> None:
    route = gemini({}, GOOGLE.embedding_url)
    rpcs.answer("search_learning_events", {"hits": [HIT]})
    rpcs.answer("take_model_call", {"allowed": False})
    assert (await tutor.get(SEARCH)).json()["by"] == "words"
    assert not route.called


# --- meanings -------------------------------------------------------------------------------------------


def contents(*names: str, more: bool = False, allowed: bool = True) -> Mapping[str, Any]:
    listed = [{"content_hash": name * 64, "content": f"What {name} says."} for name in names]
    return {"contents": listed, "more": more, "allowed": allowed}


def vectors(count: int) -> Mapping[str, Any]:
    return {"embeddings": [{"values": [0.1, 0.2, 0.3]}] * count}


async def embed(readings: Sequence[float] = (0, 1, 2, 3, 4, 5), budget: float = 45) -> embeddings.Embedded:
    clock = iter(readings)
    return await embeddings.embed_events(Database(Service("x"), "a-request"), budget, lambda: next(clock))


async def test_without_a_model_nothing_is_claimed(rpcs: Rpcs) -> None:
    done = await embed()
    assert (done.on, done.embedded, done.more, rpcs.count) == (False, 0, False, 0)


async def test_batches_are_asked_for_until_nothing_is_left(rpcs: Rpcs, gemini: Gemini) -> None:
    route = gemini(vectors(2), GOOGLE.embedding_url)
    rpcs.answer_in_turn("claim_embeddings", contents("a", "b", more=True), contents("c", "d"))
    rpcs.answer("settle_embeddings", {"settled": 2, "stale": 0})
    done = await embed()
    assert (done.on, done.embedded, done.failed, done.more) == (True, 4, False, False)
    assert rpcs.all_sent("claim_embeddings")[0] == {
        "p_model": "gemini-embedding-2",
        "p_dimension": 3,
        "p_limit": 50,
        "p_lease_seconds": 120,
    }
    assert rpcs.sent("settle_embeddings") == {
        "p_model": "gemini-embedding-2",
        "p_dimension": 3,
        "p_vectors": [{"content_hash": name * 64, "embedding": [0.1, 0.2, 0.3]} for name in ("c", "d")],
    }
    asked = json.loads(route.calls.last.request.content)["requests"]
    assert [each["content"]["parts"][0]["text"] for each in asked] == [
        "title: none | text: What c says.",
        "title: none | text: What d says.",
    ]


async def test_what_others_have_given_a_meaning_costs_no_call(rpcs: Rpcs, gemini: Gemini) -> None:
    route = gemini(vectors(1), GOOGLE.embedding_url)
    rpcs.answer_in_turn("claim_embeddings", contents(more=True), contents())
    done = await embed()
    assert (done.embedded, done.more, route.called) == (0, False, False)


@pytest.mark.parametrize("outcome", FAILURES.values(), ids=FAILURES.keys())
async def test_when_the_model_fails_the_job_stops_and_says_so(rpcs: Rpcs, gemini: Gemini, outcome: object) -> None:
    gemini(outcome, GOOGLE.embedding_url)
    rpcs.answer("claim_embeddings", contents("a", more=True))
    done = await embed()
    assert (done.embedded, done.failed, done.more) == (0, True, True)
    assert rpcs.count == 2, "it was claimed and asked for, and that was that"


async def test_when_the_budget_is_used_up_the_job_stops_and_says_so(rpcs: Rpcs, gemini: Gemini) -> None:
    gemini(vectors(1), GOOGLE.embedding_url)
    rpcs.answer("claim_embeddings", contents(allowed=False, more=True))
    done = await embed()
    assert (done.allowed, done.more) == (False, True)
    assert len(rpcs.all_sent("claim_embeddings")) == 1


async def test_it_stops_before_its_time_is_up(rpcs: Rpcs, gemini: Gemini) -> None:
    gemini(vectors(1), GOOGLE.embedding_url)
    rpcs.answer("claim_embeddings", contents("a", more=True))
    rpcs.answer("settle_embeddings", {"settled": 1, "stale": 0})
    done = await embed([0, 10, 20, 30, 40, 50], 45)
    assert (done.embedded, done.more) == (2, True), "a third might end at 30, and the model hang for 20 more"


async def test_the_scheduler_has_it_done(
    client: httpx.AsyncClient, rpcs: Rpcs, gemini: Gemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRON_SECRET", "made up for a scheduler")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_test")
    config.settings.cache_clear()
    gemini(vectors(1), GOOGLE.embedding_url)
    rpcs.answer("claim_embeddings", contents("a"))
    rpcs.answer("settle_embeddings", {"settled": 1, "stale": 0})
    answer = await client.get("/cron/embed-events", headers={"Authorization": "Bearer made up for a scheduler"})
    assert answer.json() == {"on": True, "embedded": 1, "failed": False, "allowed": True, "more": False}
