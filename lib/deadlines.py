"""When to stop work that goes on in laps, before a host or a proxy stops it. Pure: the clock is handed in."""

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Gives seconds, from whatever beginning."""


class Deadline:
    """Says when to stop: when a lap as long as the longest so far would end too late.

    Args:
        seconds: how long all laps may take.
        clock: by which they are measured; read once here and once at the end of each lap.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._lap_began = clock()
        self._end = self._lap_began + seconds
        self._longest_lap = 0.0

    def leaves_time_for_another_lap(self) -> bool:
        """To be asked at the end of each lap."""
        now = self._clock()
        self._longest_lap = max(self._longest_lap, now - self._lap_began)
        self._lap_began = now
        return now + self._longest_lap <= self._end
