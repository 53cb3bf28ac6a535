"""A month of lessons, told from an empty database: `make demo`, or `python -m scripts.demo`.

`story` is the tale, top to bottom, and its acts are `planning`, `day`, `teaching`, `booking` and `looking`; `cast`
are the people in it, signed in through supabase-py; `house` what they speak of; `page`, `diary` and `words` how it
is set. Every figure on the page was answered by the stack, and those that matter are checked on the way.
"""


class ExpectationError(Exception):
    """Something is not what the story says it should be."""
