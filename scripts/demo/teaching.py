"""The third act: lessons are marked in order, one is put right, one made up for, and a series moves."""

from http import HTTPStatus

from scripts.demo.cast import Person, Row, refusal_of
from scripts.demo.house import Books, Clock, Match, ids_of, lessons_of, mark
from scripts.demo.page import Page
from scripts.demo.words import city, clock_time, moment, rhythm, status, used, wall_time

NOTES = "Fractions went well."
REASON = "Bilal's line was down all evening"


def bilal_begins_with_the_wrong_lesson(page: Page, bilal: Person, clock: Clock, match: Match) -> None:
    first, second, *_ = lessons_of(bilal, match)
    clock.move_past(second)
    page.chapter(
        "Time passes, and Bilal begins with the wrong lesson",
        f"It is {moment(clock.now.isoformat())} UTC. Two lessons are over, and he marks the second one first.",
        "POST /api/sessions/{id}/status {status: done}",
    )
    refused = bilal.try_post(f"/api/sessions/{second['id']}/status", {"status": "done"})
    page.refusal(bilal.name, refused)
    page.expect("lessons are settled in order", refusal_of(refused), (HTTPStatus.CONFLICT, "out_of_order"))
    blockers = [blocker["session_id"] for blocker in refused.json()["blockers"]]
    page.expect("the one in the way is named", blockers, [first["id"]])


def bilal_marks_three_lessons(page: Page, bilal: Person, clock: Clock, match: Match, books: Books) -> None:
    first, second, third, *_ = lessons_of(bilal, match)
    page.chapter(
        "Bilal marks three lessons",
        "Two were held, to one his student did not come. The last mark he sends twice.",
        "POST /api/sessions/{id}/status {status, notes}",
    )
    marks = [mark(bilal, first, {"status": "done", "notes": NOTES})]
    clock.tick()
    marks.append(mark(bilal, second, {"status": "no_show_student"}))
    clock.move_past(third)
    marks += [mark(bilal, third, {"status": "done"}) for _ in range(2)]
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
    missed = lessons_of(nadia, match)[1]
    clock.tick()
    page.chapter(
        "Nadia puts one right",
        "It was not the student who missed that lesson. Only an admin may say so, and must say why.",
        "POST /api/sessions/{id}/status {status: no_show_tutor, reason}",
    )
    correction = {"status": "no_show_tutor"}
    refused = nadia.try_post(f"/api/sessions/{missed['id']}/status", correction)
    corrected = mark(nadia, missed, {**correction, "reason": REASON})["session"]
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
        refusal_of(refused),
        (HTTPStatus.UNPROCESSABLE_ENTITY, "reason_required"),
    )
    page.expect("the credit has gone back", books.used, missed["package"]["sessions_used"] - 1)


def nadia_fills_the_gap(page: Page, nadia: Person, match: Match) -> None:
    before = set(ids_of(lessons_of(nadia, match)))
    filled = nadia.post(f"/api/matches/{match.id}/sessions", {"fill": True}, tz=match.timezone)
    added = [lesson for lesson in filled["sessions"] if lesson["id"] not in before]
    page.chapter(
        "Nadia makes up for it",
        f"Of {match.tier} lessons one is missing now. The pattern's next free date takes its place: "
        f"{', '.join(moment(lesson['start_local']) for lesson in added)} in {city(match.timezone)}.",
        "POST /api/matches/{id}/sessions {fill: true}",
    )
    page.expect("one session more", (filled["created"], len(added)), (1, 1))


def nadia_moves_a_series(page: Page, nadia: Person, match: Match) -> None:
    now = nadia.get("/api/health")["clock"]["now"]
    coming = nadia.get("/api/sessions", match_id=match.id, **{"from": now})["sessions"]
    times = {"timezone": match.timezone, "days": [3, 5], "time": match.pattern["time"]}
    page.chapter(
        f"Nadia moves the rest of {match.title}",
        f"From {rhythm(match.pattern)} to {rhythm(times)}. The clocks of London go forward on 29 March.",
        "POST /api/matches/{id}/reschedule/preview   POST /api/matches/{id}/reschedule {plan_hash}",
    )
    body = {"scope": "following", "session_id": coming[0]["id"], "schedule_pattern": times}
    preview = nadia.post(f"/api/matches/{match.id}/reschedule/preview", body)
    moved = nadia.post(f"/api/matches/{match.id}/reschedule", {**body, "plan_hash": preview["plan_hash"]})
    _show_moves(page, preview)
    page.expect("all that were to come have moved", (moved["moved"], preview["needed"]), (len(coming), len(coming)))
    page.expect(
        "each exactly as in the preview",
        [(each["id"], each["scheduled_start_utc"]) for each in moved["sessions"]],
        [(move["session_id"], move["start_utc"]) for move in preview["moves"]],
    )
    page.expect(
        f"and still at {wall_time(times)}",
        {clock_time(move["student_local"]) for move in preview["moves"]},
        {match.pattern["time"]},
    )


def _show_moves(page: Page, preview: Row) -> None:
    page.table(
        f"{preview['fits']} of {preview['needed']} sessions fit",
        (">No.", "From, UTC", "To, UTC", "London", "Note"),
        [
            (
                str(move["sequence_number"]),
                moment(move["from_start_utc"]),
                moment(move["start_utc"]),
                clock_time(move["student_local"]),
                "; ".join(move["clock_changes"]),
            )
            for move in preview["moves"]
        ],
    )
