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
    """Whether the functions answer; for admins also the database's clock, and which ways out of the house are on."""
    return await lib_health.health(database)
