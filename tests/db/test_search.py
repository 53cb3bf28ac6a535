"""Chapter 25: finding things in a record by words and by meaning, and nothing of anybody else."""

import json
from math import sqrt
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database, Refused
from tests.db.test_learning import assign, note, record
from tests.house import BILAL, HARRIET, LENA, NADIA, NOW, OLIVER, Person

MODEL = {"p_model": "m", "p_dimension": 2}


def search(db: Database, who: Person, query: str, vector: list[float] | None = None, **more: Any) -> list[Any]:
    """The hits in L's record."""
    asked = {"p_embedding": json.dumps(vector), "p_model": "m"} if vector else {}
    return db.call(who, "search_learning_events", p_student_id=LENA.id, p_query=query, **(asked | more))["hits"]


def found(db: Database, who: Person, query: str, vector: list[float] | None = None, **more: Any) -> list[str]:
    return [each["event"]["content"].removeprefix("Note: ") for each in search(db, who, query, vector, **more)]


def embed(db: Database, meanings: dict[str, list[float]], **model: Any) -> None:
    """Give every content its vector: that of the longest beginning that is known."""
    space = MODEL | model
    while contents := db.call("service_role", "claim_embeddings", **space)["contents"]:
        vectors = [
            {
                "content_hash": each["content_hash"],
                "embedding": next(
                    vector
                    for text, vector in meanings.items()
                    if each["content"].removeprefix("Note: ").startswith(text)
                ),
            }
            for each in contents
        ]
        db.call("service_role", "settle_embeddings", **space, p_vectors=vectors)


# --- by words -----------------------------------------------------------------------------------------


def test_all_the_words_are_looked_for_and_any_of_them_where_nothing_has_all(db: Database) -> None:
    for text in ("Adding fractions is hard.", "Fractions as decimals.", "Essay on whales."):
        note(db, BILAL, text)
    assert found(db, BILAL, "adding fractions") == ["Adding fractions is hard."]
    assert found(db, BILAL, "fraction") == ["Fractions as decimals.", "Adding fractions is hard."], "fewer other words"
    assert set(found(db, BILAL, "whale fractions")) == {
        "Adding fractions is hard.", "Fractions as decimals.", "Essay on whales.",
    }  # fmt: skip
    assert found(db, BILAL, "dinosaurs") == []


def test_a_search_is_written_as_on_the_web(db: Database) -> None:
    for text in ("Adding fractions.", "Fractions, then adding.", "Decimals."):
        note(db, BILAL, text)
    assert found(db, BILAL, '"adding fractions"') == ["Adding fractions."]
    assert set(found(db, BILAL, "adding or decimals")) == {"Adding fractions.", "Fractions, then adding.", "Decimals."}
    assert found(db, BILAL, "fractions -adding") == []
    assert found(db, BILAL, "decimals -adding -fractions") == ["Decimals."]
    assert found(db, BILAL, "whales -adding") == [], "what was to be missing is never looked for instead"


@pytest.mark.parametrize("query", ["the", "-", '"', "& | ! <->", "a:b*", "'' \\", "(((", "🦕", "1 2 3 & !"])
def test_whatever_is_asked_is_no_error(db: Database, query: str) -> None:
    note(db, BILAL, "Good.")
    assert found(db, BILAL, query) == []


def test_words_of_other_languages_lose_the_same_endings_and_are_found(db: Database) -> None:
    note(db, BILAL, "Die Brüche sitzen noch nicht.")
    note(db, BILAL, "Los números decimales van mejor.")
    assert found(db, BILAL, "brüche") == ["Die Brüche sitzen noch nicht."]
    assert found(db, BILAL, "DECIMALES") == ["Los números decimales van mejor."]


def test_types_narrow_the_search(db: Database) -> None:
    note(db, BILAL, "Fractions.")
    record(db, BILAL, topic="Fractions")
    assign(db, title="Fractions")
    kinds = [each["event"]["event_type"] for each in search(db, BILAL, "fractions", p_types=["homework", "note"])]
    assert sorted(kinds) == ["homework", "note"]


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("query", {"p_query": None}), ("query", {"p_query": " "}), ("query", {"p_query": "x" * 501}),
        ("limit", {"p_limit": 0}), ("limit", {"p_limit": 51}),
        ("embedding", {"p_embedding": "[]", "p_model": "m"}), ("embedding", {"p_embedding": "{}", "p_model": "m"}),
        ("embedding", {"p_embedding": '["1"]', "p_model": "m"}), ("embedding", {"p_embedding": "5", "p_model": "m"}),
        ("embedding", {"p_embedding": "[[1]]", "p_model": "m"}),
        ("embedding", {"p_embedding": "[1e9]", "p_model": "m"}),
        ("embedding", {"p_embedding": json.dumps([0.5] * 4097), "p_model": "m"}), ("model", {"p_embedding": "[1]"}),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused_by_its_field(db: Database, field: str, more: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        db.call(BILAL, "search_learning_events", **({"p_student_id": LENA.id, "p_query": "x"} | more))
    assert (caught.value.status, caught.value.code, caught.value.extra) == (422, "invalid", {"field": field})


# --- by meaning ---------------------------------------------------------------------------------------


def test_meaning_finds_what_words_do_not(db: Database) -> None:
    note(db, BILAL, "Divides pizzas well.")
    note(db, BILAL, "Essay on whales.")
    embed(db, {"Divides": [1, 0.1], "Essay": [0, 1]})
    assert found(db, BILAL, "fractions") == []
    ((first, *_), *_) = [search(db, BILAL, "fractions", [1, 0])]
    assert first["event"]["content"] == "Note: Divides pizzas well."
    assert (first["text_rank"], first["vector_rank"], first["score"]) == (None, 1, round(1 / 61, 6))


def test_vectors_of_another_model_or_length_are_never_compared(db: Database) -> None:
    note(db, BILAL, "Divides pizzas well.")
    embed(db, {"Divides": [1, 0]})
    assert found(db, BILAL, "fractions", [1, 0], p_model="another") == []
    assert found(db, BILAL, "fractions", [1, 0, 0]) == []
    embed(db, {"Divides": [1, 0, 0]}, p_dimension=3)
    assert found(db, BILAL, "fractions", [1, 0, 0]) == ["Divides pizzas well."]
    assert found(db, BILAL, "fractions", [1, 0]) == [], "the house has moved on to the other"


def test_a_vector_without_a_direction_is_near_nothing(db: Database) -> None:
    note(db, BILAL, "Divides pizzas well.")
    embed(db, {"Divides": [0, 0]})
    assert found(db, BILAL, "fractions", [1, 0]) == found(db, BILAL, "fractions", [0, 0]) == []


def test_an_event_has_its_meaning_only_when_the_job_came_by(db: Database) -> None:
    """The same words in another's record must not be told by a vector that is there at once."""
    note(db, HARRIET, "Divides pizzas well.", OLIVER)
    embed(db, {"Divides": [1, 0]})
    note(db, BILAL, "Divides pizzas well.")
    assert found(db, BILAL, "fractions", [1, 0]) == []
    assert db.call("service_role", "claim_embeddings", **MODEL)["contents"] == [], "it is not made twice"
    assert found(db, BILAL, "fractions", [1, 0]) == ["Divides pizzas well."]


def test_private_remarks_are_found_by_words_and_shown_to_no_model(db: Database) -> None:
    note(db, BILAL, "Seems sad about fractions.", is_private=True)
    assert db.call("service_role", "claim_embeddings", **MODEL)["contents"] == []
    assert found(db, BILAL, "sad") == found(db, NADIA, "sad") == ["Seems sad about fractions."]
    assert found(db, LENA, "sad") == []


# --- both ---------------------------------------------------------------------------------------------

WORDS = ("fractions", "essays", "whales", "decimals", "verbs")


def by_hand(
    events: list[dict[str, Any]], meanings: dict[str, list[float]], query: str, vector: list[float]
) -> list[Any]:
    """Reciprocal rank fusion (k = 60) of what has all the words, shortest first, and of cosine distances."""

    def cosine(event: dict[str, Any]) -> float:
        x, y = meanings[event["content"]]
        return -round((x * vector[0] + y * vector[1]) / sqrt((x * x + y * y) * (vector[0] ** 2 + vector[1] ** 2)), 9)

    def places(of: list[dict[str, Any]]) -> dict[str, int]:
        return {each["id"]: number for number, each in enumerate(of, 1)}

    having = [each for each in events if set(query.split()) <= set(each["content"].lower().split())]
    by_words = places(sorted(having, key=lambda each: (len(each["content"].split()), each["id"])))
    by_meaning = places(sorted(events, key=lambda each: (cosine(each), each["id"])))
    score = {
        key: sum(1 / (60 + places[key]) for places in (by_words, by_meaning) if key in places)
        for key in by_words.keys() | by_meaning.keys()
    }
    order = sorted(score, key=lambda key: (-round(score[key], 6), key))
    return [(key, by_words.get(key), by_meaning.get(key)) for key in order]


def test_both_orders_are_fused_as_by_hand(db: Database, chance: Random) -> None:
    texts = [" ".join(["fractions", *chance.sample(WORDS[1:], count)]) for count in (0, 1, 2, 3)]
    texts += [" ".join(chance.sample(WORDS[1:], 2)) for _ in range(2)]
    meanings = {f"Note: {text}": [chance.uniform(-1, 1), chance.uniform(-1, 1)] for text in texts}
    events = [note(db, BILAL, text.removeprefix("Note: ")) for text in meanings]
    embed(db, {text.removeprefix("Note: "): vector for text, vector in sorted(meanings.items(), reverse=True)})
    for _ in range(10):
        vector = [chance.uniform(-1, 1), chance.uniform(-1, 1)]
        hits = search(db, BILAL, "fractions", vector)
        told = [(each["event"]["id"], each["text_rank"], each["vector_rank"]) for each in hits]
        assert told == by_hand(events, meanings, "fractions", vector)


# --- nothing of anybody else ----------------------------------------------------------------------------


def test_nothing_that_one_may_not_read_changes_what_one_finds(db: Database) -> None:
    for text in ("Adding fractions is hard.", "Fractions as decimals.", "Essay on whales."):
        note(db, BILAL, text)
    vectors = {"Adding": [1.0, 0.1], "Fractions": [0.5, 0.5], "Essay": [0.0, 1.0], "": [0.9, 0.1]}
    embed(db, vectors)
    questions = [("fractions", [1.0, 0.0]), ("whales fractions", None), ("zebra fractions", [0.2, 1.0])]
    before = [search(db, who, *question) for who in (BILAL, LENA) for question in questions]
    booked_once = (
        "insert into public.learning_events (event_type, student_user_id, tutor_user_id, content_for_embedding,"
    )
    for text in ("Fractions fractions fractions.", "Zebra.", "Whales and fractions."):
        note(db, HARRIET, text, OLIVER)
        note(db, NADIA, text, is_private=True)
        db.run(f"{booked_once} occurred_at) values ('note', %s, %s, %s, %s)", OLIVER.id, BILAL.id, text, NOW)
    embed(db, vectors)
    assert [search(db, who, *question) for who in (BILAL, LENA) for question in questions] == before
    assert "Zebra." in found(db, NADIA, "zebra")


def test_a_tutor_finds_what_they_wrote_and_not_what_another_did(db: Database) -> None:
    note(db, BILAL, "Fractions at home.")
    note(db, NADIA, "Fractions at the office.")
    assert found(db, BILAL, "fractions") == ["Fractions at home."]
    assert len(found(db, LENA, "fractions")) == len(found(db, NADIA, "fractions")) == 2


def test_the_student_is_looked_up_first(db: Database) -> None:
    """Among 20,000 events of others nothing but the student's own is read."""
    note(db, BILAL, "Fractions.")
    db.run(
        "insert into public.learning_events ("
        "       event_type, student_user_id, tutor_user_id, content_for_embedding, occurred_at)"
        " select 'note', person, %s, 'Fractions ' || n, private.now() - n * interval '1 minute'"
        "   from generate_series(1, 10000) as n, unnest(%s::uuid[]) as person",
        HARRIET.id,
        [OLIVER.id, HARRIET.id],
    )
    db.run("analyze public.learning_events")
    for who in (BILAL, LENA, NADIA):
        before = read_so_far(db)
        assert found(db, who, "fractions") == ["Fractions."]
        scans, rows = (now - then for now, then in zip(read_so_far(db), before, strict=True))
        assert scans == 0
        assert rows == 3, "picked, ranked and shown"


def read_so_far(db: Database) -> tuple[int, int]:
    """In this transaction: how often all of the learning events were read, and how many rows by an index."""
    query = "select seq_scan, idx_tup_fetch from pg_stat_xact_user_tables where relname = 'learning_events'"
    ((scans, rows),) = db.rows(query)
    return scans, rows


def test_whose_record_it_is_decides_and_an_unknown_student_is_as_good_as_a_foreign_one(db: Database) -> None:
    told: set[str] = set()
    for who, student in ((HARRIET, LENA.id), (OLIVER, LENA.id), (BILAL, UUID(int=0)), (NADIA, UUID(int=0))):
        with pytest.raises(Refused) as caught:
            db.call(who, "search_learning_events", p_student_id=student, p_query="x")
        told.add(str(caught.value))
    assert told == {"404 not_found: There is no such student. {}"}
