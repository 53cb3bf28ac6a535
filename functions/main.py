"""The app that is deployed: a plain ASGI object, ``functions.main:app``."""

from typing import Any

from fastapi import Depends, FastAPI

from functions import (
    bookings,
    briefs,
    calendar_syncs,
    cancellations,
    consent,
    cron,
    days_off,
    docs,
    events,
    feeds,
    health,
    imports,
    learning,
    listings,
    matches,
    messages,
    metrics,
    months,
    packages,
    people,
    policies,
    progress,
    provider_webhooks,
    reschedules,
    reviews,
    schedules,
    sessions,
    summaries,
    webhook_endpoints,
)
from functions.problems import describe_problems
from lib import web, wording
from lib.config import Settings, settings

DESCRIPTION = """
Sessions for tutoring businesses, on Supabase.

Sign in with Supabase Auth and send its access token as `Authorization: Bearer …`. Times are UTC; each session
also carries them in the viewer's timezone. A refusal is a problem document (RFC 9457) with a stable `code`.
"""
_TAGS = [
    {"name": "Sessions", "description": "Who has which lessons when, and what became of them."},
    {"name": "Moves", "description": "Wishes for another time, and whole series on another weekly pattern."},
    {"name": "Cancellations", "description": "Wishes to cancel a session."},
    {"name": "Consent", "description": "What guardians answer, by a link or as a message."},
    {"name": "Messages", "description": "What people are told, by e-mail and WhatsApp."},
    {"name": "Schedules", "description": "From a weekly pattern to the sessions of a package."},
    {"name": "Bookings", "description": "Single lessons: what tutors offer, when they are free, who asked for what."},
    {"name": "Learning", "description": "What a student learned: results, homework, notes, briefs and summaries."},
    {"name": "Progress", "description": "How a student is getting on, also for guardians by a secret address."},
    {"name": "Calendars", "description": "Lessons in other people's programs, and in Google Calendar."},
    {"name": "People", "description": "Profiles, roles and guardians."},
    {"name": "Matches", "description": "Requests to be taught, and the tutors who take them on."},
    {"name": "Packages", "description": "Prepaid sessions."},
    {"name": "Days off", "description": "Holidays and time off."},
    {"name": "Events", "description": "What happened, and telling your own systems of it."},
    {"name": "Import", "description": "A house brought from elsewhere."},
    {"name": "House", "description": "The policies of the house, and how a period went."},
    {"name": "Cron", "description": "What a scheduler calls, with a secret of its own."},
    {"name": "Health", "description": "Whether the service is up."},
]
_PARTS = (
    sessions,
    reschedules,
    cancellations,
    consent,
    provider_webhooks,
    messages,
    reviews,
    schedules,
    months,
    listings,
    bookings,
    learning,
    briefs,
    summaries,
    progress,
    feeds,
    calendar_syncs,
    people,
    matches,
    packages,
    days_off,
    events,
    webhook_endpoints,
    imports,
    policies,
    metrics,
    cron,
    health,
    docs,
)


class Lessonkeeper(FastAPI):
    """FastAPI whose document also describes its problem answers."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made at the first call."""
        if self.openapi_schema is None:
            describe_problems(super().openapi())
        return super().openapi()


def assemble(config: Settings) -> FastAPI:
    """The app with its routes and its border.

    Raises:
        ConfigurationError: there is something that people cannot be told in their language.
    """
    wording.check_wording()
    app = Lessonkeeper(
        title="Lessonkeeper",
        version="0.1.0",
        description=DESCRIPTION,
        openapi_tags=_TAGS,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(web.json_only)],
        generate_unique_id_function=lambda route: route.name,
    )
    for part in _PARTS:
        app.include_router(part.router)
    web.install(app, config)
    return app


app = assemble(settings())
