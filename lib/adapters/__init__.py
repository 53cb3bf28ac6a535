"""The ways out: one thin client for each outside service, each used by one domain module.

An adapter takes what it is given to that service and says how it went. It knows no database and decides nothing.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Sent:
    """How sending went: taken, not this time, never to that address, or nobody is there any more."""

    outcome: Literal["delivered", "failed", "refused", "gone"]
    status_code: int | None = None
    error: str | None = None
    """For people; without anything that the other side said."""
    retry_after_seconds: int | None = None
