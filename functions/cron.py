"""/cron: what a scheduler calls."""

from fastapi import APIRouter

from functions.callers import AsService
from functions.problems import problems
from lib import calendar_sync, clock, consent, embeddings, messages, outbox
from lib.calendar_sync import CalendarSynced
from lib.clock import Swept
from lib.config import settings
from lib.consent import Consented
from lib.embeddings import Embedded
from lib.messages import Posted, RemindersPosted
from lib.outbox import CleanedUp, Dispatched

router = APIRouter(prefix="/api/cron", tags=["Cron"])


class Delivered(Dispatched):
    """What became of the deliveries that were due, and of the messages."""

    notices: Posted


@router.get("/complete-sessions", responses=problems())
async def sweep_session_statuses(database: AsService) -> Swept:
    """Let the clock begin and complete what is due. As often as you like; once a minute is meant."""
    return await clock.sweep_session_statuses(database, settings().cron_budget_seconds)


@router.get("/auto-approve-cancellations", responses=problems())
async def auto_approve_cancellations(database: AsService) -> Consented:
    """Take silence for consent where a guardian's time is over. As often as you like; once a minute is meant."""
    return await consent.auto_approve_cancellations(database, settings().cron_budget_seconds)


@router.get("/deliver-outbox", responses=problems())
async def deliver_outbox(database: AsService) -> Delivered:
    """Take events to endpoints, and to people in words. As often as you like; once a minute is meant."""
    budget_seconds = settings().cron_budget_seconds / 2
    # One after the other: a fault of one leaves nothing of the other half done.
    webhooks = await outbox.deliver_outbox(database, budget_seconds)
    notices = await messages.send_messages(database, "notices", budget_seconds)
    return Delivered(**webhooks.model_dump(), notices=notices)


@router.get("/send-reminders", responses=problems())
async def send_reminders(database: AsService) -> RemindersPosted:
    """Remind people of what begins in a day, or in an hour. As often as you like; once a minute is meant."""
    return await messages.send_reminders(database, settings().cron_budget_seconds)


@router.get("/sync-calendar", responses=problems())
async def sync_calendar(database: AsService) -> CalendarSynced:
    """Have Google Calendar show sessions as they are, and read tutors' busy times. Once a minute is meant."""
    return await calendar_sync.sync_calendar(database, settings().cron_budget_seconds)


@router.get("/clean-up", responses=problems())
async def clean_up(database: AsService) -> CleanedUp:
    """Repair what failed beside an event, and forget what is old. Once a day is meant."""
    return await outbox.clean_up(database, settings().cron_budget_seconds)


@router.get("/embed-events", responses=problems())
async def embed_events(database: AsService) -> Embedded:
    """Have a model say what learning events mean, so that they are found by it. Every five minutes is meant."""
    return await embeddings.embed_events(database, settings().cron_budget_seconds)
