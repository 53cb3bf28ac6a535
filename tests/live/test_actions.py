"""The buttons beside a session, pressed for real: what they promise happens, what they refuse fails with that code.

Each is pressed over HTTP by a real sign-in; what a press wrote is put back before the next one.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import httpx
import pytest

from tests.database import Database
from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, OLIVER, Person
from tests.live.answers import answer, any_problem, problem
from tests.live.served import Row, ServedHouse, Snapshot
from tests.live.test_repetition import everything

pytestmark = pytest.mark.live

PEOPLE = (NADIA, BILAL, LENA)
FREE = "2026-05-20T12:00:00Z"
"""When nobody has a lesson."""

PRESSES: Mapping[str, tuple[str, str, Row]] = {
    "start_session": ("POST", "/start", {}),
    "complete_session": ("POST", "/complete", {}),
    "mark_missed": ("POST", "/missed", {"by": "student"}),
    "dispute_session": ("POST", "/dispute", {}),
    "reschedule_session": ("PATCH", "", {"start_utc": FREE}),
    "request_reschedule": ("POST", "/request-reschedule", {"proposed_starts_utc": [FREE]}),
    "cancel_session": ("POST", "/cancel", {}),
    "request_cancellation": ("POST", "/request-cancel", {}),
    "prepare_session": ("GET", "/prep", {}),
}
"""How each operation is called: method, what follows the session's address, and its body but for the reason."""
TAKE_NO_REASON = {"start_session", "complete_session", "prepare_session"}
CHANGE_NO_SESSION = {"prepare_session"}


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """The month of mathematics."""
    return answer(house.sign_in(NADIA).post(f"/matches/{MATHEMATICS.id}/sessions", json={}), 201)["sessions"]


def from_start(house: ServedHouse, session: Row, **by: int) -> None:
    """Set the clock to that long after the session's start."""
    house.set_clock(datetime.fromisoformat(session["scheduled_start_utc"]) + timedelta(**by))


def sweep(house: ServedHouse) -> None:
    secret = {"Authorization": f"Bearer {house.env['CRON_SECRET']}"}
    answer(house.anybody.get("/cron/complete-sessions", headers=secret))


def a_month_ahead(house: ServedHouse, lessons: list[Row]) -> None:
    """Everything is to come; the student wants not to have the third."""
    answer(house.sign_in(LENA).post(f"/sessions/{lessons[2]['id']}/request-cancel", json={"reason": "Ill"}), 202)


def the_door_is_open(house: ServedHouse, lessons: list[Row]) -> None:
    """Ten minutes before the first."""
    from_start(house, lessons[0], minutes=-10)


def all_sorts(house: ServedHouse, lessons: list[Row]) -> None:
    """One completed by the clock and one delayed; parked, cancelled, missed, and two that are to come."""
    admin = house.sign_in(NADIA)
    from_start(house, lessons[0])
    answer(house.sign_in(BILAL).post(f"/sessions/{lessons[0]['id']}/start"))
    from_start(house, lessons[0], minutes=70)
    sweep(house)
    for lesson, status in zip(lessons[2:5], ("rescheduled", "cancelled", "no_show_tutor"), strict=True):
        body = {"status": status, "reason": "As it is"}
        answer(admin.post(f"/sessions/{lesson['id']}/status", json=body))
    from_start(house, lessons[1], minutes=5)
    sweep(house)


def disputed_under_other_policies(house: ServedHouse, lessons: list[Row]) -> None:
    """The same an hour later, when the first was disputed, tutors may move and need no order."""
    policies = {"tutor_may_reschedule": True, "sequence_lock": False, "tutor_correction_hours": 720}
    answer(house.sign_in(NADIA).patch("/settings", json=policies))
    all_sorts(house, lessons)
    answer(house.sign_in(LENA).post(f"/sessions/{lessons[0]['id']}/dispute", json={"reason": "Nobody came"}))
    from_start(house, lessons[1], minutes=65)


def nothing_left(house: ServedHouse, lessons: list[Row]) -> None:
    """No credit is left for the second, which runs, and the third, which nobody began; and there is no Meet link."""
    admin, match = house.sign_in(NADIA), f"/matches/{MATHEMATICS.id}"
    from_start(house, lessons[1])
    answer(house.sign_in(BILAL).post(f"/sessions/{lessons[1]['id']}/start"))
    from_start(house, lessons[2], minutes=20)
    for lesson in lessons[6:]:
        answer(admin.post(f"/sessions/{lesson['id']}/cancel", json={"reason": "Ill"}))
    extra = [
        answer(admin.post(f"{match}/sessions/extra", json={"start_utc": start, "reason": "Make-up"}), 201)
        for start in ("2026-05-01T12:00:00Z", "2026-05-02T12:00:00Z")
    ]
    for lesson in (lessons[0], *lessons[3:], *extra):
        answer(admin.post(f"/sessions/{lesson['id']}/status", json={"status": "done", "reason": "As it was"}))
    answer(admin.patch(match, json={"meet_link": ""}))


MOMENTS: Mapping[str, Callable[[ServedHouse, list[Row]], None]] = {
    each.__name__: each
    for each in (a_month_ahead, the_door_is_open, all_sorts, disputed_under_other_policies, nothing_left)
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_button_does_what_it_says(house: ServedHouse, owner: Database, lessons: list[Row], moment: str) -> None:
    MOMENTS[moment](house, lessons)
    for person in PEOPLE:
        house.sign_in(person)  # which is written down
    as_it_was, before, told = Snapshot(owner), everything(owner), Counter[bool]()
    for person in PEOPLE:
        for lesson in lessons[:6]:
            session = answer(house.sign_in(person).get(f"/sessions/{lesson['id']}"))
            for action in session["actions"].values():
                assert ("code" in action) == (not action["allowed"])
                if action["operation"]:
                    told[action["allowed"]] += 1
                    press(house, person, session, action)
                    if action["allowed"]:
                        as_it_was.restore()
    assert min(told[True], told[False]) >= 10, told
    assert everything(owner) == before, "what is refused writes nothing"


def press(house: ServedHouse, who: Person, session: Row, action: Row) -> None:
    """Do what the button calls, and hold its answer against what the button said."""
    what = f"{who.email}, {session['status']}: {action}"
    if action["needs_reason"]:
        assert call(house, who, session, action["operation"]).status_code == 422, what
    response = call(
        house, who, session, action["operation"], give_reason=action["needs_reason"] or not action["allowed"]
    )
    if action["allowed"] or action["code"] == "already_so":
        assert response.is_success, f"{what}: {response.text}"
        told = response.json()
        assert action["operation"] in CHANGE_NO_SESSION or told["changed"] == action["allowed"], what
        return
    refusal = any_problem(response)
    for member in ("code", "detail", "policy", "from", "to", "field", "package_id", "opens_at", "closed_at"):
        assert as_written(refusal.get(member)) == as_written(action.get(member)), f"{member} of {what}"
    blockers = [[each["session_id"] for each in told.get("blockers", ())] for told in (refusal, action)]
    assert blockers[0] == blockers[1], what


def call(house: ServedHouse, who: Person, session: Row, operation: str, *, give_reason: bool = False) -> httpx.Response:
    """The operation on that session; a reason goes along where there is a place for one."""
    method, suffix, body = PRESSES[operation]
    reason = {"reason": "Because"} if give_reason and operation not in TAKE_NO_REASON else {}
    return house.sign_in(who).request(method, f"/sessions/{session['id']}{suffix}", json=body | reason)


def as_written(value: object) -> object:
    """Our functions write UTC as `Z`, the database's refusals as an offset."""
    return value.replace("+00:00", "Z") if isinstance(value, str) else value


# --- joining --------------------------------------------------------------------------------------------


def join(house: ServedHouse, session: Row) -> Row:
    """What the button says, which is the same for all three."""
    (told, *others) = [
        answer(house.sign_in(who).get(f"/sessions/{session['id']}"))["actions"]["join"] for who in PEOPLE
    ]
    assert others == [told, told]
    return told


def test_the_door_opens_with_the_start_window_and_closes_at_the_end(house: ServedHouse, lessons: list[Row]) -> None:
    lesson = lessons[0]
    open_ = {"allowed": True, "operation": None, "needs_reason": False}
    too_early = join(house, lesson)
    assert (too_early["code"], too_early["policy"]) == ("too_early", "start_window_mins")
    opens_at = datetime.fromisoformat(too_early["opens_at"])
    assert datetime.fromisoformat(lesson["scheduled_start_utc"]) - opens_at == timedelta(minutes=15)
    house.set_clock(opens_at)
    assert join(house, lesson) == open_

    answer(house.sign_in(NADIA).patch(f"/matches/{MATHEMATICS.id}", json={"meet_link": ""}))
    assert join(house, lesson)["code"] == "no_meet_link"
    answer(house.sign_in(NADIA).patch(f"/matches/{MATHEMATICS.id}", json={"meet_link": lesson["meet_link"]}))

    from_start(house, lesson, minutes=60)
    assert join(house, lesson)["code"] == "too_late"
    from_start(house, lesson, minutes=50)
    answer(house.sign_in(BILAL).post(f"/sessions/{lesson['id']}/start"))
    from_start(house, lesson, minutes=70)
    assert join(house, lesson) == open_, "it runs over"
    answer(house.sign_in(BILAL).post(f"/sessions/{lesson['id']}/complete"))
    assert join(house, lesson)["code"] == "illegal_transition"


def test_nobody_else_sees_a_button(house: ServedHouse, lessons: list[Row]) -> None:
    for stranger in (HARRIET, OLIVER):
        problem(house.sign_in(stranger).get(f"/sessions/{lessons[0]['id']}"), 404, "not_found")
