"""/consent: a guardian answers by the link in a message, without a sign-in and without JavaScript."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel

from functions.callers import AsServiceOfLinks
from functions.problems import problems
from lib import consent
from lib.consent import Consent, ConsentAnswer, ConsentReply, ConsentResult
from lib.web import HTML_TYPE, JSON_TYPE, page_response, prefers, problems_as_pages

router = APIRouter(prefix="/api", tags=["Consent"], dependencies=[Depends(problems_as_pages)])

Answered = Annotated[
    ConsentAnswer | None, Query(description="What has just been answered here, for which the page thanks.")
]
_PAGE = {HTML_TYPE: {"schema": {"type": "string"}}}


@router.head("/consent/{token}", include_in_schema=False)
@router.get(
    "/consent/{token}",
    response_class=Response,
    responses={
        200: {"content": _PAGE, "model": Consent, "description": "The page; JSON for who prefers it."},
        **problems(404),
    },
)
async def read_consent(request: Request, database: AsServiceOfLinks, token: str, answered: Answered = None) -> Response:
    """What a guardian is asked, or what became of it. Opening it decides nothing."""
    return _shown(request, await consent.read_consent(database, token), answered)


@router.post(
    "/consent/{token}",
    response_class=Response,
    responses={
        200: {"model": ConsentResult, "description": "How it stands now, for who prefers JSON."},
        303: {"description": "Back to the page, which shows how it stands now."},
        **problems(404, body=True),
    },
)
async def answer_consent(
    request: Request, database: AsServiceOfLinks, token: str, reply: Annotated[ConsentReply, Form()]
) -> Response:
    """Answer, by the form on the page. The first answer in time decides; the same again changes nothing."""
    return _answered(request, token, reply, await consent.answer_consent(database, token, reply))


def _shown(request: Request, seen: Consent, answered: ConsentAnswer | None) -> Response:
    return _document(seen) if _wants_json(request) else page_response(consent.page_of(seen, answered))


def _answered(request: Request, token: str, reply: ConsentReply, result: ConsentResult) -> Response:
    """A page that answers to POST would ask to be sent again whenever a phone comes back to it."""
    if _wants_json(request):
        return _document(result)
    return RedirectResponse(f"{token}?answered={reply.answer}", status_code=303, headers=_ON_THE_WAY)


_ON_THE_WAY = {"Referrer-Policy": "no-referrer"}


def _document(answer: BaseModel) -> Response:
    return JSONResponse(answer.model_dump(mode="json"))


def _wants_json(request: Request) -> bool:
    return prefers(request, JSON_TYPE, over=HTML_TYPE)
