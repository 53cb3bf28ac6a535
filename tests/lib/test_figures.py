"""Figures as readers write them, and where the marks of a chart stand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from lib.fields import Language
from lib.figures import Figures, Range, Reading, chart

EN, DE, ES = (Figures(language, "Europe/London") for language in ("en", "de", "es"))
DAY = timedelta(days=1)
BEGAN = datetime(2026, 1, 20, 12, tzinfo=UTC)


# --- numbers and dates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "english", "german"),
    [
        (17, 2, "17", "17"),
        (17.0, 2, "17", "17"),
        (12.5, 2, "12.5", "12,5"),
        (12.25, 2, "12.25", "12,25"),
        (12.256, 1, "12.3", "12,3"),
        (100, 1, "100", "100"),
        (120, 0, "120", "120"),
        (-3.5, 1, "\u22123.5", "\u22123,5"),
        (-0.01, 1, "0", "0"),
        (0, 1, "0", "0"),
    ],
)
def test_a_number_has_the_decimals_that_it_needs(value: float, decimals: int, english: str, german: str) -> None:
    assert EN.number(value, decimals) == english
    assert DE.number(value, decimals) == ES.number(value, decimals) == german


@pytest.mark.parametrize(
    ("percent", "text"),
    [(0, "0%"), (0.2, "1%"), (49.5, "50%"), (85, "85%"), (99.4, "99%"), (99.9, "99%"), (100, "100%"), (110, "110%")],
)
def test_only_all_of_it_is_a_hundred_per_cent_and_only_nothing_is_none(percent: float, text: str) -> None:
    assert EN.percent(percent) == text
    assert DE.percent(percent) == ES.percent(percent) == text.replace("%", "\u00a0%")
    assert EN.share(percent / 100) == text


@pytest.mark.parametrize(
    ("points", "change", "size"),
    [
        (4.23, "+4.2", "4.2"),
        (-4.2, "\u22124.2", "4.2"),
        (9.94, "+9.9", "9.9"),
        (9.96, "+10", "10"),
        (13.4, "+13", "13"),
        (-120.6, "\u2212121", "121"),
        (0, "0", "0"),
        (-0.04, "0", "0"),
        (0.04, "0", "0"),
    ],
)
def test_a_change_has_its_sign_and_no_false_exactness(points: float, change: str, size: str) -> None:
    assert (EN.change(points), EN.size(points)) == (change, size)


def test_dates_are_written_as_the_language_does() -> None:
    day = date(2026, 3, 2)
    assert [each.on(day) for each in (EN, DE, ES)] == ["2 Mar 2026", "2. März 2026", "2 mar. 2026"]
    assert (EN.month(day, with_year=True), DE.month(day, with_year=False)) == ("Mar 2026", "März")


@pytest.mark.parametrize(
    ("timezone", "day"), [("America/New_York", "1 Mar 2026"), ("UTC", "2 Mar 2026"), ("Pacific/Auckland", "2 Mar 2026")]
)
def test_an_instant_has_the_date_of_the_readers_clocks(timezone: str, day: str) -> None:
    assert Figures("en", timezone).day(datetime(2026, 3, 2, 4, 59, tzinfo=UTC)) == day


# --- charts ---------------------------------------------------------------------------------------------


def marks(*days: float, percent: float = 50) -> list[Reading]:
    return [Reading(BEGAN + each * DAY, percent) for each in days]


def test_marks_stand_in_the_order_of_time_and_at_their_height() -> None:
    readings = [Reading(BEGAN, 0), Reading(BEGAN + 10 * DAY, 50), Reading(BEGAN + 40 * DAY, 100)]
    first, second, third = chart(readings, [], EN).dots
    assert (first.x - 11) / 87 == pytest.approx(0.03, abs=0.001)
    assert (third.x - 11) / 87 == pytest.approx(0.97, abs=0.001)
    assert (second.x - first.x) / (third.x - first.x) == pytest.approx(0.25, abs=0.001)
    assert (first.y, second.y, third.y) == (88, 46, 4)


def test_marks_beyond_the_scale_stand_at_its_ends() -> None:
    readings = [Reading(BEGAN, -20), Reading(BEGAN + DAY, 130)]
    assert [dot.y for dot in chart(readings, [], EN).dots] == [88, 4]


@pytest.mark.parametrize("days", [(0,), (0, 0, 0)])
def test_what_is_of_one_moment_stands_in_the_middle(days: tuple[float, ...]) -> None:
    drawn = chart(marks(*days), [], EN)
    assert {dot.x for dot in drawn.dots} == {54.5}
    assert [(tick.text, tick.anchor) for tick in drawn.across] == [("20 Jan 2026", "middle")]
    assert (drawn.line, drawn.space) == ("", "")


def test_the_line_and_its_space_run_where_the_marks_stand() -> None:
    line = [Range(BEGAN, 40, 30, 50), Range(BEGAN + 40 * DAY, 60, 50, 70)]
    drawn = chart(marks(0, 40), line, EN)
    assert drawn.line == "3.00,60.00 97.00,40.00"
    assert drawn.space == "3.00,50.00 97.00,30.00 97.00,50.00 3.00,70.00"


@pytest.mark.parametrize(
    ("length", "texts"),
    [
        (5, ["20 Jan 2026", "25 Jan 2026"]),
        (20, ["20 Jan 2026", "9 Feb 2026"]),
        (60, ["Feb 2026", "Mar"]),
        (130, ["Feb 2026", "Mar", "Apr", "May"]),
        (330, ["Feb 2026", "May", "Aug", "Nov"]),
        (700, ["Feb 2026", "Aug", "Feb 2027", "Aug"]),
        (1830, ["Feb 2026", "May 2027", "Aug 2028", "Nov 2029"]),
    ],
)
def test_the_axis_names_a_few_months_or_both_ends(length: int, texts: list[str]) -> None:
    ticks = chart(marks(0, length), [], EN).across
    assert [tick.text for tick in ticks] == texts
    places = [tick.place for tick in ticks]
    assert places == sorted(places)
    assert all(11 <= place <= 98 for place in places)


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_a_word_at_the_side_stands_to_the_inside(language: Language) -> None:
    ticks = chart(marks(0, 9), [], Figures(language, "UTC")).across
    assert [tick.anchor for tick in ticks] == ["start", "end"]


def test_a_month_begins_at_midnight_on_the_readers_clocks() -> None:
    began = datetime(2026, 2, 1, 4, tzinfo=UTC)
    readings = [Reading(began, 50), Reading(began + 60 * DAY, 50)]
    assert chart(readings, [], Figures("en", "UTC")).across[0].text == "Mar 2026", "February has begun before"
    assert chart(readings, [], Figures("en", "America/New_York")).across[0].text == "Feb 2026"
