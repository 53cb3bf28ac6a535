"""What follows a lesson, over HTTP: its student's review, and the days that an admin counts."""

import pytest

from tests.house import BILAL, ENGLISH, HARRIET, NADIA, OLIVER, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

AFTER_TWO = "2026-03-05T18:05:00+00:00"
"""Two English lessons are over."""
MARCH = {"from": "2026-03-01", "to": "2026-03-31"}


def month(house: ServedHouse) -> list[str]:
    """The English month, generated; two of its lessons are over."""
    generated = answer(house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={}), 201)
    house.set_clock(AFTER_TWO)
    return [session["id"] for session in generated["sessions"]]


def mark(house: ServedHouse, session_id: str, status: str, who: Person = HARRIET, **more: str) -> None:
    answer(house.sign_in(who).post(f"/sessions/{session_id}/status", json={"status": status, **more}))


def days(house: ServedHouse, **query: str) -> list[Row]:
    return answer(house.sign_in(NADIA).get("/admin/metrics/daily", params=MARCH | query))["days"]


def test_a_student_reviews_a_lesson_that_was_held_once(house: ServedHouse) -> None:
    session_id, open_one, *_ = month(house)
    mark(house, session_id, "done")
    oliver, path = house.sign_in(OLIVER), f"/sessions/{session_id}/review"
    first = answer(oliver.post(path, json={"rating": 5, "comment": " Größer als gedacht.\nDanke. "}), 201)
    assert first["changed"] is True
    assert (first["review"]["rating"], first["review"]["comment"]) == (5, "Größer als gedacht.\nDanke.")
    again = answer(oliver.post(path, json={"rating": 5, "comment": "Größer als gedacht.\nDanke."}), 200)
    assert again == first | {"changed": False}
    problem(oliver.post(path, json={"rating": 4}), 409, "already_reviewed")
    refusal = problem(oliver.post(f"/sessions/{open_one}/review", json={"rating": 5}), 409, "illegal_transition")
    assert refusal["from"] == "scheduled"
    problem(house.sign_in(HARRIET).post(path, json={"rating": 5}), 403, "not_allowed")
    problem(house.sign_in(BILAL).post(path, json={"rating": 5}), 404, "not_found")
    # Over the Data API its people read it, and until when there was time.
    for who, seen in ((OLIVER, [session_id]), (HARRIET, [session_id]), (BILAL, [])):
        for table in ("reviews", "review_windows", "learning_events"):
            assert [row["session_id"] for row in house.rows(who, table, "session_id")] == seen


def test_a_correction_closes_the_review_and_a_lesson_done_again_opens_it(house: ServedHouse) -> None:
    session_id, *_ = month(house)
    mark(house, session_id, "done")
    mark(house, session_id, "no_show_student", NADIA, reason="Was not there")
    oliver, path = house.sign_in(OLIVER), f"/sessions/{session_id}/review"
    problem(oliver.post(path, json={"rating": 1}), 409, "illegal_transition")
    mark(house, session_id, "done", NADIA, reason="Was there after all")
    house.set_clock("2026-03-19T18:05:00+00:00")
    refusal = problem(oliver.post(path, json={"rating": 1}), 409, "too_late")
    assert refusal["policy"] == "review_window_days"
    house.set_clock("2026-03-19T18:04:59+00:00")
    answer(oliver.post(path, json={"rating": 1}), 201)


def test_an_admin_counts_the_days_and_corrections_count_too(house: ServedHouse) -> None:
    first, second, *_ = month(house)
    mark(house, first, "done")
    mark(house, second, "no_show_student")
    nothing = {"done": 0, "no_show_student": 0, "no_show_tutor": 0, "cancelled": 0, "delayed": 0, "hours_done": 0.0}
    held = nothing | {"on_date": "2026-03-03", "done": 1, "hours_done": 1.0}
    assert days(house) == [held, nothing | {"on_date": "2026-03-05", "no_show_student": 1}]
    mark(house, second, "no_show_tutor", NADIA, reason="The train")
    assert days(house, tutor_id=str(HARRIET.id)) == [held, nothing | {"on_date": "2026-03-05", "no_show_tutor": 1}]
    assert days(house, tutor_id=str(BILAL.id)) == []
    problem(house.sign_in(HARRIET).get("/admin/metrics/daily", params=MARCH), 403, "not_allowed")
    backwards = {"from": "2026-03-31", "to": "2026-03-01"}
    problem(house.sign_in(NADIA).get("/admin/metrics/daily", params=backwards), 422, "invalid")
