"""Whatever people do at the same moment, nobody waits for somebody who waits for them."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.database import Database, Refused
from tests.db import calendars, letters
from tests.db.consents import ANSWERS, token_for
from tests.db.dispatch import claim, endpoint, happen, result, settle
from tests.db.lessons import instant, lesson
from tests.house import (
    ENGLISH,
    EXAM_CLINIC,
    HARRIET,
    IELTS,
    MATHEMATICS,
    MATHEMATICS_HELP,
    NADIA,
    PHYSICS,
    ZARA,
    Match,
    Person,
)
from tests.plans import commit, generate, planned, sell
from tests.proof.clients import Clients, split

MATCHES = (MATHEMATICS, ENGLISH, PHYSICS, IELTS)
STATUSES = ("done", "no_show_student", "no_show_tutor", "in_progress", "rescheduled", "cancelled", "scheduled")

Call: TypeAlias = tuple[Person | str, str, dict[str, Any]]


class Storm:
    """Random calls of every writing function that takes more than one lock, all about the same few rows."""

    def __init__(self, house: Database, chance: Random) -> None:
        self._chance = chance
        self._house = house
        self._packages: dict[UUID, list[UUID]] = {}
        for match in MATCHES:
            (window,) = house.rows("select start_date, end_date from public.packages where id = %s", match.package_id)
            self._packages[match.id] = [match.package_id, *(sell(house, match.request_id, *window) for _ in range(2))]
            generate(house, match.id, match.package_id)
        self._sessions: list[UUID] = [each for (each,) in house.rows("select id from public.sessions")]
        self._calls: list[Callable[[Match], Call]] = [
            self._status, self._status, self._status, self._move, self._extra, self._plan, self._month,
            self._tier, self._pattern, self._zone, self._renewal, self._button, self._clock, self._clock,
            self._new_time, self._series, self._wish, self._wish, self._turn, self._turn,
            self._request, self._decision, self._decision, self._hours,
            self._answer, self._answer, self._silence, self._post, self._post, self._letters,
            self._homework, self._homework, self._summary, self._summary, self._meanings,
        ]  # fmt: skip

    def call(self) -> Call:
        return self._chance.choice(self._calls)(self._chance.choice(MATCHES))

    def _status(self, _match: Match) -> Call:
        return (
            self._chance.choice((HARRIET, NADIA)),
            "tutor_update_session",
            {
                "p_session_id": self._chance.choice(self._sessions),
                "p_status": self._chance.choice(STATUSES),
                "p_reason": "as it was",
            },
        )

    def _move(self, match: Match) -> Call:
        session_id = self._chance.choice(self._sessions)
        package_id = self._chance.choice(self._packages[match.id])
        arguments = {"p_session_id": session_id, "p_package_id": package_id, "p_reason": "mixed up"}
        return NADIA, "move_session_to_package", arguments

    def _extra(self, match: Match) -> Call:
        start = f"2026-03-{self._chance.randrange(12, 31)} {self._chance.randrange(10, 19)}:30+00"
        package_id = self._chance.choice(self._packages[match.id])
        arguments = {"p_match_id": match.id, "p_start_utc": start, "p_reason": "more", "p_package_id": package_id}
        return NADIA, "add_extra_session", arguments

    def _plan(self, match: Match) -> Call:
        inputs, plan = planned(self._house, match.id, self._chance.choice(self._packages[match.id]))
        occurrences = [
            {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
            for each in self._chance.sample(plan.occurrences, len(plan.occurrences))
        ]
        arguments = {
            "p_match_id": match.id,
            "p_package_id": inputs.package_id,
            "p_fingerprint": inputs.fingerprint,
            "p_occurrences": Jsonb(occurrences),
            "p_fill": True,
            "p_allow_partial": True,
        }
        return NADIA, "generate_sessions", arguments

    def _month(self, _match: Match) -> Call:
        plans: list[dict[str, Any]] = []
        for match in self._chance.sample(MATCHES, 3):
            inputs, plan = planned(self._house, match.id, self._chance.choice(self._packages[match.id]))
            plans.append(
                {
                    "match_id": str(match.id),
                    "package_id": str(inputs.package_id),
                    "fingerprint": inputs.fingerprint,
                    "occurrences": [
                        {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
                        for each in plan.occurrences
                    ],
                }
            )
        return NADIA, "generate_month", {"p_plans": Jsonb(plans)}

    def _tier(self, match: Match) -> Call:
        package_id = self._chance.choice(self._packages[match.id])
        return NADIA, "update_package", {"p_package_id": package_id, "p_tier_sessions": self._chance.choice((12, 20))}

    def _pattern(self, match: Match) -> Call:
        return NADIA, "update_match", {"p_match_id": match.id, "p_meet_link": ""}

    def _zone(self, match: Match) -> Call:
        who = self._chance.choice((match.tutor, match.student))
        return who, "update_me", {"p_timezone": self._chance.choice(("Europe/London", "Asia/Karachi"))}

    def _button(self, match: Match) -> Call:
        button = self._chance.choice(("start_session", "complete_session", "dispute_session", "mark_missed"))
        more = {"dispute_session": {"p_reason": "Nobody came."}, "mark_missed": {"p_by": "student"}}.get(button, {})
        who = self._chance.choice((match.tutor, match.student, NADIA))
        return who, button, {"p_session_id": self._chance.choice(self._sessions)} | more

    def _clock(self, match: Match) -> Call:
        who = self._chance.choice((match.tutor, match.student, None))
        return (who, "refresh_session_statuses", {}) if who else ("service_role", "sweep_session_statuses", {})

    def _request(self, _match: Match) -> Call:
        self._house.run("delete from private.call_counts")
        start = f"2026-03-{self._chance.randrange(12, 31)} {self._chance.randrange(10, 19)}:00+00"
        listing = self._chance.choice((EXAM_CLINIC, MATHEMATICS_HELP))
        asked = {"p_listing_id": listing.id, "p_from": start, "p_to": "2026-04-20 00:00+00"}
        student = self._chance.choice((MATHEMATICS.student, ENGLISH.student, PHYSICS.student))
        fingerprint = self._house.call(student, "slot_inputs", **asked)["fingerprint"]
        arguments = {"p_listing_id": listing.id, "p_start_utc": start, "p_fingerprint": fingerprint}
        return student, "request_booking", arguments

    def _decision(self, _match: Match) -> Call:
        drafts = self._house.rows("select id from public.bookings order by status, id limit 6")
        decision = self._chance.choice(("accept", "accept", "accept", "decline", "cancel"))
        return NADIA, f"{decision}_booking", {"p_booking_id": self._chance.choice(drafts)[0] if drafts else None}

    def _hours(self, _match: Match) -> Call:
        hours = [{"weekday": 7, "starts_at": "09:00", "ends_at": self._chance.choice(("10:00", "11:00"))}]
        return NADIA, "set_availability", {"p_timezone": "UTC", "p_hours": Jsonb(hours), "p_tutor_id": HARRIET.id}

    def _new_time(self, _match: Match) -> Call:
        arguments = {"p_session_id": self._chance.choice(self._sessions), "p_reason": "ill"}
        if self._chance.random() < 0.2:
            return NADIA, "cancel_session", arguments
        start = f"2026-03-{self._chance.randrange(12, 31)} {self._chance.randrange(8, 19)}:30+00"
        return NADIA, "reschedule_session", arguments | {"p_start_utc": start}

    def _series(self, match: Match) -> Call:
        session_id = self._one_of("select id from public.sessions where match_id = %s", match)
        arguments = {"p_match_id": match.id, "p_scope": "following", "p_session_id": session_id}
        return NADIA, "reschedule_series", arguments | shifted(self._house, arguments, self._chance.choice((-30, 30)))

    def _wish(self, match: Match) -> Call:
        who = self._chance.choice((match.tutor, match.student))
        function = self._chance.choice(("request_reschedule", "request_cancellation"))
        session_id = self._one_of(
            "select id from public.sessions where match_id = %s and status in ('scheduled', 'rescheduled')", match
        )
        return who, function, {"p_session_id": session_id, "p_reason": str(self._chance.random())}

    def _turn(self, match: Match) -> Call:
        if self._chance.random() < 0.5:
            table, functions = "reschedule_requests", ("accept_reschedule_request", "reject_reschedule_request")
        else:
            table, functions = "cancellation_requests", ("approve_cancellation", "reject_cancellation")
        request_id = self._one_of(
            f"select r.id from public.{table} r join public.sessions s on s.id = session_id"
            " where match_id = %s and r.status = 'pending'",
            match,
        )
        function = self._chance.choice(functions)
        start = f"2026-03-{self._chance.randrange(12, 31)} 07:00+00"
        return NADIA, function, {"p_request_id": request_id} | ({"p_start_utc": start} if "accept" in function else {})

    def _answer(self, match: Match) -> Call:
        """A guardian's, through the link or by a tap beside one about another lesson."""
        tokens = [self._token(match), self._token(self._chance.choice(MATCHES))]
        how = [self._chance.choice([*ANSWERS]) for _ in tokens]
        if self._chance.random() < 0.5:
            return "service_role", "answer_consent", {"p_token": tokens[0], "p_answer": how[0]}
        taps = [
            {"provider": "meta", "provider_event_id": str(self._chance.random()), "token": token, "answer": answer}
            for token, answer in zip(tokens, how, strict=True)
        ]
        return "service_role", "answer_consent_messages", {"p_answers": Jsonb(taps)}

    def _silence(self, match: Match) -> Call:
        self._house.run(
            "update public.cancellation_requests set asked_at = private.now(), expires_at = private.now()"
            " where id = %s",
            self._one_of(OPEN_QUESTIONS, match),
        )
        return "service_role", "auto_approve_cancellations", {}

    def _post(self, _match: Match) -> Call:
        return "service_role", self._chance.choice(("plan_reminders", "claim_messages")), {"p_limit": 10}

    def _letters(self, _match: Match) -> Call:
        """What becomes of messages: their dispatcher's word, their provider's, or an admin has one sent again."""
        what = self._chance.choice(("settle_messages", "settle_messages", "note_message_statuses", "retry_message"))
        if what == "settle_messages":
            query = "select id, lease_id from public.messages where leased_until is not null order by id limit 10"
            results = [
                letters.result(
                    {"message_id": str(message_id), "lease_id": str(lease_id)},
                    self._chance.choice(("sent", "sent", "refused", "failed", "unknown")),
                )
                | {"provider_message_id": str(message_id)}
                for message_id, lease_id in self._house.rows(query)
            ]
            self._chance.shuffle(results)
            return "service_role", what, {"p_results": Jsonb(results)}
        if what == "note_message_statuses":
            query = "select id::text from public.messages where status = 'sent' order by id limit 10"
            said = [
                {"provider": "resend", "provider_message_id": name, "status": self._chance.choice(("read", "failed"))}
                for (name,) in self._house.rows(query)
            ]
            self._chance.shuffle(said)
            return "service_role", what, {"p_statuses": Jsonb(said)}
        query = "select id from public.messages where status in ('failed', 'unknown') order by id limit 10"
        lost = self._house.rows(query)
        return NADIA, what, {"p_message_id": self._chance.choice(lost)[0] if lost else UUID(int=0)}

    def _token(self, match: Match) -> str:
        request_id = self._one_of(OPEN_QUESTIONS, match)
        return token_for(self._house, request_id) if request_id.int else "x" * 43

    def _homework(self, match: Match) -> Call:
        self._house.run("delete from private.call_counts")
        if self._chance.random() < 0.4:
            arguments = {"p_student_id": match.student.id, "p_title": f"Page {self._chance.randrange(9)}"}
            return NADIA, "assign_homework", arguments
        function = self._chance.choice(("submit_homework", "review_homework"))
        query = "select h.id from public.homework h join public.matches m using (student_user_id) where m.id = %s"
        return NADIA, function, {"p_homework_id": self._one_of(query, match)}

    def _summary(self, match: Match) -> Call:
        done = "select id from public.sessions where match_id = %s and status = 'done'"
        arguments = {"p_session_id": self._one_of(done, match)}
        if self._chance.random() < 0.5:
            return match.tutor, "store_summary_draft", arguments | {"p_source": "rules", "p_text": "Verbs."}
        return NADIA, "approve_summary", arguments

    def _meanings(self, _match: Match) -> Call:
        space = {"p_model": "m", "p_dimension": 1}
        if self._chance.random() < 0.5:
            return "service_role", "claim_embeddings", space | {"p_limit": 5, "p_lease_seconds": 5}
        leased = self._house.rows(
            "select encode(content_hash, 'hex') from private.embeddings order by random() limit 5"
        )
        vectors = [{"content_hash": each, "embedding": [1]} for (each,) in leased]
        return "service_role", "settle_embeddings", space | {"p_vectors": Jsonb(vectors)}

    def _one_of(self, query: str, match: Match) -> UUID:
        """One of the match's ids that the query finds, or an id that is nothing's."""
        found = [each for (each,) in self._house.rows(f"{query} order by 1", match.id)]
        return self._chance.choice(found) if found else UUID(int=0)

    def _renewal(self, match: Match) -> Call:
        return NADIA, "renew_package", {"p_package_id": match.package_id, "p_create": False}


OPEN_QUESTIONS = (
    "select r.id from public.cancellation_requests r join public.sessions s on s.id = session_id"
    " where match_id = %s and r.status = 'pending' and r.asked_guardian_id is not null"
)


def shifted(house: Database, arguments: dict[str, Any], minutes: int) -> dict[str, Any]:
    """What moves a series by so many minutes; without it, where nothing is open, the move is refused likewise."""
    try:
        inputs = house.call(NADIA, "series_inputs", **arguments)
    except Refused:
        return {}
    moves = [
        {
            "session_id": each["session_id"],
            "start_utc": (instant(each["scheduled_start_utc"]) + timedelta(minutes=minutes)).isoformat(),
        }
        for each in inputs["moving"]
    ]
    return {"p_fingerprint": inputs["fingerprint"], "p_moves": Jsonb(moves)}


GETS_THROUGH = {
    "tutor_update_session", "move_session_to_package", "add_extra_session", "generate_sessions", "generate_month",
    "update_package", "update_match", "update_me", "start_session", "complete_session", "mark_missed",
    "refresh_session_statuses", "sweep_session_statuses", "request_booking", "accept_booking", "decline_booking",
    "cancel_booking", "set_availability", "reschedule_session", "reschedule_series",
    "request_reschedule", "request_cancellation", "accept_reschedule_request", "approve_cancellation",
    "answer_consent", "answer_consent_messages", "auto_approve_cancellations",
    "plan_reminders", "claim_messages", "settle_messages", "note_message_statuses", "retry_message",
    "assign_homework", "submit_homework", "review_homework", "store_summary_draft", "approve_summary",
    "claim_embeddings", "settle_embeddings",
}  # fmt: skip
"""What must have succeeded now and then, or the storm would prove nothing of it."""


@pytest.mark.parametrize("rounds", [80, pytest.param(1500, marks=pytest.mark.long)])
def test_a_storm_of_all_that_locks_never_deadlocks(database_url: str, chance: Random, rounds: int) -> None:
    house = Database.open(database_url)
    with house.connection, Clients.of(database_url, 16) as clients:
        storm = Storm(house, chance)
        house.set_clock("2026-03-11T09:00:00+00:00")
        met: Counter[str] = Counter()
        for number in range(10 * rounds):
            # It goes on until each has come about; how soon is a matter of chance.
            if number >= rounds and set(met) >= GETS_THROUGH:
                break
            calls = [storm.call() for _ in range(len(clients))]

            def act(client: Database, number: int, calls: list[Call] = calls) -> str:
                who, function, arguments = calls[number]
                answer = client.call(who, function, **arguments)
                # Some tell of a deadlock in a result instead of failing.
                results = answer.get("results", [])
                assert "failed" not in [each.get("code", each.get("outcome")) for each in results], answer
                assert function != "auto_approve_cancellations" or not answer["failed"], answer
                return function

            answers, refused = split(clients.at_once(act))
            met.update(answers)
            met.update(each.code for each in refused)
        assert house.rows("select * from private.credit_differences") == []
    assert set(met) >= GETS_THROUGH, GETS_THROUGH - set(met)


def test_the_end_of_a_match_and_everything_else_about_it(database_url: str, chance: Random) -> None:
    """Ends are final, so each try has a match of its own."""
    house = Database.open(database_url)
    pattern = {"timezone": "Europe/London", "days": [1, 2, 3, 4, 5], "time": "10:00", "duration_mins": 60}
    (window,) = house.rows("select start_date, end_date from public.packages where id = %s", ENGLISH.package_id)
    with house.connection, Clients.of(database_url, 4) as clients:
        for _ in range(40):
            arguments = {"p_subject": "Chess", "p_student_id": MATHEMATICS.student.id}
            request_id = UUID(house.call(NADIA, "create_request", **arguments)["id"])
            match = house.call(
                NADIA,
                "create_match",
                p_request_id=request_id,
                p_tutor_id=HARRIET.id,
                p_schedule_pattern=pattern,
            )
            match_id = UUID(match["id"])
            package_id, next_package_id = (sell(house, request_id, *window) for _ in range(2))
            sessions = [UUID(each["id"]) for each in generate(house, match_id, package_id)["sessions"]]
            inputs, plan = planned(house, match_id, next_package_id)
            acts: list[Callable[[Database], Any]] = [
                lambda db, match_id=match_id: db.call(NADIA, "end_match", p_match_id=match_id, p_reason="moving"),
                lambda db, inputs=inputs, plan=plan: commit(db, inputs, plan),
                lambda db, sessions=sessions: db.call(
                    NADIA, "tutor_update_session", p_session_id=chance.choice(sessions), p_status="cancelled",
                    p_reason="ill",
                ),
                lambda db, sessions=sessions, other=next_package_id: db.call(
                    NADIA, "move_session_to_package", p_session_id=chance.choice(sessions), p_package_id=other,
                    p_reason="mixed up",
                ),
            ]  # fmt: skip
            clients.at_once(lambda db, number, acts=acts: acts[number](db))
            assert house.value("select status from public.matches where id = %s", match_id) == "ended"
            # Nothing of an ended match is still to come, whoever was faster.
            to_come = (
                "select count(*) from public.sessions where match_id = %s and status in ('scheduled', 'rescheduled')"
            )
            assert house.value(to_come, match_id) == 0


# --- each pair, held against each other ---------------------------------------------------------------------------

PAUSES = (
    "requests", "matches", "listings", "availability", "bookings", "profiles", "sessions", "reschedule_requests",
    "cancellation_requests", "packages", "credit_ledger", "learning_events", "reviews", "webhook_endpoints",
    "deliveries", "messages", "homework", "session_summaries", "briefs", "calendar_syncs",
)  # fmt: skip

# An action that sets lk.pause waits here, after it has written to the table and before any other trigger.
PAUSE = """
    create function private.pause() returns trigger language plpgsql as $$
    begin
      if current_setting('lk.pause', true) = tg_table_name then
        perform pg_advisory_xact_lock_shared(1);
      end if;
      return null;
    end $$
"""


class Held:
    """A house in which one action can be held in the middle while another runs; both are then taken back."""

    def __init__(self, house: Database) -> None:  # noqa: PLR0915  # one thing of every kind
        self.house = house
        house.run(PAUSE)
        for table in PAUSES:
            house.run(
                f"create trigger a_pause after insert or update on public.{table}"
                " for each statement execute function private.pause()"
            )
        (window,) = house.rows("select start_date, end_date from public.packages where id = %s", ENGLISH.package_id)
        self.second_package = sell(house, ENGLISH.request_id, *window)
        self.sessions = generate(house, ENGLISH.id, ENGLISH.package_id)["sessions"]
        house.call(NADIA, "update_package", p_package_id=ENGLISH.package_id, p_tier_sessions=12)
        generate(house, IELTS.id, IELTS.package_id)
        house.set_clock("2026-03-11T09:00:00+00:00")
        self._status(1, "done")(house)
        # More dates for the package to be filled with.
        house.call(NADIA, "update_package", p_package_id=ENGLISH.package_id, p_end_date="2026-04-20")
        inputs, plan = planned(house, ENGLISH.id, ENGLISH.package_id)
        month = {
            "match_id": str(ENGLISH.id),
            "package_id": str(self.second_package),
            "fingerprint": planned(house, ENGLISH.id, self.second_package)[0].fingerprint,
            "occurrences": [
                {"start_utc": each["scheduled_start_utc"], "end_utc": each["scheduled_end_utc"]}
                for each in self.sessions[3:]
            ],
        }
        # By the clock: one completed last night, one due to be.
        last_night = lesson(house, ENGLISH, instant("2026-03-10 20:00"), status="in_progress")
        house.run(
            "update public.sessions set status = 'done', version = version + 1, updated_by_role = 'clock'"
            " where id = %s",
            last_night,
        )
        lesson(house, ENGLISH, instant("2026-03-10 21:30"), status="in_progress")
        # What was to follow from two of them is still to be repaired.
        house.run("delete from public.learning_events")
        house.run(
            "insert into private.reaction_failures (reaction, event_id, sqlstate, retry_at)"
            " select 'learning_record', id, '22012', private.now() from private.outbox_events"
            " where event_type = 'session.completed'"
        )
        hook = endpoint(house)
        for _ in range(3):
            happen(house)
        delivered, *leased = claim(house)
        settle(house, delivered)
        results = [result(leased[0], "gone"), result(leased[1])]
        given, handed_in = (
            house.call(HARRIET, "assign_homework", p_student_id=ENGLISH.student.id, p_title=title)["homework"]["id"]
            for title in ("Page 12", "Page 13")
        )
        house.call(ENGLISH.student, "submit_homework", p_homework_id=handed_in)
        house.run("update public.settings set model_calls_a_day = 100000")
        space = {"p_model": "m", "p_dimension": 1}
        meant = house.call("service_role", "claim_embeddings", **space, p_limit=2)["contents"]
        vectors = Jsonb([{"content_hash": each["content_hash"], "embedding": [1]} for each in meant])
        told = {"p_session_id": last_night, "p_source": "rules", "p_text": "Verbs."}
        house.call(HARRIET, "store_summary_draft", **told)
        lists = ("challenges", "motivators", "recommended_activities", "session_focus")
        nothing = {"p_source": "rules", "p_model": None, "p_brief": Jsonb({name: [] for name in lists})}
        third = self.sessions[2]["id"]
        # On their way to Google: all of English, and one of IELTS, which has no Meet link.
        calendars.without_link(house, IELTS)
        calendars.turn(house, on=True)
        syncs = [
            calendars.result(each, "synced", meet_link=calendars.LINK) for each in calendars.claim(house, limit=500)
        ]
        # Two students who want the time of the extra session below, and one of them another.
        clinic = {"p_listing_id": EXAM_CLINIC.id}
        day = {"p_from": "2026-03-21T00:00Z", "p_to": "2026-03-22T00:00Z"}
        clinic["p_fingerprint"] = house.call(ZARA, "slot_inputs", **clinic, **day)["fingerprint"]
        drafts = [
            house.call(who, "request_booking", p_start_utc="2026-03-21 10:00Z", **clinic)["booking"]["id"]
            for who in (ENGLISH.student, ZARA)
        ]
        third, fourth = self.sessions[2]["id"], self.sessions[3]["id"]
        ask = {"p_session_id": fourth, "p_reason": "ill"}
        wish, cancellation = (
            house.call(ENGLISH.student, function, **ask)["request"]["id"]
            for function in ("request_reschedule", "request_cancellation")
        )
        house.run(
            "update public.cancellation_requests set asked_guardian_id ="
            " (select id from public.guardians where student_user_id = requested_by_user_id)"
        )
        # The guardian's question and another message are on their way, a third is sent.
        guardian_id = house.value("select asked_guardian_id from public.cancellation_requests")
        letters.write(house, guardian_id, "P26_cancellation_request", cancellation_request_id=cancellation)
        posted, sent = letters.claim(house, limit=2), letters.write(house, ENGLISH.student)
        taken = "update public.messages set status = 'sent', provider = 'meta', provider_message_id = 'wamid.1'"
        house.run(f"{taken} where id = %s", sent)
        refused = letters.write(house, ENGLISH.student, status="failed")
        heard = [{"provider": "meta", "provider_message_id": "wamid.1", "status": "failed"}]
        token = token_for(house, cancellation)
        # The guardian kept silent about the last.
        silent = {"p_session_id": self.sessions[-1]["id"], "p_reason": "ill"}
        house.run(
            "update public.cancellation_requests set asked_at = private.now(), expires_at = private.now(),"
            " asked_guardian_id = (select id from public.guardians where student_user_id = requested_by_user_id)"
            " where id = %s",
            house.call(ENGLISH.student, "request_cancellation", **silent)["request"]["id"],
        )
        extra = {"p_match_id": ENGLISH.id, "p_reason": "more", "p_package_id": ENGLISH.package_id}
        self.actions: dict[str, Callable[[Database], Any]] = {
            "complete the second": self._status(2, "done"),
            "complete the fourth": self._status(4, "done"),
            "reopen the first": self._status(1, "in_progress"),
            "cancel the fourth": self._status(4, "cancelled"),
            "add one at the time of the fourth": self._call(
                "add_extra_session", p_start_utc=self.sessions[3]["scheduled_start_utc"], **extra
            ),
            "add one at another time": self._call("add_extra_session", p_start_utc="2026-03-21 10:00Z", **extra),
            "fill the package": lambda db: commit(db, inputs, plan, p_fill=True, p_allow_partial=True),
            "run the month": self._call("generate_month", p_plans=Jsonb([month]), p_allow_partial=True),
            "charge the first to the other package": self._call(
                "move_session_to_package",
                p_session_id=self.sessions[0]["id"],
                p_package_id=self.second_package,
                p_reason="mixed up",
            ),
            "end the match": self._call("end_match", p_match_id=ENGLISH.id, p_reason="moving"),
            "start the third": self._call("start_session", p_session_id=third),
            "complete the third with the button": self._call("complete_session", p_session_id=third),
            "say that the third was missed": self._call("mark_missed", p_session_id=third, p_by="student"),
            "object to last night's": lambda db: db.call(
                ENGLISH.student, "dispute_session", p_session_id=last_night, p_reason="Nobody came."
            ),
            "give the fourth another time": self._call(
                "reschedule_session", p_session_id=fourth, p_start_utc="2026-03-21 12:00Z"
            ),
            "give it the time of the fifth": self._call(
                "reschedule_session", p_session_id=fourth, p_start_utc=self.sessions[4]["scheduled_start_utc"]
            ),
            "move the series on": self._series(30),
            "move the series back": self._series(-30),
            "ask for another time": lambda db: db.call(
                HARRIET, "request_reschedule", p_session_id=fourth, p_reason="ill"
            ),
            "accept another time": self._call(
                "accept_reschedule_request", p_request_id=wish, p_start_utc="2026-03-21 14:00Z"
            ),
            "reject another time": self._call("reject_reschedule_request", p_request_id=wish),
            "withdraw the wish for another time": lambda db: db.call(
                ENGLISH.student, "withdraw_reschedule_request", p_request_id=wish
            ),
            "cancel the fourth at once": self._call("cancel_session", p_session_id=fourth, p_reason="ill"),
            "ask to cancel the fifth": lambda db: db.call(
                HARRIET, "request_cancellation", p_session_id=self.sessions[4]["id"], p_reason="ill"
            ),
            "approve the cancelling": self._call("approve_cancellation", p_request_id=cancellation),
            "reject the cancelling": self._call("reject_cancellation", p_request_id=cancellation),
            "withdraw the cancelling": lambda db: db.call(
                ENGLISH.student, "withdraw_cancellation", p_request_id=cancellation
            ),
            "agree as the guardian": answering(token, "approve"),
            "want another time as the guardian": answering(token, "reschedule"),
            "keep the lesson by a tap": tapping(token, "keep"),
            "take silence for consent": take_silence,
            "review last night's": lambda db: db.call(
                ENGLISH.student, "review_session", p_session_id=last_night, p_rating=5
            ),
            "write into the record": lambda db: db.call(
                HARRIET, "add_note", p_student_id=ENGLISH.student.id, p_text="Reads.", p_session_id=last_night
            ),
            "hand in homework": lambda db: db.call(ENGLISH.student, "submit_homework", p_homework_id=given),
            "look through homework": self._call("review_homework", p_homework_id=handed_in, p_mark="A"),
            "keep a brief": self._call("store_brief", p_session_id=fourth, p_fingerprint="f", **nothing),
            "write of last night's": lambda db: db.call(HARRIET, "store_summary_draft", **told),
            "approve what is written of last night's": self._call("approve_summary", p_session_id=last_night),
            "take what has no meaning yet": lambda db: db.call("service_role", "claim_embeddings", **space),
            "bring meanings": lambda db: db.call("service_role", "settle_embeddings", **space, p_vectors=vectors),
            "let the clock move all": lambda db: db.call("service_role", "sweep_session_statuses"),
            "let the clock move the tutor's": lambda db: db.call(HARRIET, "refresh_session_statuses"),
            "accept a booking": self._call("accept_booking", p_booking_id=drafts[0]),
            "accept another for that time": self._call("accept_booking", p_booking_id=drafts[1]),
            "decline a booking": self._call("decline_booking", p_booking_id=drafts[0]),
            "ask for a lesson": lambda db: db.call(
                ENGLISH.student, "request_booking", p_start_utc="2026-03-22 10:00Z", **clinic
            ),
            "change a listing": self._call("update_listing", p_listing_id=EXAM_CLINIC.id, p_title="Essays"),
            "set the hours": self._call("set_availability", p_timezone="UTC", p_hours="[]", p_tutor_id=HARRIET.id),
            "report what was sent": lambda db: db.call("service_role", "settle_deliveries", p_results=results),
            "send something": lambda db: db.call("service_role", "claim_deliveries"),
            "forget what is old": lambda db: db.call("service_role", "clean_up"),
            "plan the reminders": letters.plan,
            "take messages out": letters.claim,
            "report that messages are sent": lambda db: letters.settle(db, *map(letters.result, posted)),
            "report that messages are not": lambda db: letters.settle(
                db, *(letters.result(each, "refused") for each in posted)
            ),
            "hear from a provider": lambda db: db.call("service_role", "note_message_statuses", p_statuses=heard),
            "have a message sent again": self._call("retry_message", p_message_id=refused),
            "change the webhook": self._call("update_webhook_endpoint", p_endpoint_id=hook, p_is_enabled=False),
            "delete the webhook": self._call("delete_webhook_endpoint", p_endpoint_id=hook),
            "replay a message": self._call("replay_delivery", p_delivery_id=delivered["delivery_id"]),
            "report what Google shows": lambda db: db.call("service_role", "settle_calendar_syncs", p_results=syncs),
            "put something into Google": lambda db: db.call("service_role", "claim_calendar_syncs"),
            "put one into Google anew": self._call("retry_calendar_sync", p_session_id=fourth),
            "have a link of one's own": self._call("update_match", p_match_id=IELTS.id, p_meet_link=calendars.LINK),
            "change a policy": self._call("update_settings", p_start_window_mins=20),
            "raise the tier": self._call("update_package", p_package_id=ENGLISH.package_id, p_tier_sessions=20),
            "change the link": self._call("update_match", p_match_id=ENGLISH.id, p_meet_link=""),
            "rename the request": self._call("update_request", p_request_id=ENGLISH.request_id, p_subject="Essays"),
            "sell the next package": self._call("renew_package", p_package_id=ENGLISH.package_id, p_create=True),
            "rename the tutor": self._call("update_person", p_person_id=HARRIET.id, p_display_name="H. Cole"),
            "enter a guardian": self._call(
                "create_guardian",
                p_student_id=ENGLISH.student.id,
                p_name="Aunt",
                p_timezone="UTC",
                p_phone="+447700900199",
            ),
        }

    def _call(self, function: str, **arguments: Any) -> Callable[[Database], Any]:
        return lambda db: db.call(NADIA, function, **arguments)

    def _series(self, minutes: int) -> Callable[[Database], Any]:
        arguments = {"p_match_id": ENGLISH.id, "p_scope": "following", "p_session_id": self.sessions[3]["id"]}
        return self._call("reschedule_series", **arguments, **shifted(self.house, arguments, minutes))

    def _status(self, number: int, status: str) -> Callable[[Database], Any]:
        session_id = self.sessions[number - 1]["id"]
        return self._call("tutor_update_session", p_session_id=session_id, p_status=status, p_reason="so")

    def waits(self, client: Database) -> bool:
        """Whether that client waits for a lock at this moment."""
        pid = client.connection.info.backend_pid
        query = "select wait_event_type is not distinct from 'Lock' from pg_stat_activity where pid = %s"
        return self.house.value(query, pid)


def answering(token: str, answer: str) -> Callable[[Database], Any]:
    """A guardian's answer through the link."""
    return lambda db: db.call("service_role", "answer_consent", p_token=token, p_answer=answer)


def tapping(token: str, answer: str) -> Callable[[Database], Any]:
    """A guardian's answer as a message; it must not fail."""
    said = [{"provider": "meta", "provider_event_id": "1", "token": token, "answer": answer}]

    def tap(db: Database) -> None:
        told = db.call("service_role", "answer_consent_messages", p_answers=Jsonb(said))
        assert told["results"][0]["outcome"] in {"decided", "already", "too_late"}

    return tap


def take_silence(db: Database) -> None:
    """The scheduler's; it must not fail."""
    assert db.call("service_role", "auto_approve_cancellations")["failed"] == 0


def taken_back(client: Database, action: Callable[[Database], Any]) -> None:
    """Run an action, whether it is refused or not, and undo it; a deadlock is raised."""
    try:
        with client.connection.transaction(force_rollback=True):
            action(client)
    except Refused:
        pass


@pytest.mark.parametrize("others", [10, pytest.param(99, marks=pytest.mark.long)])
def test_every_action_lets_others_finish_wherever_it_is_held(database_url: str, chance: Random, others: int) -> None:
    """Some others by chance (`test_locks` has every pair); in the long run all."""
    house = Database.open(database_url)
    held = Held(house)
    first, second = Database.open(database_url), Database.open(database_url)
    pairs = 0
    with house.connection, first.connection, second.connection, ThreadPoolExecutor(2) as threads:
        for table, (held_name, action) in product(PAUSES, held.actions.items()):
            first.run("select set_config('lk.pause', %s, false)", table)
            for name, other in chance.sample([*held.actions.items()], min(others, len(held.actions))):
                house.run("select pg_advisory_lock(1)")
                try:
                    one = threads.submit(taken_back, first, action)
                    while not (one.done() or held.waits(first)):
                        pass
                    if one.done():
                        break  # it writes nothing there
                    two = threads.submit(taken_back, second, other)
                    while not (two.done() or held.waits(second)):
                        pass
                finally:
                    house.run("select pg_advisory_unlock(1)")
                for running in (one, two):
                    error = running.exception()
                    assert error is None, f"{held_name}, held at {table}, and {name}: {error}"
                pairs += 1
    assert pairs > 300
