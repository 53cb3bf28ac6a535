"""A person's lessons as a calendar that other programs subscribe to by a secret address.

Everything in it is `calendars`'; here it is asked for, with the reader's name for the other side of each lesson.
"""

import re
from uuid import UUID

from pydantic import Field, computed_field

from lib import calendars
from lib.answers import Answer, SessionStatus, Utc, viewer_timezone
from lib.database import Database
from lib.errors import NotFound
from lib.zones import zone

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class CalendarToken(Answer):
    """The secret address of one's calendar."""

    token: str | None = Field(
        default=None,
        description="Shown here alone: null when the request is repeated. Whoever has it reads your lessons.",
    )

    @computed_field(description="Where the calendar is, on this host.", examples=["/api/calendar/….ics"])
    @property
    def path(self) -> str | None:
        """The address, from the host on."""
        return self.token and f"/api/calendar/{self.token}.ics"


class Lesson(Answer):
    """A session as a calendar shows it to one side."""

    id: UUID
    version: int
    status: SessionStatus
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    subject: str
    other_name: str
    meet_link: str | None
    updated_at: Utc


class Feed(Answer):
    """Somebody's lessons that start in [from, to), and their clocks."""

    display_name: str
    timezone: str
    from_: Utc = Field(alias="from")
    to: Utc
    sessions: list[Lesson]


async def rotate_calendar_token(database: Database) -> CalendarToken:
    """Another secret address for the caller's calendar."""
    return CalendarToken.model_validate(await database.write("rotate_calendar_token"))


async def read_calendar(database: Database, token: str) -> str:
    """The calendar behind a secret address, as text.

    Raises:
        NotFound: nobody's calendar has this token, or not any more.
    """
    if _TOKEN.fullmatch(token) is None:
        raise NotFound(detail="There is no such calendar.")
    return as_calendar(Feed.model_validate(await database.rpc("read_calendar_feed", {"p_token": token})))


def as_calendar(feed: Feed) -> str:
    """The feed in the words of RFC 5545, on the clocks of its owner. The same feed gives the same text."""
    viewer = zone(viewer_timezone({"viewer_timezone": feed.timezone}, None))
    lessons = [_as_event(lesson) for lesson in feed.sessions]
    return calendars.feed(f"Lessons of {feed.display_name}", lessons, viewer, feed.from_, feed.to)


def _as_event(lesson: Lesson) -> calendars.Lesson:
    return calendars.Lesson(
        id=lesson.id,
        version=lesson.version,
        status=lesson.status,
        start=lesson.scheduled_start_utc,
        end=lesson.scheduled_end_utc,
        summary=f"{lesson.subject} with {lesson.other_name}",
        place=lesson.meet_link,
        changed_at=lesson.updated_at,
    )
