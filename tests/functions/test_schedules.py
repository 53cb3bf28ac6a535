"""Preview and commit: one read, one write, and the plan in between."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.functions import samples as s
from tests.functions.conftest import Rpcs

SESSIONS = f"/matches/{s.MATCH}/sessions"
# Thursday is before London's change on 29 March, Tuesday after it; the holiday took the first Tuesday.
STARTS = ["2026-03-26T16:30:00Z", "2026-03-31T15:30:00Z"]


def generated(created: int) -> Mapping[str, Any]:
    return {
        "created": created,
        "match_id": s.MATCH,
        "package_id": s.PACKAGE,
        "sessions": [s.session],
        "viewer_timezone": "Europe/London",
    }


async def test_a_preview_shows_the_plan_and_writes_nothing(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("schedule_inputs", s.schedule_inputs)
    body = {"package_id": s.PACKAGE, "from_date": "2026-03-24"}
    response = await tutor.post(f"{SESSIONS}/preview", json=body)
    plan = response.json()
    assert (response.status_code, rpcs.count) == (200, 1)
    assert rpcs.sent("schedule_inputs") == {
        "p_match_id": s.MATCH,
        "p_package_id": s.PACKAGE,
        "p_from_date": "2026-03-24",
    }
    assert [each["start_utc"] for each in plan["occurrences"]] == STARTS
    assert [each["tutor_local"] for each in plan["occurrences"]] == [
        "2026-03-26T21:30:00+05:00",
        "2026-03-31T20:30:00+05:00",
    ]
    assert [each["student_local"][11:] for each in plan["occurrences"]] == [
        "16:30:00+00:00",
        "16:30:00+01:00",
    ]
    assert "Europe/London" in plan["occurrences"][1]["clock_changes"][0]
    assert [(each["date"], each["reason"]) for each in plan["skipped"]] == [("2026-03-24", "holiday")]
    assert (plan["needed"], plan["fits"], plan["conflicts"]) == (2, 2, [])


async def test_a_commit_sends_the_previewed_plan_with_its_fingerprint(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("schedule_inputs", s.schedule_inputs)
    rpcs.answer("generate_sessions", generated(created=2))
    seen = (await tutor.post(f"{SESSIONS}/preview", json={})).json()["plan_hash"]
    response = await tutor.post(SESSIONS, json={"plan_hash": seen, "allow_partial": True})
    assert (response.status_code, response.json()["created"], rpcs.count) == (201, 2, 3)
    assert rpcs.sent("generate_sessions") == {
        "p_match_id": s.MATCH,
        "p_package_id": s.PACKAGE,
        "p_fingerprint": "f1",
        "p_occurrences": [
            {"start_utc": "2026-03-26T16:30:00+00:00", "end_utc": "2026-03-26T17:30:00+00:00"},
            {"start_utc": "2026-03-31T15:30:00+00:00", "end_utc": "2026-03-31T16:30:00+00:00"},
        ],
        "p_plan_hash": seen,
        "p_expected_plan_hash": seen,
        "p_allow_partial": True,
        "p_fill": False,
    }
    assert response.json()["sessions"][0]["start_local"] == "2026-03-31T16:30:00+01:00"


async def test_the_plan_hash_tells_a_changed_plan(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("schedule_inputs", s.schedule_inputs)
    before = (await tutor.post(f"{SESSIONS}/preview", json={})).json()["plan_hash"]
    rpcs.answer("schedule_inputs", {**s.schedule_inputs, "holidays": []})
    after = (await tutor.post(f"{SESSIONS}/preview", json={})).json()["plan_hash"]
    assert before != after


async def test_a_commit_that_creates_nothing_is_a_200(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("schedule_inputs", {**s.schedule_inputs, "needed": 0, "existing": 1})
    rpcs.answer("generate_sessions", generated(created=0))
    response = await tutor.post(SESSIONS, json={})
    assert (response.status_code, response.json()["created"]) == (200, 0)
    assert rpcs.sent("generate_sessions")["p_occurrences"] == []


async def test_a_match_without_a_pattern_has_nothing_to_plan(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("schedule_inputs", {**s.schedule_inputs, "pattern": None})
    response = await tutor.post(SESSIONS, json={})
    assert (response.status_code, response.json()["code"], rpcs.count) == (422, "schedule_missing", 1)


@pytest.mark.parametrize("skip", [False, True])
async def test_conflicts_are_shown_or_walked_past(tutor: httpx.AsyncClient, rpcs: Rpcs, *, skip: bool) -> None:
    busy = {"session_id": s.OTHER, "start": STARTS[0], "end": "2026-03-26T17:30:00Z", "of": "tutor"}
    rpcs.answer("schedule_inputs", {**s.schedule_inputs, "busy": [busy]})
    plan = (await tutor.post(f"{SESSIONS}/preview", json={"skip_conflicts": skip})).json()
    assert [each["session_id"] for each in plan["conflicts"]] == ([] if skip else [s.OTHER])
    assert plan["occurrences"][0]["start_utc"] == (STARTS[1] if skip else STARTS[0])


async def test_the_databases_refusal_of_a_plan_reaches_the_caller_whole(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    conflict = {"start_utc": STARTS[0], "end_utc": "2026-03-26T17:30:00Z", "of": "tutor", "session_id": None}
    rpcs.answer("schedule_inputs", s.schedule_inputs)
    rpcs.refuse("generate_sessions", 409, "slot_taken", "A slot is taken.", {"conflicts": [conflict]})
    response = await tutor.post(SESSIONS, json={})
    assert (response.status_code, response.json()["code"]) == (409, "slot_taken")
    assert response.json()["conflicts"] == [conflict]


async def test_a_commit_needs_a_body(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await tutor.post(SESSIONS)
    assert (response.status_code, rpcs.count) == (422, 0)
