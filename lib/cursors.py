"""Where a page of a list ends and the next one begins. Pure."""

import base64
from datetime import datetime
from typing import Annotated, NamedTuple, Self
from uuid import UUID

from pydantic import AfterValidator, Field, TypeAdapter

from lib.fields import Instant

LONGEST_CURSOR = 200


class Cursor(NamedTuple):
    """The last row of a page; the next page begins behind it. It travels as opaque, URL-safe text."""

    at: datetime
    """What the list is ordered by; rows of one time follow by id."""
    id: UUID

    @classmethod
    def read(cls, text: str) -> Self:
        """The cursor that was written as ``text``.

        Raises:
            ValueError: it was not.
        """
        try:
            content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            return cls(*_CURSOR.validate_json(content))
        except (ValueError, RecursionError):
            raise ValueError("must be a next_cursor as it was given") from None

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(_CURSOR.dump_json(self)).decode().rstrip("=")


_CURSOR: TypeAdapter[tuple[datetime, UUID]] = TypeAdapter(tuple[Instant, UUID])


def _is_cursor(text: str) -> str:
    Cursor.read(text)
    return text


CursorText = Annotated[str, Field(max_length=LONGEST_CURSOR), AfterValidator(_is_cursor)]
"""A cursor in a request."""


def after(cursor: str | None, ordered_by: str) -> dict[str, object]:
    """The arguments of a list's RPC that put the page behind ``cursor``; the first page has none."""
    if cursor is None:
        return {}
    last = Cursor.read(cursor)
    return {f"p_after_{ordered_by}": last.at.isoformat(), "p_after_id": str(last.id)}
