"""The house that the access laws are tried on, and the names its rows go by in their tables."""

from uuid import UUID

from tests.database import Database
from tests.db import letters
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

LINKS = {name: name.ljust(43, "_") for name in ("O", "L", "Z", "revoked", "expired")}
"""Those in the addresses under which guardians read how O, L and Z get on; and two of O's that are over."""
QUESTIONS = {"O": "o" * 43, "L": "l" * 43, "old": "p" * 43}
"""The tokens with which guardians may answer: O's and, too old, another one; L's has lost theirs."""

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
    question(house)
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
    learn(house)
    settle(house, claim(house)[0])
    subscribe(house)
    tell(house)
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


def learn(house: Database) -> None:
    """Every tutor writes into the records of their students, and so does the admin into O's.

    A note, a private remark, a result and three pieces of homework for each match: given, handed in and looked
    through; a brief for the fourth lesson, an approved summary of the first, and a draft of H's on what the clock
    completed. The admin's have no tutor.
    """
    rows = house.rows("select tutor_user_id, student_user_id, id from public.matches order by id")
    signed_in = {person_id(house, person): person for person in PEOPLE.values()}
    for tutor_id, student_id, match_id in rows:
        tutor, student = signed_in[tutor_id], signed_in[student_id]
        write_record(house, tutor, student)
        lessons = house.rows(
            "select id from public.sessions where match_id = %s and sequence_number in (1, 4) order by sequence_number",
            match_id,
        )
        (first,), (fourth,) = lessons
        prepare(house, tutor, fourth)
        prepare(house, NADIA, fourth)
        house.call(tutor, "store_summary_draft", p_session_id=first, p_source="rules", p_text="Verbs.")
        house.call(tutor, "approve_summary", p_session_id=first)
    write_record(house, NADIA, OLIVER)
    last_night = "select id from public.sessions where match_id = %s and scheduled_start_utc = %s"
    completed = house.value(last_night, ENGLISH.id, LAST_NIGHT)
    house.call(HARRIET, "store_summary_draft", p_session_id=completed, p_source="rules", p_text="Nouns, perhaps.")
    (content,) = house.call("service_role", "claim_embeddings", p_model="m", p_dimension=2, p_limit=1)["contents"]
    vectors = [{"content_hash": content["content_hash"], "embedding": [1, 0]}]
    house.call("service_role", "settle_embeddings", p_model="m", p_dimension=2, p_vectors=vectors)


def write_record(house: Database, who: Person, student: Person) -> None:
    about = {"p_student_id": student.id}
    house.call(who, "record_assessment", **about, p_subject="Verbs", p_score=7, p_max_score=10)
    house.call(who, "add_note", **about, p_text="Likes to read aloud.")
    house.call(who, "add_note", **about, p_text="Seems tired of late.", p_is_private=True)
    for steps in range(3):
        given = house.call(who, "assign_homework", **about, p_title=f"Page {steps}", p_due_at="2026-03-20T00:00Z")
        piece = {"p_homework_id": given["homework"]["id"]}
        if steps > 0:
            house.call(student, "submit_homework", **piece)
        if steps > 1:
            house.call(who, "review_homework", **piece, p_mark="A")


def prepare(house: Database, who: Person, session_id: UUID) -> None:
    inputs = house.call(who, "brief_inputs", p_session_id=session_id)
    said = {"text": "Read aloud together.", "event_ids": [inputs["events"][0]["id"]]}
    brief = {"challenges": [], "motivators": [said], "recommended_activities": [], "session_focus": []}
    kept = {"p_fingerprint": inputs["fingerprint"], "p_source": "model", "p_model": "m", "p_brief": brief}
    house.call(who, "store_brief", p_session_id=session_id, **kept)


def question(house: Database) -> None:
    """O's guardian has been asked about the sixth English lesson; no time runs."""
    asked = "select r.id from public.cancellation_requests r join public.sessions s on s.id = session_id"
    asked += " where match_id = %s and r.requested_by_role = 'student'"
    english, mathematics = (house.value(asked, match.id) for match in (ENGLISH, MATHEMATICS))
    house.run(
        "update public.cancellation_requests set asked_guardian_id ="
        " (select id from public.guardians where student_user_id = %s) where id = %s",
        OLIVER.id,
        english,
    )
    for name, request_id, age in (("O", english, 0), ("L", mathematics, 0), ("old", english, 61)):
        house.run(
            "insert into private.consent_tokens (token_hash, cancellation_request_id, created_at)"
            " values (private.token_hash(%s), %s, now() - make_interval(days => %s))",
            QUESTIONS[name],
            request_id,
            age,
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
    """Everybody's calendar has an address, and every student's progress one for a guardian."""
    for letter, token in FEEDS.items():
        house.run(
            "insert into private.calendar_tokens (profile_id, token_hash) values (%s, private.token_hash(%s))",
            person_id(house, PEOPLE[letter]),
            token,
        )
    for name, token in LINKS.items():
        house.run(
            "insert into private.progress_links (guardian_id, token_hash, created_by_user_id, revoked_at, expires_at)"
            " select id, private.token_hash(%s), %s, case %s when 'revoked' then now() end,"
            " now() + case %s when 'expired' then interval '0' else interval '90 days' end"
            " from public.guardians where student_user_id = %s and is_primary",
            token,
            NADIA.id,
            name,
            name,
            person_id(house, PEOPLE.get(name, OLIVER)),
        )


def tell(house: Database) -> None:
    """One message was sent, one refused, one refused long ago; the others wait, or were dropped."""
    sent, refused, old, *others = letters.claim(house, limit=500)
    inbox = {"channel": "email", "sent_to": "somebody@lessonkeeper.test", "body": "The lesson was held."}
    letters.settle(
        house,
        letters.result(sent, provider="inbox", inbox=inbox),
        letters.result(refused, "refused"),
        letters.result(old, "refused"),
        *(letters.result(each, "deferred", send_after=MIDWAY) for each in others),
    )
    house.run("update public.messages set expires_at = private.now() where id = %s", old["message_id"])


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
