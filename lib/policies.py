"""The policies of the house, which admins may change."""

from typing import Annotated

from pydantic import Field

from lib.answers import Answer, Utc
from lib.database import Database
from lib.fields import Changes, Flag

StartWindow = Annotated[
    int,
    Field(strict=True, ge=0, le=1440, description="From how many minutes before its start a session may be started."),
]
DelayGrace = Annotated[
    int,
    Field(strict=True, ge=0, le=240, description="How many minutes after its start the clock begins a session."),
]
CorrectionWindow = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=720,
        description="For how many hours a tutor may correct, and a student dispute, what the clock completed.",
    ),
]
TutorMayReschedule = Annotated[Flag, Field(description="Whether a tutor may move a session without asking an admin.")]
ConsentHours = Annotated[
    int,
    Field(strict=True, ge=1, le=720, description="How many hours a guardian has to answer a wish to cancel."),
]
EventsKept = Annotated[
    int,
    Field(
        strict=True,
        ge=7,
        le=3650,
        description="After how many days events and their finished deliveries are forgotten.",
    ),
]
ReviewWindow = Annotated[
    int,
    Field(strict=True, ge=1, le=365, description="For how many days a student may review a session that is done."),
]
SequenceLock = Annotated[Flag, Field(description="Whether a tutor must resolve the sessions of a package in order.")]


class HouseSettings(Answer):
    """The policies in force."""

    start_window_mins: StartWindow
    delay_grace_mins: DelayGrace
    tutor_correction_hours: CorrectionWindow
    sequence_lock: SequenceLock
    tutor_may_reschedule: TutorMayReschedule
    consent_hours: ConsentHours
    events_kept_days: EventsKept
    review_window_days: ReviewWindow
    updated_at: Utc


class SettingsUpdate(Changes):
    """The policies to change."""

    start_window_mins: StartWindow | None = None
    delay_grace_mins: DelayGrace | None = None
    tutor_correction_hours: CorrectionWindow | None = None
    sequence_lock: SequenceLock | None = None
    tutor_may_reschedule: TutorMayReschedule | None = None
    consent_hours: ConsentHours | None = None
    events_kept_days: EventsKept | None = None
    review_window_days: ReviewWindow | None = None


async def get_settings(database: Database) -> HouseSettings:
    """The policies in force."""
    return HouseSettings.model_validate(await database.rpc("get_settings"))


async def update_settings(database: Database, changes: SettingsUpdate) -> HouseSettings:
    """Change policies; they hold from then on."""
    return HouseSettings.model_validate(await database.write("update_settings", changes.parameters()))
