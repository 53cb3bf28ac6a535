"""Letters: what Postgres says is to be told, in the words, on the clocks and by the way of its reader.

From a leased message comes a letter for the first channel that is on and reaches its reader, or the word that it
waits for the end of their quiet hours, or that nobody can be reached. Nothing is sent here.
"""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parseaddr
from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from lib import calendars, times, wording
from lib.adapters import Attachment, Button, Letter
from lib.answers import SessionStatus, Utc, viewer_timezone
from lib.channels import ChannelName, Post
from lib.fields import Language
from lib.quiet import QuietHours, end_of_quiet
from lib.times import Span
from lib.zones import zone

_INVITING = frozenset(
    {"session_moved", "session_cancelled", "session_reopened", "schedule_generated", "booking_accepted"}
)
"""Templates whose e-mails bring the reader's calendar up to date."""


class _Told(BaseModel):
    """A part of what Postgres hands over with a message."""

    model_config = ConfigDict(frozen=True)


class Reader(_Told):
    """Whom to tell, where, in which language, and when not."""

    kind: Literal["tutor", "student", "guardian", "admin"]
    name: str
    timezone: str
    language: Language
    quiet_from: str
    quiet_until: str
    phone: str | None
    email: str | None
    whatsapp_opt_in: bool

    def address(self, channel: ChannelName) -> str | None:
        """Where they are reached through a channel, if they are."""
        if channel == "email":
            return self.email
        return self.phone if self.whatsapp_opt_in else None


class Party(_Told):
    """One side of a lesson."""

    name: str
    timezone: str


class Lesson(_Told):
    """A session as messages speak of it."""

    id: UUID
    subject: str | None
    status: SessionStatus
    version: int
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    meet_link: str | None
    updated_at: Utc
    tutor: Party
    student: Party

    @property
    def span(self) -> Span:
        """When it is."""
        return Span(self.scheduled_start_utc, self.scheduled_end_utc)


class Booking(_Told):
    """A booking as messages speak of it."""

    subject: str = Field(alias="title")
    start_utc: Utc
    end_utc: Utc
    note: str | None
    meet_link: str | None
    tutor: Party
    student: Party

    @property
    def span(self) -> Span:
        """When it is."""
        return Span(self.start_utc, self.end_utc)


class Facts(_Told):
    """What words need besides the lesson; each template has some of it."""

    from_start_utc: Utc | None = None
    from_end_utc: Utc | None = None
    wished_start_utc: Utc | None = None
    reason: str | None = None
    summary: str | None = None
    asked_by: str | None = None
    why: str | None = None
    status: str | None = None
    consent_hours: int | None = None
    silence_cancels: bool = False


class Message(_Told):
    """One thing to say to one reader, under lease."""

    message_id: str
    template: str
    kind: str | None
    channels: list[ChannelName]
    can_wait: bool
    reader: Reader
    session: Lesson | None
    sessions: list[Lesson]
    booking: Booking | None
    facts: Facts
    consent_token: str | None = Field(repr=False)

    @property
    def lessons(self) -> list[Lesson]:
        """Those that it is about, in order."""
        return self.sessions or ([self.session] if self.session else [])

    @property
    def matter(self) -> Lesson | Booking:
        """What tells the names and the time: the lesson, or the booking that none has come of."""
        found = self.lessons[0] if self.lessons else self.booking
        if found is None:
            raise ValueError("a message about nothing")
        return found


# --- what to do with it ---------------------------------------------------------------------------------


class Ready(NamedTuple):
    """To be sent now."""

    channel: ChannelName
    letter: Letter


class Waits(NamedTuple):
    """Not to be sent before the reader's quiet hours are over."""

    until: datetime


def ready(message: Message, post: Post, now: datetime) -> Ready | Waits | None:
    """What to do with a message at this instant; None: there is no way to its reader."""
    channel = _way_to(message, post)
    if channel is None:
        return None
    until = _end_of_quiet(message.reader, now) if message.can_wait else None
    return Waits(until) if until else Ready(channel, _letter(message, channel, post))


def _way_to(message: Message, post: Post) -> ChannelName | None:
    for name in message.channels:
        if name in post.channels and message.reader.address(name):
            return name
    return None


def _end_of_quiet(reader: Reader, now: datetime) -> datetime | None:
    return end_of_quiet(now, QuietHours(reader.quiet_from, reader.quiet_until), zone(_known(reader.timezone)))


def _letter(message: Message, channel: ChannelName, post: Post) -> Letter:
    reader, about, told = message.reader, _about(message), _told(message, post)
    form = wording.written if channel == "email" else wording.written_short
    words = form(message.template, reader.language, about, told)
    return Letter(
        id=message.message_id,
        to=reader.address(channel) or "",
        name=reader.name,
        subject=words.subject,
        body=words.body,
        template=message.template,
        language=reader.language,
        parameters=words.parameters,
        buttons=_buttons(message),
        attachment=_calendar(message, about, post) if channel == "email" else None,
    )


# --- words ----------------------------------------------------------------------------------------------


def _about(message: Message) -> wording.About:
    facts, matter = message.facts, message.matter
    wished = facts.wished_start_utc
    return wording.About(
        reader=message.reader.kind,
        tutor=matter.tutor.name,
        student=matter.student.name,
        subject=matter.subject,
        place=matter.meet_link,
        reason=facts.reason,
        note=message.booking.note if message.booking else None,
        asked_by=facts.asked_by,
        why=facts.why,
        status=facts.status,
        is_move=message.template == "reschedule_decided",
        kind=message.kind,
        wished=times.moment(wished, message.reader.language, _known(message.reader.timezone)) if wished else None,
        hours=facts.consent_hours,
        silence_cancels=facts.silence_cancels,
    )


def _told(message: Message, post: Post) -> Mapping[str, object]:
    """What the words need that depends on clocks and links; a template that lacks some of it cannot be said."""
    facts = message.facts
    told: dict[str, object] = {"name": message.reader.name, "when": _when(message, message.matter.span)}
    if facts.from_start_utc and facts.from_end_utc:
        told["old"] = _when(message, Span(facts.from_start_utc, facts.from_end_utc))
    if facts.summary:
        told["summary"] = facts.summary
    if message.consent_token:
        told["link"] = f"{post.public_url}/api/consent/{message.consent_token}"
    if message.lessons:
        told |= _plan(message)
    return told


def _plan(message: Message) -> dict[str, object]:
    """Lessons in a list; one sentence at its end speaks of all changes of clocks on the way."""
    lines = [times.listed(lesson.span, *_clocks(message)) for lesson in message.lessons]
    first, last = message.lessons[0], message.lessons[-1]
    whole = Span(first.scheduled_start_utc, last.scheduled_end_utc)
    note = times.note_of_changes(whole, *_clocks(message))
    return {"lessons": lines, "count": len(lines), "first": lines[0], "last": lines[-1] + note}


def _when(message: Message, span: Span) -> str:
    return times.written(span, *_clocks(message))


def _clocks(message: Message) -> tuple[Language, str, str]:
    """The reader's language and zone, and that of the other side: for a student and their guardians the tutor's."""
    reader, matter = message.reader, message.matter
    other = matter.student if reader.kind == "tutor" else matter.tutor
    return reader.language, _known(reader.timezone), _known(other.timezone)


def _known(timezone: str) -> str:
    return viewer_timezone({"viewer_timezone": timezone}, None)


def _buttons(message: Message) -> tuple[Button, ...]:
    """Each brings back what it stands for and the token, so that no phone number has to be believed."""
    if message.consent_token is None:
        return ()
    return tuple(
        Button(wording.BUTTONS[answer][message.reader.language], f"{answer}:{message.consent_token}")
        for answer in wording.UNDER_THE_MESSAGE
    )


# --- the reader's calendar ------------------------------------------------------------------------------


def _calendar(message: Message, about: wording.About, post: Post) -> Attachment | None:
    """The lessons as they stand now: the same events as in the reader's feed, by the same uid."""
    lessons = message.lessons
    if message.template not in _INVITING or not lessons:
        return None
    method: calendars.Method = "PUBLISH" if len(lessons) > 1 else _method_for(lessons[0])
    summary = wording.phrase("lesson", message.reader.language, about)
    content = calendars.invitation(
        method,
        [_event(lesson, summary) for lesson in lessons],
        zone(_known(message.reader.timezone)),
        organizer=parseaddr(post.sender)[1],
        attendee=message.reader.email or "",
    )
    return Attachment("lessons.ics", method, content)


def _method_for(lesson: Lesson) -> calendars.Method:
    return "CANCEL" if lesson.status == "cancelled" else "REQUEST"


def _event(lesson: Lesson, summary: str) -> calendars.Lesson:
    return calendars.Lesson(
        id=lesson.id,
        version=lesson.version,
        status=lesson.status,
        start=lesson.scheduled_start_utc,
        end=lesson.scheduled_end_utc,
        summary=summary,
        place=lesson.meet_link,
        changed_at=lesson.updated_at,
    )
