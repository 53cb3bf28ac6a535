"""An event reacts in its own transaction, is delivered at least once afterwards, and is forgotten in time."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.dispatch import EVENT_TYPE, claim, delivery, endpoint, happen, log, result, settle, told
from tests.db.lessons import DAY, HOUR, audit, column, events, instant, lesson, update
from tests.house import BILAL, LENA, NADIA, NOW, Person

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WAITS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]
BEGAN = instant(NOW)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    """A database in which things are committed."""
    house = Database.open(database_url)
    with house.connection:
        yield house


def deliveries(db: Database) -> int:
    return db.value("select count(*) from public.deliveries")


# --- the registry -----------------------------------------------------------------------------------------


def test_every_type_of_event_that_the_chapters_write_is_entered_and_explained(db: Database) -> None:
    written = {
        name
        for (name,) in db.rows(
            r"""
            select distinct m[1] from pg_proc p, regexp_matches(prosrc || coalesce(pg_get_function_sqlbody(oid), ''),
              '''((?:session|schedule|match)\.[a-z_]+)''', 'g') as m
             where pronamespace = 'private'::regnamespace
            """
        )
    }
    assert {name for (name,) in db.rows("select name from private.event_types")} >= written
    assert EVENT_TYPE in written
    assert db.value("select count(*) from private.event_types where description !~ '^[A-Z].*[.]$'") == 0


# --- reactions --------------------------------------------------------------------------------------------


def react(db: Database, body: str, *event_types: str) -> None:
    """From now on the house reacts to these events (or to all) with these statements; `$1` is the event."""
    db.run(
        "create or replace function private.react(p_event private.outbox_events) returns void language plpgsql"
        f" set search_path = '' as $$ begin {body} end $$"
    )
    db.run("insert into private.reactions values ('test', %s, 'react')", list(event_types) or None)


REMEMBER = "insert into public.seen values (p_event.id, p_event.event_type);"


@pytest.fixture
def seen(db: Database) -> Database:
    db.run("create table public.seen (event_id bigint, event_type text)")
    return db


def failures(db: Database) -> list[tuple[Any, ...]]:
    return db.rows("select reaction, event_id, failures, sqlstate, retry_at from private.reaction_failures")


def repair(db: Database, now: datetime) -> tuple[int, int]:
    """What the clean-up at that time repaired, and what failed again."""
    db.set_clock(now)
    counts = db.call("service_role", "clean_up")
    return counts["repaired"], counts["failed"]


def test_a_reaction_runs_in_the_transaction_of_the_action(seen: Database) -> None:
    react(seen, REMEMBER)
    session_id = lesson(seen)
    with seen.connection.transaction(force_rollback=True):
        update(seen, NADIA, session_id, "cancelled", reason="Flu.")
        assert seen.value("select array_agg(event_type) from public.seen") == [
            "schedule.generated",
            "session.cancelled",
        ]
    assert seen.value("select array_agg(event_type) from public.seen") == ["schedule.generated"]


def test_a_reaction_runs_for_the_types_it_names_alone(seen: Database) -> None:
    react(seen, REMEMBER, "session.cancelled", "session.completed")
    happen(seen, "session.started")
    number = happen(seen, "session.completed")
    assert seen.rows("select * from public.seen") == [(number, "session.completed")]


def test_a_reaction_that_fails_never_undoes_the_action_and_is_kept_for_repair(seen: Database) -> None:
    react(seen, REMEMBER + " raise division_by_zero;", "session.cancelled")
    endpoint(seen, "session.cancelled")
    session_id = lesson(seen)
    assert update(seen, NADIA, session_id, "cancelled", reason="Flu.")["changed"]
    assert (column(seen, session_id, "status"), events(seen, session_id)) == ("cancelled", ["session.cancelled"])
    assert audit(seen, session_id)[-1] == ("session_status_updated", "admin", NADIA.id)
    assert seen.rows("select * from public.seen") == [], "half of a reaction is none"
    assert deliveries(seen) == 1, "the others are told all the same"
    number = seen.value("select id from private.outbox_events where aggregate_id = %s", session_id)
    assert failures(seen) == [("test", number, 1, "22012", BEGAN + MINUTE)]


def test_a_reaction_that_fails_is_repaired_when_its_time_comes(seen: Database) -> None:
    react(seen, "raise division_by_zero;")
    number = happen(seen)
    now = BEGAN
    for count in range(1, 14):
        pause = min(MINUTE * 2 ** (count - 1), DAY)
        assert failures(seen) == [("test", number, count, "22012", now + pause)]
        assert repair(seen, now + pause - SECOND) == (0, 0)
        now += pause
        if count < 13:
            assert repair(seen, now) == (0, 1)
    seen.run(
        "create or replace function private.react(p_event private.outbox_events) returns void language plpgsql"
        f" set search_path = '' as $$ begin {REMEMBER} end $$"
    )
    assert repair(seen, now) == (1, 0)
    assert failures(seen) == []
    assert seen.rows("select * from public.seen") == [(number, EVENT_TYPE)]
    assert repair(seen, now + DAY) == (0, 0)


def test_a_reaction_must_be_a_function_that_takes_an_event(db: Database) -> None:
    for name in ("now", "no_such_function", "touch"):
        with pytest.raises(psycopg.errors.CheckViolation, match="reactions_have_a_function"):
            db.run("insert into private.reactions values ('x', null, %s)", name)


# --- deliveries are put down ------------------------------------------------------------------------------


def test_an_event_is_put_down_for_each_enabled_subscription_that_wants_it(db: Database) -> None:
    everything, these, others = endpoint(db), endpoint(db, "session.started", EVENT_TYPE), endpoint(db, "match.ended")
    disabled = endpoint(db)
    db.call(NADIA, "update_webhook_endpoint", p_endpoint_id=disabled, p_is_enabled=False)
    number = happen(db)
    assert set(db.rows("select subscription_id, event_id, status::text from public.deliveries")) == {
        (everything, number, "pending"),
        (these, number, "pending"),
    }
    happen(db, "match.ended")
    assert db.value("select count(*) from public.deliveries where subscription_id = %s", others) == 1


def test_a_transaction_that_is_rolled_back_leaves_no_delivery(db: Database) -> None:
    endpoint(db)
    session_id = lesson(db)
    before = deliveries(db)
    with db.connection.transaction(force_rollback=True):
        update(db, NADIA, session_id, "cancelled", reason="Flu.")
        assert deliveries(db) == before + 1
    assert deliveries(db) == before


# --- claiming ---------------------------------------------------------------------------------------------


def test_a_claim_hands_over_all_that_a_sender_needs(db: Database) -> None:
    made = db.call(NADIA, "create_webhook_endpoint", p_url="https://receiver.test/a?b=c")
    aggregate = uuid4()
    happen(db, "session.started", aggregate)
    number = happen(db, EVENT_TYPE, aggregate)
    db.set_clock(BEGAN + SECOND)
    _, claimed = claim(db)
    assert claimed | {"body": ""} == {
        "delivery_id": claimed["delivery_id"], "lease_id": claimed["lease_id"], "consumer": "webhook", "attempt": 1,
        "message_id": f"evt_{number}", "event_type": EVENT_TYPE, "body": "",
        "url": "https://receiver.test/a?b=c", "secrets": [made["secret"]],
    }  # fmt: skip
    (listed,) = db.rows("select private.event_document(e) from private.outbox_events e where id = %s", number)
    assert listed == (
        {
            "id": f"evt_{number}", "type": EVENT_TYPE, "schema_version": 1,
            "aggregate": {"type": "session", "id": str(aggregate), "sequence": 2},
            "occurred_at": "2026-02-26T09:00:00+00:00", "data": {"word": "größer"},
        },
    )  # fmt: skip
    assert db.value("select %s::jsonb", claimed["body"]) == listed[0]
    assert delivery(db, claimed["delivery_id"], "leased_until") == BEGAN + SECOND + MINUTE


def test_the_body_says_the_same_in_every_session_of_the_database(house: Database) -> None:
    endpoint(house)
    happen(house)
    (first,) = claim(house)
    house.set_clock(BEGAN + HOUR)
    for setting in ("timezone = 'Asia/Karachi'", "datestyle = 'German'", "extra_float_digits = 0"):
        house.run(f"set {setting}")
    (second,) = claim(house)
    assert (first["message_id"], first["body"]) == (second["message_id"], second["body"])


def test_the_oldest_due_goes_first_whatever_endpoint_it_is_for_and_a_claim_is_bounded(db: Database) -> None:
    for event_type in ("session.started", EVENT_TYPE):
        endpoint(db, event_type)
    expected: list[str] = []
    for number in range(6):
        db.set_clock(BEGAN + number * SECOND)
        expected.append(f"evt_{happen(db, ('session.started', EVENT_TYPE)[number % 2])}")
    db.set_clock(BEGAN + MINUTE)
    answer = db.call("service_role", "claim_deliveries", p_limit=4)
    assert ([each["message_id"] for each in answer["deliveries"]], answer["more"]) == (expected[:4], True)
    answer = db.call("service_role", "claim_deliveries", p_limit=4)
    assert ([each["message_id"] for each in answer["deliveries"]], answer["more"]) == (expected[4:], False)
    assert db.call("service_role", "claim_deliveries") == {"deliveries": [], "more": False}


def test_the_backlog_of_one_leaves_room_for_the_others(db: Database) -> None:
    endpoint(db, EVENT_TYPE)
    for _ in range(6):
        happen(db)
    other = endpoint(db, EVENT_TYPE, url="https://other.test/hook")
    last = [happen(db) for _ in range(2)]
    claimed = claim(db, limit=4)
    assert [each["message_id"] for each in claimed if each["url"] == "https://other.test/hook"] == [
        f"evt_{number}" for number in last
    ]
    assert (
        db.value("select count(*) from public.deliveries where lease_id is not null and subscription_id = %s", other)
        == 2
    )


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": None}, "limit"),
        ({"lease_seconds": 4}, "lease_seconds"),
        ({"lease_seconds": 3601}, "lease_seconds"),
        ({"lease_seconds": None}, "lease_seconds"),
    ],
)
def test_a_claim_has_bounds(db: Database, options: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        claim(db, **options)
    assert (refused.value.status, refused.value.code, refused.value.extra) == (422, "invalid", {"field": field})


def test_what_is_leased_is_nobody_elses_until_the_lease_runs_out(db: Database) -> None:
    endpoint(db)
    happen(db)
    (first,) = claim(db, lease_seconds=60)
    db.set_clock(BEGAN + 59 * SECOND)
    assert claim(db) == []
    db.set_clock(BEGAN + 60 * SECOND)
    (second,) = claim(db)
    assert second["attempt"] == 2
    assert {**second, "lease_id": first["lease_id"], "attempt": 1} == first, "the same id and the same bytes"
    assert second["lease_id"] != first["lease_id"]
    assert log(db, first["delivery_id"]) == [(1, "lost", None, "The dispatcher did not come back.")]


def test_a_delivery_whose_dispatchers_are_all_lost_is_given_up(db: Database) -> None:
    endpoint_id = endpoint(db)
    happen(db)
    (first,) = claim(db)
    for number in range(1, 8):
        db.set_clock(BEGAN + number * HOUR)
        (again,) = claim(db)
        assert again["attempt"] == number + 1
    db.set_clock(BEGAN + 8 * HOUR)
    assert claim(db) == []
    assert delivery(db, first["delivery_id"]) == "dead"
    assert [attempt[:2] for attempt in log(db, first["delivery_id"])] == [(number, "lost") for number in range(1, 9)]
    failing = "select failing_since from public.webhook_endpoints where id = %s"
    assert db.value(failing, endpoint_id) is None, "it is not the endpoint's fault"


# --- settling ---------------------------------------------------------------------------------------------


def test_what_was_delivered_is_done(db: Database) -> None:
    endpoint(db)
    happen(db)
    (claimed,) = claim(db)
    assert settle(db, claimed, status_code=204, duration_ms=12) == told(delivered=1)
    (row,) = db.rows(
        "select status::text, attempts, lease_id, leased_until, last_status_code, last_error, delivered_at"
        " from public.deliveries"
    )
    assert row == ("delivered", 1, None, None, 204, None, BEGAN)
    assert log(db, claimed["delivery_id"]) == [(1, "delivered", 204, None)]
    db.set_clock(BEGAN + DAY)
    assert claim(db) == []


def test_what_fails_is_tried_again_after_longer_and_longer_waits_and_then_given_up(db: Database) -> None:
    endpoint(db)
    happen(db)
    now = BEGAN
    for number, wait in enumerate(WAITS, 1):
        (claimed,) = claim(db)
        assert claimed["attempt"] == number
        assert settle(db, claimed, "failed", status_code=500, error="It said 500.") == told(retrying=1)
        due: datetime = delivery(db, claimed["delivery_id"], "next_attempt_at")
        assert 0.8 * wait <= due - now <= 1.2 * wait
        db.set_clock(due - timedelta(microseconds=1))
        assert claim(db) == []
        now = due
        db.set_clock(now)
    (claimed,) = claim(db)
    assert settle(db, claimed, "failed", error="Nobody answers.", retry_after_seconds=5) == told(dead=1)
    assert delivery(db, claimed["delivery_id"]) == "dead"
    assert [attempt[:2] for attempt in log(db, claimed["delivery_id"])] == [
        (number, "failed") for number in range(1, 9)
    ]
    db.set_clock(now + 30 * DAY)
    assert claim(db) == []


def test_the_waits_are_spread(db: Database) -> None:
    endpoint(db)
    for _ in range(40):
        happen(db)
    results = [result(each, "failed") for each in claim(db)]
    assert db.call("service_role", "settle_deliveries", p_results=results) == told(retrying=40)
    waits = [(due - BEGAN) / WAITS[0] for (due,) in db.rows("select next_attempt_at from public.deliveries order by 1")]
    assert len(set(waits)) > 30
    assert 0.8 <= waits[0] < 0.95
    assert 1.05 < waits[-1] <= 1.2


@pytest.mark.parametrize(
    ("asked", "wait"),
    [(3600, HOUR), (86_400, DAY), (1_000_000, DAY)],
)
def test_a_receiver_that_asks_for_more_time_gets_it_up_to_a_day(db: Database, asked: int, wait: timedelta) -> None:
    endpoint(db)
    happen(db)
    (claimed,) = claim(db)
    settle(db, claimed, "failed", status_code=429, retry_after_seconds=asked)
    assert delivery(db, claimed["delivery_id"], "next_attempt_at") == BEGAN + wait


@pytest.mark.parametrize("asked", [0, 1, -5, None])
def test_a_receiver_cannot_ask_to_be_told_sooner(db: Database, asked: int | None) -> None:
    endpoint(db)
    happen(db)
    (claimed,) = claim(db)
    settle(db, claimed, "failed", status_code=503, retry_after_seconds=asked)
    assert delivery(db, claimed["delivery_id"], "next_attempt_at") >= BEGAN + 4 * SECOND


@pytest.mark.parametrize("outcome", ["refused", "gone"])
def test_what_can_never_be_delivered_is_given_up_at_once(db: Database, outcome: str) -> None:
    endpoint(db)
    happen(db)
    (claimed,) = claim(db)
    assert settle(db, claimed, outcome, error="x" * 600) == told(dead=1)
    assert delivery(db, claimed["delivery_id"]) == "dead"
    assert delivery(db, claimed["delivery_id"], "last_error") == "x" * 500
    assert log(db, claimed["delivery_id"]) == [(1, outcome, None, "x" * 500)]


def rows_left(db: Database) -> list[Any]:
    return [
        db.value(f"select jsonb_agg(to_jsonb(r) order by to_jsonb(r)::text) from public.{table} r")
        for table in ("deliveries", "delivery_attempts", "webhook_endpoints")
    ]


def test_a_report_under_a_lease_that_is_anothers_changes_nothing(db: Database) -> None:
    endpoint(db)
    happen(db)
    (late,) = claim(db)
    db.set_clock(BEGAN + HOUR)
    (present,) = claim(db)
    before = rows_left(db)
    for outcome in ("delivered", "failed", "refused", "gone"):
        assert settle(db, late, outcome) == told(stale=1)
    unknown = late | {"delivery_id": str(uuid4())}
    without = late | {"lease_id": None}
    assert db.call("service_role", "settle_deliveries", p_results=[result(unknown), result(without)]) == told(stale=2)
    assert rows_left(db) == before
    assert settle(db, present) == told(delivered=1)
    before = rows_left(db)
    assert settle(db, present, "failed") == told(stale=1), "nor does a report that comes twice"
    assert rows_left(db) == before


def test_a_report_that_comes_late_but_before_anybody_else_still_counts(db: Database) -> None:
    endpoint(db)
    happen(db)
    (claimed,) = claim(db)
    db.set_clock(BEGAN + HOUR)
    assert settle(db, claimed) == told(delivered=1)
    assert claim(db) == []


def test_many_reports_at_once_are_counted_by_what_became_of_them(db: Database) -> None:
    endpoint(db)
    for _ in range(4):
        happen(db)
    one, two, three, four = claim(db)
    results = [result(one), result(two, "failed"), result(three, "refused"), result(four), result(four)]
    answer = db.call("service_role", "settle_deliveries", p_results=results)
    assert answer == told(delivered=2, retrying=1, dead=1, stale=1)
    assert db.call("service_role", "settle_deliveries", p_results="[]") == told()


@pytest.mark.parametrize("results", ["{}", "null", '"x"', '[{"outcome": "lost"}]', "[{}]", None])
def test_a_report_says_how_it_ended(db: Database, results: str | None) -> None:
    with pytest.raises(Refused) as refused:
        db.call("service_role", "settle_deliveries", p_results=results)
    assert (refused.value.status, refused.value.code, refused.value.extra) == (422, "invalid", {"field": "results"})


def test_the_log_of_attempts_is_append_only(db: Database) -> None:
    endpoint(db)
    happen(db)
    settle(db, claim(db)[0])
    for statement in ("update public.delivery_attempts set error = 'x'", "truncate public.delivery_attempts"):
        with pytest.raises(Refused, match="409 use_function"):
            db.run(statement)


def test_nobody_but_the_service_key_dispatches_or_cleans_up(db: Database) -> None:
    for who in (NADIA, BILAL, LENA, "anon", "authenticated"):
        for function, arguments in (
            ("claim_deliveries", {}),
            ("settle_deliveries", {"p_results": "[]"}),
            ("clean_up", {}),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.call(who, function, **arguments)


# --- once more --------------------------------------------------------------------------------------------


def test_a_finished_delivery_is_sent_again_as_it_was_with_all_its_tries(db: Database) -> None:
    endpoint(db)
    happen(db)
    (first,) = claim(db)
    settle(db, first, "refused", error="no")
    db.set_clock(BEGAN + DAY)
    answer = db.call(NADIA, "replay_delivery", p_delivery_id=first["delivery_id"])
    assert (answer["status"], answer["attempts"], instant(answer["next_attempt_at"])) == ("pending", 1, BEGAN + DAY)
    for number, wait in enumerate(WAITS, 2):
        (again,) = claim(db)
        assert again["attempt"] == number
        assert (again["message_id"], again["body"]) == (first["message_id"], first["body"])
        settle(db, again, "failed")
        due = delivery(db, first["delivery_id"], "next_attempt_at")
        assert due - db.value("select private.now()") >= 0.8 * wait
        db.set_clock(due)
    assert settle(db, claim(db)[0]) == told(delivered=1)
    assert [attempt[:2] for attempt in log(db, first["delivery_id"])] == [
        (1, "refused"), *((number, "failed") for number in range(2, 9)), (9, "delivered"),
    ]  # fmt: skip
    replayed = db.call(NADIA, "replay_delivery", p_delivery_id=first["delivery_id"])
    assert (replayed["status"], replayed["delivered_at"]) == ("pending", None)
    assert audit(db, UUID(first["delivery_id"])) == [("delivery_replayed", "admin", NADIA.id)] * 2


def test_a_pending_delivery_is_not_replayed(db: Database) -> None:
    endpoint(db)
    happen(db)
    for _ in range(2):
        (delivery_id,) = (row for (row,) in db.rows("select id from public.deliveries"))
        with pytest.raises(Refused) as refused:
            db.call(NADIA, "replay_delivery", p_delivery_id=delivery_id)
        assert (refused.value.status, refused.value.code) == (409, "illegal_transition")
        assert refused.value.extra == {"from": "pending", "to": "pending"}
        claim(db)


def test_a_delivery_is_shown_with_its_event_and_its_log(db: Database) -> None:
    endpoint_id = endpoint(db)
    number = happen(db)
    (claimed,) = claim(db)
    settle(db, claimed, "failed", status_code=500, error="It said 500.", duration_ms=31)
    shown = db.call(NADIA, "get_delivery", p_delivery_id=claimed["delivery_id"])
    due = delivery(db, claimed["delivery_id"], "next_attempt_at")
    assert instant(shown["next_attempt_at"]) == due
    assert shown | {"next_attempt_at": None} == {
        "id": claimed["delivery_id"], "endpoint_id": str(endpoint_id), "event_id": f"evt_{number}",
        "event_type": EVENT_TYPE, "status": "pending", "attempts": 1, "next_attempt_at": None,
        "last_status_code": 500, "last_error": "It said 500.", "delivered_at": None,
        "created_at": "2026-02-26T09:00:00+00:00",
        "event": db.value("select %s::jsonb", claimed["body"]),
        "log": [{
            "attempt": 1, "attempted_at": "2026-02-26T09:00:00+00:00", "duration_ms": 31, "outcome": "failed",
            "status_code": 500, "error": "It said 500.",
        }],
    }  # fmt: skip


def test_a_delivery_that_is_not_there_is_not_found(db: Database) -> None:
    for function in ("get_delivery", "replay_delivery"):
        with pytest.raises(Refused, match="404 not_found"):
            db.call(NADIA, function, p_delivery_id=uuid4())


# --- reading along ----------------------------------------------------------------------------------------


def read(db: Database, after: str | None = None, **options: object) -> dict[str, Any]:
    return db.call(NADIA, "list_events", p_after=after, **options)


def ids(answer: dict[str, Any]) -> list[str]:
    return [each["id"] for each in answer["events"]]


def test_events_are_read_a_page_at_a_time_and_the_cursor_waits_for_more(house: Database) -> None:
    assert read(house) == {"events": [], "next": None, "has_more": False}
    numbers = [f"evt_{happen(house)}" for _ in range(5)]
    first = read(house, p_limit=2)
    assert (ids(first), first["has_more"]) == (numbers[:2], True)
    second = read(house, first["next"], p_limit=3)
    assert (ids(second), second["has_more"]) == (numbers[2:], False)
    nothing = read(house, second["next"])
    assert nothing == {"events": [], "next": second["next"], "has_more": False}
    later = f"evt_{happen(house)}"
    assert ids(read(house, nothing["next"])) == [later]


def test_several_events_of_one_transaction_are_parted_by_no_page(house: Database) -> None:
    with house.connection.transaction():
        numbers = [f"evt_{happen(house)}" for _ in range(4)]
    got: list[str] = []
    after: str | None = None
    for _ in numbers:
        page = read(house, after, p_limit=1)
        got += ids(page)
        after = page["next"]
    assert got == numbers


def test_an_event_is_listed_as_it_is_sent(house: Database) -> None:
    endpoint(house)
    happen(house)
    (claimed,) = claim(house)
    assert read(house)["events"] == [house.value("select %s::jsonb", claimed["body"])]


@pytest.mark.parametrize(
    "after", ["", "x", "1", "1.", ".1", "-1.1", "1.1.1", "1.1\n", "1 .1", "9" * 19 + ".1", "1." + "9" * 19]
)
def test_a_cursor_that_was_never_given_is_refused(db: Database, after: str) -> None:
    with pytest.raises(Refused) as refused:
        read(db, after)
    assert (refused.value.status, refused.value.code, refused.value.extra) == (422, "invalid", {"field": "after"})


@pytest.mark.parametrize("limit", [0, 201])
def test_a_page_of_events_is_bounded(db: Database, limit: int) -> None:
    with pytest.raises(Refused) as refused:
        read(db, p_limit=limit)
    assert (refused.value.status, refused.value.extra) == (422, {"field": "limit"})


@pytest.mark.parametrize("who", [BILAL, LENA])
def test_events_and_deliveries_are_the_admins_affair(db: Database, who: Person) -> None:
    for function, arguments in (
        ("list_events", {}),
        ("get_delivery", {"p_delivery_id": uuid4()}),
        ("replay_delivery", {"p_delivery_id": uuid4()}),
        ("list_deliveries", {"p_endpoint_id": uuid4()}),
    ):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(who, function, **arguments)


# --- forgetting -------------------------------------------------------------------------------------------


def clean_up(db: Database, now: datetime, **options: object) -> dict[str, Any]:
    db.set_clock(now)
    return db.call("service_role", "clean_up", **options)


def kept(db: Database) -> tuple[int, int, int]:
    """How many events, deliveries and attempts there are."""
    tables = ("private.outbox_events", "public.deliveries", "public.delivery_attempts")
    return tuple(db.value(f"select count(*) from {table}") for table in tables)  # pyright: ignore[reportReturnType]


NOTHING = {
    "repaired": 0, "failed": 0, "deliveries": 0, "events": 0, "answers": 0, "call_counts": 0, "refreshes": 0,
    "messages": 0, "consent_tokens": 0, "provider_events": 0,
    "more": False,
}  # fmt: skip


def test_events_and_finished_deliveries_are_forgotten_after_their_days(db: Database) -> None:
    endpoint(db)
    for outcome in ("delivered", "refused"):
        happen(db)
        settle(db, claim(db)[0], outcome)
    assert kept(db) == (2, 2, 2)
    assert clean_up(db, BEGAN + 90 * DAY) == NOTHING
    assert clean_up(db, BEGAN + 90 * DAY + SECOND) == NOTHING | {"deliveries": 2, "events": 2}
    assert kept(db) == (0, 0, 0)
    assert clean_up(db, BEGAN + 90 * DAY + SECOND) == NOTHING


def test_admins_say_how_long_events_are_kept(db: Database) -> None:
    happen(db)
    db.call(NADIA, "update_settings", p_events_kept_days=7)
    assert clean_up(db, BEGAN + 7 * DAY + SECOND)["events"] == 1


def test_what_a_pending_delivery_needs_is_kept(db: Database) -> None:
    slow, quick = endpoint(db), endpoint(db)
    number = happen(db)
    done = next(each for each in claim(db) if _endpoint_of(db, each) == quick)
    settle(db, done)
    db.call(NADIA, "update_webhook_endpoint", p_endpoint_id=slow, p_is_enabled=False)
    assert clean_up(db, BEGAN + 1000 * DAY) == NOTHING | {"deliveries": 1}
    db.call(NADIA, "update_webhook_endpoint", p_endpoint_id=slow, p_is_enabled=True)
    (waited,) = claim(db)
    assert (waited["message_id"], waited["body"]) == (f"evt_{number}", done["body"])
    settle(db, waited)
    assert clean_up(db, BEGAN + 1000 * DAY) == NOTHING | {"deliveries": 1, "events": 1}


def _endpoint_of(db: Database, claimed: dict[str, Any]) -> UUID:
    return delivery(db, claimed["delivery_id"], "subscription_id")


def test_what_a_reaction_still_owes_is_kept(db: Database) -> None:
    react(db, "raise division_by_zero;")
    happen(db)
    db.run("update private.reaction_failures set retry_at = 'infinity'")
    assert clean_up(db, BEGAN + 1000 * DAY) == NOTHING
    db.run("delete from private.reactions")
    assert clean_up(db, BEGAN + 1000 * DAY) == NOTHING | {"events": 1}


def test_answers_counts_and_refreshes_are_forgotten_after_a_day(db: Database) -> None:
    arguments = {"p_on_date": "2026-12-25", "p_name": "Christmas"}
    db.call(
        NADIA, "once", p_idempotency_key="k", p_request_hash="h", p_function="create_holiday", p_arguments=arguments
    )
    db.run("insert into private.call_counts values (%s, 'x', private.now(), 1)", LENA.id)
    db.call(LENA, "refresh_session_statuses")
    assert clean_up(db, BEGAN + DAY) == NOTHING
    assert clean_up(db, BEGAN + DAY + SECOND) == NOTHING | {"answers": 1, "call_counts": 1, "refreshes": 1}


def test_a_clean_up_is_bounded_and_says_when_there_is_more(db: Database) -> None:
    for _ in range(5):
        happen(db)
    later = BEGAN + 100 * DAY
    assert clean_up(db, later, p_limit=3) == NOTHING | {"events": 3, "more": True}
    assert clean_up(db, later, p_limit=3) == NOTHING | {"events": 2}
    for limit in (0, 5001, None):
        with pytest.raises(Refused) as refused:
            clean_up(db, later, p_limit=limit)
        assert (refused.value.status, refused.value.extra) == (422, {"field": "limit"})
