"""Whatever people, the clock and Studio do to a few sessions, in whatever order, the database does what the law says.

A machine plays at random on one match with two nearly used packages and one booking, on a grid of quarters of an hour
that lets times meet and windows close. Every call is made twice, of the database and of the plain model in `model.py`;
their answers must be the same, and after every step everything that is stored.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, ClassVar, TypeAlias, cast
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from psycopg import errors
from psycopg.rows import dict_row

from tests.database import Database, Refused
from tests.db.lessons import booked, commit_of, inputs_of, lesson
from tests.house import LENA, MATHEMATICS, NADIA, ZARA
from tests.plans import sell
from tests.proof.model import HOUR, House, No, Package, Session, Wish

Outcome: TypeAlias = tuple[str, Any]

PEOPLE = {"admin": NADIA, "tutor": MATHEMATICS.tutor, "student": LENA, "friend": ZARA}
NAMES = {person.id: name for name, person in PEOPLE.items()}

MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAILY = {"timezone": "UTC", "days": [1, 2, 3, 4, 5, 6, 7], "time": "10:00", "duration_mins": 60}
LAST_DATES = (date(2026, 3, 5), date(2026, 3, 3))
OPENING = (6, 7)
"""Of eight: two credits are left of one package, one of the other."""

MOST_SESSIONS = 6

STATUSES = ("in_progress", "done", "no_show_student", "no_show_tutor", "scheduled", "rescheduled", "cancelled")
people = st.sampled_from(["admin", "tutor", "student", "admin", "tutor", "friend"])
admins_mostly = st.sampled_from(["admin", "admin", "admin", "tutor", "student"])
chosen = st.integers(0, 7)
"""Which of those there are, counted in a circle."""
packages = st.integers(0, 1)
half_hours = st.integers(-2, 6)
"""From the clock's half hour on."""
statuses = st.sampled_from(STATUSES)
reasons = st.sampled_from(["Ill.", None])
notes = st.sampled_from([None, None, "Fractions.", ""])
versions = st.sampled_from([None, None, 0, 1])
"""Expected: none, the present one, the one before it."""


@pytest.fixture
def house(database_url: str) -> Iterator[tuple[Database, list[UUID]]]:
    """One match without sessions, and its packages; what an example does to them is rolled back."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        db = Database(connection)
        db.set_clock(MORNING)
        db.call(NADIA, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=DAILY)
        db.run("update public.matches set status = 'active' where id = %s", MATHEMATICS.id)
        db.run("update public.requests set status = 'active' where id = %s", MATHEMATICS.request_id)
        sold = [
            sell(db, MATHEMATICS.request_id, MORNING.date(), last, p_opening_used=opening)
            for last, opening in zip(LAST_DATES, OPENING, strict=True)
        ]
        booked(db, MATHEMATICS.tutor, ZARA, MORNING + 2 * HOUR)
        connection.autocommit = False
        yield db, sold


def as_it_begins() -> House:
    """The model of that house."""
    days = [(last - MORNING.date()).days + 1 for last in LAST_DATES]
    return House(
        MORNING,
        [
            Package(8, opening, opening, [MORNING + HOUR + timedelta(days=day) for day in range(many)])
            for many, opening in zip(days, OPENING, strict=True)
        ],
        [Session("friend", None, None, None, MORNING + 2 * HOUR, MORNING + 3 * HOUR, MORNING, MORNING)],
    )


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
        self.versions: dict[UUID, int] = {}
        self.told = self._last_told()

    def teardown(self) -> None:
        self.db.connection.rollback()

    # --- asking both -----------------------------------------------------------------------------------

    def both(self, predicted: Callable[[House], Any], done: Callable[[], Any]) -> None:
        """Does it to the model and to the database, which must answer the same; a refused one is as it was."""
        tried = self.model.copied()
        try:
            expected: Outcome = "answered", predicted(tried)
            self.model = tried
        except No as no:
            expected = "refused", no.code
        assert self.outcome(done) == expected

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
        parameters = {f"p_{name}": value for name, value in arguments.items() if name not in ("session", "wish", "package")}
        if "session" in arguments:
            parameters["p_session_id"] = self.session_ids[arguments["session"]]
        if "wish" in arguments:
            parameters["p_request_id"] = self.wish_ids[arguments["wish"]]
        if "package" in arguments:
            parameters["p_package_id"] = self.package_ids[arguments["package"]]
        if "start" in arguments:
            parameters["p_start_utc"] = parameters.pop("p_start")

        def done() -> Any:
            answer: dict[str, Any] = self.db.call(PEOPLE[who], function, **parameters)
            return answer.get("changed", True)

        self.both(lambda house: getattr(house, model or function)(who, **arguments), done)

    def the(self, number: int) -> int:
        return number % len(self.model.sessions)

    def version(self, session: int, back: int | None) -> int | None:
        return None if back is None else self.model.sessions[session].version - back

    def moment(self, half_hours: int) -> datetime:
        now = self.model.now
        return now.replace(minute=now.minute // 30 * 30) + half_hours * HOUR / 2

    @property
    def has_room(self) -> bool:
        return len(self.model.sessions) < MOST_SESSIONS

    # --- making sessions -------------------------------------------------------------------------------

    @initialize(entered=st.lists(st.tuples(packages, half_hours), min_size=1, max_size=3, unique_by=lambda each: each[1]))
    def begin(self, entered: list[tuple[int, int]]) -> None:
        for package, start in entered:
            self._enter(package, start, "scheduled")

    @precondition(lambda self: self.has_room)
    @rule(package=packages, fill=st.booleans(), allow_partial=st.booleans())
    def generate(self, package: int, *, fill: bool, allow_partial: bool) -> None:
        def done() -> Any:
            commit = commit_of(inputs_of(self.db, MATHEMATICS, self.package_ids[package]))
            answer = self.db.call(NADIA, "generate_sessions", **commit, p_fill=fill, p_allow_partial=allow_partial)
            return answer["created"]

        self.both(
            lambda house: house.generate_sessions("admin", package=package, fill=fill, allow_partial=allow_partial), done
        )

    @precondition(lambda self: self.has_room)
    @rule(
        who=admins_mostly, package=packages, start=half_hours, duration_mins=st.sampled_from([None, 30, 90]), reason=reasons
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

    @rule(who=people, session=chosen, back=versions)
    def start(self, who: str, session: int, back: int | None) -> None:
        session = self.the(session)
        self.call(who, "start_session", session=session, expected_version=self.version(session, back))

    @rule(who=people, session=chosen, notes=notes, back=versions)
    def complete(self, who: str, session: int, notes: str | None, back: int | None) -> None:
        session = self.the(session)
        self.call(who, "complete_session", session=session, notes=notes, expected_version=self.version(session, back))

    @rule(who=people, session=chosen, by=st.sampled_from(["student", "tutor"]), reason=reasons, notes=notes)
    def miss(self, who: str, session: int, by: str, reason: str | None, notes: str | None) -> None:
        self.call(who, "mark_missed", session=self.the(session), by=by, reason=reason, notes=notes)

    @rule(who=people, session=chosen, status=statuses, reason=reasons, notes=notes, back=versions)
    def update(
        self, who: str, session: int, status: str, reason: str | None, notes: str | None, back: int | None
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

    @rule(who=people, session=chosen, reason=reasons)
    def dispute(self, who: str, session: int, reason: str | None) -> None:
        self.call(who, "dispute_session", session=self.the(session), reason=reason)

    # --- moving and cancelling -------------------------------------------------------------------------

    @rule(who=people, session=chosen, start=half_hours, reason=reasons, back=versions)
    def move(self, who: str, session: int, start: int, reason: str | None, back: int | None) -> None:
        session = self.the(session)
        self.call(
            who, "reschedule_session",
            session=session, start=self.moment(start), reason=reason, expected_version=self.version(session, back),
        )  # fmt: skip

    @rule(who=people, session=chosen, reason=reasons, back=versions)
    def cancel(self, who: str, session: int, reason: str | None, back: int | None) -> None:
        session = self.the(session)
        self.call(who, "cancel_session", session=session, reason=reason, expected_version=self.version(session, back))

    @rule(who=people, session=chosen, proposed=st.lists(half_hours, max_size=2), reason=reasons)
    def ask_to_move(self, who: str, session: int, proposed: list[int], reason: str | None) -> None:
        starts = [self.moment(each) for each in proposed]
        self.call(who, "request_reschedule", session=self.the(session), proposed_starts_utc=starts, reason=reason)

    @rule(who=people, session=chosen, reason=reasons)
    def ask_to_cancel(self, who: str, session: int, reason: str | None) -> None:
        self.call(who, "request_cancellation", session=self.the(session), reason=reason)

    @precondition(lambda self: self.model.wishes)
    @rule(who=admins_mostly, wish=chosen, start=st.sampled_from([None, None, 0, 1, 2, 4]))
    def grant(self, who: str, wish: int, start: int | None) -> None:
        wish = self._latest(wish)
        if self.model.wishes[wish].kind == "cancellation":
            self.call(who, "approve_cancellation", wish=wish)
        else:
            begins = None if start is None else self.moment(start)
            self.call(who, "accept_reschedule_request", wish=wish, start=begins)

    @precondition(lambda self: self.model.wishes)
    @rule(who=admins_mostly, wish=chosen)
    def reject(self, who: str, wish: int) -> None:
        wish = self._latest(wish)
        is_cancellation = self.model.wishes[wish].kind == "cancellation"
        self.call(who, "reject_cancellation" if is_cancellation else "reject_reschedule_request", "reject", wish=wish)

    @precondition(lambda self: self.model.wishes)
    @rule(who=people, wish=chosen)
    def withdraw(self, who: str, wish: int) -> None:
        wish = self._latest(wish)
        is_cancellation = self.model.wishes[wish].kind == "cancellation"
        self.call(
            who, "withdraw_cancellation" if is_cancellation else "withdraw_reschedule_request", "withdraw", wish=wish
        )

    def _latest(self, number: int) -> int:
        """The wishes counted from the last one."""
        return -1 - number % len(self.model.wishes)

    # --- packages and policies -------------------------------------------------------------------------

    @rule(who=admins_mostly, session=chosen, package=packages, reason=reasons)
    def charge_elsewhere(self, who: str, session: int, package: int, reason: str | None) -> None:
        self.call(who, "move_session_to_package", session=self.the(session), package=package, reason=reason)

    @rule(who=admins_mostly, package=packages, tier=st.sampled_from([8, 12]))
    def sell_another_tier(self, who: str, package: int, tier: int) -> None:
        self.call(who, "update_package", package=package, tier_sessions=tier)

    @rule(
        who=admins_mostly,
        policy=st.sampled_from(
            [
                {"sequence_lock": False},
                {"sequence_lock": True},
                {"tutor_may_reschedule": True},
                {"tutor_may_reschedule": False},
                {"delay_grace_mins": 30},
                {"delay_grace_mins": 0},
                {"tutor_correction_hours": 1},
                {"start_window_mins": 0},
            ]
        ),
    )
    def change_a_policy(self, who: str, policy: dict[str, Any]) -> None:
        self.call(who, "update_settings", **policy)

    # --- the clock -------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([15, 30, 60, 15, 30, 60, 75, -15, -60, 24 * 60]))
    def let_time_pass(self, minutes: int) -> None:
        self.model.now += timedelta(minutes=minutes)
        self.db.set_clock(self.model.now)

    @rule()
    def sweep(self) -> None:
        def done() -> Any:
            return self.updates(self.db.call("service_role", "sweep_session_statuses"))

        self.both(lambda house: sorted(house.sweep_session_statuses()), done)

    @rule(who=people)
    def refresh(self, who: str) -> None:
        def done() -> Any:
            return self.updates(self.db.call(PEOPLE[who], "refresh_session_statuses"))

        self.both(lambda house: sorted(house.refresh_session_statuses(who)), done)

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
        assert self.db.rows(
            "select tier_sessions, sessions_used from public.packages where id = any (%s) order by opening_used",
            self.package_ids,
        ) == [(each.tier, each.used) for each in self.model.packages]

    @invariant()
    def everything_is_told_once(self) -> None:
        audit, events, self.told = self._told()
        assert sorted(audit) == sorted(self.model.audit)
        assert sorted(events) == sorted(self.model.events)
        self.model.audit, self.model.events = [], []

    @invariant()
    def the_books_balance_whatever_the_model_says(self) -> None:
        assert self.db.rows("select * from private.credit_differences") == []
        for each in self.model.sessions:
            assert len(each.ledger) % 2 == (each.status in ("done", "no_show_student") and not each.is_booked)

    @invariant()
    def nobody_is_in_two_live_sessions_whatever_the_model_says(self) -> None:
        live = sorted((each.start, each.end) for each in self.model.sessions if each.status in ("scheduled", "in_progress"))
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
                   array(select package_id from public.credit_ledger l where l.session_id = s.id order by entry_no) as ledger
              from public.sessions s order by s.sequence_number
            """
        )
        stored = {
            row.pop("id"): Session(
                **row
                | {name: NAMES.get(row[name]) for name in ("student", "updated_by", "started_by")}
                | {
                    "package": None if row["package"] is None else self.package_ids.index(row["package"]),
                    "ledger": [self.package_ids.index(each) for each in row["ledger"]],
                }
            )
            for row in rows
        }
        self.session_ids += [each for each in stored if each not in self.session_ids]
        return [stored[each] for each in self.session_ids]

    def _wishes(self) -> list[Wish]:
        rows = self._rows(
            """
            select id, 'reschedule' as kind, session_id as session, requested_by_user_id as asker, reason,
                   proposed_starts_utc as proposed, status::text as status, accepted_start_utc as accepted,
                   decided_by_user_id as decider
              from public.reschedule_requests
            union all
            select id, 'cancellation', session_id, requested_by_user_id, reason, '{}', status::text, null,
                   decided_by_user_id
              from public.cancellation_requests
            """
        )
        stored = {
            row.pop("id"): Wish(
                **row
                | {name: NAMES.get(row[name]) for name in ("asker", "decider")}
                | {"session": self.session_ids.index(row["session"])}
            )
            for row in rows
        }
        self.wish_ids += [each for each in stored if each not in self.wish_ids]
        return [stored[each] for each in self.wish_ids]

    def _told(self) -> tuple[list[str], list[str], tuple[int, int]]:
        """What audit and outbox say since the last step."""
        rows = self.db.rows(
            """
            select 'audit', id, action from public.audit_logs where id > %s
            union all
            select 'events', id, event_type from private.outbox_events where id > %s
            """,
            *self.told,
        )
        audit = {number: action for record, number, action in rows if record == "audit"}
        events = {number: event for record, number, event in rows if record == "events"}
        last = max(audit, default=self.told[0]), max(events, default=self.told[1])
        return list(audit.values()), list(events.values()), last

    def _last_told(self) -> tuple[int, int]:
        ((audit, events),) = self.db.rows(
            "select (select coalesce(max(id), 0) from public.audit_logs),"
            " (select coalesce(max(id), 0) from private.outbox_events)"
        )
        return audit, events

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        with self.db.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query).fetchall()


@pytest.mark.parametrize(
    ("examples", "steps"), [(200, 40), pytest.param(500, 50, marks=pytest.mark.long)], ids=["normal", "long"]
)
def test_the_database_lives_as_the_model_does(
    house: tuple[Database, list[UUID]], chance: Random, examples: int, steps: int
) -> None:
    class Machine(Lived):
        db, package_ids = house

    run_state_machine_as_test(
        seed(chance.randrange(2**32))(Machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
