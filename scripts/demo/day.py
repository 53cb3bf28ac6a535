"""The second act: Monday, from the first start window to a wish fulfilled."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from scripts.demo.cast import Cast, Person, Row, Scheduler
from scripts.demo.diary import Diary
from scripts.demo.house import Clock, Match, instant, lessons_of
from scripts.demo.page import Page
from scripts.demo.words import button, day, hour

MONDAY = "2026-03-02"
TUESDAY = "2026-03-03"
BUTTONS = ("prep", "join", "start", "complete", "missed", "reschedule", "cancel")


def a_day(page: Page, clock: Clock, scheduler: Scheduler, cast: Cast, matches: Sequence[Match]) -> None:
    physics, ielts = matches
    page.chapter(
        f"A day: {day(MONDAY)}",
        f"{cast.zara.name} has two lessons. To Physics {cast.marcus.name} does not come; to IELTS {cast.harriet.name} "
        f"comes late. Then {cast.marcus.name} wishes for a time that is taken, until {cast.zara.name} gives it up.",
        "POST /api/sessions/{id}/start, /dispute, /missed, …   GET /api/cron/complete-sessions",
    )
    diary = Diary(clock, MONDAY)
    marcus_does_not_come(diary, scheduler, cast, physics)
    diary.pause()
    harriet_comes_late(diary, scheduler, cast, ielts)
    diary.pause()
    a_time_becomes_free(diary, cast, physics, ielts)
    diary.show(page, "Hour by hour; “k of N” are credits used")


def marcus_does_not_come(diary: Diary, scheduler: Scheduler, cast: Cast, match: Match) -> None:
    zara, marcus = cast.zara, cast.marcus
    lesson = lessons_of(zara, match)[0]
    window = timedelta(minutes=cast.nadia.get("/api/settings")["start_window_mins"])
    path = f"/api/sessions/{lesson['id']}"
    early = diary.refused("12:40", zara, "Physics", f"{path}/start")
    began = diary.post("12:50", zara, "Physics", f"{path}/start")
    swept = diary.sweep("14:00", scheduler, zara, "Physics", lesson)
    disputed = diary.post("14:05", zara, "Physics", f"{path}/dispute", {"reason": "Nobody came."})
    corrected = diary.post("14:20", marcus, "Physics", f"{path}/missed", {"by": "tutor"})
    diary.fact(
        "a lesson begins in its window, and not before",
        (early["code"], instant(early["opens_at"]), began["session"]["started_by"]),
        ("too_early", instant(lesson["scheduled_start_utc"]) - window, zara.me["id"]),
    )
    diary.fact("what was begun in time the clock completes at its end", (swept["started"], swept["completed"]), (0, 1))
    diary.fact(
        "a dispute changes nothing by itself; the tutor's correction gives the credit back",
        [each["session"]["package"]["sessions_used"] for each in (began, disputed, corrected)],
        [0, 1, 0],
    )


def harriet_comes_late(diary: Diary, scheduler: Scheduler, cast: Cast, match: Match) -> None:
    lesson = lessons_of(cast.zara, match)[0]
    path = f"/api/sessions/{lesson['id']}"
    begun = diary.sweep("15:30", scheduler, cast.harriet, "IELTS", lesson)
    before = _versions(cast.nadia)
    again = diary.sweep("15:31", scheduler, cast.harriet, "IELTS", lesson)
    unchanged = _versions(cast.nadia) == before
    came = diary.post("15:36", cast.harriet, "IELTS", f"{path}/start")["session"]
    waited = diary.sweep("16:15", scheduler, cast.harriet, "IELTS", lesson)
    held = diary.post("16:16", cast.harriet, "IELTS", f"{path}/complete")["session"]
    diary.fact(
        "what nobody began the clock begins, once", (begun["started"], again["started"], unchanged), (1, 0, True)
    )
    diary.fact(
        "who comes late is recorded, and a person has to complete what was late",
        (came["started_by"], came["is_delayed"], waited["completed"], held["status"]),
        (cast.harriet.me["id"], True, 0, "done"),
    )


def a_time_becomes_free(diary: Diary, cast: Cast, physics: Match, ielts: Match) -> None:
    lesson, other = lessons_of(cast.marcus, physics)[1], lessons_of(cast.zara, ielts)[1]
    starts = [other["scheduled_start_utc"], "2026-03-05T13:00:00Z"]
    wish = diary.post(
        "16:30",
        cast.marcus,
        "Physics",
        f"/api/sessions/{lesson['id']}/request-reschedule",
        {"reason": "A conference", "proposed_starts_utc": starts},
    )
    before = _free(diary.get("16:40", cast.nadia, "Physics", "/api/reschedule-requests", status="pending"))
    path = f"/api/sessions/{other['id']}/request-cancel"
    asked = diary.post("16:45", cast.zara, "IELTS", path, {"reason": "A concert"})["request"]
    diary.post("16:50", cast.nadia, "IELTS", f"/api/cancellation-requests/{asked['id']}/approve")
    after = _free(diary.get("16:51", cast.nadia, "Physics", "/api/reschedule-requests", status="pending"))
    path = f"/api/reschedule-requests/{wish['request']['id']}/accept"
    moved = diary.post("16:52", cast.nadia, "Physics", path, {"start_utc": starts[0]})["request"]["session"]
    diary.fact("a cancelled lesson's time is free", (before, after), ([False, True], [True, True]))
    diary.fact(
        f"and {cast.marcus.name}'s lesson has it",
        (moved["status"], instant(moved["scheduled_start_utc"])),
        ("scheduled", instant(starts[0])),
    )


def the_buttons(page: Page, clock: Clock, viewers: Sequence[Person], match: Match) -> None:
    clock.move_to(datetime.fromisoformat(f"{TUESDAY}T15:20+00:00"))
    tutor = viewers[0]
    lesson = lessons_of(tutor, match)[1]
    path = f"/api/sessions/{lesson['id']}"
    page.chapter(
        f"What one may do: {hour(clock.now.isoformat())}, ten minutes before that lesson",
        "Every session shows whoever looks their own buttons: what each calls, or why it is out.",
        "GET /api/sessions/{id} → actions",
    )
    seen = [who.get(path)["actions"] for who in viewers]
    page.table(
        "",
        ("Button", *(f"{who.name}, {who.me['roles'][0]}" for who in viewers)),
        [(name, *(button(actions[name]) for actions in seen)) for name in BUTTONS],
    )
    refused = tutor.try_post(f"{path}/complete", {}).json()
    page.expect(
        f"{tutor.name} presses “complete” all the same, and is told what the button said",
        (refused["code"], instant(refused["opens_at"])),
        (seen[0]["complete"]["code"], instant(seen[0]["complete"]["opens_at"])),
    )


# --- small steps --------------------------------------------------------------------------------------


def _versions(nadia: Person) -> list[tuple[str, int]]:
    return [(each["id"], each["version"]) for each in nadia.get("/api/sessions", limit="200")["sessions"]]


def _free(answer: Row) -> list[bool]:
    """Whether each time is that the one wish proposes."""
    (wish,) = answer["requests"]
    return [each["is_free"] for each in wish["proposals"]]
