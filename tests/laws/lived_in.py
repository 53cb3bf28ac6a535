"""The house that the access laws are tried on, and the names its rows go by in their tables."""

from uuid import UUID

from tests.database import Database
from tests.db.dispatch import claim, endpoint, settle
from tests.db.lessons import HOUR, booked, booking, instant, lesson
from tests.house import (
    BILAL,
    ENGLISH,
    HARRIET,
    IELTS,
    LENA,
    MARCUS,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    OLIVER,
    OPEN_REQUEST_ID,
    PHYSICS,
    ZARA,
    Person,
)
from tests.plans import generate, sell

# The first three English sessions have begun by now (3, 5 and 10 March), the fourth is tomorrow.
MIDWAY = "2026-03-11T09:00:00+00:00"
LAST_NIGHT = instant("2026-03-10 20:00")
THIS_MORNING = instant("2026-03-11 08:30")

WANDA = Person(UUID("b0000000-0000-4000-8000-000000000009"), "wanda@lessonkeeper.test")
"""Was a tutor: has her match and its sessions, but no role any more."""
STRANGER = Person(UUID("f0000000-0000-4000-8000-000000000001"), "stranger@lessonkeeper.test")
"""Has a token, but no profile."""

PEOPLE = {
    "H": HARRIET, "B": BILAL, "M": MARCUS, "W": WANDA, "O": OLIVER, "L": LENA, "Z": ZARA,
    "N": NADIA, "E": NEWCOMER,
}  # fmt: skip
"""H, B, M and W are tutors (M deactivated, W formerly), O, L and Z students, N the admin, E the newcomer.

O may also teach, but teaches nobody here.
"""

FEEDS = {letter: letter * 43 for letter in PEOPLE}
"""The secrets in the addresses of their calendars."""

STUDENTS = (OLIVER, LENA, ZARA)
MATCHES = {"e": ENGLISH, "m": MATHEMATICS, "p": PHYSICS, "i": IELTS}
"""H teaches O English (e) and Z for IELTS (i), B teaches L mathematics (m), M teaches Z physics (p)."""


BOOKINGS = {"1": (HARRIET, LENA), "2": (HARRIET, OLIVER), "3": (BILAL, LENA), "4": (MARCUS, ZARA), "5": (WANDA, OLIVER)}
"""L's with H is accepted, the others are drafts; W's and M's listings are active, and H has one that is not."""
IN_APRIL = instant("2026-04-13 09:00")
MONDAYS = {"weekday": 1, "starts_at": "00:00", "ends_at": "24:00"}


def live_in(house: Database) -> None:
    """Fill the seeded house: sessions, credits, moves, days off, a webhook, W's chess (c), an open request (a)."""
    house.call(NADIA, "update_settings", p_sync_google_calendar=True)
    house.call(
        NADIA,
        "create_person",
        p_email=WANDA.email,
        p_display_name="Wanda Kern",
        p_timezone="Europe/Berlin",
        p_roles=["tutor"],
    )
    house.run("insert into auth.users (id, email, email_confirmed_at) values (%s, %s, now())", WANDA.id, WANDA.email)
    wanda_id = person_id(house, WANDA)
    assert wanda_id != WANDA.id, "the person is not the sign-in"

    house.call(LENA, "create_request", p_subject="Art")
    chess = house.call(
        NADIA,
        "create_match",
        p_request_id=OPEN_REQUEST_ID,
        p_tutor_id=wanda_id,
        p_schedule_pattern={
            "timezone": "Europe/Berlin",
            "days": [1, 2, 3, 4, 5],
            "time": "08:00",
            "duration_mins": 45,
        },
    )
    (window,) = house.rows("select start_date, end_date from public.packages where id = %s", ENGLISH.package_id)
    chess_package = sell(house, OPEN_REQUEST_ID, *window)
    for match in MATCHES.values():
        generate(house, match.id, match.package_id)
    generate(house, UUID(chess["id"]), chess_package)

    endpoint(house)
    house.set_clock(MIDWAY)
    first = "select distinct on (package_id) id from public.sessions order by package_id, sequence_number"
    for (session_id,) in house.rows(first):
        house.call(NADIA, "tutor_update_session", p_session_id=session_id, p_status="done")
    for session_id, student_id in house.rows("select id, student_user_id from public.sessions where status = 'done'"):
        (student,) = (each for each in STUDENTS if each.id == student_id)
        house.call(student, "review_session", p_session_id=session_id, p_rating=4, p_comment="Well explained.")
    house.run(
        """
        update public.sessions
           set scheduled_start_utc = scheduled_start_utc + interval '10 minutes',
               scheduled_end_utc = scheduled_end_utc + interval '10 minutes'
         where id in (select distinct on (package_id) id from public.sessions
                       order by package_id, sequence_number desc)
        """
    )
    house.run(
        """
        insert into public.disputes (session_id, reason, disputed_by_user_id)
        select distinct on (package_id) id, 'Nobody came.', student_user_id
          from public.sessions order by package_id, sequence_number desc
        """
    )
    wish_otherwise(house)
    # English by the clock: completed last night, begun half an hour ago.
    by_clock = "update public.sessions set status = %s, version = version + 1, updated_by_role = 'clock' where id = %s"
    house.run(by_clock, "done", lesson(house, ENGLISH, LAST_NIGHT, status="in_progress"))
    house.run(by_clock, "in_progress", lesson(house, ENGLISH, THIS_MORNING))
    for person in (HARRIET, OLIVER, LENA, ZARA):
        house.call(
            NADIA,
            "create_time_off",
            p_user_id=person.id,
            p_starts_on="2026-06-01",
            p_ends_on="2026-06-02",
        )
    book(house)
    settle(house, claim(house)[0])
    subscribe(house)
    house.call(NADIA, "update_person", p_person_id=OLIVER.id, p_roles=["student", "tutor"])
    house.call(NADIA, "update_person", p_person_id=MARCUS.id, p_is_active=False)
    house.call(NADIA, "update_person", p_person_id=wanda_id, p_roles=[])


def wish_otherwise(house: Database) -> None:
    """Tutors wish another time for their fifth lesson and ask to cancel it, students for their sixth.

    H's own wishes for the seventh and the eighth English lesson are decided: withdrawn, and rejected.
    """
    for table, proposed in (("reschedule_requests", "proposed_starts_utc, "), ("cancellation_requests", "")):
        house.run(
            f"""
            insert into public.{table} ({proposed} session_id, reason, requested_by_user_id, requested_by_role)
            select {"'{}', " if proposed else ""} id, 'Another day.', asker, side::public.actor_role
              from public.sessions,
                   lateral (values (5, tutor_user_id, 'tutor'), (6, student_user_id, 'student'))
                     as wish (number, asker, side)
             where sequence_number = number
            """
        )
        for number, status in ((7, "withdrawn"), (8, "rejected")):
            house.run(
                f"""
                insert into public.{table} (
                       {proposed} session_id, reason, requested_by_user_id, requested_by_role, status, decided_at)
                select {"'{}', " if proposed else ""} id, 'Another day.', tutor_user_id, 'tutor', %s, private.now()
                  from public.sessions where match_id = %s and sequence_number = %s
                """,
                status,
                ENGLISH.id,
                number,
            )


def book(house: Database) -> None:
    """Listings and hours of every tutor, and the bookings by their numbers."""
    for tutor in (MARCUS, WANDA):
        house.call(tutor, "create_listing", p_title="Chess")
        house.call(tutor, "set_availability", p_timezone="UTC", p_hours=[MONDAYS])
    house.call(HARRIET, "create_listing", p_title="Later", p_is_active=False)
    for number, (tutor, student) in BOOKINGS.items():
        put = booked if number == "1" else booking
        put(house, Person(person_id(house, tutor), tutor.email), student, IN_APRIL + int(number) * HOUR)


def subscribe(house: Database) -> None:
    """Everybody's calendar has an address."""
    for letter, token in FEEDS.items():
        house.run(
            "insert into private.calendar_tokens (profile_id, token_hash) values (%s, private.calendar_token_hash(%s))",
            person_id(house, PEOPLE[letter]),
            token,
        )


def person_id(house: Database, person: Person) -> UUID:
    """The profile behind a sign-in."""
    return house.value("select profile_id from public.accounts where auth_user_id = %s", person.id)


def names(house: Database) -> dict[UUID, str]:
    """What people (by profile), requests and bookings (by id) are called in the tables of the laws."""
    called = {person_id(house, person): letter for letter, person in PEOPLE.items()}
    called |= {match.request_id: letter for letter, match in MATCHES.items()}
    called[OPEN_REQUEST_ID] = "c"
    called[house.value("select id from public.requests where subject = 'Art'")] = "a"
    for number, (tutor, student) in BOOKINGS.items():
        query = "select id from public.bookings where tutor_user_id = %s and student_user_id = %s"
        called[house.value(query, person_id(house, tutor), student.id)] = number
    return called
