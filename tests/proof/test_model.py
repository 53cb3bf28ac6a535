"""Whatever people, the clock and Studio do to a few sessions, in whatever order, the database does what the law says.

A machine plays at random on one match with two nearly used packages, and on a listing of its tutor and its bookings,
on a grid of quarters of an hour that lets times meet and windows close. Every call is made twice, of the database and
of the plain model in `model.py`; their answers must be the same, and after every step everything that is stored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, ClassVar, LiteralString, TypeAlias, cast
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.database import Database, Refused
from tests.db.consents import ANSWERS, read, reply, silence, token_for
from tests.db.lessons import booked, commit_of, inputs_of, lesson
from tests.house import LENA, MATHEMATICS, MATHEMATICS_HELP, NADIA, ZARA
from tests.plans import sell
from tests.proof.model import HOUR, LIVE, Booking, House, No, Package, Policies, Series, Session, Wish

Outcome: TypeAlias = tuple[str, Any]

PEOPLE = {"admin": NADIA, "tutor": MATHEMATICS.tutor, "student": LENA, "friend": ZARA}
NAMES = {person.id: name for name, person in PEOPLE.items()}

MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAILY = {"timezone": "UTC", "days": [1, 2, 3, 4, 5, 6, 7], "time": "10:00", "duration_mins": 60}
WINDOWS = (4, 2)
"""Days of the two packages, from this one on."""
OPENING = (6, 7)
"""Of eight: two credits are left of one package, one of the other."""
BOOKED = MORNING + 2 * HOUR
DATES = [[MORNING + HOUR + timedelta(days=day) for day in range(days)] for days in WINDOWS]

MOST_SESSIONS = 7

STATUSES = ("in_progress", "done", "no_show_student", "no_show_tutor", "scheduled", "rescheduled", "cancelled")
chosen = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6])
"""Which of those there are, counted in a circle, the open ones first."""
packages = st.sampled_from([0, 0, 0, 1])
half_hours = st.integers(-1, 6)
"""From the clock's half hour on."""
statuses = st.sampled_from(STATUSES)
reasons = st.sampled_from(["Ill.", "Ill.", "Ill.", None])
notes = st.sampled_from([None, None, None, "Fractions.", ""])
versions = st.sampled_from([None, None, None, None, 0, 1])
"""Expected: none, the present one, the one before it."""
onto = st.tuples(
    st.one_of(half_hours, st.just(48)), st.sampled_from([None, None, None, 1, 2, 3]), st.sampled_from([0] * 9 + [1])
)
"""Where a series goes: all as far, or (with a gap) from that half hour on, one after another; so many are left out."""


def mostly(*who: str) -> st.SearchStrategy[str]:
    """These people, and now and then one of the others."""
    return st.sampled_from([*who * (12 // len(who)), *PEOPLE])


@pytest.fixture
def house(database_url: str) -> Iterator[tuple[Database, list[UUID]]]:
    """One match without sessions, and its packages; what an example does to them is rolled back."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        db = Database(connection)
        db.set_clock(MORNING)
        db.call(NADIA, "update_settings", p_tutor_correction_hours=1, p_tutor_may_reschedule=True, p_consent_hours=1)
        db.call(NADIA, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=DAILY)
        db.run("update public.matches set status = 'active' where id = %s", MATHEMATICS.id)
        db.run("update public.requests set status = 'active' where id = %s", MATHEMATICS.request_id)
        sold = [
            sell(db, MATHEMATICS.request_id, dates[0].date(), dates[-1].date(), p_opening_used=opening)
            for dates, opening in zip(DATES, OPENING, strict=True)
        ]
        booked(db, MATHEMATICS.tutor, ZARA, BOOKED)
        connection.autocommit = False
        yield db, sold


def as_it_begins() -> House:
    """The model of that house."""
    return House(
        MORNING,
        [Package(8, opening, opening, dates) for opening, dates in zip(OPENING, DATES, strict=True)],
        [Session("friend", None, None, None, BOOKED, BOOKED + HOUR, MORNING, MORNING)],
        Policies(tutor_correction_hours=1, tutor_may_reschedule=True, consent_hours=1),
        bookings=[Booking("friend", BOOKED, BOOKED + HOUR, status="accepted", decided_as="tutor", session=0)],
        lesson_mins=MATHEMATICS_HELP.minutes,
    )


@dataclass(frozen=True)
class Planned:
    """The move of a series, as it was read once: what was asked, and what the model and the database answered."""

    asked: dict[str, Any]
    series: Series
    fingerprint: str


@dataclass(frozen=True)
class Listing:
    """The tutor's, as it was read once."""

    lesson_mins: int
    fingerprint: str


class Lived(RuleBasedStateMachine):
    """A house that is lived in, and its model beside it."""

    db: ClassVar[Database]
    package_ids: ClassVar[list[UUID]]

    def __init__(self) -> None:
        super().__init__()
        self.db.connection.execute("select 1")  # opens the transaction that is rolled back in the end
        self.model = as_it_begins()
        self.session_ids: list[UUID] = [each for (each,) in self.db.rows("select id from public.sessions")]
        self.wish_ids: list[UUID] = []
        self.booking_ids: list[UUID] = [each for (each,) in self.db.rows("select id from public.bookings")]
        self.planned: Planned | None = None
        self.read = self._listing()
        self.versions: dict[UUID, int] = {}
        self.told = self._last_told()

    def teardown(self) -> None:
        self.db.connection.rollback()

    # --- asking both -----------------------------------------------------------------------------------

    def both(self, predicted: Callable[[House], Any], done: Callable[[], Any]) -> bool:
        """Does it to the model and to the database, which must answer the same; a refused one is as it was."""
        tried = self.model.copied()
        try:
            expected: Outcome = "answered", predicted(tried)
            self.model = tried
        except No as no:
            expected = "refused", no.code
        assert self.outcome(done) == expected
        return expected[0] == "answered"

    def outcome(self, done: Callable[[], Any]) -> Outcome:
        try:
            return "answered", done()
        except Refused as refused:
            return "refused", refused.code
        except errors.ExclusionViolation:
            return "refused", "slot_taken"
        except errors.CheckViolation:
            return "refused", "illegal_transition"

    def call(self, who: str, function: str, model: str | None = None, /, **arguments: Any) -> None:
        """One RPC by its name, and the model's method of that name or of the given one."""
        parameters = {
            f"p_{name}": value
            for name, value in arguments.items()
            if name not in ("session", "wish", "package", "booking")
        }
        if "session" in arguments:
            parameters["p_session_id"] = self.session_ids[arguments["session"]]
        if "wish" in arguments:
            parameters["p_request_id"] = self.wish_ids[arguments["wish"]]
        if "package" in arguments:
            parameters["p_package_id"] = self.package_ids[arguments["package"]]
        if "booking" in arguments:
            parameters["p_booking_id"] = self.booking_ids[arguments["booking"]]
        if "start" in arguments:
            parameters["p_start_utc"] = parameters.pop("p_start")

        def done() -> Any:
            answer: dict[str, Any] = self.db.call(PEOPLE[who], function, **parameters)
            return answer.get("changed", True)

        self.both(lambda house: getattr(house, model or function)(who, **arguments), done)

    def the(self, number: int) -> int:
        """The sessions in a circle: first the open ones of the match, then the booked one, last the others."""
        order = [
            1 if each.is_booked else 0 if each.status in (*LIVE, "rescheduled") else 2 for each in self.model.sessions
        ]
        return sorted(range(len(order)), key=order.__getitem__)[number % len(order)]

    def wish(self, number: int) -> int:
        """The wishes in a circle: the open ones first."""
        closed = [not each.is_open for each in self.model.wishes]
        return sorted(range(len(closed)), key=closed.__getitem__)[number % len(closed)]

    def booking(self, number: int) -> int:
        """The bookings in a circle: the drafts first."""
        decided = [each.status != "draft" for each in self.model.bookings]
        return sorted(range(len(decided)), key=decided.__getitem__)[number % len(decided)]

    def version(self, session: int, back: int | None) -> int | None:
        return None if back is None else self.model.sessions[session].version - back

    def moment(self, half_hours: int) -> datetime:
        now = self.model.now
        return now.replace(minute=now.minute // 30 * 30) + half_hours * HOUR / 2

    @property
    def has_room(self) -> bool:
        return len(self.model.sessions) < MOST_SESSIONS

    # --- making sessions -------------------------------------------------------------------------------

    @initialize(
        entered=st.dictionaries(st.sampled_from([0, 2, 3, 6]), packages, min_size=2),
        wanted=st.lists(st.tuples(mostly("student", "friend"), half_hours), max_size=2),
    )
    def begin(self, entered: dict[int, int], wanted: list[tuple[str, int]]) -> None:
        for who, start in wanted:
            self._book(who, start, None)
        for start, package in sorted(entered.items()):
            self._enter(package, start, "scheduled")

    @precondition(lambda self: self.has_room)
    @rule(package=packages, fill=st.sampled_from([True, True, False]), allow_partial=st.booleans())
    def generate(self, package: int, *, fill: bool, allow_partial: bool) -> None:
        def done() -> Any:
            commit = commit_of(inputs_of(self.db, MATHEMATICS, self.package_ids[package]))
            answer = self.db.call(NADIA, "generate_sessions", **commit, p_fill=fill, p_allow_partial=allow_partial)
            return answer["created"]

        self.both(
            lambda house: house.generate_sessions("admin", package=package, fill=fill, allow_partial=allow_partial),
            done,
        )

    @precondition(lambda self: self.has_room)
    @rule(
        who=mostly("admin"),
        package=packages,
        start=half_hours,
        duration_mins=st.sampled_from([None, 30, 90]),
        reason=reasons,
    )
    def add_extra(self, who: str, package: int, start: int, duration_mins: int | None, reason: str | None) -> None:
        def done() -> Any:
            self.db.call(
                PEOPLE[who], "add_extra_session",
                p_match_id=MATHEMATICS.id, p_package_id=self.package_ids[package],
                p_start_utc=self.moment(start), p_duration_mins=duration_mins, p_reason=reason,
            )  # fmt: skip
            return True

        begins = self.moment(start)
        self.both(
            lambda house: house.add_extra_session(
                who, package=package, start=begins, duration_mins=duration_mins, reason=reason
            ),
            done,
        )

    @precondition(lambda self: self.has_room)
    @rule(package=packages, start=half_hours, status=st.sampled_from(["scheduled", "done", "cancelled"]))
    def enter_by_hand(self, package: int, start: int, status: str) -> None:
        self._enter(package, start, status)

    def _enter(self, package: int, start: int, status: str) -> None:
        begins = self.moment(start)

        def done() -> bool:
            entered = lesson(
                self.db, MATHEMATICS, begins,
                package_id=self.package_ids[package], occurrence_start_utc=None, status=status,
            )  # fmt: skip
            self.session_ids.append(entered)
            return True

        self.both(lambda house: house.enter_by_hand(package=package, start=begins, status=status), done)

    # --- what happened ---------------------------------------------------------------------------------

    @rule(who=mostly("tutor", "student"), session=chosen, back=versions)
    def start(self, who: str, session: int, back: int | None) -> None:
        session = self.the(session)
        self.call(who, "start_session", session=session, expected_version=self.version(session, back))

    @rule(who=mostly("tutor", "student"), session=chosen, notes=notes, back=versions)
    def complete(self, who: str, session: int, notes: str | None, back: int | None) -> None:
        session = self.the(session)
        self.call(who, "complete_session", session=session, notes=notes, expected_version=self.version(session, back))

    @rule(who=mostly("tutor"), session=chosen, by=st.sampled_from(["student", "tutor"]), reason=reasons, notes=notes)
    def miss(self, who: str, session: int, by: str, reason: str | None, notes: str | None) -> None:
        self.call(who, "mark_missed", session=self.the(session), by=by, reason=reason, notes=notes)

    @rule(who=mostly("tutor"), session=chosen, status=statuses, reason=reasons, notes=notes, back=versions)
    def update(
        self, who: str, session: int, status: str, reason: str | None, *, notes: str | None, back: int | None
    ) -> None:
        session = self.the(session)
        self.call(
            who, "tutor_update_session",
            session=session, status=status, reason=reason, notes=notes, expected_version=self.version(session, back),
        )  # fmt: skip

    @rule(session=chosen, status=statuses)
    def correct(self, session: int, status: str) -> None:
        self.call(
            "admin", "tutor_update_session",
            session=self.the(session), status=status, reason="As it was.", notes=None, expected_version=None,
        )  # fmt: skip

    @rule(who=mostly("student", "tutor"), session=chosen, by=st.sampled_from(["student", "tutor"]), reason=reasons)
    def object_to_what_is_over(self, who: str, session: int, by: str, reason: str | None) -> None:
        session = self.the(-1 - session)
        if who == "tutor":
            self.call(who, "mark_missed", session=session, by=by, reason=reason, notes=None)
        else:
            self.call(who, "dispute_session", session=session, reason=reason)

    @rule(session=chosen, status=st.sampled_from(["done", "no_show_student", "no_show_tutor"]))
    def come_and_say(self, session: int, status: str) -> None:
        """Its tutor says what became of a session as soon as that is possible."""
        session = self.the(session)
        self.set_clock(max(self.model.now, self.model.sessions[session].start))
        self.call(
            "tutor", "tutor_update_session",
            session=session, status=status, reason=None, notes=None, expected_version=None,
        )  # fmt: skip

    @rule(session=chosen)
    def hold(self, session: int) -> None:
        """A lesson as it should be: its tutor begins it in time, and the clock ends it."""
        session = self.the(session)
        begins, ends = self.model.sessions[session].start, self.model.sessions[session].end
        if begins >= self.model.now:
            self.set_clock(begins)
            self.call("tutor", "start_session", session=session, expected_version=None)
            self.set_clock(ends)
            self.sweep(None)

    # --- moving and cancelling -------------------------------------------------------------------------

    @rule(who=mostly("admin", "tutor"), session=chosen, start=half_hours, reason=reasons, back=versions)
    def move(self, who: str, session: int, start: int, reason: str | None, back: int | None) -> None:
        session = self.the(session)
        self.call(
            who, "reschedule_session",
            session=session, start=self.moment(start), reason=reason, expected_version=self.version(session, back),
        )  # fmt: skip

    @rule(who=mostly("admin"), session=chosen, reason=reasons, back=versions)
    def cancel(self, who: str, session: int, reason: str | None, back: int | None) -> None:
        session = self.the(session)
        self.call(who, "cancel_session", session=session, reason=reason, expected_version=self.version(session, back))

    @rule(
        who=mostly("tutor", "student"), session=chosen, reason=reasons,
        proposed=st.one_of(st.none(), st.lists(half_hours, max_size=2)),
    )  # fmt: skip
    def ask(self, who: str, session: int, reason: str | None, proposed: list[int] | None) -> None:
        """For another time, or (proposing none) to cancel."""
        session = self.the(session)
        if proposed is None:
            self.call(who, "request_cancellation", session=session, reason=reason)
            return
        starts = [self.moment(each) for each in proposed]
        self.call(who, "request_reschedule", session=session, proposed_starts_utc=starts, reason=reason)

    @precondition(lambda self: self.model.wishes)
    @rule(who=mostly("admin"), wish=chosen, proposal=st.sampled_from([None, 0, 1]), start=half_hours)
    def grant(self, who: str, wish: int, proposal: int | None, start: int) -> None:
        wish = self.wish(wish)
        if self.model.wishes[wish].kind == "cancellation":
            self.call(who, "approve_cancellation", wish=wish)
            return
        starts = [*self.model.wishes[wish].proposed, self.moment(start)]
        begins = None if proposal is None else starts[proposal % len(starts)]
        self.call(who, "accept_reschedule_request", wish=wish, start=begins)

    @precondition(lambda self: self.model.wishes)
    @rule(who=mostly("admin", "tutor", "student"), wish=chosen)
    def end(self, who: str, wish: int) -> None:
        """Rejected by an admin, withdrawn by anybody else."""
        wish = self.wish(wish)
        verb = "reject" if who == "admin" else "withdraw"
        what = "cancellation" if self.model.wishes[wish].kind == "cancellation" else "reschedule_request"
        self.call(who, f"{verb}_{what}", verb, wish=wish)

    # --- the guardian's consent ------------------------------------------------------------------------

    @precondition(lambda self: self.to_be_asked_about)
    @rule(
        by_tutor=st.booleans(), session=chosen,
        then=st.sampled_from([*ANSWERS, "silence", "silence", "lost", "sent again", "late", "late", "called", "begun"]),
    )  # fmt: skip
    def put_to_the_guardian(self, session: int, then: str, *, by_tutor: bool) -> None:
        """Somebody asks to cancel, the message goes out at once, and this is what comes of it."""
        about = self.to_be_asked_about[session % len(self.to_be_asked_about)]
        who = "tutor" if by_tutor else self.model.sessions[about].student
        asked_before = len(self.model.wishes)
        self.call(who, "request_cancellation", session=about, reason="Ill.")
        if len(self.model.wishes) == asked_before:
            return  # too often
        self._wishes()  # where its id is learnt
        self._tell_of_the_question(asked_before, arrives=then != "lost")
        match then:
            case "silence":
                self._keep_silent(self.model.wishes[asked_before])
            case "sent again":
                self.let_time_pass(15)
                self._tell_of_the_question(asked_before, arrives=True)
            case "late":
                self._wait_for_silence(self.model.wishes[asked_before])
                self._answer(asked_before, "keep", by_message=by_tutor)
            case "called":
                self._answer(asked_before, "call", by_message=by_tutor)
                self._answer(asked_before, "keep", by_message=by_tutor)
            case "begun":
                self.set_clock(max(self.model.now, self.model.sessions[about].start))
                self._keep_silent(self.model.wishes[asked_before])
            case "lost":
                pass
            case answer:
                self._answer(asked_before, answer, by_message=by_tutor)

    @property
    def to_be_asked_about(self) -> list[int]:
        """What may be cancelled, and is not asked about."""
        asked = {each.session for each in self.model.wishes if each.kind == "cancellation" and each.is_open}
        return [
            number
            for number, each in enumerate(self.model.sessions)
            if number not in asked
            and (each.status == "rescheduled" or (each.status == "scheduled" and each.start > self.model.now))
        ]

    @precondition(lambda self: self.questions)
    @rule(question=chosen, arrives=st.sampled_from([True, True, False]))
    def ask_the_guardian(self, question: int, *, arrives: bool) -> None:
        """A provider takes the message, or does not."""
        self._tell_of_the_question(self.question(question), arrives=arrives)

    def _tell_of_the_question(self, wish: int, *, arrives: bool) -> None:

        def done() -> bool:
            report = "start_consent_timer(%s)" if arrives else "note_consent_unasked(%s, 'failed')"
            self.db.run(f"select private.{report}", self.wish_ids[wish])
            return True

        self.both(
            lambda house: house.start_consent_timer(wish=wish) if arrives else house.note_consent_unasked(wish=wish),
            done,
        )

    @precondition(lambda self: self.questions)
    @rule(question=chosen, answer=st.sampled_from([*ANSWERS]), by_message=st.booleans())
    def answer(self, question: int, answer: str, *, by_message: bool) -> None:
        self._answer(self.question(question), answer, by_message=by_message)

    def _answer(self, wish: int, answer: str, *, by_message: bool) -> None:
        token = token_for(self.db, self.wish_ids[wish])

        def done() -> str:
            if not by_message:
                return reply(self.db, token, answer)["outcome"]
            tap = {"provider": "meta", "provider_event_id": token, "token": token, "answer": answer}
            told = self.db.call("service_role", "answer_consent_messages", p_answers=Jsonb([tap]))
            return told["results"][0]["outcome"]

        self.both(
            lambda house: (house.answer_by_message if by_message else house.answer_consent)(wish=wish, answer=answer),
            done,
        )

    @precondition(lambda self: self.questions)
    @rule(question=chosen)
    def look_at_the_question(self, question: int) -> None:
        wish = self.question(question)
        token = token_for(self.db, self.wish_ids[wish])

        def done() -> tuple[str, list[str]]:
            shown = read(self.db, token)
            assert shown["answer_open"] == bool(shown["answers"])
            return shown["status"], shown["answers"]

        self.both(lambda house: house.read_consent(wish=wish), done)

    @precondition(lambda self: self.questions)
    @rule(question=chosen, is_early=st.sampled_from([False, False, True]))
    def keep_silent(self, question: int, *, is_early: bool) -> None:
        self._keep_silent(self.model.wishes[self.question(question)], is_early=is_early)

    def _keep_silent(self, wish: Wish, *, is_early: bool = False) -> None:
        """Until the time is over, or nearly; then the scheduler comes by."""
        self._wait_for_silence(wish, is_early=is_early)

        def done() -> int:
            answer = silence(self.db)
            assert (answer["failed"], answer["more"]) == (0, False)
            return answer["approved"]

        self.both(House.auto_approve_cancellations, done)

    def _wait_for_silence(self, wish: Wish, *, is_early: bool = False) -> None:
        if wish.expires is not None:
            self.set_clock(max(wish.expires - is_early * HOUR / 60, self.model.now))

    @rule(whose=st.sampled_from(["student", "student", "friend"]), is_reached=st.booleans())
    def reach_the_guardian(self, whose: str, *, is_reached: bool) -> None:
        def done() -> bool:
            self.db.run(
                "update public.guardians set whatsapp_opt_in = %s where student_user_id = %s and is_primary",
                is_reached,
                PEOPLE[whose].id,
            )
            return True

        self.both(lambda house: house.reach_guardian(whose=whose, is_reached=is_reached), done)

    @property
    def questions(self) -> list[int]:
        return [number for number, each in enumerate(self.model.wishes) if each.kind == "cancellation"]

    def question(self, number: int) -> int:
        """The wishes to cancel in a circle: the open ones first."""
        order = sorted(self.questions, key=lambda each: not self.model.wishes[each].is_open)
        return order[number % len(order)]

    # --- a series --------------------------------------------------------------------------------------

    @rule(
        who=mostly("admin"), session=chosen, package=packages, onto=onto, reason=reasons,
        scope=st.sampled_from(["one", "following", "following", "all", "all", "all"]),
    )  # fmt: skip
    def move_series(
        self, who: str, scope: str, session: int, package: int, *, onto: tuple[int, int | None, int], reason: str | None
    ) -> None:
        if self._plan_series(who, scope=scope, session=self.the(session), package=package):
            self.move_as_planned(who, onto, reason)

    @precondition(lambda self: self.planned is not None)
    @rule(who=mostly("admin"), onto=onto, reason=reasons)
    def move_as_planned(self, who: str, onto: tuple[int, int | None, int], reason: str | None) -> None:
        """The series that was planned last, whenever that was."""
        assert self.planned is not None
        planned, moving, (by, gap, left_out) = self.planned, self.planned.series.moving, onto
        starts = (
            [self.model.sessions[each].start + by * HOUR / 2 for each in moving]
            if gap is None
            else [self.moment(by + gap * number) for number in range(len(moving))]
        )[: len(moving) - left_out]
        moves = [
            {"session_id": str(self.session_ids[each]), "start_utc": start.isoformat()}
            for each, start in zip(moving, starts, strict=False)
        ]

        def done() -> Any:
            answer = self.db.call(
                PEOPLE[who], "reschedule_series",
                **self._scope(planned.asked), p_fingerprint=planned.fingerprint, p_moves=Jsonb(moves), p_reason=reason,
            )  # fmt: skip
            return answer["moved"]

        self.both(
            lambda house: house.reschedule_series(
                who, planned=planned.series, **planned.asked, starts=starts, reason=reason
            ),
            done,
        )

    def _plan_series(self, who: str, **asked: Any) -> bool:
        inputs: dict[str, Any] = {}

        def done() -> list[int]:
            inputs.update(self.db.call(PEOPLE[who], "series_inputs", **self._scope(asked)))
            return [self.session_ids.index(UUID(each["session_id"])) for each in inputs["moving"]]

        is_planned = self.both(lambda house: house.series_inputs(who, **asked).moving, done)
        if is_planned:
            self.planned = Planned(asked, self.model.series_inputs(who, **asked), inputs["fingerprint"])
        return is_planned

    def _scope(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "p_match_id": MATHEMATICS.id,
            "p_scope": asked["scope"],
            "p_session_id": self.session_ids[asked["session"]],
            "p_package_id": self.package_ids[asked["package"]],
        }

    # --- the end of the match --------------------------------------------------------------------------

    @rule(who=mostly("admin"), reason=reasons, is_taken_back=st.sampled_from([True, True, False]))
    def end_the_match(self, who: str, reason: str | None, *, is_taken_back: bool) -> None:
        """Most often Studio takes the match up again at once, so that there is something left to play."""

        def done() -> list[int]:
            answer = self.db.call(PEOPLE[who], "end_match", p_match_id=MATHEMATICS.id, p_reason=reason)
            return sorted(self.session_ids.index(UUID(each)) for each in answer["cancelled"])

        self.both(lambda house: house.end_match(who, reason=reason), done)
        if is_taken_back and self.model.has_ended:
            self.take_up_by_hand()

    @precondition(lambda self: self.model.has_ended)
    @rule()
    def take_up_by_hand(self) -> None:
        def done() -> bool:
            self.db.run("update public.matches set status = 'active' where id = %s", MATHEMATICS.id)
            self.db.run("update public.requests set status = 'active' where id = %s", MATHEMATICS.request_id)
            return True

        self.both(House.take_up_by_hand, done)

    # --- bookings --------------------------------------------------------------------------------------

    @rule(
        who=mostly("student", "friend"), start=half_hours, note=st.sampled_from([None, "Fractions, please."]),
        is_old=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    def book(self, who: str, start: int, note: str | None, *, is_old: bool) -> None:
        """Having read the listing just now, or whenever it was read last."""
        if not is_old:
            self.read = self._listing()
        self._book(who, start, note)

    def _book(self, who: str, start: int, note: str | None) -> bool:
        begins, read = self.moment(start), self.read

        def done() -> Any:
            answer = self.db.call(
                PEOPLE[who], "request_booking",
                p_listing_id=MATHEMATICS_HELP.id, p_start_utc=begins, p_note=note, p_fingerprint=read.fingerprint,
            )  # fmt: skip
            if answer["changed"]:
                self.booking_ids.append(UUID(answer["booking"]["id"]))
            return answer["changed"]

        return self.both(
            lambda house: house.request_booking(who, start=begins, note=note, lesson_mins=read.lesson_mins), done
        )

    def _listing(self) -> Listing:
        inputs = self.db.call(
            LENA, "slot_inputs", p_listing_id=MATHEMATICS_HELP.id, p_from=MORNING, p_to=MORNING + 24 * HOUR
        )
        return Listing(inputs["duration_mins"], inputs["fingerprint"])

    @precondition(lambda self: self.has_room and len(self.model.bookings) > 1)
    @rule(who=mostly("tutor"), booking=chosen, back=versions)
    def accept(self, who: str, booking: int, back: int | None) -> None:
        booking = self.booking(booking)
        self.call(who, "accept_booking", booking=booking, expected_version=self.booking_version(booking, back))

    @precondition(lambda self: len(self.model.bookings) > 1)
    @rule(who=mostly("tutor", "student", "friend"), booking=chosen, reason=reasons, back=versions)
    def turn_down(self, who: str, booking: int, reason: str | None, back: int | None) -> None:
        """Declined by the tutor, taken back by anybody else."""
        booking = self.booking(booking)
        self.call(
            who, "decline_booking" if who == "tutor" else "cancel_booking",
            booking=booking, reason=reason, expected_version=self.booking_version(booking, back),
        )  # fmt: skip

    @precondition(lambda self: self.has_room)
    @rule(who=mostly("student", "friend"), start=half_hours)
    def agree_on(self, who: str, start: int) -> None:
        """A lesson of the listing as it should be: asked for, and accepted at once."""
        self.read = self._listing()
        if self._book(who, start, None):
            self.call("tutor", "accept_booking", booking=len(self.model.bookings) - 1, expected_version=None)

    def booking_version(self, booking: int, back: int | None) -> int | None:
        return None if back is None else self.model.bookings[booking].version - back

    @rule(who=mostly("tutor"), duration_mins=st.sampled_from([30, 60, 90]))
    def offer_otherwise(self, who: str, duration_mins: int) -> None:
        def done() -> bool:
            self.db.call(PEOPLE[who], "update_listing", p_listing_id=MATHEMATICS_HELP.id, p_duration_mins=duration_mins)
            return True

        self.both(lambda house: house.update_listing(who, duration_mins=duration_mins), done)

    # --- packages and policies -------------------------------------------------------------------------

    @rule(who=mostly("admin"), session=chosen, package=packages, reason=reasons)
    def charge_elsewhere(self, who: str, session: int, package: int, reason: str | None) -> None:
        self.call(who, "move_session_to_package", session=self.the(session), package=package, reason=reason)

    @rule(who=mostly("admin"), package=packages, tier=st.sampled_from([8, 12]))
    def sell_another_tier(self, who: str, package: int, tier: int) -> None:
        self.call(who, "update_package", package=package, tier_sessions=tier)

    @rule(
        who=mostly("admin"),
        policy=st.sampled_from(
            [
                {"sequence_lock": False},
                {"sequence_lock": True},
                {"tutor_may_reschedule": True},
                {"tutor_may_reschedule": False},
                {"delay_grace_mins": 30},
                {"delay_grace_mins": 0},
                {"tutor_correction_hours": 24},
                {"tutor_correction_hours": 1},
                {"start_window_mins": 0},
                {"consent_hours": 2},
            ]
        ),
    )
    def change_a_policy(self, who: str, policy: dict[str, Any]) -> None:
        self.call(who, "update_settings", **policy)

    # --- the clock -------------------------------------------------------------------------------------

    @rule(session=chosen, edge=st.sampled_from(["window", "start", "start", "start", "end", "corrected"]))
    def wait_for(self, session: int, edge: str) -> None:
        """Until something changes for a session; the clock may go back for it, a little."""
        its = self.model.sessions[self.the(session)]
        edges = {
            "window": its.start - HOUR / 4,
            "start": its.start,
            "end": its.end,
            "corrected": its.changed_at + HOUR,
        }
        self.set_clock(max(edges[edge], self.model.now - HOUR))

    @rule(minutes=st.sampled_from([15, 30, 60] * 3 + [-15, -60, 24 * 60]))
    def let_time_pass(self, minutes: int) -> None:
        self.set_clock(self.model.now + timedelta(minutes=minutes))

    def set_clock(self, reads: datetime) -> None:
        self.model.now = reads
        self.db.set_clock(reads)

    @rule(whose=st.sampled_from([None, None, *PEOPLE]))
    def sweep(self, whose: str | None) -> None:
        """For everybody, or for one who asks."""

        def done() -> Any:
            if whose is None:
                return self.updates(self.db.call("service_role", "sweep_session_statuses"))
            return self.updates(self.db.call(PEOPLE[whose], "refresh_session_statuses"))

        if whose is None:
            self.both(lambda house: sorted(house.sweep_session_statuses()), done)
        else:
            self.both(lambda house: sorted(house.refresh_session_statuses(whose)), done)

    def updates(self, answer: dict[str, Any]) -> list[tuple[int, str, str, bool]]:
        updates = cast("list[dict[str, Any]]", answer["updates"])
        went = [each["to"] for each in updates if each["from"] != each["to"]]
        assert (answer["started"], answer["completed"]) == (went.count("in_progress"), went.count("done"))
        assert (answer["failed"], answer["more"]) == (0, False)
        return sorted(
            (self.session_ids.index(UUID(each["session_id"])), each["from"], each["to"], each["is_delayed"])
            for each in updates
        )

    # --- by hand, in Studio ----------------------------------------------------------------------------

    @rule(session=chosen, status=st.one_of(st.none(), statuses), start=st.one_of(st.none(), half_hours))
    def edit_by_hand(self, session: int, status: str | None, start: int | None) -> None:
        session, begins = self.the(session), None if start is None else self.moment(start)

        def done() -> bool:
            self.db.run(
                """
                update public.sessions
                   set status = coalesce(%s, status::text)::public.session_status_enum,
                       scheduled_start_utc = coalesce(%s::timestamptz, scheduled_start_utc),
                       scheduled_end_utc = coalesce(%s::timestamptz + (scheduled_end_utc - scheduled_start_utc),
                                                    scheduled_end_utc)
                 where id = %s
                """,
                status, begins, begins, self.session_ids[session],
            )  # fmt: skip
            return True

        self.both(lambda house: house.edit_by_hand(session=session, status=status, start=begins), done)

    # --- what must be so -------------------------------------------------------------------------------

    @invariant()
    def everything_is_stored_as_predicted(self) -> None:
        assert self._sessions() == self.model.sessions
        assert self._wishes() == self.model.wishes
        assert self._bookings() == self.model.bookings
        assert self._packages() == self.model.packages
        match = ("ended", "open") if self.model.has_ended else ("active", "active")
        assert self._offers() == (self.model.lesson_mins, *match)

    @invariant()
    def everything_is_told_once(self) -> None:
        audit, events, self.told = self._told()
        assert sorted(audit) == sorted(self.model.audit)
        assert sorted(events) == sorted(self.model.events)
        self.model.audit, self.model.events = [], []

    @invariant()
    def the_books_balance_whatever_the_model_says(self) -> None:
        assert self._rows("select * from private.credit_differences") == []
        for each in self.model.sessions:
            assert len(each.ledger) % 2 == (each.status in ("done", "no_show_student") and not each.is_booked)

    @invariant()
    def nobody_is_in_two_live_sessions_whatever_the_model_says(self) -> None:
        live = sorted(
            (each.start, each.end) for each in self.model.sessions if each.status in ("scheduled", "in_progress")
        )
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(live))

    @invariant()
    def versions_only_rise(self) -> None:
        versions = {self.session_ids[number]: each.version for number, each in enumerate(self.model.sessions)}
        assert all(versions[session_id] >= version for session_id, version in self.versions.items())
        self.versions = versions

    def _sessions(self) -> list[Session]:
        """As they are stored, in the order in which they were made."""
        rows = self._rows(
            """
            select s.id, s.student_user_id as student, s.package_id as package, s.sequence_number as number,
                   s.occurrence_start_utc as occurrence, s.scheduled_start_utc as start, s.scheduled_end_utc as "end",
                   s.status_changed_at as changed_at, s.status_effective_at as effective_at,
                   s.status_set_by::text as set_by, s.updated_by_user_id as updated_by,
                   s.updated_by_role::text as updated_by_role, s.status::text as status, s.status_reason as reason,
                   s.tutor_notes as notes, s.is_delayed, s.started_at, s.started_by, s.version,
                   (select count(*) from public.session_moves v where v.session_id = s.id) as moves,
                   exists (select from public.disputes d where d.session_id = s.id) as is_disputed,
                   array(select package_id from public.credit_ledger l
                          where l.session_id = s.id order by entry_no) as ledger
              from public.sessions s order by s.sequence_number
            """
        )
        stored: dict[UUID, Session] = {}
        for row in rows:
            row |= {name: NAMES.get(row[name]) for name in ("student", "updated_by", "started_by")}
            row["ledger"] = [self.package_ids.index(each) for each in row["ledger"]]
            if row["package"] is not None:
                row["package"] = self.package_ids.index(row["package"])
            row_id = row.pop("id")
            stored[row_id] = Session(**row)
        self.session_ids += [each for each in stored if each not in self.session_ids]
        return [stored[each] for each in self.session_ids]

    def _wishes(self) -> list[Wish]:
        rows = self._rows(
            """
            select id, 'reschedule' as kind, session_id as session, requested_by_user_id as asker,
                   requested_by_role::text as side, reason, proposed_starts_utc as proposed, status::text as status,
                   accepted_start_utc as accepted, decided_by_user_id as decider, false as has_guardian,
                   null as unasked, null::timestamptz as asked_at, null::timestamptz as expires, false as is_answered
              from public.reschedule_requests
            union all
            select id, 'cancellation', session_id, requested_by_user_id, requested_by_role::text, reason, '{}',
                   status::text, null, decided_by_user_id, asked_guardian_id is not null, unasked_reason, asked_at,
                   expires_at, answered_by_guardian_id is not null
              from public.cancellation_requests
            """
        )
        stored: dict[UUID, Wish] = {}
        for row in rows:
            row |= {name: NAMES.get(row[name]) for name in ("asker", "decider")}
            row["session"] = self.session_ids.index(row["session"])
            row_id = row.pop("id")
            stored[row_id] = Wish(**row)
        self.wish_ids += [each for each in stored if each not in self.wish_ids]
        return [stored[each] for each in self.wish_ids]

    def _bookings(self) -> list[Booking]:
        rows = self._rows(
            """
            select b.id, b.student_user_id as student, b.starts_at as start, b.ends_at as "end", b.note,
                   b.status::text as status, b.reason, b.decided_by_user_id as decider,
                   b.decided_by_role::text as decided_as, b.version, s.id as session
              from public.bookings b left join public.sessions s on s.booking_id = b.id
            """
        )
        stored: dict[UUID, Booking] = {}
        for row in rows:
            row |= {name: NAMES.get(row[name]) for name in ("student", "decider")}
            if row["session"] is not None:
                row["session"] = self.session_ids.index(row["session"])
            row_id = row.pop("id")
            stored[row_id] = Booking(**row)
        return [stored[each] for each in self.booking_ids]

    def _offers(self) -> tuple[int, str, str]:
        """How long a lesson of the listing lasts, and how match and request stand."""
        (row,) = self._rows(
            """
            select l.duration_mins as lesson_mins, m.status::text as match, r.status::text as request
              from public.listings l, public.matches m join public.requests r on r.id = m.request_id
             where l.id = %s and m.id = %s
            """,
            MATHEMATICS_HELP.id, MATHEMATICS.id,
        )  # fmt: skip
        return row["lesson_mins"], row["match"], row["request"]

    def _packages(self) -> list[Package]:
        rows = self._rows("select id, tier_sessions, opening_used, sessions_used from public.packages")
        stored = {row["id"]: row for row in rows}
        return [
            Package(its["tier_sessions"], its["opening_used"], its["sessions_used"], DATES[number])
            for number, its in enumerate(stored[each] for each in self.package_ids)
        ]

    def _told(self) -> tuple[list[str], list[str], tuple[int, int]]:
        """What audit and outbox say since the last step."""
        rows = self._rows(
            """
            select 'audit' as record, id, action as word from public.audit_logs where id > %s
            union all
            select 'events', id, event_type from private.outbox_events where id > %s
            """,
            *self.told,
        )
        audit = {row["id"]: row["word"] for row in rows if row["record"] == "audit"}
        events = {row["id"]: row["word"] for row in rows if row["record"] == "events"}
        last = max(audit, default=self.told[0]), max(events, default=self.told[1])
        return list(audit.values()), list(events.values()), last

    def _last_told(self) -> tuple[int, int]:
        (row,) = self._rows(
            "select (select coalesce(max(id), 0) from public.audit_logs) as audit,"
            " (select coalesce(max(id), 0) from private.outbox_events) as events"
        )
        return row["audit"], row["events"]

    def _rows(self, query: LiteralString, *parameters: Any) -> list[dict[str, Any]]:
        """Asked thousands of times, so without a savepoint around it."""
        with self.db.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, parameters).fetchall()


def play(house: tuple[Database, list[UUID]], chance: Random, examples: int, steps: int, *, shrink: bool = True) -> None:
    class Machine(Lived):
        db, package_ids = house

    run_state_machine_as_test(
        seed(chance.randrange(2**32))(Machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize(("examples", "steps"), [(200, 40), pytest.param(500, 50, marks=pytest.mark.long)])
def test_the_database_lives_as_the_model_does(
    house: tuple[Database, list[UUID]], chance: Random, examples: int, steps: int
) -> None:
    play(house, chance, examples, steps)


MUTANTS: list[tuple[str, str, str]] = [
    # Who, when and in which order.
    ("step_refusal", "return private.sequence_refusal(p_session);", "return null;"),
    ("step_refusal", "when 'correction_window' then", "when 'never' then"),
    ("step_refusal", "p_session.scheduled_start_utc - make_interval(mins => v_settings.start_window_mins)", "null"),
    ("step_refusal", "and coalesce(t.is_delayed, p_session.is_delayed) = p_session.is_delayed", ""),
    ("step_refusal", "if v_now >= v_closed_at then", "if v_now > v_closed_at then"),
    ("capacity_refusal", "if v_policy is not null and", "if false and"),
    ("dispute_refusal", "when private.now() >= v_closed_at then", "when false then"),
    ("take_step", "coalesce(started_by, p_caller_id)", "started_by"),
    ("take_step", "if p_expected_version <> v_session.version then", "if false then"),
    ("move_step", "if p_start_utc < private.now() then", "if p_start_utc <= private.now() then"),
    # Credits and places.
    ("charge_sessions", "last.entry_no % 2 = 1 and", "false and"),
    ("charge_sessions", " or last.package_id <> n.package_id", ""),
    ("charge_new_sessions", "private.consumes_credit(status)", "false"),
    ("sessions_needed", "p_package.tier_sessions - p_package.opening_used", "p_package.tier_sessions"),
    ("counts_in_package", "'no_show_tutor'", "'cancelled'"),
    # What follows a change.
    ("stamp_session", "new.is_delayed := false;", "null;"),
    ("stamp_session", "old.status = 'rescheduled' or", "false or"),
    ("stamp_session", "coalesce(new.started_at, new.status_effective_at)", "new.updated_at"),
    ("lapse_reschedule_requests", "r.session_id = n.id and", "false and"),
    ("lapse_reschedule_requests", "and n.status <> 'rescheduled'", ""),
    ("lapse_cancellation_requests", "r.session_id = n.id and", "false and"),
    ("record_wish", "tg_op = 'INSERT' or new.status <> old.status", "tg_op = 'INSERT'"),
    # The guardian's consent.
    ("guardian_to_ask", "and whatsapp_opt_in", ""),
    ("start_consent_timer", "and asked_at is null", ""),
    ("take_silence_for_consent", "v_request.expires_at > private.now()", "v_request.expires_at >= private.now()"),
    (
        "take_silence_for_consent",
        "private.step_refusal(v_session, 'cancelled', 'clock', v_request.reason) is not null",
        "false",
    ),
    ("decide_consent", "perform private.take_silence_for_consent(p_request_id);", "null;"),
    ("decide_consent", "v_request.status <> 'pending'", "v_request.status not in ('pending', 'call_requested')"),
    ("decide_consent", "when v_to <> 'call_requested' then private.now()", "when true then private.now()"),
    ("status_by_answer", "CASE WHEN private.may_be_rescheduled(p_session) THEN", "CASE WHEN true THEN"),
    # A series, and the end of the match.
    ("end_match", "status = 'rescheduled' or", ""),
    ("end_match", "scheduled_start_utc > private.now()", "scheduled_start_utc >= private.now()"),
    ("series", "private.step_refusal(s, 'scheduled', 'admin', null, p_at_new_time => true) is null", "true"),
    ("series", ">= (first.scheduled_start_utc", "> (first.scheduled_start_utc"),
    ("reschedule_series", "if p_fingerprint is distinct from", "if false and p_fingerprint is distinct from"),
    # Bookings.
    ("request_booking", "mins => v_listing.duration_mins", "mins => 30"),
    ("request_booking", "if p_fingerprint is distinct from", "if false and p_fingerprint is distinct from"),
    # The clock.
    ("sweep", "and not s.is_delayed and", "and"),
    ("sweep", "s.scheduled_start_utc <= v_begun_before", "s.scheduled_start_utc <= v_now"),
    ("refresh_session_statuses", "return private.sweep(v_caller_id, 100);", "return private.sweep(null, 100);"),
]
"""Private function, a rule in its source, and what stands there instead, in the first place that says it."""


@pytest.mark.long
@pytest.mark.parametrize(("function", "rule", "instead"), MUTANTS)
def test_a_database_with_another_rule_is_found_out(
    house: tuple[Database, list[UUID]], chance: Random, function: str, rule: str, instead: str
) -> None:
    source = house[0].value(
        "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'private'::regnamespace and proname = %s",
        function,
    )
    assert rule in source, f"private.{function} no longer says: {rule}"
    house[0].run(source.replace(rule, instead, 1).replace("%", "%%"))
    house[0].connection.commit()
    with pytest.raises((AssertionError, psycopg.Error)):
        play(house, chance, 400, 40, shrink=False)
