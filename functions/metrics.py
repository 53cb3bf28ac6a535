"""/admin/metrics: how a period went, and day by day."""

from typing import Annotated

from fastapi import APIRouter, Query

from functions.callers import AsCaller
from functions.problems import problems
from lib import metrics
from lib.metrics import DailyOutcomes, DailyQuery, Metrics, MetricsQuery

router = APIRouter(prefix="/api/admin", tags=["House"])


@router.get("/metrics", responses=problems())
async def get_metrics(database: AsCaller, query: Annotated[MetricsQuery, Query()]) -> Metrics:
    """What became of the sessions of a period, in total and by tutor (admin)."""
    return await metrics.get_metrics(database, query)


@router.get("/metrics/daily", responses=problems())
async def get_daily_outcomes(database: AsCaller, query: Annotated[DailyQuery, Query()]) -> DailyOutcomes:
    """How the sessions of each day ended (admin). Days are UTC, both ends included."""
    return await metrics.get_daily_outcomes(database, query)
