"""The tale, top to bottom: a house plans its month, lives through a day, puts one thing right, looks at its books."""

from collections.abc import Mapping

from scripts.demo.asking import a_guardian_is_asked, everybody_is_reminded
from scripts.demo.booking import a_booking
from scripts.demo.cast import scheduler_of
from scripts.demo.day import a_day, the_buttons
from scripts.demo.house import Books, Clock
from scripts.demo.learning import a_page_for_the_family, bilal_prepares, the_family_hears_of_it
from scripts.demo.looking import nadia_looks, the_audit, the_books, tutor_and_student_look, where_things_are
from scripts.demo.page import Page
from scripts.demo.planning import (
    everybody_signs_in,
    nadia_generates,
    nadia_looks_at_her_house,
    nadia_meets_a_time_that_is_taken,
    nadia_previews,
)
from scripts.demo.teaching import (
    bilal_begins_with_the_wrong_lesson,
    bilal_marks_three_lessons,
    nadia_corrects_one,
    nadia_fills_the_gap,
    nadia_moves_a_series,
)


def tell(page: Page, stack: Mapping[str, str], seconds: float) -> None:
    """The whole story, on a stack that has just been seeded.

    Raises:
        ExpectationError: something did not come out as it should.
    """
    page.title(
        "Lessonkeeper: a month of lessons",
        f"A Supabase of its own is up, migrated and seeded, after {seconds:.1f} s.",
    )
    clock, scheduler = Clock(stack["DATABASE_URL"]), scheduler_of(stack)
    everybody = everybody_signs_in(page, stack)
    nadia, bilal, _, marcus, lena, _, zara = everybody
    mathematics, english, physics, ielts = nadia_looks_at_her_house(page, nadia)
    books = Books(lena, mathematics)
    books.note("bought")

    nadia_previews(page, nadia, mathematics)
    nadia_generates(page, nadia, [mathematics, english, physics])
    nadia_meets_a_time_that_is_taken(page, nadia, ielts, physics)

    a_day(page, clock, scheduler, everybody, [physics, ielts])
    the_buttons(page, clock, [marcus, zara, nadia], physics)

    bilal_begins_with_the_wrong_lesson(page, bilal, clock, mathematics)
    bilal_marks_three_lessons(page, bilal, clock, mathematics, books)
    nadia_corrects_one(page, nadia, clock, mathematics, books)
    nadia_fills_the_gap(page, nadia, mathematics)
    nadia_moves_a_series(page, nadia, english)

    a_booking(page, clock, scheduler, everybody)

    tutor_and_student_look(page, bilal, lena, mathematics)
    nadia_looks(page, nadia, scheduler, lena, english)
    the_books(page, lena, mathematics, books)
    the_audit(page, nadia, bilal, lena, mathematics)

    a_guardian_is_asked(page, clock, scheduler, everybody, mathematics)
    everybody_is_reminded(page, clock, scheduler, everybody, mathematics, stack["FUNCTIONS_URL"])
    bilal_prepares(page, clock, everybody, mathematics)
    the_family_hears_of_it(page, scheduler, everybody, mathematics)
    a_page_for_the_family(page, everybody, stack["FUNCTIONS_URL"])
    where_things_are(page, stack)
