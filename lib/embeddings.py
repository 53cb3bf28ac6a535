"""Meanings of learning events: vectors that a model makes of their sentences, once for each sentence and model.

Postgres leases what waits, the model answers, Postgres keeps it. Whoever ends in between has only asked: the lease runs
out and the same is asked again.
"""

import time
from typing import Any

from pydantic import Field

from lib.answers import Answer
from lib.database import Database
from lib.deadlines import Clock, Deadline
from lib.models import Model, NoAnswer, model, note_failure

AT_ONCE = 50
"""Texts in one call of the model."""
LEASE_SECONDS = 120
"""Longer than asking and keeping can take."""


class Embedded(Answer):
    """What became of the events that waited for their meaning."""

    on: bool = Field(description="Whether there is a model to ask. Without one nothing waits for anything.")
    embedded: int = Field(description="Sentences that have their meaning now.")
    failed: bool = Field(description="The model gave no answer; the next call asks again.")
    allowed: bool = Field(description="False: today's budget is used up.")
    more: bool = Field(description="There is more to do. The next call goes on.")


async def embed_events(database: Database, budget_seconds: float, clock: Clock = time.monotonic) -> Embedded:
    """Give meanings to what waits for one, a batch at a time, until ``budget_seconds`` are nearly over."""
    asked = model()
    done = Embedded(on=asked is not None, embedded=0, failed=False, allowed=True, more=asked is not None)
    # No batch begins that would end too late even if the model hung.
    deadline = Deadline(budget_seconds - (asked.seconds if asked else 0), clock)
    while asked is not None and done.more and done.allowed and not done.failed:
        done = await _one_batch(database, asked, done)
        if not deadline.leaves_time_for_another_lap():
            break
    return done


async def _one_batch(database: Database, asked: Model, done: Embedded) -> Embedded:
    space = {"p_model": asked.embedding_model, "p_dimension": asked.dimension}
    lease = {"p_limit": AT_ONCE, "p_lease_seconds": LEASE_SECONDS}
    claimed = await database.rpc("claim_embeddings", {**space, **lease})
    changes = {"allowed": claimed["allowed"], "more": claimed["more"]}
    contents: list[dict[str, Any]] = claimed["contents"]
    if not contents:
        return done.model_copy(update=changes)
    try:
        vectors = await asked.embed([each["content"] for each in contents])
    except NoAnswer as failure:
        note_failure("embedding", failure)
        return done.model_copy(update={"failed": True, "more": True})
    made = [
        {"content_hash": each["content_hash"], "embedding": vector}
        for each, vector in zip(contents, vectors, strict=True)
    ]
    await database.rpc("settle_embeddings", {**space, "p_vectors": made})
    return done.model_copy(update={**changes, "embedded": done.embedded + len(made)})
