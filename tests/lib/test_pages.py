"""Pages without script: whole in every language, escaped everywhere, and shut to whatever is not ours."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import pytest

from lib import pages
from lib.pages import LANGUAGES, language_of, render

TEMPLATES = Path(pages.__file__).parent / "templates"
NAMES = sorted(path.name for path in TEMPLATES.glob("*.html") if path.name != "page.html")


def test_every_page_has_its_words_in_every_language_and_nothing_else_lies_about() -> None:
    for language in LANGUAGES:
        assert sorted(path.name for path in (TEMPLATES / language).iterdir()) == NAMES
    assert {path.name for path in TEMPLATES.iterdir()} == {*NAMES, *LANGUAGES, "page.html", "page.css"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_language_says_what_the_build_of_a_page_leaves_open_and_no_more(name: str, language: str) -> None:
    build = (TEMPLATES / name).read_text(encoding="utf-8")
    words = (TEMPLATES / language / name).read_text(encoding="utf-8")
    assert words.startswith(f'{{% extends "{name}" %}}\n')
    wanted = re.findall(r"{% block (\w+)(?: scoped)? required %}", build)
    assert wanted
    # A page that does not make its title of its heading leaves it to the words.
    wanted += [] if "{% block title %}" in build else ["title"]
    assert sorted(re.findall(r"{% block (\w+)", words)) == sorted(wanted)


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_a_value_holds_it_is_text(language: pages.Language) -> None:
    page = render("problem", language, status=404, request_id="<script>\"'&")
    assert "&lt;script&gt;&#34;&#39;&amp;" in page.html
    assert "<script" not in page.html


def test_a_value_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(jinja2.UndefinedError, match="request_id"):
        render("problem", "en", status=404)


def test_the_style_is_allowed_by_its_hash_and_nothing_else_at_all() -> None:
    page = render("problem", "en", status=404, request_id="1")
    style = re.findall(r"<style>(.*?)</style>", page.html, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert page.headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    for loads in ("<script", "<link", "<img", " style=", "javascript:", "@import", "url("):
        assert loads not in page.html


def test_no_cache_index_frame_or_other_site_gets_to_see_a_page() -> None:
    headers = render("problem", "de", status=404, request_id="1").headers
    assert {name: headers[name] for name in headers if name != "Content-Security-Policy"} == {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex, nofollow, noarchive",
        "Content-Language": "de",
    }


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de-AT, de;q=0.9, en;q=0.5", "de"),
        ("fr, es;q=0.4", "es"),
        ("en;q=0.1, ES;q=0.2", "es"),
        ("en;q=0, de;q=0.1", "de"),
        ("de;q=much, *", "en"),
        (";;,,;q=", "en"),
    ],
)
def test_a_reader_without_a_name_gets_what_the_browser_asks_for(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", "Sunday, 1 March 2026; Sunday, 1 March 2026, 22:05 (New York)"),
        ("de", "Sonntag, 1. März 2026; Sonntag, 1. März 2026, 22:05 Uhr (New York)"),
        ("es", "domingo, 1 de marzo de 2026; domingo, 1 de marzo de 2026, 22:05 h (New York)"),
    ],
)
def test_days_and_times_are_written_as_the_language_has_them(language: str, written: str) -> None:
    template = pages.environment.from_string("{{ at | day(zone) }}; {{ at | moment(zone) }}")
    values = {"at": datetime(2026, 3, 2, 3, 5, tzinfo=UTC), "zone": "America/New_York", "language": language}
    assert template.render(values) == written
