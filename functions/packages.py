"""/packages."""

from uuid import UUID

from fastapi import APIRouter

from functions.callers import AsCallerOnce
from functions.problems import problems
from lib import packages
from lib.packages import Package, PackageCreation, PackageUpdate

router = APIRouter(prefix="/api", tags=["Packages"])


@router.post("/packages", status_code=201, responses=problems(404, 409, body=True))
async def create_package(database: AsCallerOnce, package: PackageCreation) -> Package:
    """Enter a prepaid package for a request (admin)."""
    return await packages.create_package(database, package)


@router.patch("/packages/{package_id}", responses=problems(404, 409, body=True))
async def update_package(database: AsCallerOnce, package_id: UUID, changes: PackageUpdate) -> Package:
    """Change a package (admin)."""
    return await packages.update_package(database, package_id, changes)
