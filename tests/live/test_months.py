"""A business of two hundred matches, its month generated over HTTP by a run that is interrupted twice."""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
from psycopg.types.json import Jsonb

from scripts import month
from scripts.stack import Stack
from tests.database import Database
from tests.house import NADIA, NOW, OLIVER, Person
from tests.live.served import ServedHouse

pytestmark = pytest.mark.live

Line: TypeAlias = dict[str, Any]
Slot: TypeAlias = tuple[datetime, datetime]

TUTORS, MATCHES_EACH = 40, 5
MATCHES = TUTORS * MATCHES_EACH
ZONES = (
    "Asia/Karachi",
    "Europe/London",
    "America/New_York",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Auckland",
)
DAYS = {8: ((2, 4), (1, 6), (5, 7)), 12: ((1, 3, 5), (2, 4, 6), (1, 2, 7)), 20: ((1, 2, 3, 4, 5), (3, 4, 5, 6, 7))}
DURATIONS = (30, 45, 60, 90, 105)
FOUNDERS_DAY = date(2026, 3, 17)
"""The seed's holiday, a Tuesday."""
SHORT = timedelta(days=9)
WHOLE = timedelta(days=34)

WITHOUT_PATTERN = (10, 60, 110)
TOO_SHORT = (20, 70, 120)
TWINS = {33: 32, 83: 82, 133: 132, 150: 149}
"""Matches that want the very times of another: of its tutor, or (the last) of its student."""
FAILURES = (
    dict.fromkeys(WITHOUT_PATTERN, "schedule_missing")
    | dict.fromkeys(TOO_SHORT, "window_too_short")
    | dict.fromkeys(TWINS, "slot_taken")
)


@cache
def pinned(zone: str) -> ZoneInfo:
    """A zone by the rules of the pinned package; the machine's own may be older."""
    with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, zone)


def person(kind: int, number: int) -> UUID:
    return UUID(f"{kind:08d}-0000-4000-9000-{number:012d}")


@dataclass(frozen=True)
class Lesson:
    """One of the two hundred matches."""

    number: int

    @property
    def tutor_number(self) -> int:
        return self.number // MATCHES_EACH

    @property
    def tutor_id(self) -> UUID:
        return person(1, self.tutor_number)

    @property
    def student_id(self) -> UUID:
        shares = self.number in TWINS and self.tutor_number != TWINS[self.number] // MATCHES_EACH
        return person(2, TWINS[self.number] if shares else self.number)

    @property
    def request_id(self) -> UUID:
        return person(3, self.number)

    @property
    def id(self) -> UUID:
        return person(4, self.number)

    @property
    def _like(self) -> int:
        """Whose times it has."""
        return TWINS.get(self.number, self.number)

    @property
    def tier(self) -> int:
        return (8, 12, 20)[(self._like // MATCHES_EACH + self._like) % 3]

    @property
    def opening_used(self) -> int:
        return 3 if self.number % 7 == 0 else 0

    @property
    def zone(self) -> str:
        return ZONES[self._like // MATCHES_EACH % len(ZONES)]

    @property
    def at(self) -> time:
        """Two hours after the tutor's lesson before it, which is at most 105 minutes long."""
        return time(8 + 2 * (self._like % MATCHES_EACH), 15 * (self._like // MATCHES_EACH) % 60)

    @property
    def days(self) -> tuple[int, ...]:
        choices = DAYS[self.tier]
        return choices[self._like % len(choices)]

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=DURATIONS[self._like % len(DURATIONS)])

    @property
    def pattern(self) -> Jsonb | None:
        if self.number in WITHOUT_PATTERN:
            return None
        return Jsonb(
            {
                "timezone": self.zone,
                "days": list(self.days),
                "time": f"{self.at:%H:%M}",
                "duration_mins": int(self.length.total_seconds() // 60),
            }
        )


LESSONS = [Lesson(number) for number in range(MATCHES)]
ENDED, CANCELLED = Lesson(MATCHES), Lesson(MATCHES + 1)
"""Not part of any run."""


class Business:
    """The two hundred matches in the database, and a package of each for one month."""

    def __init__(self, database: Database, first_day: date) -> None:
        self.database = database
        self.first_day = first_day
        self.away = first_day + timedelta(days=15), first_day + timedelta(days=16)
        """Both included: when every tenth tutor is away."""

    def package_id(self, lesson: Lesson) -> UUID:
        return person(5_000_000 + self.first_day.month, lesson.number)

    def settle(self) -> None:
        """Enter the people and their matches; once."""
        run = self.database.run
        run("update public.packages set status = 'cancelled'")
        for lesson in (*LESSONS, ENDED, CANCELLED):
            names = f"Tutor {lesson.tutor_number}", f"Student {lesson.number}"
            for id_, name, zone, role in (
                (lesson.tutor_id, names[0], ZONES[lesson.tutor_number % len(ZONES)], "tutor"),
                (lesson.student_id, names[1], ZONES[lesson.number % len(ZONES)], "student"),
            ):
                run(
                    "insert into public.profiles (id, display_name, timezone) values (%s, %s, %s)"
                    " on conflict do nothing",
                    id_, name, zone,
                )  # fmt: skip
                run("insert into public.user_roles values (%s, %s) on conflict do nothing", id_, role)
            run(
                "insert into public.requests (id, student_user_id, subject, status)"
                " values (%s, %s, 'Reading', 'matched')",
                lesson.request_id, lesson.student_id,
            )  # fmt: skip
            run(
                "insert into public.matches (id, request_id, student_user_id, tutor_user_id, schedule_pattern, status)"
                " values (%s, %s, %s, %s, %s, %s)",
                lesson.id, lesson.request_id, lesson.student_id, lesson.tutor_id, lesson.pattern,
                "ended" if lesson is ENDED else "proposed",
            )  # fmt: skip

    def sell(self) -> None:
        """A package of this month for everybody, and time off for some."""
        for lesson in (*LESSONS, ENDED, CANCELLED):
            end = self.first_day + (SHORT if lesson.number in TOO_SHORT else WHOLE)
            self.database.run(
                "insert into public.packages (id, request_id, student_user_id, tier_sessions, opening_used,"
                " sessions_used, start_date, end_date, status) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                self.package_id(lesson), lesson.request_id, lesson.student_id, lesson.tier, lesson.opening_used,
                lesson.opening_used, self.first_day, end, "cancelled" if lesson is CANCELLED else "active",
            )  # fmt: skip
        for number in range(0, TUTORS, 10):
            self.database.run(
                "insert into public.time_off (user_id, starts_on, ends_on) values (%s, %s, %s)",
                person(1, number), *self.away,
            )  # fmt: skip

    def expected(self, lesson: Lesson) -> list[Slot]:
        """Its sessions by the standard library alone: `fold=0` is the first of two, and moves a gap forward."""
        if lesson.number in FAILURES:
            return []
        slots: list[Slot] = []
        zone = pinned(lesson.zone)
        for day in (self.first_day + timedelta(days=number) for number in range(WHOLE.days + 1)):
            start = datetime.combine(day, lesson.at, zone).astimezone(UTC)
            if (
                day.isoweekday() in lesson.days
                and day != FOUNDERS_DAY
                and not self._is_away(lesson, start)
                and len(slots) < lesson.tier - lesson.opening_used
            ):
                slots.append((start, start + lesson.length))
        return slots

    def _is_away(self, lesson: Lesson, start: datetime) -> bool:
        """The tutor's own midnights; no lesson here crosses one."""
        home = pinned(ZONES[lesson.tutor_number % len(ZONES)])
        return lesson.tutor_number % 10 == 0 and self.away[0] <= start.astimezone(home).date() <= self.away[1]

    def sessions(self, lesson: Lesson) -> list[Slot]:
        """As they are stored, by number."""
        rows = self.database.rows(
            "select scheduled_start_utc, scheduled_end_utc from public.sessions where package_id = %s"
            " and occurrence_start_utc = scheduled_start_utc and match_id = %s order by sequence_number",
            self.package_id(lesson),
            lesson.id,
        )
        return [(start.astimezone(UTC), end.astimezone(UTC)) for start, end in rows]

    def traces(self) -> tuple[list[UUID], list[UUID]]:
        """The packages that the audit and the outbox tell of, as often as they do."""
        audited = self.database.rows(
            "select (details ->> 'package_id')::uuid from public.audit_logs where action = 'schedule_generated'"
        )
        sent = self.database.rows(
            "select (payload ->> 'package_id')::uuid from private.outbox_events where event_type = 'schedule.generated'"
        )
        mine = {self.package_id(lesson) for lesson in LESSONS}
        told, heard = ([package for (package,) in rows if package in mine] for rows in (audited, sent))
        return sorted(told), sorted(heard)


@pytest.fixture(scope="module")
def killable() -> Iterator[Stack]:
    """A stack of one's own, whose functions may be killed."""
    with Stack.unused("month", clock=NOW) as stack:
        stack.start_database(fresh=True)
        stack.start_services()
        yield stack


@pytest.fixture(scope="module")
def database(killable: Stack) -> Iterator[Database]:
    """With the two hundred matches in it."""
    database = Database.open(killable.env()["DATABASE_URL"])
    with database.connection:
        Business(database, date(2026, 3, 1)).settle()
        yield database


@contextmanager
def stream(functions: httpx.Client, body: Line) -> Generator[Iterator[Line]]:
    """The lines of a run, as they come; leaving the block early hangs up."""
    with functions.stream("POST", "/schedules/generate", json=body) as response:
        assert response.status_code == 200
        yield (json.loads(line) for line in response.iter_lines())


def until_matches(lines: Iterator[Line], count: int) -> None:
    """Read on until so many matches were told, all of them before the end."""
    seen = 0
    for line in lines:
        assert line["type"] in {"progress", "match"}
        seen += line["type"] == "match"
        if seen == count:
            return
    pytest.fail("the stream ended before it could be interrupted")


def start_lite(stack: Stack) -> Mapping[str, str]:
    stack.start_services()
    return stack.env()


def start_both(stack: Stack) -> Mapping[str, str]:
    stack.start_services()
    return stack.start_postgrest()


@pytest.mark.parametrize(("start", "first_day"), [(start_lite, date(2026, 3, 1)), (start_both, date(2026, 6, 1))])
def test_a_month_of_two_hundred_matches_survives_a_hang_up_and_a_crash(
    killable: Stack, database: Database, start: Callable[[Stack], Mapping[str, str]], first_day: date
) -> None:
    business = Business(database, first_day)
    business.sell()
    body = {"month": f"{first_day:%Y-%m}"}
    with ServedHouse(start.__name__, start(killable), database) as house:
        functions = house.sign_in(NADIA)

        with stream(functions, body) as lines:
            assert next(lines) == {"type": "progress", "left": MATCHES}
            until_matches(lines, 25)

        with stream(functions, body) as lines:
            left_by_hang_up = next(lines)["left"]
            until_matches(lines, 25)
            killable.crash_functions()
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        start(killable)

        told: list[Line] = []
        while not told or told[-1]["more"]:
            after = {"after": told[-1]["after"]} if told else {}
            with stream(functions, body | after) as lines:
                told += lines
            assert told[-1]["type"] == "summary"
    left_by_crash = told[0]["left"]
    assert MATCHES > left_by_hang_up > left_by_crash > len(FAILURES)

    failed = {UUID(line["match_id"]): line["code"] for line in told if "code" in line}
    assert failed == {Lesson(number).id: code for number, code in FAILURES.items()}
    assert sum(line["failed"] for line in told if line["type"] == "summary") == len(FAILURES)

    assert {lesson.number: business.sessions(lesson) for lesson in LESSONS} == {
        lesson.number: business.expected(lesson) for lesson in LESSONS
    }
    assert all(
        len(business.expected(lesson)) == lesson.tier - lesson.opening_used
        for lesson in LESSONS
        if lesson.number not in FAILURES
    )
    assert business.sessions(ENDED) == business.sessions(CANCELLED) == []
    good = sorted(business.package_id(lesson) for lesson in LESSONS if lesson.number not in FAILURES)
    assert business.traces() == (good, good)
    assert database.rows("select * from private.credit_differences") == []
    assert database.value(
        "select count(*) from public.sessions where package_id = any (%s)",
        [business.package_id(lesson) for lesson in LESSONS],
    ) == sum(len(business.expected(lesson)) for lesson in LESSONS)


# --- the command ----------------------------------------------------------------------------------------


def test_the_command_tells_failures_and_succeeds_only_without_any(
    killable: Stack, database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    business = Business(database, date(2026, 10, 1))
    good, bad = Lesson(1), Lesson(10)
    for lesson in (good, bad):
        database.run(
            "insert into public.packages (id, request_id, student_user_id, tier_sessions, start_date, end_date)"
            " values (%s, %s, %s, 8, %s, %s)",
            business.package_id(lesson), lesson.request_id, lesson.student_id,
            business.first_day, business.first_day + timedelta(days=60),
        )  # fmt: skip
    local = ["--month", "2026-10", "--stack", killable.name]
    assert month.main(local) == 1
    told = capsys.readouterr().out
    assert "Student 10" in told
    assert "schedule_missing" in told
    assert "2026-10: 8 sessions for 1 matches; 1 failed." in told

    database.run("update public.matches set schedule_pattern = %s where id = %s", good.pattern, bad.id)
    database.run(
        'update public.matches set schedule_pattern = schedule_pattern || \'{"time": "21:30"}\' where id = %s', bad.id
    )
    env = killable.env()
    for name in ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"):
        monkeypatch.setenv(name, env[name])
    monkeypatch.setenv("LESSONKEEPER_PASSWORD", env["SEED_PASSWORD"])
    assert month.main(["--month", "2026-10", "--url", env["FUNCTIONS_URL"], "--email", NADIA.email]) == 0
    assert "2026-10: 8 sessions for 1 matches; nothing failed." in capsys.readouterr().out
    assert month.main(local) == 0
    assert "2026-10: 0 sessions for 0 matches; nothing failed." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("person", "password", "said"),
    [(OLIVER, "lessonkeeper-local", "not_allowed"), (NADIA, "wrong", "could not sign in")],
)
def test_the_command_says_who_may_not(
    killable: Stack, capfd: pytest.CaptureFixture[str], person: Person, password: str, said: str
) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LESSONKEEPER_PASSWORD", password)
        assert month.main(["--month", "2026-10", "--stack", killable.name, "--email", person.email]) == 1
    assert said in capfd.readouterr().err
