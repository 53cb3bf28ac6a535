"""Figures as people write them. All times keep the offset they are given in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from rich.text import Text

from scripts.demo.cast import Row, first_name

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
COLOURS = {
    "done": "green",
    "in_progress": "cyan",
    "no_show_student": "yellow",
    "no_show_tutor": "yellow",
    "rescheduled": "magenta",
    "cancelled": "red",
}


def date(text: str) -> str:
    """` 4 Mar`, of an ISO date or time."""
    when = datetime.fromisoformat(text)
    return f"{when.day:2} {when:%b}"


def day(text: str) -> str:
    """`Wed  4 Mar`."""
    return f"{datetime.fromisoformat(text):%a} {date(text)}"


def clock_time(text: str) -> str:
    """`15:00`, in the offset the time is given in."""
    return f"{datetime.fromisoformat(text):%H:%M}"


def moment(text: str) -> str:
    """`Wed  4 Mar 15:00`."""
    return f"{day(text)} {clock_time(text)}"


def hour(text: str) -> str:
    """`Wed 15:00`."""
    return f"{datetime.fromisoformat(text):%a %H:%M}"


def city(timezone: str) -> str:
    """`New York`."""
    return timezone.rpartition("/")[2].replace("_", " ")


def status(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))


def faded(*cells: str) -> list[Text]:
    """A row that stands back."""
    return [Text(cell, style="dim") for cell in cells]


def company(session: Row, heading: str) -> str:
    if heading == "Lesson":
        return f"{session['subject']}, {first_name(session['student'])}"
    return session[heading.lower()]["display_name"]


def place(package: Row) -> str:
    return f"{package['position']} of {package['tier_sessions']}" if package["position"] else ""


def used(session: Row) -> str:
    return f"{session['package']['sessions_used']} of {session['package']['tier_sessions']}"


def by_date(preview: Row) -> list[Sequence[str | Text]]:
    """Planned sessions and the dates walked past, in order."""
    planned: list[tuple[str, Sequence[str | Text]]] = [
        (
            each["start_utc"],
            (
                moment(each["student_local"]),
                clock_time(each["start_utc"]),
                moment(each["tutor_local"]),
                "; ".join(each["clock_changes"]),
            ),
        )
        for each in preview["occurrences"]
    ]
    passed: list[tuple[str, Sequence[str | Text]]] = [
        (each["start_utc"], faded(day(each["date"]), "", "", f"{plain(each['reason'])}: {each['detail']}"))
        for each in preview["skipped"]
    ]
    return [row for _, row in sorted(planned + passed, key=lambda each: each[0])]


def change(details: dict[str, Any]) -> str:
    """What changed, without ids: `proposed → active`, `sessions: 8`."""
    told: list[str] = []
    for name, what in details.items():
        if isinstance(what, dict):
            step = cast("dict[str, Any]", what)
            told.append(f"{step['from']} → {step['to']}")
        elif not name.endswith("_id"):
            told.append(f"{name}: {what}")
    return ", ".join(told)


def whose(person: Row) -> str:
    return f"{first_name(person)}, {city(person['timezone'])}"


def rhythm(pattern: Row) -> str:
    return f"{days(pattern)} {wall_time(pattern)}"


def days(pattern: Row) -> str:
    return ", ".join(WEEKDAYS[number - 1] for number in cast("list[int]", pattern["days"]))


def wall_time(pattern: Row) -> str:
    return f"{pattern['time']} {city(pattern['timezone'])}"


def plain(reason: str) -> str:
    return reason.replace("_", " ")


def button(action: Row) -> Text:
    """What it calls, or why it cannot be pressed."""
    if action["allowed"]:
        return Text(action["operation"] or "Meet link", style="green")
    since = f" until {clock_time(action['opens_at'])}" if "opens_at" in action else ""
    return Text(f"no: {action['code']}{since}", style="dim")
