"""The fifth act: a guardian is asked before a lesson is cancelled, and everybody is reminded of the one that stays."""

import re
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus

import httpx
from icalendar import Calendar

from scripts.demo.cast import Cast, Person, Row, Scheduler, answer_of
from scripts.demo.house import Clock, Match, instant, lessons_of
from scripts.demo.page import Page
from scripts.demo.words import moment

LINK = re.compile(r"(https?://\S+/api/consent/\S+)")
Line = tuple[str, str, str]


class Conversation:
    """Who did what when, and the messages that went out in between."""

    def __init__(self, clock: Clock, nadia: Person, scheduler: Scheduler) -> None:
        self._clock, self._nadia, self._scheduler = clock, nadia, scheduler
        self._seen = {each["id"] for each in self._inbox()}
        self.lines: list[Line] = []

    def note(self, who: str, what: str) -> None:
        self.lines.append((moment(self._clock.now.isoformat()), who, what))

    def carried(self, job: str = "deliver-outbox") -> list[Row]:
        """What the scheduler's next call takes to people, noted by its subject."""
        answer_of(self._scheduler.call(job))
        new = [each for each in reversed(self._inbox()) if each["id"] not in self._seen]
        self._seen |= {each["id"] for each in new}
        for each in new:
            self.note(f"{each['channel']} to {each['sent_to']}", _opening(each))
        return new

    def _inbox(self) -> list[Row]:
        return self._nadia.get("/api/inbox", limit="200")["messages"]


def a_guardian_is_asked(page: Page, clock: Clock, scheduler: Scheduler, cast: Cast, match: Match) -> None:
    page.chapter(
        f"{cast.lena.name} wants to cancel, and her guardian is asked",
        "Messages go out in the reader's language and on the reader's clock; on this stack they land in an inbox. The "
        "question has three buttons and a link. Opening the link decides nothing; silence, after 48 hours, consents.",
        "POST /api/sessions/{id}/request-cancel   GET, POST /api/consent/{token}   "
        "GET /api/cron/auto-approve-cancellations",
    )
    answer_of(scheduler.call("deliver-outbox"))
    clock.move_to(clock.now.replace(hour=15, minute=0) + timedelta(days=1))
    answer_of(scheduler.call("complete-sessions"))
    talk = Conversation(clock, cast.nadia, scheduler)
    ahead = [each for each in lessons_of(cast.lena, match) if _is_days_ahead(each, clock)]
    kept, silent = ahead[0], ahead[1]

    (question,) = [each for each in _asked(talk, cast.lena, kept, "A school play.") if each["buttons"]]
    link = LINK.findall(question["body"])[0]
    opened = httpx.get(link)
    still = cast.lena.get("/api/cancellation-requests", session_id=kept["id"])["requests"][0]["status"]
    talk.note("the guardian", "opens the page, which decides nothing")
    answered = httpx.post(link, data={"answer": "reschedule"}, headers={"Accept": "application/json"})
    talk.note("the guardian", f"answers on it: rather another time → {answered.json()['status']}")
    talk.carried()

    _asked(talk, cast.lena, silent, "A trip with the class.")
    clock.move_to(clock.now + timedelta(hours=47))
    before = answer_of(scheduler.call("auto-approve-cancellations"))["approved"]
    clock.move_to(clock.now + timedelta(hours=1, minutes=1))
    after = answer_of(scheduler.call("auto-approve-cancellations"))["approved"]
    talk.note("scheduler", "nobody has answered: the lesson is cancelled, no credit is taken")
    talk.carried()
    late = httpx.post(
        LINK.findall(_last_question(cast.nadia))[0], data={"answer": "keep"}, headers={"Accept": "application/json"}
    )
    talk.note("the guardian", f"answers too late, and is told so: {late.json()['outcome']}")

    page.table(f"The conversation, UTC, about {match.title}", ("When", "Who", "What"), talk.lines)
    page.text(f"The question, as {question['sent_to']} reads it:")
    page.letter(question["body"], [each["title"] for each in question["buttons"]])
    page.expect(
        "opening the page decided nothing, pressing its button did",
        (opened.status_code, still, answered.json()["outcome"], answered.json()["status"]),
        (HTTPStatus.OK, "pending", "decided", "reschedule_requested"),
    )
    page.expect("silence counts after 48 hours and not before", (before, after), (0, 1))
    page.expect("there is one decision, whatever comes later", late.json()["outcome"], "too_late")
    statuses = {each["id"]: each["status"] for each in lessons_of(cast.lena, match)}
    page.expect(
        "one lesson stands, the other is cancelled",
        (statuses[kept["id"]], statuses[silent["id"]]),
        ("scheduled", "cancelled"),
    )


def everybody_is_reminded(  # noqa: PLR0917  # whom it takes
    page: Page, clock: Clock, scheduler: Scheduler, cast: Cast, match: Match, functions_url: str
) -> None:
    page.chapter(
        "A reminder, and the calendar",
        "A day before a lesson its tutor, its student and her guardian are told, once each, and not about one that was "
        "cancelled. Whoever likes a calendar better subscribes to theirs by a secret address.",
        "GET /api/cron/send-reminders   POST /api/me/calendar-token   GET /api/calendar/{token}.ics",
    )
    lesson = next(each for each in lessons_of(cast.lena, match) if _is_days_ahead(each, clock))
    talk = Conversation(clock, cast.nadia, scheduler)
    clock.move_to(instant(lesson["scheduled_start_utc"]) - timedelta(hours=23))
    # Whose night it is hears in the morning.
    sent = [each for each in talk.carried("send-reminders") if _is_about(each, cast.nadia, lesson)]
    clock.move_to(instant(lesson["scheduled_start_utc"]) - timedelta(hours=2))
    sent += [each for each in talk.carried("send-reminders") if _is_about(each, cast.nadia, lesson)]
    page.table("What went out, UTC", ("When", "To", "How it begins"), talk.lines)
    page.expect(
        "each of the three is told once, a day ahead",
        sorted(each["sent_to"] for each in sent),
        sorted({each["sent_to"] for each in sent}),
    )
    page.expect("three people are told", len(sent), 3)

    token = cast.lena.post("/api/me/calendar-token", {})
    feed = Calendar.from_ical(httpx.get(f"{functions_url}{token['path']}").content)
    events = {str(each["uid"]).partition("@")[0]: each for each in feed.events}
    mine = cast.lena.get("/api/sessions", limit="200")["sessions"]
    page.expect(
        f"{cast.lena.name}'s calendar has her {len(mine)} lessons, and says which are cancelled",
        {name: str(each["status"]) == "CANCELLED" for name, each in events.items()},
        {each["id"]: each["status"] == "cancelled" for each in mine},
    )


# --- small steps --------------------------------------------------------------------------------------


def _asked(talk: Conversation, student: Person, lesson: Row, reason: str) -> Sequence[Row]:
    """The messages that a wish to cancel sets off."""
    wish = student.post(f"/api/sessions/{lesson['id']}/request-cancel", {"reason": reason})["request"]
    talk.note(student.name, f"asks to cancel {moment(lesson['scheduled_start_utc'])}: “{reason}” → {wish['status']}")
    return talk.carried()


def _last_question(nadia: Person) -> str:
    """The text of the youngest message with buttons."""
    inbox = nadia.get("/api/inbox", limit="200")["messages"]
    return next(each["body"] for each in inbox if each["buttons"])


def _is_about(message: Row, nadia: Person, lesson: Row) -> bool:
    about = nadia.get("/api/messages", session_id=lesson["id"], limit="200")["messages"]
    return message["message_id"] in {each["id"] for each in about}


def _is_days_ahead(lesson: Row, clock: Clock) -> bool:
    return lesson["status"] == "scheduled" and instant(lesson["scheduled_start_utc"]) > clock.now + timedelta(hours=60)


def _opening(message: Row) -> str:
    return message["subject"] or message["body"].strip().splitlines()[0]
