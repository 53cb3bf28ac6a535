"""The page of a student's progress: what it says in each language, and that nothing in it is more than text."""

import copy
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from lib.fields import Language
from lib.progress import as_page
from tests.functions import samples as s

LANGUAGES: tuple[Language, ...] = ("en", "de", "es")
HOSTILE = """"><script>alert('x')</script><img src=x onerror=alert(1)> & {{ 7 * 7 }} {% raw %} </svg></style>"""
NOTHING: dict[str, Any] = {
    "assessments": [],
    "lessons": {**s.progress["lessons"], "done": 0, "no_show_student": 0, "no_show_tutor": 0, "cancelled": 0,
                "hours_done": 0, "completion_rate": None},
    "streak": {"current": 0, "since": None, "longest": 0},
    "homework": {**dict.fromkeys(s.progress["homework"], 0), "completion_rate": None},
    "packages": [],
    "sessions_left": 0,
}  # fmt: skip
VOID = {"meta", "line", "rect", "circle", "polygon", "polyline"}
"""Elements that have no end here; the shapes end themselves."""


def answer(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(dict(s.progress)) | changes


def with_trend(verdict: str, low: float, high: float) -> dict[str, Any]:
    changed = answer()
    changed["assessments"][0]["trend"] |= {"verdict": verdict, "slope": (low + high) / 2, "low": low, "high": high}
    return changed


class Reader(HTMLParser):
    """The elements of a page, each ended where it should be, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts)).replace("\u00a0", " ")


def read(changed: dict[str, Any], language: Language | None = "en") -> Reader:
    reader = Reader()
    reader.feed(as_page(changed, language).html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_figures_are_on_the_page(language: Language) -> None:
    text = read(answer(), language).text
    for figure in ("Oliver Hughes", "92", "23", "25", "88", "14", "16", "Algebra", "Fractions", "70"):
        assert figure in text, figure
    assert {"en": "28 Apr 2026", "de": "28. Apr. 2026", "es": "28 abr. 2026"}[language] in text


def test_each_language_says_it_in_its_own_words() -> None:
    pages = {language: read(answer(), language) for language in LANGUAGES}
    assert "How Oliver Hughes is getting on" in pages["en"].text
    assert "So kommt Oliver Hughes voran" in pages["de"].text
    assert "Así avanza Oliver Hughes" in pages["es"].text
    for language, page in pages.items():
        assert page.elements[0] == ("html", {"lang": language})


def test_without_a_wish_the_page_is_in_the_language_of_the_house() -> None:
    assert as_page(answer(language="de"), None).headers["Content-Language"] == "de"
    assert as_page(answer(language="de"), "es").headers["Content-Language"] == "es"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_about_nothing_yet_says_so_and_draws_nothing(language: Language) -> None:
    reader = read(answer(**NOTHING), language)
    assert "svg" not in [tag for tag, _ in reader.elements]
    assert "None" not in reader.text
    assert {"en": "No assessments were recorded", "de": "keine Tests", "es": "ninguna prueba"}[language] in reader.text


VERDICTS: dict[str, tuple[float, float, str]] = {
    "rising": (1.5, 3.1, "Rising by about 2.3 points in 30 days."),
    "falling": (-5.0, -3.0, "Falling by about 4 points in 30 days."),
    "steady": (-0.5, 1.0, "Steady : whatever change there is comes to less than 2 points in 30 days."),
    "unclear": (
        -6.5,
        10.2,
        "No clear direction : these marks would fit anything from \u22126.5 to +10 points in 30 days.",
    ),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_trend_is_told_with_its_uncertainty(verdict: str) -> None:
    low, high, sentence = VERDICTS[verdict]
    reader = read(with_trend(verdict, low, high))
    assert sentence in reader.text
    assert "with 95 % certainty" in reader.text
    assert {"polygon", "polyline"} <= {tag for tag, _ in reader.elements}


def test_where_nothing_can_be_said_no_line_is_drawn() -> None:
    changed = answer()
    changed["assessments"][0]["trend"] |= {
        "verdict": "too_few",
        "enough": False,
        "line": [],
        **dict.fromkeys(("slope", "standard_error", "low", "high")),
    }
    reader = read(changed)
    assert "Too early for a trend" in reader.text
    assert not {"polygon", "polyline"} & {tag for tag, _ in reader.elements}
    assert [tag for tag, _ in reader.elements].count("circle") == 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_mark_of_a_chart_stands_in_a_table_too(language: Language) -> None:
    changed = answer()
    (subject,) = changed["assessments"]
    subject["marks"] = [subject["marks"][0] | {"score": float(score), "percent": score * 5} for score in range(20)]
    reader = read(changed, language)
    for score in range(20):
        assert f" {score} / 20 " in reader.text
    tags = [tag for tag, _ in reader.elements]
    assert (tags.count("circle"), tags.count("details")) == (20, 1)


def test_charts_have_names_and_what_only_adorns_is_hidden_from_screen_readers() -> None:
    reader = read(answer())
    drawn = [
        attributes
        for tag, attributes in reader.elements
        if tag == "svg" and "viewBox" not in attributes and "viewbox" not in attributes
    ]
    named = [each for each in drawn if each.get("role") == "img"]
    assert len(named) == 1
    ids = {attributes.get("id") for _, attributes in reader.elements}
    assert named[0]["aria-labelledby"] in ids
    assert all(each.get("aria-hidden") == "true" for each in drawn if each not in named)
    assert [
        attributes["scope"] for tag, attributes in reader.elements if tag == "th" and "scope" not in attributes
    ] == []


def test_headings_go_down_step_by_step() -> None:
    levels = [int(tag[1]) for tag, _ in read(answer()).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_subjects_and_topics_are_text_and_nothing_more(language: Language) -> None:
    changed = answer(student={**s.student, "display_name": HOSTILE}, tutor={**s.tutor, "display_name": HOSTILE})
    changed["assessments"][0]["subject"] = HOSTILE
    changed["assessments"][0]["marks"][0]["topic"] = HOSTILE
    changed["packages"][0]["subject"] = HOSTILE
    reader, ordinary = read(changed, language), read(answer(tutor=dict(s.tutor)), language)
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in ordinary.elements]
    assert reader.text.count("<script>alert('x')</script>") >= 6
    assert "{{ 7 * 7 }}" in reader.text
    assert {name for _, attributes in reader.elements for name in attributes} == {
        name for _, attributes in ordinary.elements for name in attributes
    }


def test_nothing_on_the_page_is_loaded_run_or_styled_by_attribute() -> None:
    reader = read(answer())
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "a", "use"} & {
        tag for tag, _ in reader.elements
    }
    attributes = {name for _, each in reader.elements for name in each}
    assert not attributes & {"style", "src", "href"}
    assert not [name for name in attributes if name.startswith("on")]


def test_the_page_is_sent_with_what_keeps_it_private() -> None:
    headers = as_page(answer(), "en").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


PACKAGES: dict[str, tuple[dict[str, Any], str]] = {
    "pace": ({}, "At the pace of the last weeks (1.5 a week) they will be used up about 28 Apr 2026."),
    "plan": ({"expected_by": "plan"}, "The last one is planned for 28 Apr 2026."),
    "unknown": (
        {"expected_by": None, "expected_end": None, "pace_per_week": None},
        "There were too few lessons of late to say when they will be used up.",
    ),
    "exhausted": (
        {"standing": "exhausted", "sessions_left": 0, "expected_by": None, "expected_end": None},
        "All of it is used.",
    ),
    "expired": (
        {"standing": "expired", "expected_by": None, "expected_end": None},
        "It ran until 30 Apr 2026 and has expired.",
    ),
}


@pytest.mark.parametrize("case", PACKAGES)
def test_a_package_says_when_it_will_be_used_up_and_how_that_is_known(case: str) -> None:
    changes, sentence = PACKAGES[case]
    changed = answer()
    changed["packages"][0] |= changes
    assert sentence in read(changed).text


ENDS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "all are known": (lambda other: other.update(expected_end="2026-05-20"), "lessons left, until about 20 May 2026"),
    "one is not": (lambda other: other.update(expected_end=None, expected_by=None), "lessons left "),
    "one is over": (
        lambda other: other.update(expected_end=None, expected_by=None, standing="expired"),
        "lessons left, until about 28 Apr 2026",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_end_of_all_credits_is_told_only_where_every_packages_is_known(case: str) -> None:
    change, sentence = ENDS[case]
    changed = answer()
    other = copy.deepcopy(changed["packages"][0])
    change(other)
    changed["packages"].append(other)
    assert sentence in read(changed).text
