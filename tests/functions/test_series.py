"""The move of a series: one read, one write, and the plan in between."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.functions import samples as s
from tests.functions.conftest import Rpcs

SERIES = f"/matches/{s.MATCH}/reschedule"
LATER = {"timezone": "Europe/London", "days": [5], "time": "18:00"}
# London's clocks change on 29 March.
FRIDAYS = ["2026-03-27T18:00:00Z", "2026-04-03T17:00:00Z"]
MOVED: Mapping[str, Any] = {
    "moved": 2,
    "match_id": s.MATCH,
    "package_id": s.PACKAGE,
    "sessions": [s.session],
    "viewer_timezone": "Europe/London",
}


async def previewed(tutor: httpx.AsyncClient, rpcs: Rpcs, body: object, **inputs: object) -> Mapping[str, Any]:
    rpcs.answer("series_inputs", {**s.series_inputs, **inputs})
    response = await tutor.post(f"{SERIES}/preview", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_preview_shows_where_each_session_goes_and_writes_nothing(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    preview = await previewed(tutor, rpcs, {"scope": "all", "package_id": s.PACKAGE, "schedule_pattern": LATER})
    assert rpcs.count == 1
    assert rpcs.sent("series_inputs") == {"p_match_id": s.MATCH, "p_scope": "all", "p_package_id": s.PACKAGE}
    assert [(each["session_id"], each["sequence_number"], each["start_utc"]) for each in preview["moves"]] == [
        (s.SESSION, 4, FRIDAYS[0]),
        (s.OTHER, 5, FRIDAYS[1]),
    ]
    first, second = preview["moves"]
    assert first["from_start_utc"] == "2026-03-24T16:30:00Z"
    assert [each["end_utc"] for each in (first, second)] == ["2026-03-27T19:00:00Z", "2026-04-03T17:45:00Z"]
    assert (first["date"], first["time"], first["daylight_saving"]) == ("2026-03-27", "18:00", None)
    assert (first["tutor_local"], first["student_local"]) == ("2026-03-27T23:00:00+05:00", "2026-03-27T18:00:00+00:00")
    assert second["clock_changes"] == ["clocks changed in Europe/London: UTC+0 → UTC+1"]
    assert (preview["needed"], preview["fits"], preview["skipped"], preview["conflicts"]) == (2, 2, [], [])
    assert preview["after_package_end"] == 1
    assert preview["pattern"] == {**LATER, "duration_mins": 60}


async def test_without_a_pattern_the_matchs_own_holds(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    preview = await previewed(tutor, rpcs, {"scope": "following", "session_id": s.SESSION})
    assert rpcs.sent("series_inputs") == {"p_match_id": s.MATCH, "p_scope": "following", "p_session_id": s.SESSION}
    assert preview["pattern"] == s.PATTERN
    # The first Tuesday is a holiday.
    assert [(each["date"], each["reason"]) for each in preview["skipped"]] == [("2026-03-24", "holiday")]
    assert [each["date"] for each in preview["moves"]] == ["2026-03-26", "2026-03-31"]


@pytest.mark.parametrize("body", [{}, {"schedule_pattern": LATER}])
async def test_a_match_without_a_pattern_needs_one_in_the_request(
    tutor: httpx.AsyncClient, rpcs: Rpcs, body: dict[str, object]
) -> None:
    rpcs.answer("series_inputs", {**s.series_inputs, "pattern": None})
    response = await tutor.post(f"{SERIES}/preview", json={"scope": "all"} | body)
    if body:
        assert response.json()["pattern"] == {**LATER, "duration_mins": 60}
    else:
        assert (response.status_code, response.json()["code"]) == (422, "schedule_missing")


@pytest.mark.parametrize(
    ("now", "asked", "walked_from"),
    [
        ("2026-03-01T00:00:00+00:00", None, "2026-03-24"),
        ("2026-03-31T23:30:00+00:00", None, "2026-04-01"),
        ("2026-03-01T00:00:00+00:00", "2026-04-05", "2026-04-05"),
    ],
    ids=["from the first that moves", "from today, which is tomorrow in London", "from the date that was asked for"],
)
async def test_a_walk_begins_where_it_is_told_or_where_there_is_something_to_move(
    tutor: httpx.AsyncClient, rpcs: Rpcs, now: str, asked: str | None, walked_from: str
) -> None:
    body = {"scope": "all", "schedule_pattern": {**LATER, "days": [1, 2, 3, 4, 5, 6, 7]}, "from_date": asked}
    preview = await previewed(tutor, rpcs, body, now=now, holidays=[])
    assert (preview["from_date"], preview["moves"][0]["date"]) == (walked_from, walked_from)
    assert rpcs.sent("series_inputs").get("p_from_date") == asked


async def test_a_plan_stays_the_same_one_over_midnight(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    body = {"scope": "all", "schedule_pattern": LATER}
    before = await previewed(tutor, rpcs, body, now="2026-03-24T23:59:00+00:00")
    after = await previewed(tutor, rpcs, body, now="2026-03-25T00:01:00+00:00")
    assert (before["from_date"], after["from_date"]) == ("2026-03-24", "2026-03-25")
    assert before["plan_hash"] == after["plan_hash"]


@pytest.mark.parametrize("skip", [False, True])
async def test_conflicts_are_shown_or_walked_past(tutor: httpx.AsyncClient, rpcs: Rpcs, *, skip: bool) -> None:
    live = {"session_id": s.WISH, "start": "2026-04-03T17:44:00Z", "end": "2026-04-03T18:44:00Z", "of": "tutor"}
    body = {"scope": "all", "schedule_pattern": LATER, "skip_conflicts": skip}
    preview = await previewed(tutor, rpcs, body, busy=[live])
    # The second one lasts 45 minutes and meets the other lesson's first one.
    assert [each["session_id"] for each in preview["conflicts"]] == ([] if skip else [s.WISH])
    assert [each["reason"] for each in preview["skipped"]] == (["conflict"] if skip else [])
    assert preview["moves"][1]["date"] == ("2026-04-10" if skip else "2026-04-03")


async def test_a_commit_sends_the_previewed_moves_with_their_fingerprint(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    body = {"scope": "all", "schedule_pattern": LATER, "from_date": "2026-03-25"}
    seen = (await previewed(tutor, rpcs, body))["plan_hash"]
    rpcs.answer("reschedule_series", MOVED)
    response = await tutor.post(SERIES, json=body | {"plan_hash": seen, "reason": "new school"})
    assert (response.status_code, response.json()["moved"], rpcs.count) == (200, 2, 3)
    sent = {
        "p_match_id": s.MATCH,
        "p_scope": "all",
        "p_from_date": "2026-03-25",
        "p_fingerprint": "f1",
        "p_moves": [
            {"session_id": s.SESSION, "start_utc": "2026-03-27T18:00:00+00:00"},
            {"session_id": s.OTHER, "start_utc": "2026-04-03T17:00:00+00:00"},
        ],
        "p_plan_hash": seen,
        "p_expected_plan_hash": seen,
        "p_reason": "new school",
    }
    assert rpcs.sent("reschedule_series") == sent
    assert response.json()["sessions"][0]["start_local"] == "2026-03-31T16:30:00+01:00"


async def test_the_pattern_becomes_the_matchs_on_request_and_keeps_its_duration(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("series_inputs", {**s.series_inputs, "pattern": {**s.PATTERN, "duration_mins": 45}})
    rpcs.answer("reschedule_series", MOVED)
    await tutor.post(SERIES, json={"scope": "all", "schedule_pattern": LATER, "set_schedule": True})
    assert rpcs.sent("reschedule_series")["p_schedule_pattern"] == {**LATER, "duration_mins": 45}


async def test_too_few_dates_are_the_databases_to_refuse(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("series_inputs", {**s.series_inputs, "window": {"start_date": "2026-03-23", "end_date": "2026-03-29"}})
    rpcs.refuse("reschedule_series", 422, "window_too_short", hint={"needed": 2, "fits": 1})
    preview = (await tutor.post(f"{SERIES}/preview", json={"scope": "all", "schedule_pattern": LATER})).json()
    assert (preview["needed"], preview["fits"], len(preview["moves"])) == (2, 1, 1)
    response = await tutor.post(SERIES, json={"scope": "all", "schedule_pattern": LATER})
    assert (response.status_code, response.json()["code"], response.json()["fits"]) == (422, "window_too_short", 1)
    assert len(rpcs.sent("reschedule_series")["p_moves"]) == 1
