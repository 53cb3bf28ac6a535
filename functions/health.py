"""GET /health."""

from fastapi import APIRouter

from functions.callers import AsCallerIfSignedIn
from functions.problems import problems
from lib import health as lib_health
from lib.health import Health

router = APIRouter(prefix="/api", tags=["Health"])


# OpenAPI: `{}` beside the security scheme says that a token may be left out.
@router.get(
    "/health",
    responses=problems(),
    response_model_exclude_none=True,
    openapi_extra={"security": [{}]},
)
async def health(database: AsCallerIfSignedIn) -> Health:
    """Whether the functions answer; for admins also which clock the database goes by and what is set up."""
    return await lib_health.health(database)
