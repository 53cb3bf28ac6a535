"""Times as letters and pages write them, in three languages, and what is said when clocks change."""
# ruff: noqa: RUF001  # ranges of time are set with a dash

from datetime import UTC, datetime, timedelta

import pytest

from lib.fields import Language
from lib.times import Span, day, hours, moment, place, written

LESSON = Span(datetime(2026, 3, 18, 16, 30, tzinfo=UTC), datetime(2026, 3, 18, 17, 30, tzinfo=UTC))
ALL: list[Language] = ["en", "de", "es"]


def lesson(start: str) -> Span:
    begins = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return Span(begins, begins + timedelta(hours=1))


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "Wednesday, 18 March 2026, 16:30–17:30 (London)"),
        ("de", "Mittwoch, 18. März 2026, 16:30–17:30 Uhr (London)"),
        ("es", "miércoles, 18 de marzo de 2026, 16:30–17:30 h (London)"),
    ],
)
def test_two_people_on_the_same_clocks_are_told_one_time(language: Language, told: str) -> None:
    assert written(LESSON, language, "Europe/London", "Europe/London") == told
    assert written(LESSON, language, "Europe/London", "Europe/Lisbon") == told


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "Wednesday, 18 March 2026, 16:30–17:30 (London); that is 21:30–22:30 in Karachi"),
        ("de", "Mittwoch, 18. März 2026, 16:30–17:30 Uhr (London); das ist 21:30–22:30 Uhr in Karachi"),
        ("es", "miércoles, 18 de marzo de 2026, 16:30–17:30 h (London); son las 21:30–22:30 h en Karachi"),
    ],
)
def test_people_in_two_zones_are_told_both_times_their_own_first(language: Language, told: str) -> None:
    assert written(LESSON, language, "Europe/London", "Asia/Karachi") == told


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "; that is Thursday, 19 March 2026, 01:30–02:30 in Tokyo"),
        ("de", "; das ist Donnerstag, 19. März 2026, 01:30–02:30 Uhr in Tokyo"),
        ("es", "; en Tokyo es el jueves, 19 de marzo de 2026, 01:30–02:30 h"),
    ],
)
def test_where_it_is_another_day_there_the_day_is_told_too(language: Language, told: str) -> None:
    assert written(LESSON, language, "Europe/London", "Asia/Tokyo").endswith(told)


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", ". Please note the change of clocks in London on 29 March"),
        ("de", ". Bitte beachten Sie die Zeitumstellung in London am 29. März"),
        ("es", ". Tenga en cuenta el cambio de hora en London el 29 de marzo"),
    ],
)
def test_when_clocks_change_around_the_lesson_a_sentence_says_so(language: Language, told: str) -> None:
    assert written(lesson("2026-03-31T15:30"), language, "Europe/London", "Asia/Karachi").endswith(told)
    assert written(lesson("2026-03-31T15:30"), language, "Asia/Karachi", "Europe/London").endswith(told)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("2026-03-22T12:00", False),  # a Sunday, and the clocks change a week later
        ("2026-03-23T12:00", True),  # the Monday of that week
        ("2026-03-29T12:00", True),
        ("2026-04-04T12:00", True),  # the last day on which last week's hour was another one
        ("2026-04-05T12:00", False),
    ],
)
def test_it_says_so_from_the_monday_of_that_week_until_a_week_has_passed(start: str, *, told: bool) -> None:
    assert ("change of clocks" in written(lesson(start), "en", "Europe/London", "Europe/London")) == told


def test_two_changes_stand_in_one_sentence_by_their_dates() -> None:
    told = written(lesson("2026-03-31T15:30"), "en", "Pacific/Auckland", "Europe/London")
    assert told.endswith("change of clocks in London on 29 March and in Auckland on 5 April")


def test_zones_that_change_together_are_told_once_and_by_the_readers_name() -> None:
    told = written(lesson("2026-03-31T15:30"), "en", "Europe/Lisbon", "Europe/London")
    assert told.endswith("16:30–17:30 (Lisbon). Please note the change of clocks in Lisbon on 29 March")


def test_a_single_moment_has_its_day_and_place() -> None:
    assert moment(LESSON.start, "en", "America/New_York") == "Wednesday, 18 March 2026, 12:30 (New York)"
    assert moment(LESSON.start, "de", "UTC") == "Mittwoch, 18. März 2026, 16:30 Uhr (UTC)"


def test_a_lesson_over_midnight_ends_on_the_clock_that_it_ends_on() -> None:
    assert hours(lesson("2026-03-18T23:30"), "UTC") == "23:30–00:30"


@pytest.mark.parametrize("language", ALL)
def test_every_month_and_weekday_has_its_name(language: Language) -> None:
    days = [datetime(2026, month, month, tzinfo=UTC) for month in range(1, 13)]
    names = {day(each, language, "UTC") for each in days}
    assert len(names) == 12
    assert language == "en" or not [name for name in names if "day" in name]


def test_a_zone_is_called_by_its_city() -> None:
    assert [place(name) for name in ("America/Argentina/Buenos_Aires", "UTC")] == ["Buenos Aires", "UTC"]
