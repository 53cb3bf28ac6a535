"""What the house says to people: one text for each template and language, and how it becomes a letter.

A text is a file, ``LANGUAGE/TEMPLATE.txt``: its first line is the subject of an e-mail, what follows the body. The
body holds plain placeholders and nothing else, because on WhatsApp its very words stand with the provider, approved
beforehand, and we send only what the placeholders say, in the order of ``TEMPLATES``. Below a line ``~~~`` stands what
only e-mails have room for. A placeholder that depends on something is a macro of ``LANGUAGE/phrases.jinja``.

Everything is plain text; nothing is ever HTML. ``check_wording`` finds every gap before the first letter is written.

Source: https://jinja.palletsprojects.com/en/stable/api/
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jinja2
import jinja2.meta

from lib.config import ConfigurationError
from lib.fields import Language

Answer = Literal["approve", "keep", "reschedule", "call"]
"""What a guardian may say to the wish to cancel a lesson."""

LANGUAGES: tuple[Language, ...] = get_args(Language)
LONGEST_PARAMETER = 500
"""Characters of one placeholder on WhatsApp, where a whole body may have 1024."""
LONGEST_SUBJECT = 200

_ROOT = Path(__file__).parent
_ONLY_BY_EMAIL = "~~~\n"

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "P21_session_summary": ("name", "lesson", "when", "summary"),
    "P23_session_noshow": ("name", "student", "lesson", "when"),
    "P26_cancellation_request": ("name", "asker", "lesson", "when", "reason", "silence", "link"),
    "consent_reply": ("name", "decision", "lesson", "when"),
    "session_started": ("name", "lesson", "when"),
    "session_completed": ("name", "lesson", "when"),
    "session_moved": ("name", "lesson", "old", "when", "reason"),
    "session_parked": ("name", "lesson", "old", "reason"),
    "session_cancelled": ("name", "lesson", "when", "reason"),
    "session_reopened": ("name", "lesson", "when", "place"),
    "schedule_generated": ("name", "lesson", "count", "first", "last"),
    "booking_requested": ("name", "lesson", "when", "note"),
    "booking_accepted": ("name", "lesson", "when", "place"),
    "booking_declined": ("name", "lesson", "when", "reason"),
    "booking_cancelled": ("name", "lesson", "when", "reason"),
    "cancellation_decided": ("name", "decision", "lesson", "when", "reason"),
    "cancellation_to_decide": ("name", "asker", "why", "lesson", "when", "reason"),
    "reschedule_requested": ("name", "asker", "lesson", "when", "wished", "reason"),
    "reschedule_decided": ("name", "decision", "lesson", "when", "reason"),
    "session_disputed": ("name", "student", "lesson", "when", "reason"),
    "session_reminder": ("name", "soon", "lesson", "when", "place"),
}
"""Every template, with the placeholders of its body: the provider's {{1}}, {{2}} … in this order."""

BUTTONS: Mapping[Answer, Mapping[Language, str]] = {
    "approve": {"en": "Cancel the lesson", "de": "Unterricht absagen", "es": "Cancelar la clase"},
    "keep": {"en": "Keep the lesson", "de": "Stattfinden lassen", "es": "Mantener la clase"},
    "reschedule": {"en": "Another time, please", "de": "Bitte verlegen", "es": "Prefiero otra hora"},
    "call": {"en": "Please call me", "de": "Bitte anrufen", "es": "Llámenme, por favor"},
}
"""What the buttons of ``P26_cancellation_request`` say; WhatsApp lets each have 25 characters."""

UNDER_THE_MESSAGE: tuple[Answer, ...] = ("approve", "reschedule", "call")
"""Those in WhatsApp, in their order; of more than three it shows two. The fourth answer is on the page of the link."""

_TOLD = frozenset({"name", "when", "old", "first", "last", "count", "lessons", "summary", "link"})
"""Placeholders that come from outside; all others are macros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a message is about, as far as words depend on it."""

    reader: Literal["tutor", "student", "guardian", "admin"]
    tutor: str
    student: str
    subject: str | None = None
    place: str | None = None
    reason: str | None = None
    note: str | None = None
    asked_by: str | None = None
    why: str | None = None
    status: str | None = None
    is_move: bool = False
    kind: str | None = None
    wished: str | None = None
    hours: int | None = None
    silence_cancels: bool = False


class Words(NamedTuple):
    """A message in words."""

    subject: str
    body: str
    parameters: tuple[str, ...]


def written(template: str, language: Language, about: About, told: Mapping[str, object]) -> Words:
    """The e-mail: its subject, and its body with all that belongs to it.

    Args:
        template: one of ``TEMPLATES``.
        language: of the reader.
        about: what it is about.
        told: those of the placeholders that no phrase says, ready to be read: names, times, links.

    Raises:
        jinja2.UndefinedError: a placeholder has nothing to say.
    """
    text = _read(template, language)
    values = _values(language, about, told)
    whole = text.body + ("\n" + text.more if text.more else "")
    subject = _one_line(_say(text.subject, values), LONGEST_SUBJECT)
    return Words(subject, _say(whole, values).strip() + "\n", ())


def written_short(template: str, language: Language, about: About, told: Mapping[str, object]) -> Words:
    """The same for WhatsApp: what each placeholder says, in one line, and the body that a reader then sees."""
    text = _read(template, language)
    values = _values(language, about, told)
    lines = {name: _one_line(str(values[name]), LONGEST_PARAMETER) for name in TEMPLATES[template]}
    subject = _one_line(_say(text.subject, values), LONGEST_SUBJECT)
    return Words(subject, _say(text.body, lines).strip(), tuple(lines.values()))


def phrase(name: str, language: Language, about: About) -> str:
    """What one phrase says."""
    return getattr(_phrases(language), name)(about).strip()


def provider_text(template: str, language: Language) -> str:
    """The body as it is to be entered with a provider of WhatsApp messages."""
    text = _read(template, language).body.strip()
    for number, name in enumerate(TEMPLATES[template], 1):
        text = text.replace(f"{{{{ {name} }}}}", f"{{{{{number}}}}}")
    return text


def answer_of_button(label: str) -> Answer | None:
    """Which answer a button stands for whose label came back, in whatever language; None for any other text."""
    return _ANSWERS.get(label.strip().casefold())


_ANSWERS: Mapping[str, Answer] = {
    label.casefold(): answer for answer, labels in BUTTONS.items() for label in labels.values()
}


# --- before the first letter ----------------------------------------------------------------------------


def check_wording(root: Path = _ROOT) -> None:
    """Let through what can be said in every language.

    Raises:
        ConfigurationError: one message that names every text that is missing, unknown or has a wrong placeholder.
    """
    faults = [fault for language in LANGUAGES for fault in _faults_of(root, language)]
    if faults:
        raise ConfigurationError("\n".join(["Lessonkeeper cannot start. In lib/wording:", *faults]))


def _faults_of(root: Path, language: Language) -> Iterator[str]:
    folder = root / language
    there = {path.stem for path in folder.glob("*.txt")}
    yield from (f"  {language}/{name}.txt: is missing" for name in sorted(TEMPLATES.keys() - there))
    yield from (f"  {language}/{name}.txt: belongs to no template" for name in sorted(there - TEMPLATES.keys()))
    try:
        phrases = _phrases_in(_environment_of(root), language)
        for name in sorted(there & TEMPLATES.keys()):
            fault = _fault_in(_split((folder / f"{name}.txt").read_text(encoding="utf-8")), name, phrases)
            if fault:
                yield f"  {language}/{name}.txt: {fault}"
    except jinja2.TemplateError as error:
        yield f"  {language}: {type(error).__name__}: {error}"


def _fault_in(text: "_Text", template: str, phrases: frozenset[str]) -> str | None:
    known = _TOLD | phrases
    unknown = (_placeholders(text.subject) | _placeholders(text.body) | _placeholders(text.more)) - known
    if unknown:
        return f"nothing says {', '.join(sorted(unknown))}"
    if tuple(re.findall(r"{{ (\w+) }}", text.body)) != TEMPLATES[template]:
        return f"its body must have the placeholders {', '.join(TEMPLATES[template])}, each once and in this order"
    if "{%" in text.body or not text.subject.strip():
        return "it must have a subject and a body of plain placeholders"
    return None


def _placeholders(source: str) -> set[str]:
    return jinja2.meta.find_undeclared_variables(_environment.parse(source))


# --- files and phrases ----------------------------------------------------------------------------------


class _Text(NamedTuple):
    subject: str
    body: str
    more: str


@functools.cache
def _read(template: str, language: Language) -> _Text:
    return _split((_ROOT / language / f"{template}.txt").read_text(encoding="utf-8"))


def _split(source: str) -> _Text:
    subject, _, rest = source.partition("\n")
    body, _, more = rest.partition(_ONLY_BY_EMAIL)
    return _Text(subject, body.strip("\n") + "\n", more)


def _environment_of(root: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(root),
        autoescape=False,  # noqa: S701  # plain text: an escaped & would be read as such
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


_environment = _environment_of(_ROOT)


def _phrases_in(environment: jinja2.Environment, language: Language) -> frozenset[str]:
    exported = vars(environment.get_template(f"{language}/phrases.jinja").module)
    return frozenset(name for name in exported if not name.startswith("_"))


def _values(language: Language, about: About, told: Mapping[str, object]) -> Mapping[str, object]:
    """What every placeholder says: the phrases about it, and what was told."""
    said = {name: phrase(name, language, about) for name in _phrases_in(_environment, language)}
    return {**said, **told}


def _phrases(language: Language) -> jinja2.environment.TemplateModule:
    return _environment.get_template(f"{language}/phrases.jinja").module


def _say(source: str, values: Mapping[str, object]) -> str:
    return _compiled(source).render(values)


@functools.cache
def _compiled(source: str) -> jinja2.Template:
    return _environment.from_string(source)


def _one_line(text: str, longest: int) -> str:
    """Without line ends and runs of spaces, which WhatsApp refuses in what a placeholder says."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
