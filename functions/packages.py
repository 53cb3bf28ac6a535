"""/packages."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from functions.callers import AsCaller, AsCallerOnce, InZone
from functions.problems import problems
from lib import packages
from lib.packages import (
    Package,
    PackageCreation,
    PackageUpdate,
    Renewal,
    RenewalRequest,
    Statement,
    statement_as_csv,
    statement_filename,
)
from lib.web import prefers

router = APIRouter(prefix="/api", tags=["Packages"])

Format = Literal["json", "csv"]
CSV = "text/csv"
STATUS_OF = {True: 201, False: 200}
"""The status of a renewal, by whether it created a package."""


def statement_format(
    request: Request,
    asked: Annotated[
        Format | None, Query(alias="format", description="Left out: as `Accept` says, else `json`.")
    ] = None,
) -> Format:
    """How the statement is to be written."""
    return asked or ("csv" if prefers(request, CSV, over="application/json") else "json")


@router.post("/packages", status_code=201, responses=problems(404, 409, body=True))
async def create_package(database: AsCallerOnce, package: PackageCreation) -> Package:
    """Enter a prepaid package for a request (admin)."""
    return await packages.create_package(database, package)


@router.patch("/packages/{package_id}", responses=problems(404, 409, body=True))
async def update_package(database: AsCallerOnce, package_id: UUID, changes: PackageUpdate) -> Package:
    """Change a package (admin)."""
    return await packages.update_package(database, package_id, changes)


@router.post(
    "/packages/{package_id}/renew",
    responses={
        201: {"model": Renewal, "description": "The package was created."},
        **problems(404, 409, body=True),
    },
)
async def renew_package(
    database: AsCallerOnce, package_id: UUID, renewal: RenewalRequest, response: Response
) -> Renewal:
    """Propose the package that follows this one, or sell it with `create` (admin)."""
    renewed = await packages.renew_package(database, package_id, renewal)
    response.status_code = STATUS_OF[renewed.package is not None]
    return renewed


@router.get(
    "/packages/{package_id}/statement",
    response_model=Statement,
    responses={
        200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "The statement."},
        **problems(404),
    },
)
async def get_statement(
    database: AsCaller,
    package_id: UUID,
    written: Annotated[Format, Depends(statement_format)],
    tz: InZone = None,
) -> Any:  # noqa: ANN401  # a model or a finished answer; response_model says which model
    """Every credit of a package: which lesson, when, by whom and why, and what was left (its student, admin)."""
    return _WRITTEN_AS[written](await packages.get_statement(database, package_id, tz))


def _as_csv(statement: Statement) -> Response:
    # The mark tells spreadsheets that the file is UTF-8; without it they guess.
    return Response(
        "\ufeff" + statement_as_csv(statement),
        media_type=f"{CSV}; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{statement_filename(statement)}"'},
    )


def _as_json(statement: Statement) -> Statement:
    return statement


_WRITTEN_AS: Mapping[Format, Callable[[Statement], Statement | Response]] = {"json": _as_json, "csv": _as_csv}
