"""The tale: a house plans its month, teaches some of it, puts one thing right, and looks at its books."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TypeAlias
from uuid import uuid4

import httpx

from scripts.demo.cast import Person, Row, answer_of, first_name, sign_in
from scripts.demo.house import Books, Clock, Match, instant
from scripts.demo.page import Page
from scripts.demo.words import (
    by_date,
    change,
    city,
    clock_time,
    company,
    date,
    day,
    days,
    moment,
    place,
    plain,
    rhythm,
    status,
    used,
    wall_time,
    whose,
)

NOTES = "Fractions went well."
REASON = "Bilal's line was down all evening"


def tell(page: Page, stack: Mapping[str, str], seconds: float) -> None:
    """The whole story, on a stack that has just been seeded.

    Raises:
        ExpectationError: something did not come out as it should.
    """
    page.title(
        "Lessonkeeper: a month of lessons",
        f"A Supabase of its own is up, migrated and seeded, after {seconds:.1f} s.",
    )
    clock = Clock(stack["DATABASE_URL"])
    nadia, bilal, lena = everybody_signs_in(page, stack)
    mathematics, english, physics, ielts = nadia_looks_at_her_house(page, nadia)
    books = Books(lena, mathematics)
    books.note("bought")

    nadia_previews(page, nadia, mathematics)
    nadia_generates(page, nadia, [mathematics, english, physics])
    nadia_meets_a_time_that_is_taken(page, nadia, ielts, physics)

    bilal_is_too_early(page, bilal, mathematics)
    bilal_begins_with_the_wrong_lesson(page, bilal, clock, mathematics)
    bilal_marks_three_lessons(page, bilal, clock, mathematics, books)
    nadia_corrects_one(page, nadia, clock, mathematics, books)
    nadia_fills_the_gap(page, nadia, mathematics)

    bilal_and_lena_look(page, bilal, lena, mathematics)
    nadia_looks(page, nadia, lena, english)
    the_books(page, lena, mathematics, books)
    the_audit(page, nadia, bilal, lena, mathematics)
    where_things_are(page, stack)


# --- planning -----------------------------------------------------------------------------------------


def everybody_signs_in(page: Page, stack: Mapping[str, str]) -> tuple[Person, Person, Person]:
    emails = (stack["ADMIN_EMAIL"], stack["TUTOR_EMAIL"], stack["STUDENT_EMAIL"])
    nadia, bilal, lena = people = [sign_in(stack, email) for email in emails]
    page.chapter(
        "Three people sign in",
        "With supabase-py, as an app would. Their access tokens go along to our functions.",
        "supabase.auth.sign_in_with_password(…)   GET /api/me",
    )
    page.table(
        "Who is here",
        ("Name", "Role", "Timezone", "E-mail"),
        [(who.me["display_name"], ", ".join(who.me["roles"]), who.timezone, who.me["email"]) for who in people],
    )
    roles = [who.me["roles"] for who in people]
    page.expect("an admin, a tutor and a student", roles, [["admin"], ["tutor"], ["student"]])
    return nadia, bilal, lena


def nadia_looks_at_her_house(page: Page, nadia: Person) -> list[Match]:
    page.chapter(
        "Nadia looks at her house",
        "Straight through the Data API, where row-level security shows an admin everything.",
        'supabase.table("matches").select("…, request:requests(…, packages(…))")   GET /api/health',
    )
    rows = nadia.rows(
        "matches",
        "id, schedule_pattern, tutor:profiles!tutor_user_id(display_name, timezone),"
        "student:profiles!student_user_id(display_name, timezone),"
        "request:requests(id, subject, level, packages(id, tier_sessions, start_date, end_date))",
    )
    matches = [Match(row) for row in rows]
    clock = nadia.get("/api/health")["clock"]
    page.table(
        f"The matches, on {moment(clock['now'])} UTC by the database's clock",
        ("Lessons", "Tutor → student", "Weekly pattern", "Package of"),
        [
            (
                match.title,
                f"{first_name(match.tutor)} → {first_name(match.student)}",
                rhythm(match.pattern),
                f"{match.tier:2}, {date(match.package['start_date'])} to {date(match.package['end_date'])}",
            )
            for match in matches
        ],
    )
    page.expect("the database's clock stands still, and an admin is told so", clock["is_real"], wanted=False)
    page.expect("there are no sessions yet", nadia.get("/api/sessions")["sessions"], [])
    return matches


def nadia_previews(page: Page, nadia: Person, match: Match) -> None:
    page.chapter(
        f"Nadia previews the month of {match.title}",
        f"{rhythm(match.pattern)}. The clocks of New York go forward on 8 March, those of Karachi never.",
        "POST /api/matches/{id}/sessions/preview",
    )
    preview = nadia.post(f"/api/matches/{match.id}/sessions/preview", {})
    page.table(
        f"The plan: {preview['fits']} of {preview['needed']} sessions fit",
        (whose(match.student), "UTC", whose(match.tutor), "Note"),
        by_date(preview),
    )
    starts = [each["student_local"] for each in preview["occurrences"]]
    walls, offsets = {clock_time(start) for start in starts}, {start[-6:] for start in starts}
    page.expect(f"as many sessions as the package has, {match.tier}", preview["fits"], match.tier)
    page.expect(
        f"always {match.pattern['time']} in New York, on either side of the change",
        (walls, len(offsets)),
        ({match.pattern["time"]}, 2),
    )
    page.expect("nothing has been written", _lessons(nadia, match), [])


def nadia_generates(page: Page, nadia: Person, matches: Sequence[Match]) -> None:
    page.chapter(
        "Nadia generates",
        "A commit names the hash of its preview: exactly that plan is written, or nothing is. Days off are "
        "walked past, and the number stays. Sent again, it finds everything there.",
        "POST /api/matches/{id}/sessions {plan_hash}",
    )
    made = [_generate(nadia, match) for match in matches]
    page.table(
        "The month",
        ("Lessons", "First", "Last", ">Created", ">Sent again", "Walked past"),
        [
            (
                match.title,
                day(first["sessions"][0]["start_local"]),
                day(first["sessions"][-1]["start_local"]),
                str(first["created"]),
                str(again["created"]),
                "; ".join(f"{day(each['date'])}, {plain(each['reason'])}" for each in preview["skipped"]),
            )
            for match, (preview, first, again) in zip(matches, made, strict=True)
        ],
    )
    _expect_generated(page, matches, made)


def nadia_meets_a_time_that_is_taken(page: Page, nadia: Person, match: Match, other: Match) -> None:
    wish = {**match.pattern, "timezone": other.timezone, "time": other.pattern["time"]}
    page.chapter(
        "A time that is taken",
        f"{match.title}, shall move to {rhythm(wish)}. But {first_name(match.student)} has {other.title}, "
        f"on {days(other.pattern)} then.",
        "PUT /api/matches/{id}/schedule   POST …/sessions/preview   POST …/sessions {plan_hash}",
    )
    nadia.put(f"/api/matches/{match.id}/schedule", {"schedule_pattern": wish})
    preview, refused = _commit(nadia, match)
    page.refusal(nadia.name, refused, shown=1)
    taken = [conflict["start_utc"] for conflict in preview["conflicts"]]
    named = [conflict["start_utc"] for conflict in refused.json().get("conflicts", [])]
    page.expect("the commit is refused", _refusal(refused), (HTTPStatus.CONFLICT, "slot_taken"))
    page.expect(
        f"all {len(taken)} conflicts are named, as the preview did",
        sorted(map(instant, named)),
        sorted(map(instant, taken)),
    )
    page.expect("nothing has been written", _lessons(nadia, match), [])

    nadia.put(f"/api/matches/{match.id}/schedule", {"schedule_pattern": match.pattern})
    made = _generate(nadia, match)
    page.gap()
    page.text(f"Back at {rhythm(match.pattern)}:")
    _expect_generated(page, [match], [made])


# --- teaching -----------------------------------------------------------------------------------------


def bilal_is_too_early(page: Page, bilal: Person, match: Match) -> None:
    first = _lessons(bilal, match)[0]
    page.chapter(
        "Bilal is too early",
        f"It is still February. His first lesson begins on {moment(first['start_local'])}, Karachi time.",
        "POST /api/sessions/{id}/status {status: done}",
    )
    refused = bilal.try_post(f"/api/sessions/{first['id']}/status", {"status": "done"})
    page.refusal(bilal.name, refused)
    page.expect("no lesson is done before it begins", _refusal(refused), (HTTPStatus.CONFLICT, "too_early"))


def bilal_begins_with_the_wrong_lesson(page: Page, bilal: Person, clock: Clock, match: Match) -> None:
    first, second, *_ = _lessons(bilal, match)
    clock.move_past(second)
    page.chapter(
        "Time passes, and Bilal begins with the wrong lesson",
        f"It is {moment(clock.now.isoformat())} UTC. Two lessons are over, and he marks the second one first.",
        "POST /api/sessions/{id}/status {status: done}",
    )
    refused = bilal.try_post(f"/api/sessions/{second['id']}/status", {"status": "done"})
    page.refusal(bilal.name, refused)
    page.expect("lessons are settled in order", _refusal(refused), (HTTPStatus.CONFLICT, "out_of_order"))
    blockers = [blocker["session_id"] for blocker in refused.json()["blockers"]]
    page.expect("the one in the way is named", blockers, [first["id"]])


def bilal_marks_three_lessons(page: Page, bilal: Person, clock: Clock, match: Match, books: Books) -> None:
    first, second, third, *_ = _lessons(bilal, match)
    page.chapter(
        "Bilal marks three lessons",
        "Two were held, to one his student did not come. The last mark he sends twice.",
        "POST /api/sessions/{id}/status {status, notes}",
    )
    marks = [_mark(bilal, first, {"status": "done", "notes": NOTES})]
    clock.tick()
    marks.append(_mark(bilal, second, {"status": "no_show_student"}))
    clock.move_past(third)
    marks += [_mark(bilal, third, {"status": "done"}) for _ in range(2)]
    page.table(
        "What he is answered",
        (">No.", "Lesson, Karachi", "Marked, UTC", "Status", "Changed", ">Credits used"),
        [
            (
                str(session["sequence_number"]),
                moment(session["start_local"]),
                moment(session["updated_at"]),
                status(session["status"]),
                "yes" if mark["changed"] else "no",
                used(session),
            )
            for mark in marks
            for session in [mark["session"]]
        ],
    )
    books.note("three lessons marked")
    changed = [mark["changed"] for mark in marks]
    page.expect("each of the three cost a credit", books.used, 3)
    page.expect("the mark that came twice counted once", changed, [True, True, True, False])


def nadia_corrects_one(page: Page, nadia: Person, clock: Clock, match: Match, books: Books) -> None:
    missed = _lessons(nadia, match)[1]
    clock.tick()
    page.chapter(
        "Nadia puts one right",
        "It was not the student who missed that lesson. Only an admin may say so, and must say why.",
        "POST /api/sessions/{id}/status {status: no_show_tutor, reason}",
    )
    correction = {"status": "no_show_tutor"}
    refused = nadia.try_post(f"/api/sessions/{missed['id']}/status", correction)
    corrected = _mark(nadia, missed, {**correction, "reason": REASON})["session"]
    page.table(
        f"Lesson no. {missed['sequence_number']}, {moment(missed['start_local'])} in Karachi",
        ("", "Status", ">Credits used", "Why"),
        [
            (when, status(lesson["status"]), used(lesson), lesson["status_reason"] or "")
            for when, lesson in (("before", missed), ("after", corrected))
        ],
    )
    books.note("one corrected")
    page.expect(
        "without a reason it is refused",
        _refusal(refused),
        (HTTPStatus.UNPROCESSABLE_ENTITY, "reason_required"),
    )
    page.expect("the credit has gone back", books.used, missed["package"]["sessions_used"] - 1)


def nadia_fills_the_gap(page: Page, nadia: Person, match: Match) -> None:
    before = set(_ids(_lessons(nadia, match)))
    filled = nadia.post(f"/api/matches/{match.id}/sessions", {"fill": True}, tz=match.timezone)
    added = [lesson for lesson in filled["sessions"] if lesson["id"] not in before]
    page.chapter(
        "Nadia makes up for it",
        f"Of {match.tier} lessons one is missing now. The pattern's next free date takes its place: "
        f"{', '.join(moment(lesson['start_local']) for lesson in added)} in {city(match.timezone)}.",
        "POST /api/matches/{id}/sessions {fill: true}",
    )
    page.expect("one session more", (filled["created"], len(added)), (1, 1))


# --- looking at it ------------------------------------------------------------------------------------


def bilal_and_lena_look(page: Page, bilal: Person, lena: Person, match: Match) -> None:
    page.chapter(
        "Tutor and student look at their lessons",
        "The same sessions, on the clocks of whoever looks. A Meet link is https://meet.google.com/ and its code.",
        "GET /api/sessions",
    )
    taught, learnt = (who.get("/api/sessions")["sessions"] for who in (bilal, lena))
    _show(page, f"{bilal.name} teaches, {bilal.timezone}", "Student", taught)
    _show(page, f"{lena.name} learns, {lena.timezone}", "Tutor", learnt)

    page.expect("they see the same sessions", _ids(taught), _ids(learnt))
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


def nadia_looks(page: Page, nadia: Person, lena: Person, others: Match) -> None:
    page.chapter(
        "The admin looks at everybody's",
        "Filters narrow the list: here a week. Nobody else has marked anything yet.",
        "GET /api/sessions?from=…&to=…   GET /api/sessions/{id}",
    )
    everything = nadia.get("/api/sessions", limit="200")["sessions"]
    monday = _monday(everything[0]["scheduled_start_utc"])
    limits = {"from": monday.isoformat(), "to": (monday + timedelta(weeks=1)).isoformat()}
    week = nadia.get("/api/sessions", **limits)["sessions"]
    _show(page, f"The week of {day(monday.isoformat())} as {nadia.name} sees it, {nadia.timezone}", "Lesson", week)

    within = [
        each for each in everything if monday <= instant(each["scheduled_start_utc"]) < monday + timedelta(weeks=1)
    ]
    page.expect("all sessions of the week, and no others", _ids(week), _ids(within))
    somebody_elses = _lessons(nadia, others)[0]["id"]
    unknown = [lena.try_get(f"/api/sessions/{each}") for each in (somebody_elses, uuid4())]
    page.expect(
        f"to {lena.name} another student's lesson is as unknown as one that never was",
        [_refusal(answer) for answer in unknown],
        [(HTTPStatus.NOT_FOUND, "not_found")] * 2,
    )


def the_books(page: Page, lena: Person, match: Match, books: Books) -> None:
    page.chapter(
        "What it cost",
        f"{lena.name} reads her package, and the ledger behind it, in which nothing is ever changed.",
        'supabase.table("packages").select(…)   supabase.table("credit_ledger").select(…)',
    )
    ledger = lena.rows("credit_ledger", "*", order="created_at", package_id=match.package["id"])
    lessons = {lesson["id"]: lesson for lesson in _lessons(lena, match)}
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
    lessons = {lesson["id"]: f"lesson {lesson['sequence_number']}" for lesson in _lessons(nadia, match)}
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

Generation: TypeAlias = tuple[Row, Row, Row]
"""A preview, the answer to its commit, and the answer to the same commit again."""


def _generate(nadia: Person, match: Match) -> Generation:
    preview, answer = _commit(nadia, match)
    again = nadia.post(f"/api/matches/{match.id}/sessions", {"plan_hash": preview["plan_hash"]})
    return preview, answer_of(answer), again


def _commit(nadia: Person, match: Match) -> tuple[Row, httpx.Response]:
    preview = nadia.post(f"/api/matches/{match.id}/sessions/preview", {})
    body = {"plan_hash": preview["plan_hash"]}
    return preview, nadia.try_post(f"/api/matches/{match.id}/sessions", body, tz=match.timezone)


def _expect_generated(page: Page, matches: Sequence[Match], made: Sequence[Generation]) -> None:
    page.expect(
        f"as many sessions as each package has: {', '.join(str(match.tier) for match in matches)}",
        [first["created"] for _, first, _ in made],
        [match.tier for match in matches],
    )
    page.expect(
        "sent again, the same sessions and no new one",
        [(again["created"], _ids(again["sessions"])) for _, _, again in made],
        [(0, _ids(first["sessions"])) for _, first, _ in made],
    )
    page.expect(
        f"at one wall time all month: {', '.join(wall_time(match.pattern) for match in matches)}",
        [{clock_time(lesson["start_local"]) for lesson in first["sessions"]} for _, first, _ in made],
        [{match.pattern["time"]} for match in matches],
    )


def _mark(who: Person, lesson: Row, body: Row) -> Row:
    return who.post(f"/api/sessions/{lesson['id']}/status", body)


def _lessons(who: Person, match: Match) -> list[Row]:
    """A match's sessions as this person sees them, by their start."""
    return who.get("/api/sessions", match_id=match.id)["sessions"]


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def _ids(sessions: Sequence[Row]) -> list[str]:
    return [session["id"] for session in sessions]


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
