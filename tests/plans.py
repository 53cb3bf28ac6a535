"""Generation as the functions do it: read the inputs, plan in Python, commit."""

from datetime import date
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from lib.recurrence import Plan, ScheduleInputs, plan, plan_hash
from tests.database import Database
from tests.house import NADIA


def planned(db: Database, match_id: UUID, package_id: UUID) -> tuple[ScheduleInputs, Plan]:
    """The first trip, and the plan made from it."""
    inputs = ScheduleInputs.model_validate(
        db.call(NADIA, "schedule_inputs", p_match_id=match_id, p_package_id=package_id)
    )
    assert inputs.pattern is not None
    return inputs, plan(inputs, inputs.pattern, skip_conflicts=False)


def commit(db: Database, inputs: ScheduleInputs, planned: Plan, **options: object) -> dict[str, Any]:
    """The second trip."""
    return db.call(
        NADIA,
        "generate_sessions",
        p_match_id=inputs.match_id,
        p_package_id=inputs.package_id,
        p_fingerprint=inputs.fingerprint,
        p_occurrences=Jsonb(
            [
                {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
                for each in planned.occurrences
            ]
        ),
        p_plan_hash=plan_hash(planned, inputs.fingerprint),
        **options,
    )


def generate(db: Database, match_id: UUID, package_id: UUID, **options: object) -> dict[str, Any]:
    """Both trips."""
    return commit(db, *planned(db, match_id, package_id), **options)


def sell(db: Database, request_id: UUID, start: date, end: date, **more: object) -> UUID:
    """A package of 8, by default, with this window."""
    package = db.call(
        NADIA,
        "create_package",
        **{"p_request_id": request_id, "p_tier_sessions": 8, "p_start_date": start, "p_end_date": end} | more,
    )
    return UUID(package["id"])
