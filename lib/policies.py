"""The policies of the house, which admins may change."""

from typing import Annotated

from pydantic import Field

from lib.answers import Answer, Utc
from lib.database import Database
from lib.fields import Changes, ClockTime, Flag, Language

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
HouseLanguage = Annotated[Language, Field(description="Of messages to readers who have not chosen one.")]
QuietFrom = Annotated[
    ClockTime, Field(description="From then on, on the reader's own clock, nothing that can wait is sent.")
]
QuietUntil = Annotated[ClockTime, Field(description="Until then. The same as `quiet_from`: there are no quiet hours.")]
SyncGoogleCalendar = Annotated[Flag, Field(description="Whether sessions are kept in Google Calendar.")]
ModelCalls = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=100_000,
        description="How many calls of a language model the house pays for in a day (UTC); then rules speak.",
    ),
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
    language: HouseLanguage
    quiet_from: QuietFrom
    quiet_until: QuietUntil
    sync_google_calendar: SyncGoogleCalendar
    model_calls_a_day: ModelCalls
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
    language: HouseLanguage | None = None
    quiet_from: QuietFrom | None = None
    quiet_until: QuietUntil | None = None
    sync_google_calendar: SyncGoogleCalendar | None = None
    model_calls_a_day: ModelCalls | None = None


async def get_settings(database: Database) -> HouseSettings:
    """The policies in force."""
    return HouseSettings.model_validate(await database.rpc("get_settings"))


async def update_settings(database: Database, changes: SettingsUpdate) -> HouseSettings:
    """Change policies; they hold from then on."""
    return HouseSettings.model_validate(await database.write("update_settings", changes.parameters()))
