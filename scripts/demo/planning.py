"""The first act: a house is looked at, and its month is planned and generated."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypeAlias

import httpx

from scripts.demo.cast import Cast, Person, Row, answer_of, everybody_of, first_name, refusal_of
from scripts.demo.house import Match, ids_of, instant, lessons_of
from scripts.demo.page import Page
from scripts.demo.words import by_date, clock_time, date, day, days, moment, plain, rhythm, wall_time, whose


def everybody_signs_in(page: Page, stack: Mapping[str, str]) -> Cast:
    page.chapter(
        "Everybody signs in",
        "With supabase-py, as an app would. Their access tokens go along to our functions.",
        "supabase.auth.sign_in_with_password(…)   GET /api/me",
    )
    everybody = everybody_of(stack)
    page.table(
        "Who is here",
        ("Name", "Role", "Timezone", "E-mail"),
        [(who.me["display_name"], ", ".join(who.me["roles"]), who.timezone, who.me["email"]) for who in everybody],
    )
    page.expect(
        "an admin, three tutors and three students",
        [who.me["roles"] for who in everybody],
        [["admin"], *[["tutor"]] * 3, *[["student"]] * 3],
    )
    return everybody


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
    page.expect("nothing has been written", lessons_of(nadia, match), [])


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
    page.expect("the commit is refused", refusal_of(refused), (HTTPStatus.CONFLICT, "slot_taken"))
    page.expect(
        f"all {len(taken)} conflicts are named, as the preview did",
        sorted(map(instant, named)),
        sorted(map(instant, taken)),
    )
    page.expect("nothing has been written", lessons_of(nadia, match), [])

    nadia.put(f"/api/matches/{match.id}/schedule", {"schedule_pattern": match.pattern})
    made = _generate(nadia, match)
    page.gap()
    page.text(f"Back at {rhythm(match.pattern)}:")
    _expect_generated(page, [match], [made])


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
        [(again["created"], ids_of(again["sessions"])) for _, _, again in made],
        [(0, ids_of(first["sessions"])) for _, first, _ in made],
    )
    page.expect(
        f"at one wall time all month: {', '.join(wall_time(match.pattern) for match in matches)}",
        [{clock_time(lesson["start_local"]) for lesson in first["sessions"]} for _, first, _ in made],
        [{match.pattern["time"]} for match in matches],
    )
