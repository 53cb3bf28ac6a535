"""Swagger at /api/docs. Its assets come from the package ``fastapi-swagger``, not from a CDN."""

from importlib import resources
from typing import Literal

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

router = APIRouter(prefix="/api", include_in_schema=False)

Asset = Literal["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"]
_MEDIA_TYPES: dict[Asset, str] = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_FOR_A_DAY = {"Cache-Control": "public, max-age=86400"}


@router.get("/docs")
async def swagger() -> HTMLResponse:
    """The page. Its addresses are relative, so it works behind any proxy."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Lessonkeeper API",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon-32x32.png",
        swagger_ui_parameters={"filter": True, "displayRequestDuration": True},
    )


@router.get("/docs/{asset}")
async def swagger_asset(asset: Asset) -> Response:
    """One of the page's files."""
    content = resources.files("fastapi_swagger.resources").joinpath(asset).read_bytes()
    return Response(content, media_type=_MEDIA_TYPES[asset], headers=_FOR_A_DAY)
