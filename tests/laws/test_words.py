"""What the database says is told to people, and what there are words for, is the same."""

from lib.channels import CHANNELS
from lib.wording import TEMPLATES
from tests.database import Database


def test_every_template_has_its_words_and_no_words_are_left_over(db: Database) -> None:
    assert {name for (name,) in db.rows("select name from private.templates")} == set(TEMPLATES)


def test_templates_name_channels_that_there_are(db: Database) -> None:
    named = {name for (names,) in db.rows("select channels from private.templates") for name in names}
    assert named == set(CHANNELS)
