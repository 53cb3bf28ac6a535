"""Nothing that was committed is lost, nothing is leased twice at once, and no reader passes over a late commit."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database
from tests.db.dispatch import EVENT_TYPE, claim, endpoint, happen, log, result, settle, told
from tests.db.lessons import DAY, HOUR, instant, lesson, update
from tests.house import ENGLISH, NADIA, NOW, Person
from tests.proof.clients import Clients, split

MESSAGES = 1000
DISPATCHERS = 8
BEGAN = instant(NOW)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


def crowd(house: Database, events: int) -> None:
    """So many events at once."""
    house.run(
        "select private.record_event(%s, 'session', gen_random_uuid(), jsonb_build_object('n', n), private.now())"
        " from generate_series(1, %s) as n",
        EVENT_TYPE,
        events,
    )


# --- dispatchers ------------------------------------------------------------------------------------------


def test_eight_dispatchers_and_a_thousand_messages_none_lost_none_leased_twice(
    database_url: str, house: Database, chance: Random
) -> None:
    endpoints = [endpoint(house), endpoint(house, EVENT_TYPE)]
    crowd(house, MESSAGES // 2)
    fates = [Random(chance.randrange(2**32)) for _ in range(DISPATCHERS)]

    def dispatch(client: Database, number: int) -> list[tuple[str, str, str]]:
        sent: list[tuple[str, str, str]] = []
        while True:
            answer = client.call("service_role", "claim_deliveries", p_limit=fates[number].randint(1, 20))
            sent += [(each["delivery_id"], each["message_id"], each["url"]) for each in answer["deliveries"]]
            if not answer["deliveries"] and not answer["more"]:
                return sent
            # The clock stands still: what fails here is due only later.
            outcomes = [
                fates[number].choice(("delivered", "failed")) if each["attempt"] < 8 else "delivered"
                for each in answer["deliveries"]
            ]
            results = [result(*pair) for pair in zip(answer["deliveries"], outcomes, strict=True)]
            counts = client.call("service_role", "settle_deliveries", p_results=results or "[]")
            assert counts == told(delivered=outcomes.count("delivered"), retrying=outcomes.count("failed"))

    seconds = 0
    sent: list[tuple[str, str, str]] = []
    with Clients.of(database_url, DISPATCHERS) as clients:
        while house.value("select count(*) from public.deliveries where status = 'pending'"):
            answers, refused = split(clients.at_once(dispatch))
            assert refused == []
            round_of = [each for answer in answers for each in answer]
            assert len(round_of) == len(set(round_of)), "leased twice at once"
            sent += round_of
            seconds += 1
            house.set_clock(BEGAN + seconds * DAY)
    times = Counter(delivery_id for delivery_id, _, _ in sent)
    assert len(times) == MESSAGES
    assert len({message for _, message, _ in sent}) == MESSAGES // 2
    assert house.rows("select distinct status::text from public.deliveries") == [("delivered",)]
    # Every attempt is in the log, once.
    logged = Counter(str(row) for (row,) in house.rows("select delivery_id from public.delivery_attempts"))
    assert logged == times
    assert {row for (row,) in house.rows("select distinct subscription_id from public.deliveries")} == set(endpoints)


def test_dispatchers_that_claim_at_the_same_moment_share_what_is_due(database_url: str, house: Database) -> None:
    endpoint(house)
    crowd(house, 300)
    with Clients.of(database_url, DISPATCHERS) as clients:
        answers, _ = split(clients.at_once(lambda client, _: claim(client, limit=20)))
    taken = [each["delivery_id"] for answer in answers for each in answer]
    assert len(taken) == len(set(taken)) == DISPATCHERS * 20
    assert house.value("select count(*) from public.deliveries where lease_id is not null") == len(taken)


def test_a_dispatcher_that_dies_between_claim_and_report_costs_nothing_but_time(
    database_url: str, house: Database
) -> None:
    endpoint(house)
    crowd(house, 20)
    doomed = Database.open(database_url)
    with closing(doomed.connection):
        first = claim(doomed)
        house.run("select pg_terminate_backend(%s)", doomed.connection.info.backend_pid)
    with Clients.of(database_url, DISPATCHERS) as clients:
        answers, _ = split(clients.at_once(lambda client, _: claim(client)))
        assert answers == [[]] * DISPATCHERS
        house.set_clock(BEGAN + timedelta(seconds=60))
        answers, _ = split(clients.at_once(lambda client, _: claim(client)))
    again = [each for answer in answers for each in answer]

    def message(each: dict[str, Any]) -> tuple[str, str, str]:
        return each["delivery_id"], each["message_id"], each["body"]

    assert sorted(map(message, again)) == sorted(map(message, first)), "the same ids and the same bytes"
    before = house.rows("select * from public.deliveries order by id")
    for each in first:
        assert settle(house, each) == told(stale=1)
    assert house.rows("select * from public.deliveries order by id") == before
    for each in again:
        assert settle(house, each) == told(delivered=1)
        assert [attempt[:2] for attempt in log(house, each["delivery_id"])] == [(1, "lost"), (2, "delivered")]


def test_a_dispatcher_that_dies_within_its_claim_leaves_no_lease(database_url: str, house: Database) -> None:
    endpoint(house)
    crowd(house, 5)
    doomed = Database.open(database_url)
    with closing(doomed.connection):
        doomed.connection.execute("begin")
        assert len(claim(doomed)) == 5
        assert claim(house) == []
        house.run("select pg_terminate_backend(%s)", doomed.connection.info.backend_pid)
    # The server takes the claim back in its own time.
    while not (again := claim(house)):
        pass
    assert [each["attempt"] for each in again] == [1] * 5


def test_of_two_reports_of_one_delivery_one_counts(database_url: str, house: Database) -> None:
    endpoint(house)
    with Clients.of(database_url, 4) as clients:
        for number in range(20):
            house.set_clock(BEGAN + number * HOUR)
            happen(house)
            (claimed,) = claim(house)
            answers, _ = split(
                clients.at_once(
                    lambda client, index, each=claimed: settle(client, each, ("delivered", "refused")[index % 2])
                )
            )
            assert sum(each["stale"] for each in answers) == 3
            assert len(log(house, claimed["delivery_id"])) == 1


def test_endpoints_change_while_dispatchers_work_and_nothing_deadlocks(
    database_url: str, house: Database, chance: Random
) -> None:
    with Clients.of(database_url, 8) as clients:
        for _ in range(40):
            endpoints = [endpoint(house) for _ in range(2)]
            happen(house)
            finished, other = claim(house)
            assert settle(house, finished) == settle(house, other) == told(delivered=1)
            crowd(house, 10)
            results = [result(each, chance.choice(("delivered", "failed", "gone"))) for each in claim(house, limit=10)]
            _, refused = split(clients.at_once(meddling(endpoints, results, finished["delivery_id"])))
            assert {each.code for each in refused} <= {"not_found", "illegal_transition"}
            assert house.value("select count(*) from public.deliveries where status = 'pending'") == 0
            house.run("delete from public.deliveries")


def meddling(endpoints: list[UUID], results: list[dict[str, Any]], finished: str) -> Callable[[Database, int], Any]:
    """What each of eight clients does at the same moment; in the end both endpoints are deleted."""

    def act(client: Database, number: int) -> Any:
        target = {"p_endpoint_id": endpoints[number % 2]}
        match number:
            case 0 | 1:
                return client.call("service_role", "settle_deliveries", p_results=results[:: 1 - 2 * number])
            case 2 | 3:
                return client.call(NADIA, "delete_webhook_endpoint", **target)
            case 4:
                return claim(client, limit=20)
            case 5:
                return client.call(NADIA, "update_webhook_endpoint", p_is_enabled=False, **target)
            case 6:
                return client.call(NADIA, "rotate_webhook_secret", **target)
            case _:
                return client.call(NADIA, "replay_delivery", p_delivery_id=finished)

    return act


# --- what is put down is what was done --------------------------------------------------------------------


def test_what_is_put_down_is_what_was_committed(database_url: str, house: Database, chance: Random) -> None:
    endpoint(house, "session.cancelled", "session.parked", "session.reopened")
    session_id = lesson(house, ENGLISH, instant("2026-03-10 15:00"))
    wanted = [chance.choice(("cancelled", "rescheduled", "scheduled")) for _ in range(100)]
    keeps = [chance.random() < 0.5 for _ in wanted]

    def act(client: Database, number: int) -> int:
        done = 0
        for status, keep in list(zip(wanted, keeps, strict=True))[number::4]:
            with client.connection.transaction(force_rollback=not keep):
                done += keep and update(client, NADIA, session_id, status, reason="so")["changed"]
        return done

    with Clients.of(database_url, 4) as clients:
        answers, refused = split(clients.at_once(act))
    assert refused == []
    events = house.value("select count(*) from private.outbox_events where aggregate_id = %s", session_id)
    assert sum(answers) == events == house.value("select count(*) from public.deliveries")
    sequences = house.rows(
        "select aggregate_sequence from private.outbox_events where aggregate_id = %s order by 1", session_id
    )
    assert sequences == [(number,) for number in range(1, events + 1)], "a rolled-back number is not missing"


# --- reading along ----------------------------------------------------------------------------------------


def read(db: Database, after: str | None = None, **options: object) -> tuple[list[str], str | None]:
    page = db.call(NADIA, "list_events", p_after=after, **options)
    return [each["id"] for each in page["events"]], page["next"]


def test_a_reader_never_passes_over_what_took_its_number_earlier_and_commits_later(
    database_url: str, house: Database
) -> None:
    slow = Database.open(database_url)
    with slow.connection:
        before = f"evt_{happen(house)}"
        got, cursor = read(house)
        assert got == [before]
        with slow.connection.transaction():
            late = f"evt_{happen(slow)}"
            quick = f"evt_{happen(house)}"
            assert read(house, cursor) == ([], cursor), "what was committed waits for what may still come before it"
        got, cursor = read(house, cursor)
        assert got == [late, quick]
        assert read(house, cursor) == ([], cursor)


def test_nor_what_began_earlier_and_took_its_number_later(database_url: str, house: Database) -> None:
    slow = Database.open(database_url)
    with slow.connection:
        with slow.connection.transaction():
            slow.connection.execute("select pg_current_xact_id()")
            quick = f"evt_{happen(house)}"
            assert read(house) == ([], None)
            late = f"evt_{happen(slow)}"
            assert read(house) == ([], None)
        # By number the quick one comes first, by transaction the late one.
        assert read(house)[0] == [late, quick]


def test_a_reader_among_many_writers_gets_everything_once(database_url: str, house: Database, chance: Random) -> None:
    writers = 7
    fates = [Random(chance.randrange(2**32)) for _ in range(writers)]

    def write(client: Database, number: int) -> list[str]:
        kept: list[str] = []
        for _ in range(30):
            keep = fates[number].random() < 0.8
            with client.connection.transaction(force_rollback=not keep):
                numbers = [_event(client) for _ in range(fates[number].randint(1, 3))]
                client.rows("select pg_sleep(%s)", fates[number].choice((0, 0, 0.005)))
            kept += numbers if keep else []
        return kept

    got: list[str] = []
    cursor: str | None = None
    with Clients.of(database_url, writers) as clients, ThreadPoolExecutor(1) as threads:
        writing = threads.submit(clients.at_once, write)
        while True:
            finished = writing.done()
            page, cursor = read(house, cursor, p_limit=5)
            got += page
            if finished and not page:
                break
    answers, _ = split(writing.result())
    written = [each for answer in answers for each in answer]
    assert len(got) == len(set(got)), "read twice"
    assert set(got) == set(written)


def _event(client: Database) -> str:
    query = "select private.record_event(%s, 'session', %s, '{}', private.now())"
    client.rows(query, EVENT_TYPE, uuid4())
    number = client.value("select currval('private.outbox_events_id_seq')")
    return f"evt_{number}"


# --- where the time goes ----------------------------------------------------------------------------------


def long_past(house: Database, rows: int) -> None:
    """So many delivered ones, as many that wait for a disabled endpoint, and a hundred that are due."""
    open_one, disabled = endpoint(house), endpoint(house)
    house.run("alter table private.outbox_events disable trigger outbox_events_spread")
    house.run(
        "insert into private.outbox_events (event_type, schema_version, aggregate_type, aggregate_id,"
        " aggregate_sequence, payload, occurred_at)"
        " select %s, 1, 'session', gen_random_uuid(), 1, '{}', private.now() from generate_series(1, %s)",
        EVENT_TYPE,
        rows,
    )
    house.run("alter table private.outbox_events enable trigger outbox_events_spread")
    house.run(
        "insert into public.deliveries (subscription_id, event_id, status, attempts, delivered_at)"
        " select %s, id, 'delivered', 1, private.now() from private.outbox_events",
        open_one,
    )
    house.run(
        "insert into public.deliveries (subscription_id, event_id) select %s, id from private.outbox_events", disabled
    )
    house.call(NADIA, "update_webhook_endpoint", p_endpoint_id=disabled, p_is_enabled=False)
    house.set_clock(BEGAN + HOUR)
    crowd(house, 100)
    house.run("analyze public.deliveries, private.outbox_events, private.subscriptions")
    house.set_clock(BEGAN + 2 * HOUR)


def plans_of(house: Database, who: Person | str, function: str, **parameters: Any) -> list[str]:
    """How the statements of a call were carried out."""
    house.run("load 'auto_explain'")
    plans: list[str] = []
    house.connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    for name, value in (
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_nested_statements", "on"),
        ("auto_explain.log_level", "notice"),
    ):
        house.run("select set_config(%s, %s, false)", name, value)
    house.call(who, function, **parameters)
    house.run("select set_config('auto_explain.log_min_duration', '-1', false)")
    return plans


def test_what_is_due_is_found_by_the_partial_index_among_a_hundred_thousand_that_are_done(house: Database) -> None:
    long_past(house, 100_000)
    plans = plans_of(house, "service_role", "claim_deliveries", p_limit=50)
    (picking,) = [each for each in plans if "LockRows" in each]
    assert "Index Scan using deliveries_due" in picking, picking
    for each in plans:
        assert "Seq Scan on deliveries" not in each, each
        assert "Seq Scan on outbox_events" not in each, each


def test_what_is_old_is_found_by_its_age(house: Database) -> None:
    long_past(house, 20_000)
    house.run("update private.outbox_events set recorded_at = recorded_at - interval '80 days' where id %% 100 = %s", 0)
    house.run("update public.deliveries set created_at = created_at - interval '80 days' where event_id %% 100 = %s", 0)
    house.run("analyze public.deliveries, private.outbox_events")
    house.set_clock(BEGAN + 20 * DAY)
    plans = plans_of(house, "service_role", "clean_up")
    deliveries, events = ("delete from public.deliveries", "delete from private.outbox_events")
    for statement, index in ((deliveries, "deliveries_finished"), (events, "outbox_events_age")):
        (plan,) = [each for each in plans if statement in each]
        assert f"using {index}" in plan, plan


def test_a_page_of_events_is_found_by_its_cursor(house: Database) -> None:
    long_past(house, 20_000)
    _, cursor = read(house, p_limit=200)
    (plan,) = [each for each in plans_of(house, NADIA, "list_events", p_after=cursor) if "Limit" in each]
    assert "using outbox_events_committed" in plan, plan
