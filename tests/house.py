"""The seeded house of supabase/seed.sql, by name, so that tests read like its day book."""

from dataclasses import dataclass
from uuid import UUID

# The clock of every test stack stands here; packages then run from 2026-03-01 to 2026-04-04.
NOW = "2026-02-26T09:00:00+00:00"


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in; `id` is the profile's and the auth user's."""

    id: UUID
    email: str


def _person(prefix: str, number: int, mailbox: str) -> Person:
    return Person(_id(f"{prefix}0000000", number), f"{mailbox}@lessonkeeper.test")


def _id(prefix: str, number: int) -> UUID:
    return UUID(f"{prefix}-0000-4000-8000-{number:012d}")


NADIA = _person("a", 1, "admin")
BILAL = _person("b", 1, "tutor.karachi")
HARRIET = _person("b", 2, "tutor.london")
MARCUS = _person("b", 3, "tutor.newyork")
LENA = _person("c", 1, "student.newyork")
OLIVER = _person("c", 2, "student.london")
ZARA = _person("c", 3, "student.karachi")
NEWCOMER = _person("e", 1, "newcomer")
"""Signed up unasked: a profile without a role."""

EVERYBODY = (NADIA, BILAL, HARRIET, MARCUS, LENA, OLIVER, ZARA, NEWCOMER)


@dataclass(frozen=True)
class Match:
    """A seeded match with its request and package."""

    id: UUID
    request_id: UUID
    package_id: UUID
    tutor: Person
    student: Person
    tier: int


def _match(number: int, tutor: Person, student: Person, tier: int) -> Match:
    return Match(_id("20000000", number), _id("10000000", number), _id("30000000", number), tutor, student, tier)


MATHEMATICS = _match(1, BILAL, LENA, 8)
"""New York time, Wednesdays and Saturdays 10:00; crosses the change of 8 March."""
ENGLISH = _match(2, HARRIET, OLIVER, 8)
"""London time, Tuesdays and Thursdays 17:00; 17 March is a holiday."""
PHYSICS = _match(3, MARCUS, ZARA, 12)
"""Karachi time, Mondays, Wednesdays and Fridays 18:00."""
IELTS = _match(4, HARRIET, ZARA, 20)
"""London time, weekdays 15:30, 45 minutes."""

OPEN_REQUEST_ID = _id("10000000", 5)


@dataclass(frozen=True)
class Listing:
    """A seeded offer of single lessons."""

    id: UUID
    tutor: Person
    minutes: int
    meet_link: str


EXAM_CLINIC = Listing(_id("60000000", 1), HARRIET, 60, "https://meet.google.com/efg-hijk-lmn")
"""London time, weekdays 09:00 to 12:00."""
MATHEMATICS_HELP = Listing(_id("60000000", 2), BILAL, 30, "https://meet.google.com/fgh-ijkl-mno")
"""Karachi time, Tuesdays and Thursdays 20:00 to 01:00 of the next day."""
