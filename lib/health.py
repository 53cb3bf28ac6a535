"""Whether the service is up and, for admins, which clock it goes by and which ways out of the house are on."""

from typing import Literal

from pydantic import ConfigDict, Field

from lib import google
from lib.answers import Answer, Utc
from lib.channels import ChannelState, channel_states
from lib.database import Database
from lib.errors import NotAllowed
from lib.models import ModelStanding, standing


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
    channels: dict[str, ChannelState] | None = Field(
        default=None, description="For admins: the ways to people, by name."
    )
    model: ModelStanding | None = Field(default=None, description="For admins: who writes briefs, if anybody does.")
    calendar: Calendar | None = Field(default=None, description="For admins: whether lessons go into Google Calendar.")


async def health(database: Database | None) -> Health:
    """``ok``, and for an admin the clock and what is on.

    Raises:
        UpstreamUnavailable: the caller is signed in and the database does not answer.
    """
    if database is None:
        return Health()
    try:
        clock = (await database.rpc("health"))["clock"]
        return Health.model_validate(
            {"clock": clock, "channels": channel_states(), "model": standing(), "calendar": _calendar()}
        )
    except NotAllowed:
        return Health()


def _calendar() -> dict[str, object]:
    missing = google.missing()
    return {"on": not missing, "missing": missing}
