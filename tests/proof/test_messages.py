"""What people are told is sent once, whoever else is sending, dies, moves the lesson or decides at the same moment."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database
from tests.db.lessons import DAY, HOUR, START, instant, lesson, move, update
from tests.db.letters import claim, forget, message, plan, reminders, result, settle, write
from tests.house import ENGLISH, LENA, MATHEMATICS, NADIA, NOW, PHYSICS
from tests.proof.clients import Clients, split

MESSAGES = 500
DISPATCHERS = 8
PLANNERS = 6
BEGAN = instant(NOW)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


def crowd(house: Database, messages: int) -> None:
    """So many messages to Lena at once, none of which expires."""
    house.run(
        "select private.write_message('session_disputed', %s, null, null) from generate_series(1, %s)",
        LENA.id,
        messages,
    )
    house.run("update public.messages set expires_at = null")


def statuses(house: Database) -> dict[str, int]:
    return dict(house.rows("select status::text, count(*) from public.messages group by 1"))


# --- dispatchers ------------------------------------------------------------------------------------------


def test_eight_dispatchers_send_five_hundred_messages_each_once(
    database_url: str, house: Database, chance: Random
) -> None:
    crowd(house, MESSAGES)
    fates = [Random(chance.randrange(2**32)) for _ in range(DISPATCHERS)]
    tomorrow = (BEGAN + DAY).isoformat()

    def dispatch(client: Database, number: int) -> list[str]:
        """What this one has handed to a provider."""
        sent: list[str] = []
        while True:
            answer = client.call("service_role", "claim_messages", p_limit=fates[number].randint(1, 20))
            if not answer["messages"] and not answer["more"]:
                return sent
            outcomes = [fates[number].choice(("sent", "sent", "failed", "deferred")) for _ in answer["messages"]]
            results = [
                result(each, outcome, send_after=tomorrow)
                for each, outcome in zip(answer["messages"], outcomes, strict=True)
            ]
            sent += [each["message_id"] for each in results if each["outcome"] == "sent"]
            counts = settle(client, *results)
            assert counts.get("sent", 0) == outcomes.count("sent")
            assert counts.get("stale", 0) == 0

    sent: list[str] = []
    rounds = 0
    with Clients.of(database_url, DISPATCHERS) as clients:
        while statuses(house).get("pending"):
            answers, refused = split(clients.at_once(dispatch))
            assert refused == []
            sent += [each for answer in answers for each in answer]
            rounds += 1
            house.set_clock(BEGAN + rounds * DAY)
    assert max(Counter(sent).values()) == 1, "sent twice"
    assert statuses(house).get("sent") == len(sent)
    assert len(sent) + statuses(house).get("failed", 0) == MESSAGES, "lost"


def test_dispatchers_that_claim_at_the_same_moment_share_what_is_due(database_url: str, house: Database) -> None:
    crowd(house, 300)
    with Clients.of(database_url, DISPATCHERS) as clients:
        answers, _ = split(clients.at_once(lambda client, _: claim(client, limit=20)))
    taken = [each["message_id"] for answer in answers for each in answer]
    assert len(taken) == len(set(taken)) == DISPATCHERS * 20


def test_what_a_dispatcher_had_when_it_died_is_unknown_and_never_sent_again(database_url: str, house: Database) -> None:
    crowd(house, 20)
    doomed = Database.open(database_url)
    with closing(doomed.connection):
        handed_over = {each["message_id"] for each in claim(doomed, limit=12)}
        house.run("select pg_terminate_backend(%s)", doomed.connection.info.backend_pid)
    with Clients.of(database_url, DISPATCHERS) as clients:
        for days in range(3):
            house.set_clock(BEGAN + days * DAY)
            answers, _ = split(clients.at_once(lambda client, _: claim(client, limit=20)))
            again = {each["message_id"] for answer in answers for each in answer}
            assert not again & handed_over
    lost = {str(each) for (each,) in house.rows("select id from public.messages where status = 'unknown'")}
    assert handed_over < lost, "and so is what the others did not report"
    assert statuses(house) == {"unknown": 20}


def test_a_dispatcher_that_dies_within_its_claim_has_sent_nothing(database_url: str, house: Database) -> None:
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


def test_of_two_reports_of_one_message_one_counts(database_url: str, house: Database) -> None:
    with Clients.of(database_url, 4) as clients:
        for _ in range(20):
            message_id = write(house)
            (claimed,) = claim(house)
            answers, _ = split(
                clients.at_once(lambda client, _, each=claimed: settle(client, result(each, "unreachable")))
            )
            assert sorted(next(iter(each)) for each in answers) == ["stale"] * 3 + ["unreachable"]
            assert message(house, message_id) == "unreachable"


# --- reminders --------------------------------------------------------------------------------------------


def lessons(house: Database, count: int) -> list[UUID]:
    """So many lessons within one day, from one on, an hour apart; each has three readers."""
    made = [
        lesson(house, (MATHEMATICS, ENGLISH, PHYSICS)[number % 3], START + number * HOUR) for number in range(count)
    ]
    forget(house)
    return made


def test_six_planners_at_once_plan_each_reminder_once(database_url: str, house: Database) -> None:
    lessons(house, 20)
    house.set_clock(START - 3 * HOUR)
    with Clients.of(database_url, PLANNERS) as clients:
        answers, refused = split(clients.at_once(lambda client, _: plan(client, limit=500)))
        assert refused == []
        assert sum(answers) == 60
        house.run("delete from public.messages")
        answers, _ = split(clients.at_once(lambda client, number: [plan(client, limit=5 + number) for _ in range(12)]))
    assert sum(sum(each) for each in answers) == 60
    rows = house.value("select count(distinct (session_id, reader_id, kind, about_start)) from public.messages")
    assert rows == house.value("select count(*) from public.messages") == 60


def test_lessons_move_while_others_plan_and_send_and_nothing_stale_is_left(
    database_url: str, house: Database, chance: Random
) -> None:
    made = lessons(house, 12)
    house.set_clock(START - 6 * HOUR)
    fates = [Random(chance.randrange(2**32)) for _ in range(DISPATCHERS)]

    def act(client: Database, number: int) -> None:
        for _ in range(12):
            match number:
                case 0 | 1:
                    plan(client, limit=fates[number].randint(1, 40))
                case 2 | 3:
                    leased = claim(client, limit=fates[number].randint(1, 20))
                    settle(client, *(result(each, fates[number].choice(("sent", "failed"))) for each in leased))
                case 4 | 5:
                    # An hour later and back again: half of the moves return to a time that was reminded of before.
                    index = fates[number].randrange(len(made))
                    move(
                        client,
                        made[index],
                        START + index * HOUR + fates[number].choice((0, 14)) * MINUTE,
                        length=30 * MINUTE,
                    )
                case _:
                    index = fates[number].randrange(len(made))
                    update(client, NADIA, made[index], fates[number].choice(("cancelled", "scheduled")), reason="so")

    with Clients.of(database_url, DISPATCHERS) as clients:
        _, refused = split(clients.at_once(act))
    assert {each.code for each in refused} <= {"slot_taken"}
    assert house.rows("select reaction, sqlstate from private.reaction_failures") == []

    house.set_clock(START - 5 * HOUR)
    claim(house, limit=500)
    plan(house, limit=500)
    for session_id, status, start in house.rows("select id, status::text, scheduled_start_utc from public.sessions"):
        waiting = {about for _, _, about in reminders(house, session_id)}
        assert waiting <= ({start} if status == "scheduled" else set()), "what waits is true"
        said = reminders(house, session_id, "pending", "sent", "failed", "unknown")
        if status == "scheduled":
            assert [reader for reader, _, about in said if about == start] == ["guardian", "student", "tutor"]


def test_through_any_outages_each_reminder_goes_out_once_in_its_time_or_not_at_all(
    house: Database, chance: Random
) -> None:
    """The scheduler comes each ten minutes, when it comes; whoever was up in a reminder's time had it sent."""
    made = lessons(house, 6)
    starts = {session_id: START + number * HOUR for number, session_id in enumerate(made)}
    times = [START - DAY - HOUR + 10 * MINUTE * step for step in range(6 * 32)]
    up: list[Any] = []
    while times:
        awake, asleep = chance.randint(1, 12), chance.randint(0, 30)
        up += times[:awake]
        times = times[awake + asleep :]
    sent: Counter[tuple[str, str, str]] = Counter()
    for now in up:
        plan(house, now)
        for each in claim(house, only="reminders", limit=500):
            start = instant(each["session"]["scheduled_start_utc"])
            kind = each["kind"]
            assert start - (DAY if kind == "24h" else HOUR) <= now < start - (HOUR if kind == "24h" else 0 * HOUR)
            sent[each["session"]["id"], each["reader"]["kind"], kind] += 1
            settle(house, result(each))
    assert not sent or max(sent.values()) == 1
    for session_id, start in starts.items():
        in_time = {
            "24h": any(start - DAY <= now < start - 2 * HOUR for now in up),
            "1h": any(start - HOUR <= now < start for now in up),
        }
        for kind, was_up in in_time.items():
            for reader in ("tutor", "student", "guardian"):
                assert sent[str(session_id), reader, kind] == was_up


# --- a guardian's question, and everybody who decides about it --------------------------------------------


def test_sending_a_question_and_deciding_about_it_never_wait_for_each_other_in_a_circle(
    database_url: str, house: Database, chance: Random
) -> None:
    with Clients.of(database_url, 6) as clients:
        for number in range(40):
            house.set_clock(BEGAN)
            session_id = lesson(house, start=START + number * HOUR)
            forget(house)
            house.run("delete from private.call_counts")
            asked = house.call(LENA, "request_cancellation", p_session_id=session_id, p_reason="Flu.")["request"]["id"]
            (claimed,) = claim(house)
            named = {"channel": "whatsapp", "provider": "meta", "provider_message_id": f"wamid.{number}"}
            _, refused = split(clients.at_once(deciding(asked, session_id, claimed, named, chance.random())))
            assert {each.code for each in refused} <= {"already_decided", "illegal_transition"}
            ((status, expires_at),) = house.rows(
                "select status::text, expires_at from public.cancellation_requests where id = %s", asked
            )
            assert (
                status != "pending"
                or expires_at is None
                or message(house, claimed["message_id"])
                in (
                    "sent",
                    "delivered",
                )
            )
            assert house.rows("select reaction, sqlstate from private.reaction_failures") == []


def deciding(
    asked: str, session_id: UUID, claimed: dict[str, Any], named: dict[str, Any], fate: float
) -> Callable[[Database, int], Any]:
    """What each of six clients does at the same moment."""

    def act(client: Database, number: int) -> Any:
        match number:
            case 0:
                outcome = "sent" if fate < 0.5 else "refused"
                return settle(client, result(claimed, outcome, **named))
            case 1:
                report = {**named, "reply_id": None, "status": "failed" if fate < 0.25 else "delivered"}
                return client.call("service_role", "note_message_statuses", p_statuses=[report])
            case 2:
                return client.call(LENA, "withdraw_cancellation", p_request_id=asked)
            case 3:
                return client.call(NADIA, "reject_cancellation", p_request_id=asked)
            case 4:
                return client.call(NADIA, "cancel_session", p_session_id=session_id, p_reason="so")
            case _:
                return claim(client, limit=20)

    return act
