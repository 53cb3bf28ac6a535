"""Chapter 25: what people write into a student's record, who may, and what becomes of homework."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, START, audit, booked, booking, events, instant, lesson
from tests.house import BILAL, HARRIET, LENA, MARCUS, MATHEMATICS, NADIA, NOW, OLIVER, ZARA, Person

MINUTE = timedelta(minutes=1)
RESULT: dict[str, Any] = {"p_subject": "Mathematics", "p_score": 9, "p_max_score": 20}
NOBODY = UUID(int=0)


def record(db: Database, who: Person, student: Person = LENA, **more: Any) -> dict[str, Any]:
    """A result; options without their `p_`."""
    given = RESULT | {f"p_{name}": value for name, value in more.items()}
    return db.call(who, "record_assessment", p_student_id=student.id, **given)["event"]


def note(db: Database, who: Person, text: str, student: Person = LENA, **more: Any) -> dict[str, Any]:
    given = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, "add_note", p_student_id=student.id, p_text=text, **given)["event"]


def assign(db: Database, who: Person = BILAL, student: Person = LENA, title: str = "Page 12", **more: Any) -> Any:
    given = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, "assign_homework", p_student_id=student.id, p_title=title, **given)["homework"]


def submit(db: Database, homework: dict[str, Any], who: Person = LENA, comment: str | None = None) -> dict[str, Any]:
    return db.call(who, "submit_homework", p_homework_id=homework["id"], p_comment=comment)


def review(db: Database, homework: dict[str, Any], who: Person = BILAL, **more: Any) -> dict[str, Any]:
    given = {f"p_{name}": value for name, value in more.items()}
    return db.call(who, "review_homework", p_homework_id=homework["id"], **given)


def listed(db: Database, who: Person, function: str = "list_learning_events", **more: Any) -> dict[str, Any]:
    return db.call(who, function, p_student_id=LENA.id, **more)


def contents(db: Database) -> list[str]:
    """The whole record of L in sentences, as it was written."""
    query = (
        "select content_for_embedding from public.learning_events where student_user_id = %s order by created_at, id"
    )
    return [content for (content,) in db.rows(query, LENA.id)]


# --- who writes ---------------------------------------------------------------------------------------


def may(db: Database, who: Person, student: Person = LENA) -> str:
    """`ok`, or how the caller is refused a note."""
    try:
        with db.connection.transaction(force_rollback=True):
            note(db, who, "Good.", student)
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    return "ok"


def test_tutors_write_while_they_teach_and_admins_always(db: Database) -> None:
    assert {who.email: may(db, who) for who in (BILAL, NADIA, LENA, HARRIET, OLIVER)} == {
        BILAL.email: "ok", NADIA.email: "ok", LENA.email: "403 not_allowed", HARRIET.email: "404 not_found",
        OLIVER.email: "404 not_found",
    }  # fmt: skip
    db.call(NADIA, "end_match", p_match_id=MATHEMATICS.id, p_reason="Moving away.")
    assert (may(db, BILAL), may(db, NADIA)) == ("403 not_allowed", "ok")
    assert listed(db, BILAL)["events"] == [], "who taught may still look"


def test_an_accepted_booking_makes_a_tutor_of_theirs_and_a_mere_request_does_not(db: Database) -> None:
    booking(db, HARRIET, LENA)
    assert may(db, HARRIET) == "404 not_found"
    booked(db, HARRIET, LENA, START + HOUR)
    assert may(db, HARRIET) == "ok"
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["student"])
    assert may(db, HARRIET) == "403 not_allowed"


def test_a_booking_lets_nobody_into_other_records(db: Database) -> None:
    booked(db, BILAL, OLIVER, START + HOUR)
    assert (may(db, BILAL, OLIVER), may(db, BILAL, ZARA)) == ("ok", "404 not_found")


def test_only_a_student_has_a_record_and_a_former_one_keeps_it(db: Database) -> None:
    assert may(db, NADIA, HARRIET) == "404 not_found"
    note(db, BILAL, "Good.")
    db.call(NADIA, "update_person", p_person_id=LENA.id, p_roles=[])
    assert may(db, NADIA) == "ok"
    assert len(listed(db, NADIA)["events"]) == 1


def test_a_session_is_one_of_that_student_and_that_tutor(db: Database) -> None:
    own, other, hers = lesson(db), booked(db, MARCUS, ZARA), booked(db, HARRIET, LENA, START + DAY)
    assert record(db, BILAL, session_id=own)["session_id"] == str(own)
    told: list[str] = []
    for who, session_id in ((BILAL, other), (BILAL, hers), (BILAL, NOBODY), (NADIA, other)):
        with pytest.raises(Refused) as caught:
            record(db, who, session_id=session_id)
        assert (caught.value.status, caught.value.extra) == (422, {"field": "session_id"})
        told.append(caught.value.detail)
    assert len(set(told)) == 1
    assert record(db, NADIA, session_id=hers)["tutor_id"] == str(HARRIET.id), "an admin's belongs to the lesson's tutor"
    assert record(db, NADIA)["tutor_id"] is None


def test_a_person_writes_three_hundred_times_an_hour(db: Database) -> None:
    note(db, BILAL, "Good.")
    db.run("update private.call_counts set calls = 300 where action = 'record_learning'")
    for write in (record, assign):
        with pytest.raises(Refused, match="429 too_many_requests"):
            write(db, BILAL)
    with pytest.raises(Refused, match="429 too_many_requests"):
        note(db, BILAL, "Good.")
    note(db, NADIA, "Others may.")


# --- results and notes --------------------------------------------------------------------------------


def test_a_result_is_kept_as_it_was_with_its_percent(db: Database) -> None:
    told = record(db, BILAL, topic="Fractions", comment="  Confuses halves\nand thirds. ", taken_at="2026-02-20T10:00Z")
    assert told["event_data"] == {
        "subject": "Mathematics", "topic": "Fractions", "score": 9, "max_score": 20, "percent": 45,
        "comment": "Confuses halves\nand thirds.",
    }  # fmt: skip
    assert told["content"] == "Assessment in Mathematics (Fractions): 9 of 20 (45 %). Confuses halves\nand thirds."
    assert (told["tutor_id"], told["author_id"], told["is_private"]) == (str(BILAL.id), str(BILAL.id), False)
    assert instant(told["occurred_at"]) == instant("2026-02-20 10:00")
    assert audit(db, UUID(told["id"])) == [("assessment_recorded", "tutor", BILAL.id)]
    assert events(db, told["id"]) == ["assessment.recorded"]


def test_a_result_without_more_says_no_more(db: Database) -> None:
    told = record(db, BILAL, score="7.50", max_score="9")
    assert told["content"] == "Assessment in Mathematics: 7.5 of 9 (83.3 %)."
    assert instant(told["occurred_at"]) == instant(NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", None), ("subject", ""), ("subject", "two\nlines"), ("subject", "x" * 121), ("topic", ""),
        ("topic", "x" * 121), ("score", None), ("score", -1), ("score", 21), ("score", "NaN"), ("max_score", None),
        ("max_score", 0), ("max_score", "NaN"), ("max_score", "Infinity"), ("max_score", 100001),
        ("comment", "x" * 2001), ("taken_at", "2026-02-26T09:00:01Z"), ("taken_at", "1999-12-31T23:59Z"),
        ("taken_at", "-infinity"), ("taken_at", "infinity"),
    ],
)  # fmt: skip
def test_a_result_that_cannot_be_is_refused_by_its_field(db: Database, field: str, value: Any) -> None:
    with pytest.raises(Refused) as caught:
        record(db, BILAL, **{field: value})
    assert (caught.value.status, caught.value.code, caught.value.extra) == (422, "invalid", {"field": field})
    assert contents(db) == []


def test_a_note_is_for_everybody_concerned_and_a_private_remark_for_its_tutor_and_admins(db: Database) -> None:
    shared, private = note(db, BILAL, " Reads a lot. "), note(db, BILAL, "Seems sad.", is_private=True)
    assert (shared["content"], shared["event_data"]) == ("Note: Reads a lot.", {"text": "Reads a lot."})
    seen = {
        who.email: [each["event_data"]["text"] for each in listed(db, who, "list_notes")["notes"]]
        for who in (BILAL, LENA, NADIA)
    }
    assert seen[LENA.email] == ["Reads a lot."]
    assert sorted(seen[BILAL.email]) == sorted(seen[NADIA.email]) == ["Reads a lot.", "Seems sad."]
    assert events(db, shared["id"]) == ["note.added"]
    assert events(db, private["id"]) == [], "nobody outside is told of a private remark"
    assert audit(db, UUID(private["id"])) == [("note_added", "tutor", BILAL.id)]
    details = db.value("select details::text from public.audit_logs where entity_id = %s", UUID(private["id"]))
    assert "sad" not in details


def test_what_an_admin_remarks_in_private_is_for_admins_whatever_lesson_it_is_about(db: Database) -> None:
    remark = note(db, NADIA, "Ask about the bill.", is_private=True, session_id=lesson(db))
    assert remark["tutor_id"] is None
    assert listed(db, BILAL)["events"] == listed(db, LENA)["events"] == []


@pytest.mark.parametrize("text", [None, "", " \n\t ", "x" * 5001])
def test_a_note_has_something_to_say(db: Database, text: str | None) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        db.call(BILAL, "add_note", p_student_id=LENA.id, p_text=text)


def test_what_was_recorded_stays_as_it_was(db: Database) -> None:
    note(db, BILAL, "Good.")
    with pytest.raises(Refused, match="409 use_function"):
        db.run("update public.learning_events set is_private = false")


# --- homework -----------------------------------------------------------------------------------------


def test_homework_goes_from_given_to_looked_through_and_every_step_is_in_the_record(db: Database) -> None:
    given = assign(db, description="All of it.", due_at="2026-02-28T12:00Z", session_id=None)
    assert (given["status"], given["was_late"], given["is_overdue"], given["version"]) == ("assigned", False, False, 1)
    db.set_clock("2026-02-27T10:00Z")
    handed_in = submit(db, given, comment="Number 3 was hard.")["homework"]
    assert (handed_in["status"], handed_in["submission"]) == ("submitted", "Number 3 was hard.")
    assert instant(handed_in["submitted_at"]) == instant("2026-02-27 10:00")
    db.set_clock("2026-02-27T20:00Z")
    seen = review(db, given, mark="B+", feedback="Well done.")["homework"]
    assert (seen["status"], seen["mark"], seen["feedback"], seen["version"]) == ("reviewed", "B+", "Well done.", 3)
    assert contents(db) == [
        "Homework assigned: Page 12. All of it.",
        "Homework submitted: Page 12. Number 3 was hard.",
        "Homework reviewed: Page 12. Mark: B+. Well done.",
    ]
    assert events(db, given["id"]) == ["homework.assigned", "homework.submitted", "homework.reviewed"]
    assert audit(db, UUID(given["id"])) == [
        ("homework_created", "tutor", BILAL.id),
        ("homework_updated", "student", LENA.id),
        ("homework_updated", "tutor", BILAL.id),
    ]
    (payload,) = db.rows("select payload from private.outbox_events where event_type = 'homework.reviewed'")[0]
    assert payload == {
        "homework_id": given["id"], "student_id": str(LENA.id), "tutor_id": str(BILAL.id), "session_id": None,
        "status": "reviewed", "due_at": "2026-02-28T12:00:00+00:00", "was_late": False,
    }  # fmt: skip


def test_the_audit_names_what_changed_and_copies_no_words(db: Database) -> None:
    review(db, submit(db, assign(db, title="Secretive"), comment="Secretive")["homework"], feedback="Secretive")
    assert "Secretive" not in str(db.rows("select details from public.audit_logs where entity_type = 'homework'"))


@pytest.mark.parametrize(("after", "was_late"), [(timedelta(0), False), (timedelta(seconds=1), True)])
def test_homework_is_late_from_the_moment_after_it_is_due(db: Database, after: timedelta, *, was_late: bool) -> None:
    due = instant("2026-02-27 12:00")
    given = assign(db, due_at=due)
    db.set_clock(due + after)
    assert listed(db, LENA, "list_homework")["homework"][0]["is_overdue"] is was_late
    handed_in = submit(db, given)["homework"]
    assert (handed_in["was_late"], handed_in["is_overdue"]) == (was_late, False)
    assert contents(db)[-1] == f"Homework submitted{' late' if was_late else ''}: Page 12."


def test_homework_without_a_date_is_never_late(db: Database) -> None:
    given = assign(db)
    db.set_clock(START + 100 * DAY)
    assert submit(db, given)["homework"]["was_late"] is False


def test_the_same_step_again_changes_nothing_and_another_way_round_is_refused(db: Database) -> None:
    given = assign(db)

    def refused(step: Any, **more: Any) -> tuple[str, dict[str, Any]]:
        with pytest.raises(Refused) as caught:
            step(db, given, **more)
        return caught.value.code, caught.value.extra

    assert refused(review) == ("illegal_transition", {"from": "assigned", "to": "reviewed"})
    assert submit(db, given, comment="Done.")["changed"] is True
    assert submit(db, given, comment=" Done. ")["changed"] is False
    assert refused(submit, comment="Done!") == ("illegal_transition", {"from": "submitted", "to": "submitted"})
    assert review(db, given, mark="A")["changed"] is True
    assert review(db, given, mark="A")["changed"] is False
    assert refused(review, mark="B") == ("illegal_transition", {"from": "reviewed", "to": "reviewed"})
    assert refused(submit) == ("illegal_transition", {"from": "reviewed", "to": "submitted"})
    assert len(contents(db)) == len(events(db, given["id"])) == 3


def test_a_tutor_or_an_admin_may_hand_in_for_a_student(db: Database) -> None:
    for who in (BILAL, NADIA):
        assert submit(db, assign(db), who)["homework"]["status"] == "submitted"


def test_who_is_no_student_any_more_hands_in_nothing(db: Database) -> None:
    given = assign(db)
    db.call(NADIA, "update_person", p_person_id=LENA.id, p_roles=[])
    with pytest.raises(Refused, match="403 not_allowed"):
        submit(db, given)


def test_a_step_in_studio_leaves_the_same_marks(db: Database) -> None:
    given = assign(db)
    db.set_clock("2026-02-27T10:00Z")
    db.run("update public.homework set status = 'submitted'")
    db.run("update public.homework set status = 'reviewed'")
    ((submitted_at, reviewed_at, version),) = db.rows("select submitted_at, reviewed_at, version from public.homework")
    assert submitted_at == reviewed_at == instant("2026-02-27 10:00")
    assert version == 3
    assert len(contents(db)) == len(events(db, given["id"])) == 3
    db.run("update public.homework set status = 'assigned'")
    assert db.rows("select submitted_at, reviewed_at from public.homework") == [(None, None)]
    assert len(contents(db)) == 3, "a step back is a correction"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", None), ("title", ""), ("title", " x"), ("title", "x" * 201), ("description", "x" * 5001),
        ("due_at", "1999-12-31T00:00Z"), ("due_at", "infinity"), ("due_at", "-infinity"),
    ],
)  # fmt: skip
def test_homework_that_cannot_be_is_refused(db: Database, field: str, value: Any) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        assign(db, **{field: value})
    assert db.value("select count(*) from public.homework") == 0


@pytest.mark.parametrize("more", [{"mark": "x" * 41}, {"mark": "two\nlines"}, {"feedback": "x" * 5001}])
def test_a_review_that_cannot_be_is_refused(db: Database, more: dict[str, Any]) -> None:
    given = submit(db, assign(db))["homework"]
    with pytest.raises(Refused, match="422 invalid"):
        review(db, given, **more)


# --- reading ------------------------------------------------------------------------------------------


def test_lists_go_from_the_newest_on_page_by_page_and_leave_nothing_out(db: Database) -> None:
    moments = ["2026-02-20T10:00Z"] * 3 + [f"2026-02-{day}T10:00Z" for day in (18, 21, 19)]
    recorded = [record(db, BILAL, taken_at=moment) for moment in moments]
    newest_first = sorted(recorded, key=lambda each: (each["occurred_at"], UUID(each["id"])), reverse=True)
    for function, name in (("list_assessments", "assessments"), ("list_learning_events", "events")):
        after: dict[str, Any] = {}
        read: list[dict[str, Any]] = []
        for _ in range(3):
            page = listed(db, LENA, function, p_limit=2, **after)
            read += page[name]
            after = {"p_after_occurred_at": read[-1]["occurred_at"], "p_after_id": read[-1]["id"]}
            assert page["has_more"] is (len(read) < 6)
            assert page["viewer_timezone"] == "America/New_York"
        assert read == newest_first
        assert listed(db, LENA, function, p_limit=2, **after)[name] == []


def test_homework_is_listed_by_when_it_was_given_and_by_status(db: Database) -> None:
    titles = ["First", "Second", "Third"]
    given: list[dict[str, Any]] = []
    for number, title in enumerate(titles):
        db.set_clock(instant(NOW) + number * MINUTE)
        given.append(assign(db, title=title))
    submit(db, given[-1])
    page = listed(db, LENA, "list_homework", p_limit=2)
    assert ([each["title"] for each in page["homework"]], page["has_more"]) == (["Third", "Second"], True)
    after = {"p_after_created_at": page["homework"][-1]["created_at"], "p_after_id": page["homework"][-1]["id"]}
    assert [each["title"] for each in listed(db, LENA, "list_homework", **after)["homework"]] == ["First"]
    open_ones = listed(db, LENA, "list_homework", p_status=["assigned"])["homework"]
    assert [each["title"] for each in open_ones] == ["Second", "First"]


def test_events_are_listed_by_type(db: Database) -> None:
    record(db, BILAL)
    note(db, BILAL, "Good.")
    assign(db)
    chosen = listed(db, LENA, p_types=["note", "homework"])["events"]
    assert {each["event_type"] for each in chosen} == {"note", "homework"}


def test_a_tutor_reads_what_is_theirs_and_not_what_another_wrote(db: Database) -> None:
    booked(db, HARRIET, LENA)
    note(db, BILAL, "Of algebra.")
    note(db, HARRIET, "Of essays.")
    note(db, NADIA, "Of the house.")
    assert [each["content"] for each in listed(db, HARRIET)["events"]] == ["Note: Of essays."]
    assert len(listed(db, LENA)["events"]) == len(listed(db, NADIA)["events"]) == 3


# --- what the house pays for --------------------------------------------------------------------------


def take(db: Database, who: Person = BILAL, kind: str = "brief") -> bool:
    return db.call(who, "take_model_call", p_kind=kind)["allowed"]


def test_the_house_pays_for_so_many_calls_a_day_whoever_makes_them(db: Database) -> None:
    db.run("update public.settings set model_calls_a_day = 2")
    assert [take(db), take(db, LENA, "search"), take(db), take(db, NADIA, "summary")] == [True, True, False, False]
    note(db, BILAL, "Good.")
    assert db.call("service_role", "claim_embeddings", p_model="m", p_dimension=2) == {
        "contents": [], "more": False, "allowed": False,
    }  # fmt: skip
    db.set_clock("2026-02-27T00:00Z")
    assert take(db)
    assert len(db.call("service_role", "claim_embeddings", p_model="m", p_dimension=2)["contents"]) == 1
    assert not take(db)


def test_a_house_that_pays_for_nothing_is_asked_in_vain(db: Database) -> None:
    db.run("update public.settings set model_calls_a_day = 0")
    assert not take(db)
    assert db.rows("select * from private.model_calls") == []


def test_a_person_asks_a_model_sixty_times_an_hour_for_each_purpose(db: Database) -> None:
    take(db)
    db.run("update private.call_counts set calls = 60 where action = 'model_brief'")
    with pytest.raises(Refused, match="429 too_many_requests"):
        take(db)
    assert take(db, kind="summary")
