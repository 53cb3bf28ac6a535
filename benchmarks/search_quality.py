"""How well a student's record is searched: by words, by meaning, and by both in one order.

    python -m benchmarks.search_quality

The record of one made-up student and the questions with the events that answer them stand in `benchmarks/search/`:
`record.tsv` (name, type, sentences) and `queries.tsv` (question, names of the events). `vectors.jsonl` has a vector for
each, made once with the weights that the package wordllama 0.4.0 (MIT) brings along: the mean of its token vectors
(`l2_supercat`, 256 numbers), of length 1000, rounded to whole numbers. That is a small, plain kind of embedding; a
provider's model does better. What is measured here is what both orders together find beside either alone.

Recall@5: how many of a question's events (of five at most) are among the first five. MRR: one divided by the place of
the first of them, at most place 20.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
from rich.console import Console
from rich.table import Table

from scripts.stack import Stack
from tests.database import Database
from tests.house import ENGLISH

HERE = Path(__file__).parent / "search"
MODEL = "wordllama-l2-supercat"
DIMENSION = 256
FIRST = 5
PLACES = 20
NO_WORD = "zzqx"
"""Found nowhere, so that meaning alone decides."""


class Question(NamedTuple):
    """What is asked, and which events answer it."""

    asked: str
    answers: frozenset[str]


class Figures(NamedTuple):
    """How well all questions were answered."""

    recall: float
    mrr: float


def main() -> None:
    """Measure on a stack of its own, print, and leave nothing behind."""
    with Stack.unused("benchmark") as stack:
        stack.start_database(fresh=True)
        with psycopg.connect(stack.env()["DATABASE_URL"], autocommit=True) as connection:
            table = _measured(Database(connection))
        stack.reset()
    Console().print(table)


def _measured(database: Database) -> Table:
    vectors = _vectors()
    names = _fill(database)
    _give_meanings(database, {content: vectors["of", name] for content, name in _contents(database, names).items()})
    questions = _questions()
    table = Table("order", f"recall@{FIRST}", "MRR", title=f"{len(questions)} questions, {len(names)} events")
    for order in ("words", "meaning", "both"):
        found = [_search(database, names, order, each.asked, vectors["asked", each.asked]) for each in questions]
        figures = _figures(questions, found)
        table.add_row(order, f"{figures.recall:.3f}", f"{figures.mrr:.3f}")
    return table


def _questions() -> list[Question]:
    lines = (HERE / "queries.tsv").read_text(encoding="utf-8").splitlines()
    return [Question(asked, frozenset(names.split())) for asked, names in (line.split("\t") for line in lines)]


def _vectors() -> Mapping[tuple[str, str], list[float]]:
    """By `of` and an event's name, or `asked` and a question."""
    lines = (HERE / "vectors.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    return {(kind, each[kind]): each["vector"] for each in told for kind in ("of", "asked") if kind in each}


def _fill(database: Database) -> Mapping[UUID, str]:
    """The record as one student's; the events' names by id."""
    names: dict[UUID, str] = {}
    for number, line in enumerate((HERE / "record.tsv").read_text(encoding="utf-8").splitlines()):
        name, kind, content = line.split("\t")
        id_ = uuid4()
        names[id_] = name
        database.run(
            "insert into public.learning_events"
            " (id, event_type, student_user_id, tutor_user_id, content_for_embedding, occurred_at)"
            " values (%s, %s, %s, %s, %s, timestamptz '2026-02-01 12:00+00' + %s * interval '1 day')",
            id_,
            kind,
            ENGLISH.student.id,
            ENGLISH.tutor.id,
            content,
            number,
        )
    return names


def _contents(database: Database, names: Mapping[UUID, str]) -> Mapping[str, str]:
    """The events' names by their sentences."""
    rows = database.rows(
        "select content_for_embedding, id from public.learning_events where id = any (%s)", list(names)
    )
    return {content: names[id_] for content, id_ in rows}


def _give_meanings(database: Database, vectors: Mapping[str, Sequence[float]]) -> None:
    """What the embedding job does, with vectors that are there already."""
    space = {"p_model": MODEL, "p_dimension": DIMENSION}
    claimed = database.call("service_role", "claim_embeddings", **space, p_limit=500, p_lease_seconds=60)
    made = [
        {"content_hash": each["content_hash"], "embedding": vectors[each["content"]]} for each in claimed["contents"]
    ]
    database.call("service_role", "settle_embeddings", **space, p_vectors=made)


def _search(
    database: Database, names: Mapping[UUID, str], order: str, asked: str, vector: Sequence[float]
) -> list[str]:
    meaning = {} if order == "words" else {"p_embedding": json.dumps(vector), "p_model": MODEL}
    answer = database.call(
        ENGLISH.tutor,
        "search_learning_events",
        p_student_id=str(ENGLISH.student.id),
        p_query=NO_WORD if order == "meaning" else asked,
        p_limit=PLACES,
        **meaning,
    )
    return [names[UUID(hit["event"]["id"])] for hit in answer["hits"]]


def _figures(questions: Sequence[Question], found: Sequence[Sequence[str]]) -> Figures:
    recalls = [
        len(each.answers & set(hits[:FIRST])) / min(len(each.answers), FIRST)
        for each, hits in zip(questions, found, strict=True)
    ]
    places = [
        next((1 / place for place, name in enumerate(hits, start=1) if name in each.answers), 0.0)
        for each, hits in zip(questions, found, strict=True)
    ]
    return Figures(sum(recalls) / len(questions), sum(places) / len(questions))


if __name__ == "__main__":
    main()
