"""People: the caller's own profile, everyone's for admins, and the guardians of students."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from lib.answers import Answer, Role
from lib.database import Database
from lib.fields import (
    Changes,
    ClearableCalendarId,
    ClearableClockTime,
    ClearableEmail,
    ClearableLanguage,
    ClearablePhone,
    ClockTime,
    Email,
    Flag,
    Language,
    Name,
    Phone,
    Request,
)
from lib.zones import Timezone


def _each_once(roles: list[Role]) -> list[Role]:
    if len(set(roles)) < len(roles):
        raise ValueError("must name each role at most once")
    return roles


Roles = Annotated[
    list[Role],
    Field(max_length=3, json_schema_extra={"uniqueItems": True}, examples=[["tutor"]]),
    AfterValidator(_each_once),
]


OwnLanguage = Annotated[
    Language | None, Field(description="Of messages to them; null: the language of the house.", examples=["de"])
]
NewLanguage = Annotated[
    ClearableLanguage, Field(description="Of messages to them; empty: the language of the house.", examples=["de"])
]
OptIn = Annotated[Flag, Field(description="Whether they agreed to WhatsApp messages; needs a phone.")]
QuietFrom = Annotated[
    ClearableClockTime,
    Field(
        description="From then on, on their own clock, nothing that can wait is sent; empty: the hours of the house."
    ),
]
QuietUntil = Annotated[
    ClearableClockTime, Field(description="Until then. Both or neither; the same twice: there are no quiet hours.")
]
OwnQuietFrom = Annotated[
    str | None, Field(description="Their own quiet hours, on their own clock; null: those of the house.")
]


class Person(Answer):
    """A person, as that person and admins see them."""

    id: UUID
    display_name: str = Field(examples=["Amina Siddiqui"])
    timezone: str = Field(examples=["Asia/Karachi"])
    email: str | None
    phone: str | None
    whatsapp_opt_in: bool = Field(description="Whether they agreed to WhatsApp messages.")
    language: OwnLanguage
    quiet_from: OwnQuietFrom
    quiet_until: str | None
    google_calendar_id: str | None = Field(description="Of a tutor: where Google knows when they are busy.")
    roles: list[Role]
    is_active: bool = Field(description="A deactivated person can do nothing.")
    has_account: bool = Field(description="Whether they have signed up.")


class Guardian(Answer):
    """A contact of a student."""

    id: UUID
    student_id: UUID
    name: str
    phone: str | None
    email: str | None
    timezone: str
    whatsapp_opt_in: bool
    language: OwnLanguage
    quiet_from: OwnQuietFrom
    quiet_until: str | None
    is_primary: bool = Field(description="The one who is asked; each student with guardians has one.")


class MeUpdate(Changes):
    """What everyone may change of their own profile."""

    display_name: Name | None = None
    timezone: Timezone | None = None
    language: NewLanguage | None = None
    quiet_from: QuietFrom | None = None
    quiet_until: QuietUntil | None = None
    whatsapp_opt_in: OptIn | None = None


class PersonCreation(Request):
    """A new person. They sign up later with this e-mail, and the profile is theirs once it is confirmed."""

    email: Email
    display_name: Name
    timezone: Timezone
    roles: Roles
    phone: Phone | None = None
    language: OwnLanguage = None
    whatsapp_opt_in: OptIn = False

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.whatsapp_opt_in and self.phone is None:
            raise ValueError("whatsapp_opt_in needs a phone")
        return self


class PersonUpdate(Changes):
    """What an admin may change of a person."""

    display_name: Name | None = None
    timezone: Timezone | None = None
    phone: ClearablePhone | None = None
    language: NewLanguage | None = None
    whatsapp_opt_in: OptIn | None = None
    google_calendar_id: ClearableCalendarId | None = None
    roles: Roles | None = None
    is_active: Flag | None = None


class GuardianCreation(Request):
    """A new guardian of a student."""

    student_id: UUID
    name: Name
    timezone: Timezone
    phone: Phone | None = None
    email: Email | None = None
    whatsapp_opt_in: OptIn = False
    language: OwnLanguage = None
    quiet_from: ClockTime | None = None
    quiet_until: ClockTime | None = None
    is_primary: Flag | None = Field(default=None, description="Left out: primary if the student has no other.")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.phone is None and self.email is None:
            raise ValueError("must have a phone or an email")
        if self.whatsapp_opt_in and self.phone is None:
            raise ValueError("whatsapp_opt_in needs a phone")
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValueError("quiet_from and quiet_until go together")
        return self


class GuardianUpdate(Changes):
    """What an admin may change of a guardian."""

    name: Name | None = None
    timezone: Timezone | None = None
    phone: ClearablePhone | None = None
    email: ClearableEmail | None = None
    whatsapp_opt_in: OptIn | None = None
    language: NewLanguage | None = None
    quiet_from: QuietFrom | None = None
    quiet_until: QuietUntil | None = None
    is_primary: Flag | None = None


async def get_me(database: Database) -> Person:
    """The caller's own profile."""
    return Person.model_validate(await database.rpc("get_me"))


async def update_me(database: Database, changes: MeUpdate) -> Person:
    """Change the caller's own name, timezone, or how messages reach them."""
    return Person.model_validate(await database.write("update_me", changes.parameters()))


async def create_person(database: Database, person: PersonCreation) -> Person:
    """Enter a person, or give roles and data to one who has already signed up with that e-mail."""
    return Person.model_validate(await database.write("create_person", person.parameters()))


async def update_person(database: Database, person_id: UUID, changes: PersonUpdate) -> Person:
    """Change a person; the last admin stays one."""
    parameters = changes.parameters(person_id=str(person_id))
    return Person.model_validate(await database.write("update_person", parameters))


async def create_guardian(database: Database, guardian: GuardianCreation) -> Guardian:
    """Enter a guardian of a student."""
    return Guardian.model_validate(await database.write("create_guardian", guardian.parameters()))


async def update_guardian(database: Database, guardian_id: UUID, changes: GuardianUpdate) -> Guardian:
    """Change a guardian; making one primary makes the others not."""
    parameters = changes.parameters(guardian_id=str(guardian_id))
    return Guardian.model_validate(await database.write("update_guardian", parameters))
