"""The fourth act: a single lesson is booked, held and reviewed, and a system outside is told of all of it."""

from collections.abc import Mapping, Sequence

from scripts.demo.cast import Cast, Person, Row, Scheduler
from scripts.demo.diary import Diary
from scripts.demo.house import Clock, ids_of, instant
from scripts.demo.page import Page
from scripts.demo.words import clock_time, day, moment
from scripts.receiver import Receiver

MONDAY = "2026-03-16"
BEGINS = f"{MONDAY}T10:00:00Z"


def a_booking(page: Page, clock: Clock, scheduler: Scheduler, cast: Cast) -> None:
    (listing,) = cast.oliver.get("/api/listings", tutor_id=cast.harriet.me["id"])["listings"]
    page.chapter(
        f"{cast.oliver.name} books a single lesson, and a webhook tells of it",
        f"“{listing['title']}”, {listing['duration_mins']} minutes, by {cast.harriet.name}. {cast.nadia.name} enters "
        "the address of a receiver beside this demo, which checks signatures with the library of Standard Webhooks.",
        "GET /api/slots   POST /api/bookings   GET /api/cron/deliver-outbox   GET /api/events?after=…",
    )
    cursor = _events_after("", cast.nadia)[1]
    diary = Diary(clock, MONDAY)
    with Receiver().listening() as receiver:
        nadia_enters_a(receiver, diary, cast.nadia)
        session = harriet_accepts(diary, cast.oliver, cast.harriet, listing)
        they_hold_it(diary, cast.oliver, cast.harriet, session)
        delivered = diary.call("11:10", scheduler, "deliver-outbox")["delivered"]
        again = diary.call("11:11", scheduler, "deliver-outbox")["delivered"]
    diary.fact("every message is delivered once", (delivered, again), (len(receiver.messages), 0))
    diary.show(page, f"{day(MONDAY)}, hour by hour")
    the_messages(page, receiver, _events_after(cursor, cast.nadia)[0])


def nadia_enters_a(receiver: Receiver, diary: Diary, nadia: Person) -> None:
    endpoint = diary.post("07:55", nadia, "", "/api/webhook-endpoints", {"url": f"{receiver.url}/house"})
    receiver.secrets.append(endpoint["secret"])
    shown = nadia.get("/api/webhook-endpoints")["endpoints"]
    diary.fact(
        "the secret is shown that once", [(each["id"], "secret" in each) for each in shown], [(endpoint["id"], False)]
    )


def harriet_accepts(diary: Diary, oliver: Person, harriet: Person, listing: Row) -> Row:
    """The session that comes of it."""
    morning = {"listing_id": listing["id"], "from": f"{MONDAY}T08:00Z", "to": f"{MONDAY}T12:00Z"}
    before = diary.get("08:00", oliver, "Clinic", "/api/slots", **morning)["slots"]
    wish = {"listing_id": listing["id"], "start_utc": BEGINS, "note": "Paper 2, please."}
    booking = diary.post("08:02", oliver, "Clinic", "/api/bookings", wish)["booking"]
    accepted = [diary.post(at, harriet, "Clinic", f"/api/bookings/{booking['id']}/accept") for at in ("08:10", "08:11")]
    after = diary.get("08:12", oliver, "Clinic", "/api/slots", **morning)["slots"]
    booked = oliver.get("/api/sessions", origin="booking")["sessions"]
    diary.fact(
        "accepted twice, it is one session",
        ([each["changed"] for each in accepted], [each["session"]["id"] for each in accepted]),
        ([True, False], ids_of(booked) * 2),
    )
    diary.fact(
        "and its time is no longer free",
        [slot for slot in before if slot not in after],
        [slot for slot in before if slot["start_utc"] == BEGINS],
    )
    return booked[0]


def they_hold_it(diary: Diary, oliver: Person, harriet: Person, session: Row) -> None:
    path = f"/api/sessions/{session['id']}"
    diary.post("09:46", oliver, "Clinic", f"{path}/start")
    diary.post("09:58", harriet, "Clinic", f"{path}/start")
    early = diary.refused("10:30", oliver, "Clinic", f"{path}/review", {"rating": 5})
    held = diary.post("11:00", harriet, "Clinic", f"{path}/complete")["session"]
    (window,) = oliver.rows("review_windows", "closes_at", order="session_id", session_id=session["id"])
    review = diary.post("11:05", oliver, "Clinic", f"{path}/review", {"rating": 5})
    diary.fact(
        "its student has begun it, its tutor completed it",
        (held["started_by"], held["status"]),
        (oliver.me["id"], "done"),
    )
    diary.fact(
        f"done, it may be reviewed until {moment(window['closes_at'])}, and not before it is",
        (early["code"], review["changed"]),
        ("illegal_transition", True),
    )


def the_messages(page: Page, receiver: Receiver, events: Sequence[Row]) -> None:
    received = {message.id: message for message in receiver.messages}
    page.table(
        "The events, and the message of each",
        ("Message", "Type", "About, its no.", "UTC", "Signature"),
        [
            (
                event["id"],
                event["type"],
                f"{event['aggregate']['type']} {event['aggregate']['sequence']}",
                clock_time(event["occurred_at"]),
                "verified" if received[event["id"]].verified_by else "wrong",
            )
            for event in events
            if event["id"] in received
        ],
    )
    page.expect(
        "behind the cursor are the events that the receiver was told of, in the same words",
        {event["id"]: _exactly(event) for event in events},
        {message_id: _exactly(message.event) for message_id, message in received.items()},
    )
    page.expect(
        "each signature is of the endpoint's secret",
        {message.verified_by for message in receiver.messages},
        {tuple(receiver.secrets)},
    )


# --- small steps --------------------------------------------------------------------------------------


def _events_after(cursor: str, nadia: Person) -> tuple[list[Row], str]:
    """What happened behind a cursor, and the cursor behind that; without one, all of it."""
    events: list[Row] = []
    more = True
    while more:
        answer = nadia.get("/api/events", limit="200", **({"after": cursor} if cursor else {}))
        events += answer["events"]
        cursor, more = answer["next"], answer["has_more"]
    return events, cursor


def _exactly(event: Mapping[str, object]) -> Mapping[str, object]:
    """An event, whichever way its time is written."""
    return {**event, "occurred_at": instant(str(event["occurred_at"]))}
