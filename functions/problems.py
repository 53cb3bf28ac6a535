"""How the OpenAPI document describes refusals: one schema, named by every route that can answer with it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lib.web import PROBLEM_TYPE

_REFERENCE = {"$ref": "#/components/schemas/Problem"}
_MEANINGS = {
    400: "The request cannot be read.",
    401: "`not_signed_in`: there is no valid token.",
    402: "`package_exhausted`: the package has no session left.",
    403: "`not_allowed`: visible to the caller, but not for this role.",
    404: "`not_found`: no such thing, or not the caller's.",
    409: "It contradicts what is stored; `code` says how.",
    413: "`too_large`: the body is larger than 1 MiB.",
    415: "`wrong_content_type`: the body is not declared as `application/json`.",
    422: "`invalid`, with `errors` naming the fields; or another code that says what is impossible.",
    429: "`too_many_requests`: again after `Retry-After` seconds.",
    500: "`internal`: our fault.",
    503: "`upstream_unavailable` or `busy`: send the same again after `Retry-After` seconds.",
}
_ALWAYS = (401, 403, 422, 500, 503)
_WITH_BODY = (400, 413, 415)


class FieldProblem(BaseModel):
    """One field that is not valid."""

    field: str = Field(description="Where, such as `schedule_pattern.days.0`; empty for the body as a whole.")
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457. Further members depend on `code`, such as `blockers` of `out_of_order`."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str = Field(examples=["urn:lessonkeeper:problem:out_of_order"])
    title: str = Field(examples=["Out of order"])
    status: int = Field(examples=[409])
    code: str = Field(description="Stable, for programs.", examples=["out_of_order"])
    detail: str = Field(description="For people.")
    request_id: str = Field(description="Quote it when you ask us.")
    errors: list[FieldProblem] | None = Field(default=None, description="With `invalid`: the fields.")


def problems(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route: what every signed-in route may answer, and ``statuses`` beside it."""
    every = sorted({*_ALWAYS, *statuses, *(_WITH_BODY if body else ())})
    return {
        status: {"description": _MEANINGS[status], "content": {PROBLEM_TYPE: {"schema": _REFERENCE}}}
        for status in every
    }


def describe_problems(document: dict[str, Any]) -> None:
    """Add the schema that the routes refer to."""
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = schema.pop("$defs", {})
    document.setdefault("components", {}).setdefault("schemas", {}).update({"Problem": schema, **parts})
