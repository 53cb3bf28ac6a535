"""Pages for people who follow a link: HTML that needs no script, no font and no picture from anywhere.

A page is two templates: ``templates/NAME.html`` is its build, which every language shares and which leaves its words
to required blocks; ``templates/LANGUAGE/NAME.html`` extends it and says them. Values are escaped wherever they stand,
and one that is missing is an error. The style sheet stands in the page and is allowed by its hash alone, so a page may
load nothing, run nothing and be framed by nobody, and its forms go nowhere but home.

Sources: https://www.w3.org/TR/CSP3/; https://jinja.palletsprojects.com/en/stable/templates/#required-blocks
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast, get_args

import jinja2
from markupsafe import Markup

from lib import times
from lib.fields import Language

LANGUAGES: tuple[Language, ...] = get_args(Language)
FALLBACK: Language = "en"

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


@dataclass(frozen=True, slots=True)
class Page:
    """HTML, and the headers without which it is not sent."""

    html: str
    headers: Mapping[str, str]


def render(name: str, language: Language, **values: object) -> Page:
    """The page ``name`` in this language.

    Raises:
        jinja2.TemplateError: there is no such page, or a value of its is missing.
    """
    template = environment.get_template(f"{language}/{name}.html")
    html = template.render(**values, language=language, style=Markup(_STYLE))  # noqa: S704  # our own file
    return Page(html, {**_HEADERS, "Content-Language": language})


def language_of(accepted: str) -> Language:
    """The language that an ``Accept-Language`` wants most among ours (RFC 9110 §12.5.4); English when none is."""
    wanted = [part.partition(";") for part in accepted.split(",")]
    by_weight = sorted(wanted, key=lambda part: _weight(part[2]), reverse=True)
    tags = [tag.strip().lower().partition("-")[0] for tag, _, weight in by_weight if _weight(weight) > 0]
    ours: list[Language] = [tag for tag in tags if tag in LANGUAGES]
    return ours[0] if ours else FALLBACK


def _weight(parameter: str) -> float:
    try:
        return float(parameter.strip().lower().removeprefix("q=") or 1)
    except ValueError:
        return 0.0


# --- what templates can say -----------------------------------------------------------------------------


@jinja2.pass_context
def _day(context: jinja2.runtime.Context, instant: datetime, timezone: str) -> str:
    """``{{ start | day(timezone) }}``: Monday, 2 March 2026."""
    return times.day(instant, context["language"], timezone)


@jinja2.pass_context
def _moment(context: jinja2.runtime.Context, instant: datetime, timezone: str) -> str:
    """``{{ end | moment(timezone) }}``: Monday, 2 March 2026, 14:00 (London)."""
    return times.moment(instant, context["language"], timezone)


def _make_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Its own filters are all that the type of this dictionary knows.
    cast("dict[str, object]", environment.filters).update(day=_day, moment=_moment)
    return environment


environment = _make_environment()
