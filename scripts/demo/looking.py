"""The last act: everybody looks at their lessons, at the books and at the audit."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import uuid4

import httpx

from scripts.demo.cast import Person, Row, Scheduler, answer_of, first_name, refusal_of
from scripts.demo.house import Books, Match, ids_of, instant, lessons_of
from scripts.demo.page import Page
from scripts.demo.teaching import NOTES
from scripts.demo.words import change, clock_time, company, date, day, moment, place, status


def tutor_and_student_look(page: Page, bilal: Person, lena: Person, match: Match) -> None:
    page.chapter(
        "Tutor and student look at their lessons",
        "The same sessions, on the clocks of whoever looks. A Meet link is https://meet.google.com/ and its code.",
        "GET /api/sessions",
    )
    taught, learnt = (who.get("/api/sessions")["sessions"] for who in (bilal, lena))
    _show(page, f"{bilal.name} teaches, {bilal.timezone}", "Student", taught)
    _show(page, f"{lena.name} learns, {lena.timezone}", "Tutor", learnt)

    page.expect("they see the same sessions", ids_of(taught), ids_of(learnt))
    page.expect(
        f"{lena.name}'s lessons begin at {match.pattern['time']} all month",
        {clock_time(lesson["start_local"]) for lesson in learnt},
        {match.pattern["time"]},
    )
    page.expect(
        f"their places are 1 to {match.tier}, and the lesson that does not count has none",
        [lesson["package"]["position"] for lesson in learnt if lesson["status"] != "no_show_tutor"],
        list(range(1, match.tier + 1)),
    )
    page.expect(f"{lena.name} reads what {bilal.name} noted: “{NOTES}”", learnt[0]["tutor_notes"], NOTES)


def nadia_looks(page: Page, nadia: Person, scheduler: Scheduler, lena: Person, others: Match) -> None:
    swept = answer_of(scheduler.call("complete-sessions"))
    page.chapter(
        "The admin looks at everybody's",
        f"The clock has been called once more and has begun, late, {swept['started']} lessons that nobody marked. "
        "Filters narrow the list: here a week.",
        "GET /api/cron/complete-sessions   GET /api/sessions?from=…&to=…   GET /api/sessions/{id}",
    )
    everything = nadia.get("/api/sessions", limit="200")["sessions"]
    monday = _monday(everything[0]["scheduled_start_utc"])
    limits = {"from": monday.isoformat(), "to": (monday + timedelta(weeks=1)).isoformat()}
    week = nadia.get("/api/sessions", **limits)["sessions"]
    _show(page, f"The week of {day(monday.isoformat())} as {nadia.name} sees it, {nadia.timezone}", "Lesson", week)

    within = [
        each for each in everything if monday <= instant(each["scheduled_start_utc"]) < monday + timedelta(weeks=1)
    ]
    page.expect("all sessions of the week, and no others", ids_of(week), ids_of(within))
    somebody_elses = lessons_of(nadia, others)[0]["id"]
    unknown = [lena.try_get(f"/api/sessions/{each}") for each in (somebody_elses, uuid4())]
    page.expect(
        f"to {lena.name} another student's lesson is as unknown as one that never was",
        [refusal_of(answer) for answer in unknown],
        [(HTTPStatus.NOT_FOUND, "not_found")] * 2,
    )


def the_books(page: Page, lena: Person, match: Match, books: Books) -> None:
    page.chapter(
        "What it cost",
        f"{lena.name} reads her package, and the ledger behind it, in which nothing is ever changed.",
        'supabase.table("packages").select(…)   supabase.table("credit_ledger").select(…)',
    )
    ledger = lena.rows("credit_ledger", "*", order="created_at", package_id=match.package["id"])
    lessons = {lesson["id"]: lesson for lesson in lessons_of(lena, match)}
    page.table(
        f"Credits of {match.title}",
        ("When", ">Used", ">Left"),
        [(when, str(used), str(left)) for when, used, left in books.notes],
    )
    page.table(
        "The ledger",
        ("Entered, UTC", ">Lesson no.", ">Entry", ">Credit", "By", "Why"),
        [
            (
                moment(entry["created_at"]),
                str(lessons[entry["session_id"]]["sequence_number"]),
                str(entry["entry_no"]),
                f"{entry['amount']:+d}",
                entry["actor_role"],
                entry["reason"] or "",
            )
            for entry in ledger
        ],
    )
    charged = [lesson for lesson in lessons.values() if lesson["status"] in {"done", "no_show_student"}]
    page.expect("the ledger adds up to what is used", sum(entry["amount"] for entry in ledger), books.used)
    page.expect("what is used is what was held or missed by the student", len(charged), books.used)


def the_audit(page: Page, nadia: Person, bilal: Person, lena: Person, match: Match) -> None:
    page.chapter(
        "What the audit says",
        "Who changed what, in which role, and why. The change itself writes it, whichever way it came.",
        'supabase.table("audit_logs").select("*")',
    )
    lessons = {lesson["id"]: f"lesson {lesson['sequence_number']}" for lesson in lessons_of(nadia, match)}
    things = {match.id: "match", match.row["request"]["id"]: "request", **lessons}
    names = {person["id"]: first_name(person) for person in nadia.rows("profiles", "id, display_name")}
    audit = nadia.rows("audit_logs", "*")
    told = [row for row in audit if row["entity_id"] in things and row["actor_user_id"]]
    page.table(
        f"About {match.title}: {len(told)} of {len(audit)} entries",
        ("When, UTC", "Who", "Action", "Of", "Change"),
        [
            (
                f"{date(row['created_at'])} {clock_time(row['created_at'])}",
                f"{names[row['actor_user_id']]}, {row['actor_role']}",
                row["action"],
                things[row["entity_id"]],
                "\n".join(filter(None, (change(row["details"]), row["reason"]))),
            )
            for row in told
        ],
    )
    settled = [row for row in told if row["action"] == "session_status_updated"]
    page.expect("one entry for each status that changed, none for what was refused or repeated", len(settled), 4)
    page.expect(
        f"{bilal.name} and {lena.name} ask for the same table and get nothing",
        [len(who.rows("audit_logs", "*")) for who in (bilal, lena)],
        [0, 0],
    )


def where_things_are(page: Page, stack: Mapping[str, str]) -> None:
    page.chapter(
        "Look for yourself",
        "This stack ends now. `make up` starts one that stays, on the real clock, and says where to find it and "
        "how to sign in; `make down` ends it.",
    )
    places = {"API docs": f"{stack['FUNCTIONS_URL']}/api/docs", "Studio": stack["STUDIO_URL"]}
    page.table("Where they were in this run", ("What", "Address"), list(places.items()))
    answered = [httpx.get(address).status_code for address in places.values()]
    page.expect("both answered", answered, [HTTPStatus.OK, HTTPStatus.OK])


# --- small steps --------------------------------------------------------------------------------------


def _monday(text: str) -> datetime:
    """The first midnight, UTC, of a time's week."""
    midnight = instant(text).replace(hour=0, minute=0)
    return midnight - timedelta(days=midnight.weekday())


def _show(page: Page, title: str, heading: str, sessions: Sequence[Row]) -> None:
    """Sessions with what their viewer tells them apart by."""
    page.table(
        title,
        ("Local time", "UTC", heading, "k of N", "Status", "Meet link"),
        [
            (
                f"{moment(each['start_local'])}-{clock_time(each['end_local'])}",
                moment(each["scheduled_start_utc"]),
                company(each, heading),
                place(each["package"]),
                status(each["status"]),
                each["meet_link"].rpartition("/")[2],
            )
            for each in sessions
        ],
    )
