"""The house in plain Python: what `docs/domain.md` says of sessions, credits, wishes, bookings and the clock.

Written from the law and not from the SQL, so that the two may disagree; `test_model.py` lives in both and compares.
A method has the name and the arguments of its function; it returns whether anything changed (`generate_sessions`: how
many were made), or raises `No`. One that raises may have begun to change the house: whoever asks, asks a copy.

Four people act: the admin, the tutor, the student of the match, and a friend, who is a student and only ever books.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

HOUR = timedelta(hours=1)

LIVE = {"scheduled", "in_progress"}
CHARGED = {"done", "no_show_student"}
ABSENT = {"no_show_student", "no_show_tutor"}
UNCOUNTED = {"cancelled", "no_show_tutor"}
"""These leave their place in the package to another session."""


class No(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The house refuses, by this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Package:
    """Sessions sold; `dates` are the starts that the weekly pattern gives within its window."""

    tier: int
    opening: int
    used: int
    dates: list[datetime]


@dataclass
class Session:
    """A lesson, with everything about it that is compared. The sessions of a booking have no package."""

    student: str
    package: int | None
    number: int | None
    occurrence: datetime | None
    start: datetime
    end: datetime
    changed_at: datetime
    effective_at: datetime
    set_by: str = "studio"
    updated_by: str | None = None
    updated_by_role: str = "studio"
    status: str = "scheduled"
    reason: str | None = None
    notes: str | None = None
    is_delayed: bool = False
    started_at: datetime | None = None
    started_by: str | None = None
    version: int = 1
    moves: int = 0
    is_disputed: bool = False
    ledger: list[int] = field(default_factory=list[int])
    """The package of each entry: odd ones took a credit, even ones gave it back."""

    @property
    def is_booked(self) -> bool:
        return self.package is None


@dataclass
class Wish:
    """Somebody asks for another time (`reschedule`) or to cancel (`cancellation`); that is put to a guardian."""

    kind: str
    session: int
    asker: str
    side: str
    reason: str
    proposed: list[datetime]
    has_guardian: bool = False
    unasked: str | None = None
    status: str = "pending"
    accepted: datetime | None = None
    decider: str | None = None
    asked_at: datetime | None = None
    expires: datetime | None = None
    is_answered: bool = False

    @property
    def is_open(self) -> bool:
        return self.status in ("pending", "call_requested")


@dataclass
class Booking:
    """A student's request for a time on the tutor's listing, and its session once it is accepted."""

    student: str
    start: datetime
    end: datetime
    note: str | None = None
    status: str = "draft"
    reason: str | None = None
    decider: str | None = None
    decided_as: str | None = None
    version: int = 1
    session: int | None = None


@dataclass(frozen=True)
class Series:
    """What the move of a series is planned from: the sessions that move, in their order, and all that it depends on."""

    moving: list[int]
    basis: Any


@dataclass
class Policies:
    """The settings of the house that the machine changes."""

    start_window_mins: int = 15
    delay_grace_mins: int = 0
    tutor_correction_hours: int = 24
    sequence_lock: bool = True
    tutor_may_reschedule: bool = False
    consent_hours: int = 48


@dataclass(frozen=True)
class Actor:
    """Who changes a session, in which capacity; a guardian, the clock and Studio are nobody."""

    role: str
    name: str | None = None


GUARDIAN, CLOCK, STUDIO = Actor("guardian"), Actor("clock"), Actor("studio")


@dataclass
class House:
    """Everything there is, and what has been told of it to the audit and to the outbox."""

    now: datetime
    packages: list[Package]
    sessions: list[Session]
    policies: Policies = field(default_factory=Policies)
    wishes: list[Wish] = field(default_factory=list[Wish])
    bookings: list[Booking] = field(default_factory=list[Booking])
    reached: frozenset[str] = frozenset({"student", "friend"})
    """Those whose primary guardian WhatsApp reaches."""
    lesson_mins: int = 30
    """How long a lesson of the tutor's listing lasts."""
    has_ended: bool = False
    """The match; its request is open again then."""
    asked: Counter[tuple[str, str, datetime]] = field(default_factory=Counter[tuple[str, str, datetime]])
    refreshed: dict[str, datetime] = field(default_factory=dict[str, datetime])
    audit: list[str] = field(default_factory=list[str])
    events: list[str] = field(default_factory=list[str])

    def copied(self) -> "House":
        """Another house that is just the same."""
        return replace(
            self,
            packages=[replace(each) for each in self.packages],
            sessions=[replace(each) for each in self.sessions],
            wishes=[replace(each) for each in self.wishes],
            bookings=[replace(each) for each in self.bookings],
            asked=self.asked.copy(),
            refreshed=self.refreshed.copy(),
            audit=[*self.audit],
            events=[*self.events],
        )

    # --- making sessions (§4) --------------------------------------------------------------------------

    def generate_sessions(self, who: str, *, package: int, fill: bool, allow_partial: bool) -> int:
        only_admins(who)
        siblings = [each for each in self.sessions if each.package == package]
        if siblings and not fill:
            return 0
        self._require_match()
        lacking = self._lacking(package)
        if lacking == 0:
            return 0
        had = {each.occurrence for each in siblings}
        starts = [start for start in self.packages[package].dates if start not in had and start >= self.now][:lacking]
        if len(starts) < lacking and not (starts and allow_partial):
            raise No("window_too_short")
        for start in starts:
            self._add(package, start, start + HOUR, Actor("admin", who), occurrence=start)
        self._tell("schedule_generated", "schedule.generated")
        return len(starts)

    def add_extra_session(
        self, who: str, *, package: int, start: datetime, duration_mins: int | None, reason: str | None
    ) -> bool:
        only_admins(who)
        self._require_match()
        needs(reason)
        if start < self.now:
            raise No("start_in_past")
        if self._lacking(package) == 0:
            raise No("package_exhausted")
        end = start + timedelta(minutes=duration_mins or 60)
        self._add(package, start, end, Actor("admin", who), reason=reason)
        self._tell("session_added", "session.added")
        return True

    def enter_by_hand(self, *, package: int, start: datetime, status: str) -> bool:
        """A row typed into Studio; nobody asks whether the package lacks one."""
        self._add(package, start, start + HOUR, STUDIO, status=status)
        self._tell("session_added", "session.added")
        return True

    def _add(self, package: int, start: datetime, end: datetime, by: Actor, **more: Any) -> None:
        numbers = [each.number or 0 for each in self.sessions if each.package == package]
        session = Session(
            "student", package, max(numbers, default=0) + 1, more.pop("occurrence", None), start, end,
            self.now, self.now, by.role, by.name, by.role, **more,
        )  # fmt: skip
        self._take_the_time(session)
        self._charge(session)
        self.sessions.append(session)

    def _require_match(self) -> None:
        if self.has_ended:
            raise No("illegal_transition")

    def _lacking(self, package: int) -> int:
        """How many sessions the package still lacks (§4.1)."""
        counted = sum(each.package == package and each.status not in UNCOUNTED for each in self.sessions)
        return max(0, self.packages[package].tier - self.packages[package].opening - counted)

    # --- what happened (§2) ----------------------------------------------------------------------------

    def start_session(self, who: str, *, session: int, expected_version: int | None) -> bool:
        return self._set(session, self._capacity(session, who, "in_progress"), "in_progress", version=expected_version)

    def complete_session(self, who: str, *, session: int, notes: str | None, expected_version: int | None) -> bool:
        by = self._capacity(session, who, "done")
        if by.role == "student" and notes is not None:
            raise No("not_allowed")
        return self._set(session, by, "done", notes=notes, version=expected_version)

    def mark_missed(self, who: str, *, session: int, by: str, reason: str | None, notes: str | None) -> bool:
        to = f"no_show_{by}"
        return self._set(session, self._capacity(session, who, to), to, reason=reason, notes=notes)

    def tutor_update_session(
        self,
        who: str,
        *,
        session: int,
        status: str,
        reason: str | None,
        notes: str | None,
        expected_version: int | None,
    ) -> bool:
        by = self._capacity(session, who, status)
        if by.role == "student":
            raise No("not_allowed")
        return self._set(session, by, status, reason=reason, notes=notes, version=expected_version)

    def cancel_session(self, who: str, *, session: int, reason: str | None, expected_version: int | None) -> bool:
        by = self._capacity(session, who, "cancelled")
        return self._set(session, by, "cancelled", reason=reason, version=expected_version)

    def dispute_session(self, who: str, *, session: int, reason: str | None) -> bool:
        its = self.sessions[session]
        if self._side(session, who) != "student":
            raise No("not_allowed")
        if its.is_disputed:
            return False
        if its.is_booked or its.status != "done" or its.set_by != "clock":
            raise No("illegal_transition")
        if self.now >= self._correctable_until(its):
            raise No("too_late")
        needs(reason)
        its.is_disputed = True
        self._tell("session_disputed", "session.disputed")
        return True

    def _side(self, session: int, who: str) -> str:
        """On which side somebody stands; who stands on none sees nothing."""
        if who not in ("admin", "tutor", self.sessions[session].student):
            raise No("not_found")
        return "student" if who == "friend" else who

    def _capacity(self, session: int, who: str, to: str) -> Actor:
        """Whether that side may ever set that status."""
        side = self._side(session, who)
        may = {
            "admin": LIVE | CHARGED | ABSENT | {"rescheduled", "cancelled"},
            "tutor": {"in_progress", "done"} | ABSENT,
            "student": {"in_progress"} if self.sessions[session].is_booked else {"in_progress", "done"},
        }
        if to not in may[side]:
            raise No("not_allowed")
        return Actor(side, who)

    def _set(
        self, session: int, by: Actor, to: str,
        *, reason: str | None = None, notes: str | None = None, version: int | None = None,
    ) -> bool:  # fmt: skip
        its = self.sessions[session]
        kept = its.notes if notes is None else notes or None
        if to == its.status:
            # Asking again: other notes are saved, and whoever comes after the clock is recorded.
            starter = its.started_by or (by.name if to == "in_progress" else None)
            if (kept, starter) == (its.notes, its.started_by):
                return False
            self._write(session, by, notes=kept, started_by=starter)
            return True
        if version not in (None, its.version):
            raise No("stale_version")
        match by.role:
            case "tutor":
                self._judge_tutor(its, to)
            case "student":
                self._judge_student(its, to)
            case _:
                self._judge_admin(its, to, reason)
        self._write(session, by, status=to, reason=reason, notes=kept)
        return True

    def _judge_start(self, its: Session) -> None:
        if its.status != "scheduled":
            raise No("illegal_transition")
        if self.now < its.start - timedelta(minutes=self.policies.start_window_mins):
            raise No("too_early")
        if self.now >= its.end:
            raise No("too_late")

    def _judge_tutor(self, its: Session, to: str) -> None:
        if to == "in_progress":
            self._judge_start(its)
            return
        resolves = (its.status, to) == ("in_progress", "done") if its.is_booked else its.status in LIVE
        corrects = not its.is_booked and (its.status, its.set_by) == ("done", "clock") and to in ABSENT
        if not (resolves or corrects):
            raise No("illegal_transition")
        if self.now < its.start:
            raise No("too_early")
        if corrects and self.now >= self._correctable_until(its):
            raise No("too_late")
        if resolves and self.policies.sequence_lock and self._open_before(its):
            raise No("out_of_order")

    def _judge_student(self, its: Session, to: str) -> None:
        if to == "in_progress":
            self._judge_start(its)
        elif not (its.status == "in_progress" and its.is_delayed):
            raise No("illegal_transition")
        elif self.now < its.start:
            raise No("too_early")

    def _judge_admin(self, its: Session, to: str, reason: str | None) -> None:
        """The ordinary steps freely, anything else as a correction with a reason."""
        if its.is_booked:
            if to == "rescheduled":
                raise No("illegal_transition")
            ordinary = (its.status, to) in {("scheduled", "in_progress"), ("in_progress", "done")}
        else:
            ordinary = (
                (its.status == "scheduled" and to != "cancelled")
                or (
                    its.status == "in_progress" and (to in CHARGED | ABSENT or (to == "rescheduled" and its.is_delayed))
                )
                or ((its.status, its.set_by) == ("done", "clock") and to in ABSENT)
            )
        if to == "scheduled" and its.start <= self.now:
            raise No("too_late")
        if not ordinary:
            needs(reason)

    def _correctable_until(self, its: Session) -> datetime:
        return its.changed_at + timedelta(hours=self.policies.tutor_correction_hours)

    def _open_before(self, its: Session) -> bool:
        """Whether an earlier session of its package is live."""
        return any(
            not its.is_booked and each.package == its.package and each.status in LIVE
            and (each.start, each.number) < (its.start, its.number)
            for each in self.sessions
        )  # fmt: skip

    # --- moving (§6) -----------------------------------------------------------------------------------

    def reschedule_session(
        self, who: str, *, session: int, start: datetime, reason: str | None, expected_version: int | None
    ) -> bool:
        side = self._side(session, who)
        if side == "student" or (side == "tutor" and not self.policies.tutor_may_reschedule):
            raise No("not_allowed")
        return self._move(session, Actor(side, who), start, reason, version=expected_version)

    def series_inputs(self, who: str, *, scope: str, session: int, package: int) -> Series:
        """What moves: `one` session, it and the `following` of its package, or `all` that are open of the one named."""
        only_admins(who)
        anchor = self.sessions[session]
        if scope != "all":
            if anchor.is_booked or anchor.package is None:
                raise No("not_found")
            package = anchor.package
        of_it = [number for number, its in enumerate(self.sessions) if its.package == package]
        members = sorted(of_it, key=self._place)
        taken_along = {
            "one": [session],
            "following": [each for each in members if self._place(each) >= self._place(session)],
            "all": members,
        }
        moving = [each for each in taken_along[scope] if self._is_movable(self.sessions[each])]
        if not moving:
            raise No("illegal_transition")
        counted = sum(self.sessions[each].status not in UNCOUNTED for each in members)
        as_they_are = [replace(self.sessions[each]) for each in moving]
        return Series(moving, (package, self.packages[package].tier, len(members), counted, as_they_are))

    def reschedule_series(
        self, who: str, *, planned: Series, scope: str, session: int, package: int,
        starts: list[datetime], reason: str | None,
    ) -> int:  # fmt: skip
        """The new starts are those of the planned sessions, in their order; all of them move, or none."""
        only_admins(who)
        self._require_match()
        if planned != self.series_inputs(who, scope=scope, session=session, package=package):
            raise No("plan_changed")
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise No("invalid")
        if len(starts) < len(planned.moving):
            raise No("window_too_short")
        if starts[0] < self.now:
            raise No("plan_changed")
        lengths = [self.sessions[each].end - self.sessions[each].start for each in planned.moving]
        if any(start + length > later for (start, later), length in zip(pairwise(starts), lengths, strict=False)):
            raise No("slot_taken")
        return sum(
            self._move(each, Actor("admin", who), start, reason, along=planned.moving)
            for each, start in zip(planned.moving, starts, strict=True)
        )

    def _place(self, session: int) -> tuple[datetime, int]:
        """By which the sessions of a package are in order."""
        return self.sessions[session].start, self.sessions[session].number or 0

    def _move(
        self, session: int, by: Actor, start: datetime, reason: str | None,
        *, version: int | None = None, along: Collection[int] = (),
    ) -> bool:  # fmt: skip
        """To another time, which may be that of a session that moves along."""
        its = self.sessions[session]
        if its.status == "scheduled" and its.start == start:
            return False
        if version not in (None, its.version):
            raise No("stale_version")
        if not self._is_movable(its):
            begun_in_time = its.status == "in_progress" and not its.is_booked
            if not (begun_in_time and by.role == "admin"):
                raise No("illegal_transition")
            needs(reason)
        if start < self.now:
            raise No("start_in_past")
        end = start + (its.end - its.start)
        self._write(session, by, along, status="scheduled", start=start, end=end, reason=reason)
        return True

    def _is_movable(self, its: Session) -> bool:
        """Scheduled, parked, or begun by the clock; a booking's time never changes."""
        is_open = its.status in ("scheduled", "rescheduled") or (its.status == "in_progress" and its.is_delayed)
        return is_open and not its.is_booked

    # --- wishes (§6, §7) -------------------------------------------------------------------------------

    def request_reschedule(
        self, who: str, *, session: int, proposed_starts_utc: list[datetime], reason: str | None
    ) -> bool:
        side, its = self._side(session, who), self.sessions[session]
        if side == "admin":
            raise No("not_allowed")
        mine = [each for each in self._open(session, "reschedule") if (each.asker, each.side) == (who, side)]
        if any((each.proposed, each.reason) == (proposed_starts_utc, reason) for each in mine):
            return False
        if not self._is_movable(its):
            raise No("illegal_transition")
        if len(set(proposed_starts_utc)) < len(proposed_starts_utc):
            raise No("invalid")
        if any(start < self.now for start in proposed_starts_utc):
            raise No("start_in_past")
        reason = needs(reason)
        self._count("reschedule", who)
        for each in mine:
            self._decide(each, "withdrawn", who)
        self._wish(Wish("reschedule", session, who, side, reason, proposed_starts_utc))
        return True

    def request_cancellation(self, who: str, *, session: int, reason: str | None) -> bool:
        side, its = self._side(session, who), self.sessions[session]
        if side == "admin":
            raise No("not_allowed")
        for each in self._open(session, "cancellation"):
            if each.asker == who:
                return False
            raise No("already_requested")
        if its.status not in ("scheduled", "rescheduled"):
            raise No("illegal_transition")
        if its.status == "scheduled" and self.now >= its.start:
            raise No("too_late")
        reason = needs(reason)
        self._count("cancellation", who)
        asks = its.student in self.reached
        self._wish(Wish("cancellation", session, who, side, reason, [], asks, None if asks else "no_guardian"))
        if not asks:
            self.events.append("cancellation.unasked")
        return True

    def accept_reschedule_request(self, who: str, *, wish: int, start: datetime | None) -> bool:
        only_admins(who)
        its = self.wishes[wish]
        if its.status == "accepted" and start in (None, its.accepted):
            return False
        if not its.is_open:
            raise No("already_decided")
        if start is None and len(its.proposed) == 1:
            start = its.proposed[0]
        if start is None or (its.proposed and start not in its.proposed):
            raise No("invalid")
        self._decide(its, "accepted", who, accepted=start)
        self._move(its.session, Actor("admin", who), start, its.reason)
        return True

    def approve_cancellation(self, who: str, *, wish: int) -> bool:
        only_admins(who)
        its = self.wishes[wish]
        if self._is_decided(its, "approved"):
            return False
        self._decide(its, "approved", who)
        self._set(its.session, Actor("admin", who), "cancelled", reason=its.reason)
        return True

    def reject(self, who: str, *, wish: int) -> bool:
        only_admins(who)
        if self._is_decided(self.wishes[wish], "rejected"):
            return False
        self._decide(self.wishes[wish], "rejected", who)
        return True

    def withdraw(self, who: str, *, wish: int) -> bool:
        asker = self.wishes[wish].asker
        if who != asker:
            raise No("not_allowed" if who == "admin" else "not_found")
        if self._is_decided(self.wishes[wish], "withdrawn"):
            return False
        self._decide(self.wishes[wish], "withdrawn", who)
        return True

    def _open(self, session: int, kind: str) -> list[Wish]:
        return [each for each in self.wishes if (each.session, each.kind) == (session, kind) and each.is_open]

    def _is_decided(self, wish: Wish, how: str) -> bool:
        if not wish.is_open and wish.status != how:
            raise No("already_decided")
        return wish.status == how

    def _count(self, kind: str, who: str) -> None:
        """Twenty wishes an hour are enough."""
        hour = self.now.replace(minute=0)
        self.asked[kind, who, hour] += 1
        if self.asked[kind, who, hour] > 20:
            raise No("too_many_requests")

    def _wish(self, wish: Wish) -> None:
        self.wishes.append(wish)
        self._tell(f"{wish.kind}_request_created", f"{wish.kind}.requested")

    def _decide(self, wish: Wish, how: str, who: str | None, accepted: datetime | None = None) -> None:
        wish.status, wish.decider, wish.accepted, wish.expires = how, who, accepted, None
        self._tell(f"{wish.kind}_request_updated", f"{wish.kind}.{how}")

    # --- the guardian's consent (§7) -------------------------------------------------------------------

    def reach_guardian(self, *, whose: str, is_reached: bool) -> bool:
        """By WhatsApp, from now on or no longer; those who are asked already are asked."""
        if is_reached != (whose in self.reached):
            self.reached = self.reached ^ {whose}
            self.audit.append("guardian_updated")
        return True

    def start_consent_timer(self, *, wish: int) -> bool:
        """A provider has taken the question."""
        its = self.wishes[wish]
        if its.status == "pending" and its.has_guardian and its.asked_at is None:
            hours = timedelta(hours=self.policies.consent_hours)
            its.asked_at, its.expires, its.unasked = self.now, self.now + hours, None
            self.audit.append("cancellation_request_updated")
        return True

    def note_consent_unasked(self, *, wish: int) -> bool:
        """The question has not arrived."""
        its = self.wishes[wish]
        if its.status == "pending" and (its.unasked, its.asked_at) != ("failed", None):
            if its.unasked != "failed":
                self.events.append("cancellation.unasked")
            its.asked_at, its.expires, its.unasked = None, None, "failed"
            self.audit.append("cancellation_request_updated")
        return True

    def read_consent(self, *, wish: int) -> tuple[str, list[str]]:
        """What became of it, and what may be answered."""
        its = self.wishes[wish]
        if not its.has_guardian:
            raise No("not_found")
        if its.status != "pending" or self._is_over(its) or not self._is_cancellable(its.session):
            return its.status, []
        may_move = self._is_movable(self.sessions[its.session])
        return its.status, ["approve", *(["reschedule"] if may_move else []), "call", "keep"]

    def answer_consent(self, *, wish: int, answer: str) -> str:
        its = self.wishes[wish]
        if not its.has_guardian:
            raise No("not_found")
        self._take_silence(its)
        to = {"approve": "approved", "keep": "rejected", "call": "call_requested"}.get(answer, "reschedule_requested")
        if to == "reschedule_requested" and not self._is_movable(self.sessions[its.session]):
            to = "call_requested"
        if its.status == to or (its.status, to) == ("auto_approved", "approved"):
            return "already"
        if its.status != "pending" or not self._is_cancellable(its.session):
            return "too_late"
        its.is_answered = True
        self._decide(its, to, None)
        if to == "approved":
            self._write(its.session, GUARDIAN, status="cancelled", reason=its.reason)
        if to == "reschedule_requested":
            self._wish_for_the_student(its)
        return "decided"

    def answer_by_message(self, *, wish: int, answer: str) -> str:
        return self.answer_consent(wish=wish, answer=answer) if self.wishes[wish].has_guardian else "unknown"

    def auto_approve_cancellations(self) -> int:
        """How many, after silence."""
        return sum(self._take_silence(each) for each in self.wishes)

    def _take_silence(self, wish: Wish) -> bool:
        if not self._is_over(wish) or not self._is_cancellable(wish.session):
            return False
        self._decide(wish, "auto_approved", None)
        self._write(wish.session, CLOCK, status="cancelled", reason=wish.reason)
        return True

    def _is_over(self, wish: Wish) -> bool:
        return wish.expires is not None and wish.expires <= self.now

    def _is_cancellable(self, session: int) -> bool:
        """By a guardian, or the clock after their silence: what has not begun, and what is parked."""
        its = self.sessions[session]
        return its.status == "rescheduled" or (its.status == "scheduled" and self.now < its.start)

    def _wish_for_the_student(self, its: Wish) -> None:
        """One such wish is enough."""
        if not any(each.side == "guardian" for each in self._open(its.session, "reschedule")):
            student = self.sessions[its.session].student
            self._wish(Wish("reschedule", its.session, student, "guardian", its.reason, []))

    # --- the end of the match (§4) ---------------------------------------------------------------------

    def end_match(self, who: str, *, reason: str | None) -> list[int]:
        """Which sessions were cancelled: those to come, and the parked ones."""
        only_admins(who)
        if self.has_ended:
            return []
        needs(reason)
        open_ones = [
            number
            for number, its in enumerate(self.sessions)
            if not its.is_booked
            and (its.status == "rescheduled" or (its.status == "scheduled" and its.start > self.now))
        ]
        for each in open_ones:
            self._write(each, Actor("admin", who), status="cancelled", reason=reason)
        self.has_ended = True
        self.audit += ["match_updated", "request_updated"]
        self.events.append("match.ended")
        return open_ones

    def take_up_by_hand(self) -> bool:
        """Studio sets match and request back to active."""
        self.has_ended = False
        self.audit += ["match_updated", "request_updated"]
        return True

    # --- bookings (§8) ---------------------------------------------------------------------------------

    def update_listing(self, who: str, *, duration_mins: int) -> bool:
        if who not in ("admin", "tutor"):
            raise No("not_allowed")
        if duration_mins != self.lesson_mins:
            self.lesson_mins = duration_mins
            self.audit.append("listing_updated")
        return True

    def request_booking(self, who: str, *, start: datetime, note: str | None, lesson_mins: int) -> bool:
        """Asked by somebody who has read that a lesson lasts so long."""
        if who in ("admin", "tutor"):
            raise No("not_allowed")
        self._count("booking", who)
        if any((each.student, each.start, each.status) == (who, start, "draft") for each in self.bookings):
            return False
        if lesson_mins != self.lesson_mins:
            raise No("plan_changed")
        if start <= self.now:
            raise No("start_in_past")
        end = start + timedelta(minutes=lesson_mins)
        self._take_the_time(Session(who, None, None, None, start, end, self.now, self.now))
        self.bookings.append(Booking(who, start, end, note))
        self._tell("booking_requested", "booking.requested")
        return True

    def accept_booking(self, who: str, *, booking: int, expected_version: int | None) -> bool:
        return self._decide_booking(who, booking, "accepted", None, expected_version)

    def decline_booking(self, who: str, *, booking: int, reason: str | None, expected_version: int | None) -> bool:
        return self._decide_booking(who, booking, "declined", reason, expected_version)

    def cancel_booking(self, who: str, *, booking: int, reason: str | None, expected_version: int | None) -> bool:
        return self._decide_booking(who, booking, "cancelled", reason, expected_version)

    def _decide_booking(self, who: str, booking: int, to: str, reason: str | None, version: int | None) -> bool:
        its = self.bookings[booking]
        if who not in ("admin", "tutor", its.student):
            raise No("not_found")
        side = "student" if who == its.student else who
        if side != "admin" and (side == "student") != (to == "cancelled"):
            raise No("not_allowed")
        if its.status == to:
            return False
        if version not in (None, its.version):
            raise No("stale_version")
        if its.status != "draft":
            raise No("illegal_transition")
        if to == "accepted" and its.start <= self.now:
            raise No("too_late")
        its.status, its.reason, its.decider, its.decided_as, its.version = to, reason, who, side, its.version + 1
        self._tell(f"booking_{to}", f"booking.{to}")
        if to == "accepted":
            its.session = len(self.sessions)
            self._book(its, Actor(side, who))
        return True

    def _book(self, its: Booking, by: Actor) -> None:
        session = Session(
            its.student, None, None, None, its.start, its.end, self.now, self.now, by.role, by.name, by.role
        )
        self._take_the_time(session)
        self.sessions.append(session)
        self.events.append("session.booked")

    # --- packages and policies (§3) --------------------------------------------------------------------

    def move_session_to_package(self, who: str, *, session: int, package: int, reason: str | None) -> bool:
        only_admins(who)
        its = self.sessions[session]
        if its.is_booked:
            raise No("illegal_transition")
        if its.package == package:
            return False
        needs(reason)
        if its.status not in UNCOUNTED and self._lacking(package) == 0:
            raise No("package_exhausted")
        there = [each for each in self.sessions if each.package == package]
        if its.occurrence is not None and its.occurrence in {each.occurrence for each in there}:
            raise No("already_exists")
        number = max((each.number or 0 for each in there), default=0) + 1
        self._write(session, Actor("admin", who), package=package, number=number, reason=reason)
        return True

    def update_package(self, who: str, *, package: int, tier_sessions: int) -> bool:
        only_admins(who)
        its = self.packages[package]
        if tier_sessions < its.used:
            raise No("in_use")
        if tier_sessions != its.tier:
            its.tier = tier_sessions
            self.audit.append("package_updated")
        return True

    def update_settings(self, who: str, **policies: Any) -> bool:
        only_admins(who)
        changed = replace(self.policies, **policies)
        if changed != self.policies:
            self.policies = changed
            self.audit.append("settings_updated")
        return True

    # --- the clock (§5) --------------------------------------------------------------------------------

    def sweep_session_statuses(self, whose: str | None = None) -> list[tuple[int, str, str, bool]]:
        """What was due, with where it came from and went; each session takes one step."""
        grace = timedelta(minutes=self.policies.delay_grace_mins)
        due = [
            (its.start if its.status == "scheduled" else its.end, session)
            for session, its in enumerate(self.sessions)
            if whose in (None, "tutor", its.student)
            and (
                (its.status == "scheduled" and its.start + grace <= self.now)
                or (its.status == "in_progress" and not its.is_delayed and its.end <= self.now)
            )
        ]
        updates: list[tuple[int, str, str, bool]] = []
        for _, session in sorted(due):
            came_from = self.sessions[session].status
            try:
                self._write(session, CLOCK, status="in_progress" if came_from == "scheduled" else "done", reason=None)
            except No:
                self._write(session, CLOCK, is_delayed=True)  # no credit is left: a person must look at it
            its = self.sessions[session]
            updates.append((session, came_from, its.status, its.is_delayed))
        return updates

    def refresh_session_statuses(self, who: str) -> list[tuple[int, str, str, bool]]:
        last = self.refreshed.get(who)
        if last is not None and timedelta() <= self.now - last < timedelta(seconds=15):
            return []
        self.refreshed[who] = self.now
        return [] if who == "admin" else self.sweep_session_statuses(who)

    # --- by hand, in Studio (§3) -----------------------------------------------------------------------

    def edit_by_hand(self, *, session: int, status: str | None, start: datetime | None) -> bool:
        its = self.sessions[session]
        changes: dict[str, Any] = {} if status is None else {"status": status}
        if start is not None:
            changes |= {"start": start, "end": start + (its.end - its.start)}
        if its.is_booked and changes.get("start", its.start) != its.start:
            raise No("use_function")
        if its.is_booked and status == "rescheduled":
            raise No("illegal_transition")
        if any(getattr(its, name) != value for name, value in changes.items()):
            changes["reason"] = None  # yesterday's reason is not today's
        self._write(session, STUDIO, **changes)
        return True

    # --- what every change of a session brings along ---------------------------------------------------

    def _write(self, session: int, by: Actor, along: Collection[int] = (), /, **changes: Any) -> None:
        before = self.sessions[session]
        after = replace(before, version=before.version + 1, updated_by=by.name, updated_by_role=by.role, **changes)
        if has_moved(before, after):
            after.moves += 1
            after.is_delayed, after.started_at, after.started_by = False, None, None
            comes_back = before.status == "rescheduled" or (before.status == "in_progress" and after.start > self.now)
            if after.status == before.status and comes_back:
                after.status = "scheduled"
        if after.status != before.status:
            self._mark(after, by)
        self._take_the_time(after, {session, *along})
        self._charge(after)
        self.sessions[session] = after
        self._tell_of(before, after)
        self._lapse(session, before, after)

    def _mark(self, its: Session, by: Actor) -> None:
        """The marks that follow from a new status; what the clock does holds from when it was due."""
        its.set_by, its.changed_at, its.effective_at = by.role, self.now, self.now
        if by is CLOCK and its.status != "cancelled":
            its.effective_at = its.start if its.status == "in_progress" else its.end
        if its.status == "scheduled":
            its.is_delayed, its.started_at, its.started_by = False, None, None
        if its.status == "in_progress":
            its.is_delayed = by is CLOCK or self.now >= its.end
            its.started_at = its.started_at or its.effective_at
            its.started_by = its.started_by or by.name

    def _take_the_time(self, its: Session, but: Collection[int] = ()) -> None:
        """Nobody is in two live sessions at once; there is one tutor."""
        others = (each for number, each in enumerate(self.sessions) if number not in but and each.status in LIVE)
        if its.status in LIVE and any(its.start < each.end and each.start < its.end for each in others):
            raise No("slot_taken")

    def _charge(self, its: Session) -> None:
        """A credit goes back to where it was taken from, and is taken from where the session belongs."""
        costs = its.package is not None and its.status in CHARGED
        if len(its.ledger) % 2 == 1 and not (costs and its.ledger[-1] == its.package):
            self.packages[its.ledger[-1]].used -= 1
            its.ledger = [*its.ledger, its.ledger[-1]]
        if costs and its.package is not None and len(its.ledger) % 2 == 0:
            package = self.packages[its.package]
            if package.used >= package.tier:
                raise No("package_exhausted")
            package.used += 1
            its.ledger = [*its.ledger, its.package]

    def _lapse(self, session: int, before: Session, after: Session) -> None:
        """A wish ends when its session changes otherwise; one for another time outlives the parking."""
        if (before.status, before.start) == (after.status, after.start):
            return
        for kind in ("reschedule", "cancellation"):
            if kind == "cancellation" or after.status != "rescheduled":
                for wish in self._open(session, kind):
                    self._decide(wish, "lapsed", None)

    def _tell_of(self, before: Session, after: Session) -> None:
        is_move = has_moved(before, after)
        if is_move:
            self._tell("session_rescheduled", "session.rescheduled")
        if after.status != before.status and not (is_move and after.status == "scheduled"):
            self._tell("session_status_updated", EVENTS[after.status])
        elif after.package != before.package:
            self.audit.append("session_moved_to_package")
        elif after.started_by is not None and before.started_by is None:
            self.audit.append("session_start_recorded")
        elif after.is_delayed and not before.is_delayed:
            self._tell("session_delayed", "session.delayed")
        elif after.notes != before.notes:
            self.audit.append("session_notes_updated")

    def _tell(self, action: str, event: str) -> None:
        self.audit.append(action)
        self.events.append(event)


EVENTS = {
    "scheduled": "session.reopened",
    "in_progress": "session.started",
    "done": "session.completed",
    "no_show_student": "session.no_show",
    "no_show_tutor": "session.no_show",
    "rescheduled": "session.parked",
    "cancelled": "session.cancelled",
}


def has_moved(before: Session, after: Session) -> bool:
    return (before.start, before.end) != (after.start, after.end)


def only_admins(who: str) -> None:
    if who != "admin":
        raise No("not_allowed")


def needs(reason: str | None) -> str:
    if reason is None:
        raise No("reason_required")
    return reason
