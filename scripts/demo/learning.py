"""The last but one act: what was learned, the brief before the next lesson, and a page for the family."""

from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import httpx

from scripts.demo.cast import Cast, Row, Scheduler, answer_of
from scripts.demo.house import Clock, Match, instant, lessons_of
from scripts.demo.page import Page
from scripts.demo.words import moment

PAGE = Path(".stack/progress.html")
"""Where the page stays when the demo is over."""

PARTS = ("challenges", "motivators", "recommended_activities", "session_focus")
RESULTS = (
    (6, 4, 20, "Fractions"),
    (5, 9, 20, "Fractions"),
    (4, 11, 20, "Ratios"),
    (3, 12, 20, "Fractions"),
    (1, 16, 20, "Ratios"),
)
"""Weeks ago, score, of how many, topic."""


def bilal_prepares(page: Page, clock: Clock, cast: Cast, match: Match) -> None:
    bilal, lena = cast.bilal, cast.lena
    page.chapter(
        f"{bilal.name} prepares the next lesson",
        f"He writes results, homework and a note into {lena.name}'s record. Without a key for a language model the "
        "brief is made by rules, and says so; each sentence names the events it rests on.",
        "POST /api/students/{id}/assessments, /homework, /notes   GET /api/sessions/{id}/prep",
    )
    record = f"/api/students/{lena.me['id']}"
    for weeks, score, most, topic in RESULTS:
        taken = {"taken_at": (clock.now - timedelta(weeks=weeks)).isoformat()}
        bilal.post(
            f"{record}/assessments",
            {"subject": "Mathematics", "score": score, "max_score": most, "topic": topic, **taken},
        )
    due = [(clock.now + timedelta(days=days)).isoformat() for days in (1, 6)]
    first, _ = (
        bilal.post(f"{record}/homework", {"title": title, "due_at": due_at})["homework"]
        for title, due_at in zip(("Twelve fractions", "Ratios in recipes"), due, strict=True)
    )
    clock.tick()
    lena.post(f"/api/homework/{first['id']}/submit", {"comment": "The last two were hard."})
    clock.tick()
    bilal.post(f"/api/homework/{first['id']}/review", {"mark": "10 of 12", "feedback": "Common denominators first."})
    bilal.post(f"{record}/notes", {"text": "Explains her way aloud, which helps her find slips."})
    found = lena.get(f"{record}/search", q="denominators")["hits"]

    lesson = next(each for each in lessons_of(bilal, match) if _is_to_come(each, clock))
    brief = bilal.get(f"/api/sessions/{lesson['id']}/prep")
    page.table(
        f"The brief for {moment(lesson['scheduled_start_utc'])} UTC, by {brief['source']}",
        ("About", "What it says", ">Rests on"),
        [
            (about.replace("_", " "), each["text"], f"{len(each['event_ids'])} events")
            for about in PARTS
            for each in brief[about]
        ],
    )
    known = {each["id"] for each in bilal.get(f"{record}/learning-events", limit="200")["events"]}
    cited = {each for about in PARTS for said in brief[about] for each in said["event_ids"]}
    page.expect("it says that no model wrote it", brief["source"], "rules")
    page.expect("every event it names is in the record", cited - known, set[str]())
    page.expect(f"{lena.name} finds what she was told about denominators", bool(found), True)
    refused = lena.try_get(f"/api/sessions/{lesson['id']}/prep")
    page.expect("the brief is not for students", refused.status_code, HTTPStatus.FORBIDDEN)


def the_family_hears_of_it(page: Page, scheduler: Scheduler, cast: Cast, match: Match) -> None:
    page.chapter(
        "What the family hears of a lesson",
        f"A summary is drafted from what {cast.bilal.name} noted; he reads it, and only then it goes out.",
        "POST /api/sessions/{id}/summary, /summary/approve   GET /api/cron/deliver-outbox",
    )
    held = next(each for each in lessons_of(cast.bilal, match) if each["status"] == "done" and each["tutor_notes"])
    path = f"/api/sessions/{held['id']}/summary"
    draft = cast.bilal.post(path, {})["summary"]
    hidden = cast.lena.try_get(path)
    approved = cast.bilal.post(f"{path}/approve", {})["summary"]
    answer_of(scheduler.call("deliver-outbox"))
    inbox = cast.nadia.get("/api/inbox", limit="200")["messages"]
    letters = [each for each in inbox if each["template"] == "P21_session_summary"]
    page.letter(letters[0]["body"], [])
    page.expect("as long as it is a draft its student sees nothing", hidden.status_code, HTTPStatus.NOT_FOUND)
    page.expect("approved, student and guardian are told", (approved["status"], len(letters)), ("approved", 2))
    page.expect(
        "in the words that were approved",
        [_plain(draft["text"]) in _plain(each["body"]) for each in letters],
        [True, True],
    )


def a_page_for_the_family(page: Page, cast: Cast, functions_url: str) -> None:
    page.chapter(
        "How she is getting on",
        "The same figures as JSON and as a page that needs no script and prints well; a guardian opens it by a link "
        "that an admin made, for 90 days.",
        "GET /api/students/{id}/progress[.html]   POST /api/guardians/{id}/progress-link   GET /api/progress/{token}",
    )
    progress = cast.lena.get(f"/api/students/{cast.lena.me['id']}/progress")
    (guardian,) = (
        each for each in cast.nadia.rows("guardians", "*", student_user_id=cast.lena.me["id"]) if each["is_primary"]
    )
    link = cast.nadia.post(f"/api/guardians/{guardian['id']}/progress-link", {})
    opened = httpx.get(f"{functions_url}{link['path']}")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(opened.text, encoding="utf-8")
    _figures(page, progress)
    page.text(f"The page as her guardian sees it stays here: {PAGE}")
    page.expect(
        "the link opens her page, in her guardian's language",
        (opened.status_code, 'lang="es"' in opened.text),
        (HTTPStatus.OK, True),
    )
    page.expect("and runs no script", "<script" in opened.text, False)
    gone = cast.nadia.delete(f"/api/progress-links/{link['id']}")
    again = httpx.get(f"{functions_url}{link['path']}")
    page.expect(
        "revoked, it opens nothing", (bool(gone["revoked_at"]), again.status_code), (True, HTTPStatus.NOT_FOUND)
    )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _figures(page: Page, progress: Row) -> None:
    lessons, homework, streak = progress["lessons"], progress["homework"], progress["streak"]
    trends = [
        (each["subject"], f"{each['trend']['verdict']}, {len(each['marks'])} marks") for each in progress["assessments"]
    ]
    page.table(
        "In figures",
        ("What", "How it goes"),
        [
            *trends,
            (
                "lessons",
                f"{lessons['done']} held, {lessons['no_show_student']} missed, {lessons['cancelled']} cancelled",
            ),
            ("homework", f"{homework['submitted']} of {homework['assigned']} handed in"),
            ("in a row", str(streak["current"])),
            ("credits", f"{progress['sessions_left']} left"),
        ],
    )


def _is_to_come(lesson: Row, clock: Clock) -> bool:
    return lesson["status"] == "scheduled" and instant(lesson["scheduled_start_utc"]) > clock.now
