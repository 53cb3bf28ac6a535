"""Free slots and the booking of one: what the database says about hours, and what is made of it here."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.functions import samples as s
from tests.functions.conftest import Rpcs

SPRING = {"listing_id": s.LISTING, "from": "2026-03-16T00:00:00Z", "to": "2026-04-16T00:00:00Z"}
REQUEST = {"listing_id": s.LISTING, "start_utc": "2026-03-30T23:00:00+01:00"}
BOOKED: Mapping[str, Any] = {"booking": s.booking, "session": None, "viewer_timezone": "Asia/Karachi"}


async def test_free_slots_are_shown_in_utc_and_on_the_viewers_clocks(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("slot_inputs", s.slot_inputs)
    response = await tutor.get("/slots", params=SPRING)
    found = response.json()
    assert (response.status_code, found["timezone"], found["duration_mins"]) == (200, "Asia/Karachi", 60)
    assert (found["listing_id"], found["tutor"]) == (s.LISTING, s.tutor)
    # The 23rd is a holiday; on the 30th a lesson is in the way of both; on 6 April the tutor is away.
    assert [each["start_utc"] for each in found["slots"]] == [
        "2026-03-16T22:00:00Z",
        "2026-03-16T23:00:00Z",
        "2026-04-13T21:00:00Z",
        "2026-04-13T22:00:00Z",
    ]
    assert found["slots"][-1] == {
        "start_utc": "2026-04-13T22:00:00Z",
        "end_utc": "2026-04-13T23:00:00Z",
        "start_local": "2026-04-14T03:00:00+05:00",
        "end_local": "2026-04-14T04:00:00+05:00",
    }


async def test_free_slots_are_shown_in_another_zone_on_request(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("slot_inputs", s.slot_inputs)
    found = (await tutor.get("/slots", params=SPRING | {"tz": "Europe/London"})).json()
    assert (found["timezone"], found["slots"][-1]["start_local"]) == ("Europe/London", "2026-04-13T23:00:00+01:00")


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({}, ["listing_id", "from", "to"]),
        (SPRING | {"listing_id": "1"}, ["listing_id"]),
        (SPRING | {"from": "2026-03-16"}, ["from"]),
        (SPRING | {"to": "9999-12-31T00:00:00Z"}, ["to"]),
        (SPRING | {"tz": "EST"}, ["tz"]),
        (SPRING | {"duration_mins": "30"}, ["duration_mins"]),
    ],
)
async def test_a_bad_window_is_named(
    tutor: httpx.AsyncClient, rpcs: Rpcs, query: dict[str, str], fields: list[str]
) -> None:
    response = await tutor.get("/slots", params=query)
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == fields


@pytest.mark.parametrize(("changed", "status"), [(True, 201), (False, 200)])
async def test_a_request_reads_the_hours_and_sends_their_fingerprint(
    tutor: httpx.AsyncClient, rpcs: Rpcs, *, changed: bool, status: int
) -> None:
    rpcs.answer("slot_inputs", s.slot_inputs)
    rpcs.answer("request_booking", {**BOOKED, "changed": changed})
    response = await tutor.post("/bookings", json=REQUEST | {"note": "Fractions"})
    assert (response.status_code, rpcs.count) == (status, 2), response.text
    assert rpcs.sent("slot_inputs") == {
        "p_listing_id": s.LISTING,
        "p_from": "2026-03-30T22:00:00+00:00",
        "p_to": "2026-03-30T22:01:00+00:00",
    }
    assert rpcs.sent("request_booking") == {
        "p_listing_id": s.LISTING,
        "p_start_utc": "2026-03-30T22:00:00Z",
        "p_note": "Fractions",
        "p_fingerprint": "f2",
    }
    result = response.json()
    assert result["changed"] == changed
    assert {name: result["booking"][name] for name in ("starts_at", "timezone", "start_local", "end_local")} == {
        "starts_at": "2026-03-30T22:00:00Z",
        "timezone": "Asia/Karachi",
        "start_local": "2026-03-31T03:00:00+05:00",
        "end_local": "2026-03-31T04:00:00+05:00",
    }


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("2026-03-30T20:00:00Z", "before the hours"),
        ("2026-03-30T23:00:00Z", "it would end after them"),
        ("2026-03-30T21:30:00Z", "between two slots"),
        ("2026-03-30T21:00:00.000001Z", "not to the second"),
        ("2026-03-31T21:00:00Z", "another weekday"),
        ("2026-03-23T22:00:00Z", "a holiday"),
        ("2026-04-06T22:00:00Z", "the tutor is away"),
    ],
)
async def test_a_time_that_is_not_offered_goes_no_further(
    tutor: httpx.AsyncClient, rpcs: Rpcs, start: str, why: str
) -> None:
    rpcs.answer("slot_inputs", s.slot_inputs)
    response = await tutor.post("/bookings", json=REQUEST | {"start_utc": start})
    assert (response.status_code, response.json()["code"], rpcs.count) == (422, "not_available", 1), why


async def test_whether_an_offered_time_is_taken_or_past_is_for_the_database_to_say(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    conflict = {
        "start_utc": "2026-03-30T22:00:00Z",
        "end_utc": "2026-03-30T23:00:00Z",
        "session_id": None,
        "of": "tutor",
    }
    rpcs.answer("slot_inputs", {**s.slot_inputs, "now": "2027-01-01T00:00:00+00:00"})
    rpcs.refuse("request_booking", 409, "slot_taken", "The tutor is busy then.", {"conflicts": [conflict]})
    response = await tutor.post("/bookings", json=REQUEST)
    assert (response.status_code, response.json()["code"], rpcs.count) == (409, "slot_taken", 2)
    assert response.json()["conflicts"] == [conflict]


async def test_with_a_key_a_request_reads_as_ever_and_writes_once(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("slot_inputs", s.slot_inputs)
    rpcs.answer("once", {**BOOKED, "changed": True})
    response = await tutor.post("/bookings", json=REQUEST, headers={"Idempotency-Key": "6f1f0c0e"})
    assert (response.status_code, rpcs.count) == (201, 2), response.text
    assert rpcs.sent("once")["p_function"] == "request_booking"
    assert rpcs.sent("once")["p_arguments"]["p_fingerprint"] == "f2"


async def test_an_acceptance_answers_with_the_session_it_made(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    accepted = {**s.booking, "status": "accepted", "session_id": s.SESSION, "decided_by_role": "tutor"}
    rpcs.answer("accept_booking", {**BOOKED, "booking": accepted, "session": s.booking_session, "changed": False})
    response = await tutor.post(f"/bookings/{s.BOOKING}/accept", params={"tz": "Europe/London"})
    result = response.json()
    assert (response.status_code, result["changed"]) == (200, False)
    assert rpcs.sent("accept_booking") == {"p_booking_id": s.BOOKING}
    assert result["booking"]["session_id"] == result["session"]["id"]
    assert result["booking"]["start_local"] == result["session"]["start_local"] == "2026-03-30T23:00:00+01:00"


async def test_a_booking_is_decided_without_a_body_as_with_an_empty_one(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    for action in ("decline", "cancel"):
        rpcs.answer(f"{action}_booking", {**BOOKED, "changed": True})
        for content in ("", "{}", '{"reason": null}'):
            headers = {"Content-Type": "application/json"}
            response = await tutor.post(f"/bookings/{s.BOOKING}/{action}", content=content, headers=headers)
            assert response.status_code == 200, response.text
            assert rpcs.sent(f"{action}_booking") == {"p_booking_id": s.BOOKING}


@pytest.mark.parametrize(
    ("path", "rpc", "rows", "last", "sent"),
    [
        ("/bookings", "list_bookings", "bookings", s.booking, "p_after_start"),
        ("/listings", "list_listings", "listings", s.listing, "p_after_created_at"),
    ],
)
async def test_a_page_leads_to_the_one_behind_its_last_row(  # noqa: PLR0917
    tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, rpc: str, rows: str, last: Mapping[str, Any], sent: str
) -> None:
    rpcs.answer(rpc, {rows: [last], "has_more": True, "viewer_timezone": "UTC"})
    cursor = (await tutor.get(path)).json()["next_cursor"]
    assert cursor not in last.values()
    rpcs.answer(rpc, {rows: [last], "has_more": False, "viewer_timezone": "UTC"})
    assert (await tutor.get(path, params={"cursor": cursor})).json()["next_cursor"] is None
    at = last["starts_at"] if rows == "bookings" else last["created_at"].replace(".25", ".250000")
    assert rpcs.sent(rpc) == {"p_limit": 50, sent: at, "p_after_id": last["id"]}
    bad = await tutor.get(path, params={"cursor": cursor[:-4]})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("hours", "field"),
    [
        ([{"weekday": 0, "starts_at": "10:00", "ends_at": "11:00"}], "hours.0.weekday"),
        ([{"weekday": 1, "starts_at": "24:00", "ends_at": "24:00"}], "hours.0.starts_at"),
        ([{"weekday": 1, "starts_at": "10:00", "ends_at": "24:30"}], "hours.0.ends_at"),
        ([{"weekday": 1, "starts_at": "22:00", "ends_at": "02:00"}], "hours.0"),
        ([{"weekday": 1, "starts_at": "10:00"}], "hours.0.ends_at"),
        ([{"weekday": 1, "starts_at": "10:00", "ends_at": "11:00", "zone": "UTC"}], "hours.0.zone"),
        ([{"weekday": 1, "starts_at": "10:00", "ends_at": "11:00"}] * 51, "hours"),
        (None, "hours"),
    ],
)
async def test_hours_that_are_none_are_named(tutor: httpx.AsyncClient, rpcs: Rpcs, hours: object, field: str) -> None:
    response = await tutor.put("/availability", json={"timezone": "UTC", "hours": hours})
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [error["field"] for error in response.json()["errors"]] == [field]
