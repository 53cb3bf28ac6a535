"""Every content gets its vector once, however many jobs run and whichever of them die."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.database import Database
from tests.db.lessons import instant
from tests.house import BILAL, LENA, NOW
from tests.proof.clients import Clients, split

SPACE: dict[str, Any] = {"p_model": "m", "p_dimension": 2}
LEASE = timedelta(seconds=60)
BEGAN = instant(NOW)


@pytest.fixture
def house(database_url: str) -> Iterator[Database]:
    house = Database.open(database_url)
    with house.connection:
        house.run("update public.settings set model_calls_a_day = 100000")
        yield house


def learn(house: Database, *texts: str) -> None:
    house.run(
        "insert into public.learning_events ("
        "       event_type, student_user_id, tutor_user_id, content_for_embedding, occurred_at)"
        " select 'note', %s, %s, text, private.now() from unnest(%s::text[]) as text",
        LENA.id,
        BILAL.id,
        list(texts),
    )


def claim(house: Database, limit: int = 100, **space: Any) -> list[dict[str, str]]:
    """The contents of one batch; empty when nothing is left for this job."""
    asked = SPACE | space | {"p_limit": limit, "p_lease_seconds": int(LEASE.total_seconds())}
    return house.call("service_role", "claim_embeddings", **asked)["contents"]


def settle(house: Database, contents: list[dict[str, str]], **space: Any) -> dict[str, int]:
    embedding = [1] * int((SPACE | space)["p_dimension"])
    vectors = [{"content_hash": each["content_hash"], "embedding": embedding} for each in contents]
    return house.call("service_role", "settle_embeddings", **(SPACE | space), p_vectors=vectors or "[]")


def waiting(house: Database, space: str = "m/2") -> int:
    """How many events have no meaning of that space yet."""
    return house.value(
        "select count(*) from private.event_embeddings w"
        " where w.space <> %s or not exists (select from private.embeddings e"
        "   where e.content_hash = w.content_hash and e.space = w.space and e.embedding is not null)",
        space,
    )


def texts_of(contents: list[dict[str, str]]) -> list[str]:
    return sorted(each["content"] for each in contents)


def test_jobs_at_once_make_every_meaning_once(database_url: str, house: Database, chance: Random) -> None:
    for _ in range(5):
        texts = [f"Page {chance.randrange(10_000)} of {chance.randrange(10_000)}" for _ in range(150)]
        learn(house, *texts, *chance.sample(texts, 100))

        def work(job: Database, number: int) -> list[str]:
            done: list[str] = []
            while contents := claim(job, 7 + number):
                done += texts_of(contents)
                # Meanwhile the same is written once more.
                learn(job, contents[0]["content"])
                assert settle(job, contents) == {"settled": len(contents), "stale": 0}
            return done

        with Clients.of(database_url, 6) as clients:
            answers, refused = split(clients.at_once(work))
        assert refused == []
        made = Counter(text for each in answers for text in each)
        # A job that finds nothing goes home while others are still at it; whoever comes next finds the rest.
        while contents := claim(house):
            made.update(texts_of(contents))
            settle(house, contents)
        assert made == Counter(set(texts))
        assert waiting(house) == 0


def test_jobs_that_take_and_bring_the_same_never_deadlock(database_url: str, house: Database, chance: Random) -> None:
    """Leases end at once here, so that every job takes what others have."""
    texts = [f"Page {number}" for number in range(40)]
    learn(house, *texts, *texts)

    def work(job: Database, number: int) -> None:
        for turn in range(15):
            contents = claim(job, 20)
            learn(job, f"Page {(number * turn) % 40}")
            settle(job, contents[::-1] if number % 2 else contents)
            house_clock = BEGAN + (1 + turn) * 2 * LEASE
            job.set_clock(house_clock + chance.random() * LEASE)

    with Clients.of(database_url, 6) as clients:
        _, refused = split(clients.at_once(work))
    assert refused == []
    house.set_clock(BEGAN + timedelta(days=3))
    while contents := claim(house):
        settle(house, contents)
    assert waiting(house) == 0
    assert house.value("select count(*) from private.embeddings") == 40


def test_a_job_that_dies_after_its_claim_leaves_it_to_the_next_when_the_lease_is_over(house: Database) -> None:
    learn(house, "One.", "Two.", "Two.")
    first = claim(house)
    assert texts_of(first) == ["One.", "Two."]
    house.set_clock(BEGAN + LEASE - timedelta(seconds=1))
    assert claim(house) == []
    house.set_clock(BEGAN + LEASE)
    again = claim(house)
    assert texts_of(again) == texts_of(first)
    assert settle(house, again) == {"settled": 2, "stale": 0}
    assert settle(house, first) == {"settled": 0, "stale": 2}, "who comes back late changes nothing"
    assert (waiting(house), claim(house)) == (0, [])


def test_a_job_that_dies_within_its_claim_leaves_no_lease(database_url: str, house: Database) -> None:
    learn(house, "One.", "Two.")
    doomed = Database.open(database_url)
    with closing(doomed.connection):
        doomed.connection.execute("begin")
        assert len(claim(doomed)) == 2
        assert claim(house) == []
        house.run("select pg_terminate_backend(%s)", doomed.connection.info.backend_pid)
    # The server takes the claim back in its own time.
    while not (again := claim(house)):
        pass
    assert texts_of(again) == ["One.", "Two."]
    assert house.rows("select distinct attempts from private.embeddings") == [(1,)]


def test_a_job_that_dies_while_it_brings_them_has_brought_none(database_url: str, house: Database) -> None:
    learn(house, "One.", "Two.")
    contents = claim(house)
    doomed = Database.open(database_url)
    with closing(doomed.connection):
        doomed.connection.execute("begin")
        assert settle(doomed, contents)["settled"] == 2
        house.run("select pg_terminate_backend(%s)", doomed.connection.info.backend_pid)
    assert settle(house, contents) == {"settled": 2, "stale": 0}
    assert waiting(house) == 0


def test_a_content_that_is_known_is_not_asked_for_again(house: Database) -> None:
    learn(house, "One.")
    settle(house, claim(house))
    learn(house, "One.")
    assert waiting(house) == 1
    calls = house.value("select calls from private.model_calls")
    assert claim(house) == []
    assert waiting(house) == 0
    assert house.value("select calls from private.model_calls") == calls, "nobody was asked"


def test_another_model_makes_every_meaning_anew_and_the_first_is_still_there(house: Database) -> None:
    learn(house, "One.", "Two.")
    settle(house, claim(house))
    for model in ("a", "z"):
        other = claim(house, p_model=model, p_dimension=3)
        assert texts_of(other) == ["One.", "Two."]
        settle(house, other, p_model=model, p_dimension=3)
        assert waiting(house, f"{model}/3") == 0
    assert claim(house) == [], "back to the first: what it made was kept"
    assert waiting(house) == 0


def test_part_of_a_batch_may_be_brought(house: Database) -> None:
    learn(house, "One.", "Two.")
    contents = claim(house)
    assert settle(house, contents[:1]) == {"settled": 1, "stale": 0}
    house.set_clock(BEGAN + LEASE)
    assert claim(house) == contents[1:]


def test_what_no_job_brings_back_is_tried_once_a_day_and_holds_up_nothing_else(house: Database) -> None:
    learn(house, "Poison.")
    now = BEGAN
    for _ in range(5):
        house.set_clock(now)
        assert texts_of(claim(house, 1)) == ["Poison."]
        now += LEASE
    house.set_clock(now)
    assert texts_of(claim(house, 1)) == ["Poison."]
    learn(house, "One.")
    house.set_clock(now + timedelta(hours=23))
    assert texts_of(claim(house, 1)) == ["One."]
    house.set_clock(now + timedelta(days=1))
    assert texts_of(claim(house)) == ["One.", "Poison."]


def test_what_nobody_leased_is_not_taken_in(house: Database) -> None:
    learn(house, "One.")
    ((digest,),) = house.rows("select encode(content_hash, 'hex') from private.event_embeddings")
    assert settle(house, [{"content_hash": digest}]) == {"settled": 0, "stale": 1}
    assert waiting(house) == 1
