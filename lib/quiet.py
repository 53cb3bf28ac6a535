"""Quiet hours: the part of the day in which a reader is sent nothing that can wait. Pure.

They are wall times on the reader's own clocks and may run over midnight. On a night on which the clocks change,
``zones.to_utc`` decides: an end that does not exist moves forward, one that comes twice is the first.
"""

from datetime import datetime, time, timedelta
from typing import NamedTuple

import pendulum

from lib.zones import to_local, to_utc

_ONE_DAY = timedelta(days=1)


class QuietHours(NamedTuple):
    """From one wall time until another, each ``HH:MM``; the same twice means none."""

    from_: str
    until: str


def end_of_quiet(now: datetime, hours: QuietHours, timezone: pendulum.Timezone) -> datetime | None:
    """When the quiet hours end that ``now`` lies in, in UTC; None outside of them."""
    begins, ends = time.fromisoformat(hours.from_), time.fromisoformat(hours.until)
    if begins == ends:
        return None
    today = to_local(now, timezone).date()
    for day in (today - _ONE_DAY, today):
        end_day = day if begins < ends else day + _ONE_DAY
        since, until = to_utc(day, begins, timezone).utc, to_utc(end_day, ends, timezone).utc
        if since <= now < until:
            return until
    return None
