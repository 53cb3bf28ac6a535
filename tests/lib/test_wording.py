"""The house's words: none is missing in any language, each reads as it was meant, and providers can take them."""

import re
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

import jinja2
import pytest

from lib import wording
from lib.config import ConfigurationError
from lib.fields import Language
from lib.wording import (
    BUTTONS,
    LANGUAGES,
    TEMPLATES,
    About,
    answer_of_button,
    check_wording,
    provider_text,
    written,
    written_short,
)

ROOT = Path(wording.__file__).parent
Reader = Literal["tutor", "student", "guardian", "admin"]
READERS: tuple[Reader, ...] = get_args(Reader)
LONGEST_BODY = 1024
"""Characters of a template's body on WhatsApp, with what its placeholders say."""
LONGEST_BUTTON = 25
TOLD: dict[str, object] = {
    "name": "Grace Hughes",
    "when": "Tuesday, 31 March 2026, 16:30",
    "old": "Monday, 30 March 2026, 16:30",
    "first": "Tuesday, 3 March 2026, 16:30",
    "last": "Thursday, 26 March 2026, 16:30",
    "count": 8,
    "lessons": ["Tuesday, 3 March 2026, 16:30", "Thursday, 5 March 2026, 16:30"],
    "summary": "Fractions.\n\nAnd a little algebra.",
    "link": "https://lessons.example.com/api/consent/" + "x" * 43,
}
WISH: dict[str, Any] = {"asked_by": "tutor", "reason": "School trip", "hours": 24, "silence_cancels": True}


def about(reader: Reader = "guardian", **more: Any) -> About:
    known: dict[str, Any] = {"subject": "Mathematics"} | more
    return About(reader=reader, tutor="Amina Siddiqui", student="Oliver Hughes", **known)


# --- before the first letter ------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for language in LANGUAGES:
        shutil.copytree(ROOT / language, tmp_path / language)
    return tmp_path


def fault(root: Path) -> str:
    with pytest.raises(ConfigurationError) as raised:
        check_wording(root)
    return str(raised.value)


def test_the_words_that_ship_are_complete(copied: Path) -> None:
    check_wording()
    check_wording(copied)


def test_a_text_that_is_missing_in_one_language_stops_the_start(copied: Path) -> None:
    (copied / "es" / "session_moved.txt").unlink()
    assert fault(copied).splitlines()[1:] == ["  es/session_moved.txt: is missing"]


def test_a_text_that_nobody_sends_stops_it_too(copied: Path) -> None:
    (copied / "de" / "session_eaten.txt").write_text("x")
    assert "de/session_eaten.txt: belongs to no template" in fault(copied)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("{{ when }}", "{{ whence }}", "nothing says whence"),
        ("When: {{ when }}", "", "each once and in this order"),
        ("{{ name }}", "{{ when }}", "each once and in this order"),
        ("Lesson: {{ lesson }}", "{% if 1 %}Lesson: {{ lesson }}{% endif %}", "plain placeholders"),
        ("Begun: {{ lesson }}", "", "must have a subject"),
        ("Begun: {{ lesson }}", "Begun: {{ lesson.other }} {{ nobody }}", "nothing says nobody"),
    ],
)
def test_a_wrong_placeholder_is_named_with_its_file(copied: Path, before: str, after: str, told: str) -> None:
    path = copied / "en" / "session_started.txt"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    assert fault(copied).splitlines()[1].startswith("  en/session_started.txt: ")
    assert told in fault(copied)


def test_a_phrase_that_a_language_lacks_is_missed_in_each_text_that_needs_it(copied: Path) -> None:
    path = copied / "de" / "phrases.jinja"
    path.write_text(path.read_text().replace("macro silence", "macro stille"))
    assert "de/P26_cancellation_request.txt: nothing says silence" in fault(copied)


def test_a_text_that_cannot_be_read_is_a_fault_too(copied: Path) -> None:
    (copied / "en" / "session_moved.txt").write_text("x {{")
    assert "TemplateSyntaxError" in fault(copied)


# --- every text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("known", [{}, WISH], ids=["bare", "full"])
def test_every_text_can_be_said_to_everybody(
    template: str, language: Language, reader: Reader, known: dict[str, Any]
) -> None:
    for words in (
        written(template, language, about(reader, **known), TOLD),
        written_short(template, language, about(reader, **known), TOLD),
    ):
        assert words.subject == words.subject.strip() != ""
        for text in (words.subject, words.body):
            assert not re.search(r"[{}]|None|  |\n\n\n", text), text
        assert "Grace Hughes" in words.body.splitlines()[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_text_can_be_a_template_of_whatsapp(template: str, language: Language) -> None:
    long: dict[str, Any] = WISH | {
        "reason": "x" * 1000,
        "note": "y\n" * 200,
        "place": "https://meet.google.com/abc-defg-hij",
    }
    words = written_short(template, language, about(**long), {**TOLD, "summary": "z " * 4000})
    assert len(words.body) <= LONGEST_BODY
    assert len(words.parameters) == len(TEMPLATES[template])
    assert not [each for each in words.parameters if not each or re.search(r"[\n\t]|    ", each)]
    text = provider_text(template, language)
    numbers = re.findall(r"{{(\d+)}}", text)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert not text.startswith("{{")
    assert not text.endswith("}}")
    filled = re.sub(r"{{(\d+)}}", lambda found: words.parameters[int(found[1]) - 1], text)
    assert filled == words.body, "what the provider makes of it is what we keep"


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_email_says_all_that_a_whatsapp_message_says(template: str) -> None:
    email, short = written(template, "en", about(**WISH), TOLD), written_short(template, "en", about(**WISH), TOLD)
    assert email.subject == short.subject
    if template != "P21_session_summary":  # whose lines stay lines
        assert email.body.startswith(short.body)


FAMILIAR = {"de": r"\b(du|dir|dich|dein\w*|euch|euer)\b", "es": r"\b(tú|tu|tus|te|ti|contigo|vosotros|os|vuestr\w+)\b"}


@pytest.mark.parametrize("language", FAMILIAR)
def test_people_are_addressed_formally(language: str) -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in (ROOT / language).iterdir())
    assert not re.findall(FAMILIAR[language], told, re.IGNORECASE)
    assert re.search({"de": r"\bSie\b", "es": r"\busted\b"}[language], told)


# --- some of them, word for word ----------------------------------------------------------------------------


def test_a_guardian_is_asked_in_english() -> None:
    assert written_short("P26_cancellation_request", "en", about(**WISH), TOLD).body == (
        "Hello Grace Hughes,\n\n"
        "Amina Siddiqui would like to cancel the following lesson. You decide.\n\n"
        "Lesson: Mathematics with Amina Siddiqui for Oliver Hughes\n"
        "Planned for: Tuesday, 31 March 2026, 16:30\n"
        "Reason: School trip\n"
        "Without an answer: after 24 hours the lesson is cancelled\n"
        f"Your answer: {TOLD['link']}\n\n"
        "Please follow the link or press a button. Opening the link decides nothing yet."
    )


def test_a_move_is_told_in_german_with_the_old_time_and_the_new() -> None:
    words = written("session_moved", "de", about("student", reason="Arzttermin"), TOLD)
    assert words.subject == "Neuer Termin: Mathematics bei Amina Siddiqui"
    assert words.body == (
        "Guten Tag Grace Hughes,\n\n"
        "der folgende Unterricht wurde verlegt.\n\n"
        "Unterricht: Mathematics bei Amina Siddiqui\n"
        "Bisher: Monday, 30 March 2026, 16:30\n"
        "Neu: Tuesday, 31 March 2026, 16:30\n"
        "Grund: Arzttermin\n\n"
        "Bitte merken Sie sich den neuen Termin vor.\n\n"
        "Die beigefügte Datei bringt Ihren Kalender auf den neuesten Stand.\n"
    )


def test_a_tutor_is_reminded_in_spanish() -> None:
    place = "https://meet.google.com/abc-defg-hij"
    assert written("session_reminder", "es", about("tutor", kind="1h", place=place), TOLD).body == (
        "Hola, Grace Hughes:\n\n"
        "Le recordamos que la siguiente clase empieza en menos de una hora.\n\n"
        "Clase: Mathematics con Oliver Hughes\n"
        "Cuándo: Tuesday, 31 March 2026, 16:30\n"
        f"Dónde: {place}\n\n"
        "Si le surge algún imprevisto, avísenos lo antes posible.\n"
    )


def test_a_plan_lists_every_lesson_where_there_is_room() -> None:
    email, short = (form("schedule_generated", "en", about("student"), TOLD) for form in (written, written_short))
    assert "- Tuesday, 3 March 2026, 16:30\n- Thursday, 5 March 2026, 16:30\n" in email.body
    assert "- Tuesday" not in short.body
    assert "How many: 8" in short.body


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"silence_cancels": False, "hours": 24}, "Without an answer: the lesson takes place as planned\n"),
        ({"silence_cancels": True, "hours": 1}, "Without an answer: after 1 hour the lesson is cancelled\n"),
    ],
)
def test_what_silence_means_is_said_as_it_is(facts: dict[str, Any], told: str) -> None:
    assert told in written_short("P26_cancellation_request", "en", about(**{**WISH, **facts}), TOLD).body


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("approved", "the lesson is cancelled"),
        ("auto_approved", "there was no objection in time, so the lesson is cancelled"),
        ("rejected", "the lesson takes place as planned"),
        ("reschedule_requested", "the lesson is to be moved rather than cancelled"),
        ("call_requested", "the guardian would like to talk about it first"),
        ("withdrawn", "the request was taken back, and the lesson takes place as planned"),
        ("lapsed", "the lesson has changed in the meantime, so the request no longer applies"),
    ],
)
def test_every_decision_has_its_words(status: str, told: str) -> None:
    assert f"decided: {told}.\n" in written("cancellation_decided", "en", about("tutor", status=status), TOLD).body


def test_another_time_that_was_approved_is_no_cancellation() -> None:
    words = written("reschedule_decided", "en", about("tutor", status="approved", is_move=True), TOLD)
    assert "decided: the lesson has been moved.\n" in words.body


@pytest.mark.parametrize(
    ("asked_by", "told"),
    [("tutor", "Amina Siddiqui"), ("student", "Oliver Hughes"), ("guardian", "The guardian of Oliver Hughes")],
)
def test_whoever_asks_is_named(asked_by: str, told: str) -> None:
    words = written("reschedule_requested", "en", about("admin", asked_by=asked_by), TOLD)
    assert f"\n{told} asks for another time" in words.body


def test_an_admin_is_told_why_it_is_theirs_to_decide() -> None:
    told = {
        why: written("cancellation_to_decide", "en", about("admin", why=why, **WISH), TOLD).body.splitlines()[2]
        for why in ("no_guardian", "call_requested", "not_reached")
    }
    asked = "Amina Siddiqui would like to cancel a lesson, and the decision is yours: "
    assert told == {
        "no_guardian": f"{asked}there is no guardian who could be asked.",
        "call_requested": f"{asked}the guardian asks for a call.",
        "not_reached": f"{asked}the guardian could not be reached.",
    }


def test_a_name_is_never_read_as_a_template_nor_as_html() -> None:
    words = written("session_started", "en", about(), {**TOLD, "name": "{{ 7 * 7 }} <b>&"})
    assert words.body.startswith("Hello {{ 7 * 7 }} <b>&,")


def test_a_placeholder_that_nothing_was_told_for_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        written("session_started", "en", about(), {"name": "Grace Hughes"})


# --- buttons ----------------------------------------------------------------------------------------------


def test_buttons_are_short_and_each_means_one_answer_in_any_language() -> None:
    labels = [label for by_language in BUTTONS.values() for label in by_language.values()]
    assert max(map(len, labels)) <= LONGEST_BUTTON
    assert len({label.casefold() for label in labels}) == len(labels) == len(LANGUAGES) * 4
    for answer, by_language in BUTTONS.items():
        assert by_language.keys() == set(LANGUAGES)
        assert {answer_of_button(f" {label.upper()} ") for label in by_language.values()} == {answer}


def test_any_other_text_is_no_answer() -> None:
    assert [answer_of_button(text) for text in ("", "yes", "cancel")] == [None] * 3
