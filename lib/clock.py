"""The clock: what time alone does to sessions, asked for by a scheduler or by somebody who looks."""

import time
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, SessionStatus
from lib.database import Database
from lib.deadlines import Clock, Deadline


class ClockStep(Answer):
    """What the clock did to one session."""

    session_id: UUID
    from_: SessionStatus = Field(alias="from")
    to: SessionStatus
    is_delayed: bool = Field(description="A person must complete it.")


class Refreshed(Answer):
    """What the clock did to the caller's sessions."""

    started: int
    completed: int
    failed: int = Field(description="Could not be moved; the clock tries again later.")
    more: bool = Field(description="There may be more to do.")
    updates: list[ClockStep]


class Swept(Answer):
    """What the clock did to everybody's sessions."""

    started: int
    completed: int
    failed: int = Field(description="Could not be moved; the clock tries again later.")
    more: bool = Field(description="The time was up. The next call goes on.")
    sweeps: int = Field(description="How many times it went over what was due.")


async def refresh_session_statuses(database: Database) -> Refreshed:
    """Let the clock move the caller's own due sessions; nothing within 15 seconds of the last time."""
    return Refreshed.model_validate(await database.write("refresh_session_statuses"))


async def sweep_session_statuses(database: Database, budget_seconds: float, clock: Clock = time.monotonic) -> Swept:
    """Let the clock move what is due, everybody's, sweep by sweep until nothing is left.

    It stops before ``budget_seconds`` by ``clock`` are over, though never before its first sweep. Each sweep is a
    transaction of its own: whatever ends the loop, what was moved stays moved.
    """
    deadline = Deadline(budget_seconds, clock)
    done = Swept(started=0, completed=0, failed=0, more=True, sweeps=0)
    while done.more:
        done = _with(done, Refreshed.model_validate(await database.rpc("sweep_session_statuses")))
        if not deadline.leaves_time_for_another_lap():
            break
    return done


def _with(done: Swept, sweep: Refreshed) -> Swept:
    return Swept(
        started=done.started + sweep.started,
        completed=done.completed + sweep.completed,
        failed=done.failed + sweep.failed,
        more=sweep.more,
        sweeps=done.sweeps + 1,
    )
