"""Packages: prepaid sessions of one request, within a window of dates."""

from datetime import date, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from lib.answers import Answer
from lib.database import Database
from lib.fields import Changes, Day, Request

Tier = Annotated[Literal[8, 12, 20], Field(description="Sessions bought.", examples=[12])]


class Package(Answer):
    """A package and how much of it is left."""

    id: UUID
    request_id: UUID
    student_id: UUID
    tier_sessions: int = Field(examples=[12])
    opening_used: int = Field(description="Used before the package came here.")
    sessions_used: int
    sessions_left: int
    start_date: date
    end_date: date = Field(description="Included.")
    status: Literal["active", "cancelled"]
    standing: Literal["active", "exhausted", "expired", "cancelled"] = Field(
        description="What it comes to today, credits and dates considered."
    )


LONGEST_WINDOW = timedelta(days=730)


def _require_window(start_date: date | None, end_date: date | None) -> None:
    if start_date is None or end_date is None:
        return
    if not timedelta(0) <= end_date - start_date <= LONGEST_WINDOW:
        raise ValueError("end_date must lie within the two years after start_date")


class PackageCreation(Request):
    """A new package."""

    request_id: UUID
    tier_sessions: Tier
    start_date: Day
    end_date: Day = Field(description="Included.")
    opening_used: Annotated[int, Field(strict=True, ge=0, le=20)] = Field(
        default=0, description="Sessions used before, for a package brought from elsewhere."
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _require_window(self.start_date, self.end_date)
        if self.opening_used > self.tier_sessions:
            raise ValueError("opening_used must not exceed tier_sessions")
        return self


class PackageUpdate(Changes):
    """What an admin may change of a package. The tier may shrink to what is used."""

    tier_sessions: Tier | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    status: Literal["active", "cancelled"] | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _require_window(self.start_date, self.end_date)
        return self


async def create_package(database: Database, package: PackageCreation) -> Package:
    """Enter a package for a request."""
    return Package.model_validate(await database.write("create_package", package.parameters()))


async def update_package(database: Database, package_id: UUID, changes: PackageUpdate) -> Package:
    """Change a package; its credits move only with its sessions."""
    parameters = changes.parameters(package_id=str(package_id))
    return Package.model_validate(await database.write("update_package", parameters))
