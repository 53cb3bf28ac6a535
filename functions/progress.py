"""/students/{id}/progress, as JSON and as a page; /progress and /guardians/{id}/progress-link for guardians."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from functions.callers import AsCaller, AsCallerOnce, AsServiceOfLinks
from functions.problems import problems
from lib import progress, web
from lib.fields import Language
from lib.progress import NewProgressLink, Progress, ProgressLink, ProgressLinks, ProgressPageQuery, ProgressQuery

router = APIRouter(prefix="/api", tags=["Progress"])

PAGE = {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The page, which needs no script."}


@router.get("/students/{student_id}/progress", responses=problems(404))
async def get_progress(database: AsCaller, student_id: UUID, query: Annotated[ProgressQuery, Query()]) -> Progress:
    """How a student is getting on: for the student, admins, and tutors, who are told their own part."""
    return await progress.get_progress(database, student_id, query)


@router.get("/students/{student_id}/progress.html", response_class=Response, responses={200: PAGE, **problems(404)})
async def get_progress_page(
    database: AsCaller, student_id: UUID, query: Annotated[ProgressPageQuery, Query()]
) -> Response:
    """The same as a page to read and to print."""
    return web.page_response(await progress.get_progress_page(database, student_id, query))


@router.get(
    "/progress/{progress_token}",
    response_class=Response,
    responses={200: PAGE, **problems(404)},
    dependencies=[Depends(web.problems_as_pages)],
)
async def read_progress_link(
    database: AsServiceOfLinks, progress_token: str, lang: Annotated[Language | None, Query()] = None
) -> Response:
    """The page of the student whose guardian was given this secret address."""
    return web.page_response(await progress.read_progress_link(database, progress_token, lang))


@router.post("/guardians/{guardian_id}/progress-link", status_code=201, responses=problems(404))
async def create_progress_link(database: AsCallerOnce, guardian_id: UUID) -> NewProgressLink:
    """Give a guardian a secret address that opens their student's progress for 90 days (admin); shown here alone."""
    return await progress.create_progress_link(database, guardian_id)


@router.get("/guardians/{guardian_id}/progress-links", responses=problems(404))
async def list_progress_links(database: AsCaller, guardian_id: UUID) -> ProgressLinks:
    """The addresses a guardian was given, and which of them still open (admin)."""
    return await progress.list_progress_links(database, guardian_id)


@router.delete("/progress-links/{progress_link_id}", responses=problems(404, 409))
async def revoke_progress_link(database: AsCallerOnce, progress_link_id: UUID) -> ProgressLink:
    """End a guardian's address at once (admin)."""
    return await progress.revoke_progress_link(database, progress_link_id)
