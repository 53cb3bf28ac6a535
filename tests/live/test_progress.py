"""A student's progress over HTTP: as JSON, as a page, and at a guardian's secret address, by people who signed in."""

import re
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.db.lessons import instant, lesson
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
    NOW,
    OLIVER,
    PHYSICS,
    ZARA,
    Match,
    Person,
)
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

TODAY, DAY = instant(NOW), timedelta(days=1)
ROSA, GRACE = (f"d0000000-0000-4000-8000-00000000000{number}" for number in (1, 3))
"""Guardians of Lena, in New York, and of Oliver."""
HOSTILE = "<script>alert(1)</script> & \"marks\" '{{ 7 * 7 }}'"
BROWSER = {"Accept": "text/html"}


def record(house: ServedHouse, match: Match, subject: str, *marks: tuple[int, float]) -> None:
    """Assessments by the tutor of the match: so many days ago, with so many points of twenty."""
    for days, score in marks:
        body = {"subject": subject, "score": score, "max_score": 20, "taken_at": (TODAY - days * DAY).isoformat()}
        answer(house.sign_in(match.tutor).post(f"/students/{match.student.id}/assessments", json=body), 201)


def set_homework(house: ServedHouse, match: Match, title: str, due_at: datetime) -> str:
    body = {"title": title, "due_at": due_at.isoformat()}
    made = answer(house.sign_in(match.tutor).post(f"/students/{match.student.id}/homework", json=body), 201)
    return made["homework"]["id"]


@pytest.fixture
def learned(house: ServedHouse) -> ServedHouse:
    """Mathematics with a rise, English with two marks; lessons held and missed; homework handed in and overdue."""
    record(house, MATHEMATICS, "Algebra", (90, 8), (60, 10), (30, 13), (2, 15))
    record(house, ENGLISH, "Oliver's essays", (9, 12), (2, 14))
    for days, status in ((30, "no_show_student"), (23, "done"), (16, "done"), (9, "done"), (2, "cancelled")):
        lesson(house.database, MATHEMATICS, TODAY - days * DAY, status=status)
    lesson(house.database, ENGLISH, TODAY - 3 * DAY, status="done")
    handed_in = set_homework(house, MATHEMATICS, "Fractions", TODAY + DAY)
    set_homework(house, MATHEMATICS, "Powers", TODAY + DAY)
    answer(house.sign_in(LENA).post(f"/homework/{handed_in}/submit", json={}))
    house.set_clock(TODAY + 2 * DAY)
    return house


def progress(house: ServedHouse, who: Person, student: Person = LENA) -> Row:
    return answer(house.sign_in(who).get(f"/students/{student.id}/progress"))


def page(house: ServedHouse, who: Person, student: Person = LENA, **query: str) -> str:
    response = house.sign_in(who).get(f"/students/{student.id}/progress.html", params=query)
    return is_a_page(response).text


def is_a_page(response: httpx.Response, status: int = 200) -> httpx.Response:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    return response


def link(house: ServedHouse, guardian: str = ROSA) -> dict[str, Any]:
    return answer(house.sign_in(NADIA).post(f"/guardians/{guardian}/progress-link"), 201)


def address(made: dict[str, Any]) -> str:
    """Below `/api`, where the client already is."""
    return made["path"].removeprefix("/api")


def test_student_tutor_and_admin_read_the_figures(learned: ServedHouse) -> None:
    for who in (LENA, BILAL, NADIA):
        told = progress(learned, who)
        assert told["student"]["display_name"] == "Lena Ortiz"
        assert told["lessons"] == {
            "done": 3,
            "no_show_student": 1,
            "no_show_tutor": 0,
            "cancelled": 1,
            "hours_done": 3.0,
            "completion_rate": 0.75,
        }
        assert (told["streak"]["current"], told["streak"]["longest"]) == (3, 3)
        assert (told["homework"]["submitted"], told["homework"]["overdue"]) == (1, 1)
        assert told["homework"]["completion_rate"] == 0.5
        (algebra,) = told["assessments"]
        assert [each["percent"] for each in algebra["marks"]] == [40, 50, 65, 75]
        assert algebra["trend"]["verdict"] == "rising"
        assert algebra["trend"]["low"] > 0
        (package,) = told["packages"]
        assert (package["sessions_left"], told["sessions_left"]) == (4, 4)
        assert package["expected_by"] == "pace"
    assert (progress(learned, BILAL)["tutor"] or {})["id"] == str(BILAL.id)
    assert progress(learned, LENA)["tutor"] is None


def test_a_period_narrows_it(learned: ServedHouse) -> None:
    period = {"from": "2026-02-10", "to": "2026-02-26"}
    told = answer(learned.sign_in(LENA).get(f"/students/{LENA.id}/progress", params=period))
    assert (told["from"], told["to"], told["lessons"]["done"]) == ("2026-02-10", "2026-02-26", 2)
    assert len(told["assessments"][0]["marks"]) == 1
    refused = learned.sign_in(LENA).get(
        f"/students/{LENA.id}/progress", params={"from": "2026-02-26", "to": "2026-02-10"}
    )
    assert problem(refused, 422, "invalid")["field"] == "from"


def test_the_same_stands_on_the_page_in_the_readers_language(learned: ServedHouse) -> None:
    english, german = page(learned, LENA, lang="en"), page(learned, BILAL, lang="de")
    assert '<html lang="en">' in english
    assert "How Lena Ortiz is getting on" in english
    assert "<strong>Rising</strong>" in english
    assert "So kommt Lena Ortiz voran" in german
    assert "Bilal Siddiqi" in german, "whose part it is"
    assert "Así avanza Lena Ortiz" in page(learned, LENA), "which is her language"
    answer(learned.sign_in(NADIA).patch("/settings", json={"language": "de"}))
    assert "So kommt Lena Ortiz voran" in page(learned, NADIA), "who has the house's"


def test_nobody_elses_student_is_told_from_one_who_is_not_there(learned: ServedHouse) -> None:
    nobody = "f0000000-0000-4000-8000-00000000000f"
    for who, student in ((BILAL, OLIVER), (HARRIET, LENA), (OLIVER, LENA), (NEWCOMER, LENA)):
        client = learned.sign_in(who)
        for suffix in ("", ".html"):
            refusals = [
                problem(client.get(f"/students/{each}/progress{suffix}"), 404, "not_found") | {"request_id": None}
                for each in (student.id, nobody)
            ]
            assert refusals[0] == refusals[1]


def test_two_tutors_of_a_student_read_nothing_of_each_other(house: ServedHouse) -> None:
    record(house, PHYSICS, "Waves", (3, 11))
    record(house, IELTS, "Listening", (2, 12))
    for who, own, other in ((MARCUS, "Waves", "Listening"), (HARRIET, "Listening", "Waves")):
        text = page(house, who, ZARA)
        assert own in text
        assert other not in text
        assert [each["subject"] for each in progress(house, who, ZARA)["assessments"]] == [own]
    assert {each["subject"] for each in progress(house, ZARA, ZARA)["assessments"]} == {"Waves", "Listening"}


def test_a_guardian_opens_the_page_of_their_own_student_without_a_sign_in(learned: ServedHouse) -> None:
    path, other = address(link(learned)), address(link(learned, GRACE))
    text = is_a_page(learned.anybody.get(path)).text
    assert "Así avanza Lena Ortiz" in text, "in her language"
    assert "(New York)" in text, "on her clocks"
    assert "Algebra" in text
    for foreign in ("Oliver", "essays", "Finch", str(OLIVER.id)):
        assert foreign not in text
    theirs = is_a_page(learned.anybody.get(other)).text
    assert "Oliver Finch" in theirs
    assert "Lena" not in theirs
    for hidden in (r"\+\d{10}", r"@lessonkeeper", r"[0-9a-f]{8}-[0-9a-f]{4}-4"):
        assert not re.search(hidden, text), "no phone, no address, no id"


def test_what_opens_nothing_is_answered_alike_to_programs_and_in_a_page_to_browsers(learned: ServedHouse) -> None:
    good, revoked, expired = link(learned), link(learned), link(learned)
    gone = answer(learned.sign_in(NADIA).delete(f"/progress-links/{revoked['id']}"))
    assert gone["standing"] == "revoked"
    learned.database.run(
        "update private.progress_links set expires_at = now() - interval '1 second' where id = %s", expired["id"]
    )
    odd = [f"/progress/{token}" for token in ("x" * 43, "x", "%00", good["token"][:-1], good["id"])]
    refusals = [
        problem(learned.anybody.get(path), 404, "not_found") | {"request_id": None}
        for path in (address(revoked), address(expired), *odd)
    ]
    assert refusals[1:] == refusals[:-1]
    shown = {
        re.sub(r'<span class="faint">[^<]*', "", is_a_page(learned.anybody.get(path, headers=BROWSER), 404).text)
        for path in (address(revoked), address(expired), odd[0])
    }
    assert len(shown) == 1
    is_a_page(learned.anybody.get(address(good), headers=BROWSER))
    answer(learned.sign_in(NADIA).patch(f"/people/{LENA.id}", json={"is_active": False}))
    assert problem(learned.anybody.get(address(good)), 404, "not_found") | {"request_id": None} == refusals[0]


def test_admins_see_and_end_the_links_and_nobody_else_does(learned: ServedHouse) -> None:
    made = link(learned)
    listed = answer(learned.sign_in(NADIA).get(f"/guardians/{ROSA}/progress-links"))["links"]
    assert listed == [{name: value for name, value in made.items() if name not in {"token", "path"}}]
    assert instant(made["expires_at"]) - datetime.now(TODAY.tzinfo) > 89 * DAY
    for who in (LENA, BILAL, NEWCOMER):
        client = learned.sign_in(who)
        problem(client.post(f"/guardians/{ROSA}/progress-link"), 403, "not_allowed")
        problem(client.get(f"/guardians/{ROSA}/progress-links"), 403, "not_allowed")
        problem(client.delete(f"/progress-links/{made['id']}"), 403, "not_allowed")
    is_a_page(learned.anybody.get(address(made)))


def test_names_and_subjects_are_text_and_nothing_more(house: ServedHouse) -> None:
    answer(house.sign_in(LENA).patch("/me", json={"display_name": HOSTILE}))
    record(house, MATHEMATICS, HOSTILE, (2, 15))
    for text in (page(house, BILAL), is_a_page(house.anybody.get(address(link(house)))).text):
        assert "<script" not in text
        assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
        assert "{{ 7 * 7 }}" in text


def test_a_student_without_anything_has_a_page_too(house: ServedHouse) -> None:
    text = page(house, OLIVER, OLIVER)
    assert "No assessments were recorded in this time." in text
    assert "There were no lessons in this time." in text


def test_the_data_api_opens_no_link(learned: ServedHouse) -> None:
    token = link(learned)["token"]
    for who in (LENA, NADIA):
        with pytest.raises(Exception, match="permission denied"):
            learned.supabase(who).rpc("read_progress_link", {"p_token": token}).execute()


def test_the_data_api_tells_the_same_figures(learned: ServedHouse) -> None:
    asked = {"p_student_id": str(LENA.id)}
    told: Any = learned.supabase(BILAL).rpc("get_progress", asked).execute().data
    assert told["lessons"] == progress(learned, BILAL)["lessons"]
