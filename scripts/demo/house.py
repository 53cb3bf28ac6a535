"""What the story keeps in mind: the matches of the house, its clock and its books."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from scripts.demo.cast import Person, Row

BEGINNING = "2026-02-26T09:00:00+00:00"
"""Where the database's clock stands at first, so that the story never ages."""


def instant(text: str) -> datetime:
    """A time of an answer, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True)
class Match:
    """A tutor, a student, what they do together and when: a row of `matches` with what hangs on it."""

    row: Row

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def title(self) -> str:
        return f"{self.row['request']['subject']}, {self.row['request']['level']}"

    @property
    def pattern(self) -> Row:
        return self.row["schedule_pattern"]

    @property
    def timezone(self) -> str:
        return self.pattern["timezone"]

    @property
    def tutor(self) -> Row:
        return self.row["tutor"]

    @property
    def student(self) -> Row:
        return self.row["student"]

    @property
    def package(self) -> Row:
        (package,) = self.row["request"]["packages"]
        return package

    @property
    def tier(self) -> int:
        return self.package["tier_sessions"]


class Clock:
    """The database's clock, which only moves when told to."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.now = datetime.fromisoformat(BEGINNING)

    def move_past(self, lesson: Row) -> None:
        """Five minutes after a lesson's end."""
        self.move_to(instant(lesson["scheduled_end_utc"]) + timedelta(minutes=5))

    def tick(self) -> None:
        """A minute later."""
        self.move_to(self.now + timedelta(minutes=1))

    def move_to(self, instant: datetime) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute("select private.set_clock(%s)", [instant])
        self.now = instant


class Books:
    """A package's credits as its student sees them, noted as the story goes on."""

    def __init__(self, student: Person, match: Match) -> None:
        self._student, self._package_id = student, match.package["id"]
        self.notes: list[tuple[str, int, int]] = []

    @property
    def used(self) -> int:
        """At the last note."""
        return self.notes[-1][1]

    def note(self, when: str) -> None:
        (package,) = self._student.rows("packages", "tier_sessions, sessions_used", id=self._package_id)
        used = package["sessions_used"]
        self.notes.append((when, used, package["tier_sessions"] - used))


def lessons_of(who: Person, match: Match) -> list[Row]:
    """A match's sessions as this person sees them, by their start."""
    return who.get("/api/sessions", match_id=match.id)["sessions"]


def mark(who: Person, lesson: Row, body: Row) -> Row:
    """What becomes of a lesson, as its tutor or an admin says it."""
    return who.post(f"/api/sessions/{lesson['id']}/status", body)


def ids_of(sessions: Sequence[Row]) -> list[str]:
    return [session["id"] for session in sessions]
