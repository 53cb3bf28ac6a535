"""Whether the service is up and, for admins, which clock it goes by and what it has been given to work with."""

from typing import Literal

from pydantic import ConfigDict, Field

from lib import google
from lib.answers import Answer, Utc
from lib.database import Database
from lib.errors import NotAllowed


class Clock(Answer):
    """The database's clock, by which every rule goes."""

    is_real: bool = Field(description="False in demo and tests, where it is pinned.")
    now: Utc


class Calendar(Answer):
    """Whether these functions can speak to Google Calendar."""

    on: bool
    missing: list[str] = Field(description="The variables without which they cannot.")


class Health(Answer):
    """The functions answer. Nothing is said about the database to those who are no admins."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    status: Literal["ok"] = "ok"
    clock: Clock | None = Field(default=None, description="For admins.")
    calendar: Calendar | None = Field(default=None, description="For admins.")


async def health(database: Database | None) -> Health:
    """``ok``, and for an admin the clock and the ways out.

    Raises:
        UpstreamUnavailable: the caller is signed in and the database does not answer.
    """
    if database is None:
        return Health()
    try:
        clock = (await database.rpc("health"))["clock"]
        return Health.model_validate({"clock": clock, "calendar": _calendar()})
    except NotAllowed:
        return Health()


def _calendar() -> dict[str, object]:
    missing = google.missing()
    return {"on": not missing, "missing": missing}
