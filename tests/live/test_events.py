"""Reading along over HTTP: whoever keeps the cursor misses nothing, however late somebody commits."""

from datetime import datetime, timedelta

import psycopg
import pytest

from scripts.receiver import Receiver
from tests.house import BILAL, NADIA, NOW, OLIVER
from tests.live.answers import answer, problem
from tests.live.receiving import (
    as_scheduler,
    change,
    deliver,
    deliveries,
    events_after,
    happen,
    ids,
    something_happens,
    subscribe,
)
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

START = datetime.fromisoformat(NOW)
AN_EVENT = "select private.record_event('session.completed', 'session', gen_random_uuid(), '{}', private.now())"


def ids_in(page: Row) -> list[str]:
    return [each["id"] for each in page["events"]]


def read_on(house: ServedHouse, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
    """All that is there behind a cursor, page by page, and the cursor then."""
    read: list[str] = []
    more = True
    while more:
        page = events_after(house, cursor, limit)
        assert len(page["events"]) <= limit
        read += ids_in(page)
        cursor, more = page["next"], page["has_more"]
    return read, cursor


def test_events_come_page_by_page_and_the_cursor_waits_for_the_next_ones(house: ServedHouse) -> None:
    assert events_after(house, None) == {"events": [], "next": None, "has_more": False}
    happened = happen(house, 5)
    read, cursor = read_on(house, None, 2)
    assert read == happened
    assert events_after(house, cursor) == {"events": [], "next": cursor, "has_more": False}
    later = happen(house, 3)
    assert read_on(house, cursor, 200)[0] == later
    assert read_on(house, None, 3)[0] == happened + later


def test_a_consumer_that_was_down_catches_up_with_nothing_missing(house: ServedHouse) -> None:
    with Receiver().listening() as receiver:
        endpoint = subscribe(house, receiver)
        told = happen(house, 3)
        deliver(house)
        assert set(ids(receiver.messages)) == set(told)
    _, cursor = read_on(house, None, 100)

    # Down for so long that it is turned off, and then not even put down for.
    missed = happen(house, 2)
    assert deliver(house)["retrying"] == 2
    house.set_clock(START + timedelta(days=5, minutes=10))
    deliver(house)
    missed += happen(house, 4)
    assert deliver(house)["delivered"] == 0

    caught_up, cursor = read_on(house, cursor, 2)
    assert caught_up == missed
    with Receiver().listening() as receiver:
        change(house, endpoint, url=receiver.url + "/hook", is_enabled=True)
        house.set_clock(START + timedelta(days=6))
        after = happen(house)
        deliver(house)
        assert set(after) <= set(ids(receiver.messages)) <= set(missed + after), "what waited comes too, under its id"
    assert read_on(house, cursor, 100)[0] == after


def test_a_late_commit_is_not_skipped_and_a_rolled_back_one_is_never_seen(house: ServedHouse) -> None:
    with (
        psycopg.connect(house.env["DATABASE_URL"]) as slow,
        psycopg.connect(house.env["DATABASE_URL"]) as undone,
    ):
        slow.execute(AN_EVENT)
        undone.execute(AN_EVENT)
        happened = happen(house, 2)
        read, cursor = read_on(house, None, 100)
        assert read == [], "what comes before them may still be committed"
        undone.rollback()
        slow.commit()
    read, _ = read_on(house, cursor, 100)
    assert len(read) == 3
    assert read[1:] == happened
    assert read == read_on(house, None, 1)[0]


def test_what_is_rolled_back_is_told_to_nobody(house: ServedHouse) -> None:
    with Receiver().listening() as receiver:
        endpoint = subscribe(house, receiver)
        with psycopg.connect(house.env["DATABASE_URL"]) as undone:
            undone.execute(AN_EVENT)
            undone.rollback()
        assert deliver(house)["delivered"] == 0
        assert deliveries(house, endpoint) == receiver.messages == []


def test_an_event_says_what_it_is_about_and_counts_for_it(house: ServedHouse) -> None:
    planned = something_happens(house)
    assert planned["aggregate"]["type"] in {"package", "match"}
    (session,) = answer(house.sign_in(NADIA).get("/sessions", params={"limit": 1}))["sessions"]
    for status in ("cancelled", "scheduled"):
        body = {"status": status, "reason": "a mistake"}
        answer(house.sign_in(NADIA).post(f"/sessions/{session['id']}/status", json=body))
    cancelled, reopened = events_after(house, None)["events"][1:]
    assert (cancelled["type"], reopened["type"]) == ("session.cancelled", "session.reopened")
    assert cancelled["aggregate"] == {"type": "session", "id": session["id"], "sequence": 1}
    assert reopened["aggregate"] == {"type": "session", "id": session["id"], "sequence": 2}
    assert cancelled["data"]["session_id"] == session["id"]


def test_deliveries_come_page_by_page_newest_first_and_by_status(house: ServedHouse) -> None:
    with Receiver().listening() as receiver:
        endpoint = subscribe(house, receiver)
        happened = happen(house, 5)
        deliver(house)
        happened += happen(house, 1)
    path = f"/webhook-endpoints/{endpoint['id']}/deliveries"
    listed: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = answer(house.sign_in(NADIA).get(path, params=query))
        listed += [each["event_id"] for each in page["deliveries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert listed == list(reversed(happened))
    assert [each["event_id"] for each in deliveries(house, endpoint, status="pending")] == happened[-1:]
    assert [each["event_id"] for each in deliveries(house, endpoint, status="delivered")] == happened[-2::-1]


def test_cleaning_up_forgets_what_is_old_and_keeps_what_is_still_to_be_sent(house: ServedHouse) -> None:
    with Receiver().listening() as receiver:
        endpoint = subscribe(house, receiver)
        happen(house, 3)
        deliver(house)
        _, cursor = read_on(house, None, 100)
        receiver.behave("/hook", "500")
        pending = happen(house)
        deliver(house)
    house.set_clock(START + timedelta(days=91))
    done = answer(house.anybody.get("/cron/clean-up", headers=as_scheduler(house)))
    assert (done["events"], done["deliveries"], done["more"]) == (3, 3, False)
    assert read_on(house, None, 100)[0] == pending
    assert read_on(house, cursor, 100)[0] == pending, "an old cursor goes on from where it was"
    assert [each["event_id"] for each in deliveries(house, endpoint)] == pending
    assert house.anybody.get("/cron/clean-up", headers=as_scheduler(house)).json()["events"] == 0


def test_events_are_for_admins(house: ServedHouse) -> None:
    for person in (BILAL, OLIVER):
        problem(house.sign_in(person).get("/events"), 403, "not_allowed")
        problem(house.sign_in(person).get("/webhook-endpoints"), 403, "not_allowed")
    problem(house.sign_in(NADIA).get("/events", params={"after": "1.99999999999999999999"}), 422, "invalid")
