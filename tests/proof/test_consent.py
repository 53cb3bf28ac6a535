"""Whoever answers, decides, withdraws or moves at the moment in which the time runs out: one decision, always."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from tests.database import Database
from tests.db.consents import ANSWERS, asked, request
from tests.db.lessons import DAY, HOUR, START, column, events, lesson
from tests.house import LENA, NADIA, NOW
from tests.proof.clients import Clients, Outcome, split

ASKED = datetime.fromisoformat(NOW)
OVER = ASKED + 48 * HOUR
"""When silence becomes consent."""
OPEN = {"pending", "call_requested"}
CANCELS = {"approved", "auto_approved"}


class Question(NamedTuple):
    """A lesson that is asked about, and the guardian's token."""

    session_id: UUID
    request_id: UUID
    token: str


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        yield house


def ask(house: Database, number: int) -> Question:
    """Every lesson has a day of its own; it is a second before the time is over."""
    house.set_clock(ASKED)
    house.run("delete from private.call_counts")
    session_id = lesson(house, start=START + number * DAY)
    request_id, token = asked(house, session_id)
    house.set_clock(OVER - timedelta(seconds=1))
    return Question(session_id, request_id, token)


# --- what everybody may do to it ----------------------------------------------------------------------------


def answer(client: Database, question: Question, how: str) -> str:
    """Through the link; whether it decided."""
    told = client.call("service_role", "answer_consent", p_token=question.token, p_answer=how)
    if told["outcome"] != "too_late":
        assert told["status"] in {ANSWERS[how], "auto_approved"}
    return told["outcome"]


def tap(client: Database, question: Question, how: str, event: str | None = None) -> str:
    """By a message, which the provider tells."""
    said = {"provider": "meta", "provider_event_id": event or str(uuid4()), "token": question.token, "answer": how}
    told = client.call("service_role", "answer_consent_messages", p_answers=json.dumps([said]))
    return told["results"][0]["outcome"]


def keep_silent(client: Database) -> str:
    """The time runs out, and the scheduler comes by at once."""
    client.set_clock(OVER)
    told = client.call("service_role", "auto_approve_cancellations")
    assert told["failed"] == 0
    return "decided" if told["approved"] else "nothing"


def by_an_admin(client: Database, question: Question, how: str) -> str:
    told = client.call(NADIA, f"{how}_cancellation", p_request_id=question.request_id)
    return "decided" if told["changed"] else "already"


def withdraw(client: Database, question: Question) -> str:
    told = client.call(LENA, "withdraw_cancellation", p_request_id=question.request_id)
    return "decided" if told["changed"] else "already"


def move(client: Database, question: Question, start: datetime) -> str:
    client.call(NADIA, "reschedule_session", p_session_id=question.session_id, p_start_utc=start)
    return "moved"


# --- what must be so afterwards -------------------------------------------------------------------------------


def turns(house: Database, question: Question) -> list[tuple[str, str, str]]:
    """From which status the request went to which, and who did it; oldest first."""
    return house.rows(
        """
        select details -> 'status' ->> 'from', details -> 'status' ->> 'to', actor_role::text
          from public.audit_logs
         where entity_id = %s and action = 'cancellation_request_updated' and details ? 'status' order by id
        """,
        question.request_id,
    )  # pyright: ignore[reportReturnType]


def the_decision(house: Database, question: Question, outcomes: list[Outcome[str]]) -> str:
    """What the request has become, once; and everybody was told so.

    A call is no decision yet, so an admin, who asked, or a move may follow upon it.
    """
    answered, refused = split(outcomes)
    assert {each.code for each in refused} <= {"already_decided", "illegal_transition"}
    row, taken = request(house, question.request_id), turns(house, question)
    statuses = ["pending", *(to for _, to, _ in taken)]
    assert [came for came, _, _ in taken] == statuses[:-1]
    assert set(statuses[:-1]) <= OPEN
    assert statuses[-1] == row["status"]
    by_hand = [to for to in statuses[1:] if to != "lapsed"]
    # A late answer has the clock decide without the scheduler, who then finds nothing to do.
    late = "auto_approved" in by_hand and answered.count("decided") == len(by_hand) - 1
    assert answered.count("decided") == len(by_hand) or late
    told = [each.removeprefix("cancellation.") for each in events(house, question.session_id)]
    assert [each for each in told if each in {*statuses, "requested"}] == ["requested", *statuses[1:]]
    assert row["status"] == "pending" or row["expires_at"] is None
    assert (row["answered_by_guardian_id"] is not None) == ("guardian" in {who for _, _, who in taken})

    is_cancelled = column(house, question.session_id, "status") == "cancelled"
    assert is_cancelled == (row["status"] in CANCELS)
    assert told.count("session.cancelled") == is_cancelled
    wishes = house.value("select count(*) from public.reschedule_requests where session_id = %s", question.session_id)
    assert wishes == statuses.count("reschedule_requested")
    return f"{row['status']} by {taken[-1][2]}" if taken else "pending"


ROUNDS = pytest.mark.parametrize("rounds", [200, pytest.param(2000, marks=pytest.mark.long)])


@ROUNDS
def test_an_answer_and_the_clock_make_one_decision(
    database_url: str, house: Database, chance: Random, rounds: int
) -> None:
    became: Counter[str] = Counter()
    wanted = {f"{status} by guardian" for status in ANSWERS.values()} | {"auto_approved by clock"}
    with Clients.of(database_url, 4) as clients:
        for number in range(10 * rounds):
            # It goes on until everybody has been first; how soon is a matter of chance.
            if number >= rounds and wanted <= set(became):
                break
            question, how = ask(house, number), chance.choice([*ANSWERS])
            acts: list[Callable[[Database], str]] = [
                lambda client, question=question, how=how: answer(client, question, how),
                lambda client, question=question, how=how: tap(client, question, how),
                keep_silent,
                keep_silent,
            ]
            outcomes = clients.at_once(lambda client, index, acts=acts: acts[index](client))
            _, refused = split(outcomes)
            assert refused == []
            decision = the_decision(house, question, outcomes)
            assert decision in {f"{ANSWERS[how]} by guardian", "auto_approved by clock"}
            became[decision] += 1
            # Late answers of every kind change nothing, and are told what is so.
            row = request(house, question.request_id)
            for late in ANSWERS:
                told = answer(house, question, late)
                assert told == (
                    "already" if decision.startswith((ANSWERS[late], f"auto_{ANSWERS[late]}")) else "too_late"
                )
            assert request(house, question.request_id) == row
    assert wanted <= set(became), became


@ROUNDS
def test_whoever_decides_at_once_one_of_them_does(
    database_url: str, house: Database, chance: Random, rounds: int
) -> None:
    became: Counter[str] = Counter()
    wanted = {"guardian", "clock", "admin", "student"}
    with Clients.of(database_url, 6) as clients:
        for number in range(10 * rounds):
            if (
                number >= rounds
                and wanted <= {each.rsplit(" ", 1)[1] for each in became}
                and any(each.startswith("lapsed") for each in became)
            ):
                break
            question, how = ask(house, number), chance.choice([*ANSWERS])
            instead = column(house, question.session_id, "scheduled_start_utc")
            assert isinstance(instead, datetime)
            other, admins = chance.choice([*ANSWERS]), chance.choice(["approve", "reject"])
            acts: list[Callable[[Database], str]] = [
                lambda client, question=question, how=how: answer(client, question, how),
                lambda client, question=question, how=other: tap(client, question, how),
                keep_silent,
                lambda client, question=question, how=admins: by_an_admin(client, question, how),
                lambda client, question=question: withdraw(client, question),
                lambda client, question=question, start=instead + HOUR: move(client, question, start),
            ]
            chance.shuffle(acts)
            outcomes = clients.at_once(lambda client, index, acts=acts: acts[index](client))
            became[the_decision(house, question, outcomes)] += 1


@pytest.mark.parametrize("rounds", [50, pytest.param(500, marks=pytest.mark.long)])
def test_the_same_word_told_by_many_at_once_counts_once(
    database_url: str, house: Database, chance: Random, rounds: int
) -> None:
    """A provider that repeats itself, in another order and beside forgeries; nobody waits in a circle."""
    with Clients.of(database_url, 8) as clients:
        for number in range(0, 2 * rounds, 2):
            one, other = ask(house, number), ask(house, number + 1)
            house.run(
                "update public.messages set provider = 'meta', provider_message_id = cancellation_request_id::text"
                " where template = 'P26_cancellation_request' and cancellation_request_id in (%s, %s)",
                one.request_id,
                other.request_id,
            )
            said = [
                {"token": one.token, "answer": "keep"},
                {"replied_to": str(other.request_id), "answer": "call"},
                {"token": "x" * 43, "answer": "approve"},
                {"token": one.token, "replied_to": str(other.request_id), "answer": "approve"},
                {"replied_to": str(one.session_id), "answer": "approve"},
            ]
            batch = [each | {"provider": "meta", "provider_event_id": str(uuid4())} for each in said]
            orders = [chance.sample(batch, len(batch)) for _ in range(len(clients))]

            def tell(client: Database, index: int, orders: list[list[dict[str, Any]]] = orders) -> dict[str, str]:
                told = client.call("service_role", "answer_consent_messages", p_answers=json.dumps(orders[index]))
                return {
                    each["provider_event_id"]: result["outcome"]
                    for each, result in zip(orders[index], told["results"], strict=True)
                }

            outcomes, refused = split(clients.at_once(tell))
            assert refused == []
            for each, outcome in zip(batch, ("decided", "decided", "unknown", "unknown", "unknown"), strict=True):
                told = Counter(outcomes_of[each["provider_event_id"]] for outcomes_of in outcomes)
                assert told == {outcome: 1, "ignored": len(clients) - 1}
            assert [request(house, each.request_id)["status"] for each in (one, other)] == [
                "rejected",
                "call_requested",
            ]
            assert column(house, one.session_id, "status") == column(house, other.session_id, "status") == "scheduled"


def test_schedulers_at_once_share_the_work_while_guardians_answer(
    database_url: str, house: Database, chance: Random
) -> None:
    for batch in range(10):
        questions = [ask(house, 20 * batch + number) for number in range(20)]
        house.set_clock(OVER)

        answered = [chance.sample(questions, 10) for _ in range(2)]

        def act(client: Database, index: int, answered: list[list[Question]] = answered) -> int:
            if index < 3:
                told = client.call("service_role", "auto_approve_cancellations", p_limit=7)
                assert told["failed"] == 0
                return told["approved"]
            return sum(answer(client, each, "keep") == "decided" for each in answered[index - 3])

        with Clients.of(database_url, 5) as clients:
            outcomes, refused = split(clients.at_once(act))
        assert refused == []
        assert outcomes[3:] == [0, 0], "the time was over"
        while house.call("service_role", "auto_approve_cancellations")["more"]:
            pass
        assert {request(house, each.request_id)["status"] for each in questions} == {"auto_approved"}
        assert all(len(turns(house, each)) == 1 for each in questions)
        assert house.rows("select from private.consent_failures") == []
