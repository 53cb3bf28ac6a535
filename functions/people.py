"""/me, /people, /guardians."""

from uuid import UUID

from fastapi import APIRouter

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import people
from lib.people import (
    Guardian,
    GuardianCreation,
    GuardianUpdate,
    MeUpdate,
    Person,
    PersonCreation,
    PersonUpdate,
)

router = APIRouter(prefix="/api", tags=["People"])


@router.get("/me", responses=problems(404))
async def get_me(database: AsCaller) -> Person:
    """Your own profile."""
    return await people.get_me(database)


@router.patch("/me", responses=problems(404, 409, 429, body=True))
async def update_me(database: AsCallerOnce, changes: MeUpdate) -> Person:
    """Change your name, your timezone, or how messages reach you."""
    return await people.update_me(database, changes)


@router.post("/people", status_code=201, responses=problems(404, 409, body=True))
async def create_person(database: AsCallerOnce, person: PersonCreation) -> Person:
    """Enter a person (admin). They sign up later with this e-mail and find their profile."""
    return await people.create_person(database, person)


@router.patch("/people/{person_id}", responses=problems(404, 409, body=True))
async def update_person(database: AsCallerOnce, person_id: UUID, changes: PersonUpdate) -> Person:
    """Change a person, their roles, or whether they are active (admin)."""
    return await people.update_person(database, person_id, changes)


@router.post("/guardians", status_code=201, responses=problems(404, 409, body=True))
async def create_guardian(database: AsCallerOnce, guardian: GuardianCreation) -> Guardian:
    """Enter a guardian of a student (admin)."""
    return await people.create_guardian(database, guardian)


@router.patch("/guardians/{guardian_id}", responses=problems(404, 409, body=True))
async def update_guardian(database: AsCallerOnce, guardian_id: UUID, changes: GuardianUpdate) -> Guardian:
    """Change a guardian (admin)."""
    return await people.update_guardian(database, guardian_id, changes)
