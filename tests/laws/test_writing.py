"""lib writes through `write`, which alone carries an idempotency key, and asks everything else through `rpc`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.database import Database

LIB = Path(__file__).parents[2] / "lib"
WITHOUT_A_KEY = {
    "once", "generate_month", "sweep_session_statuses", "claim_deliveries", "settle_deliveries", "clean_up",
    "claim_embeddings", "settle_embeddings", "take_model_call", "store_brief",
    "answer_consent", "answer_consent_messages", "auto_approve_cancellations",
    "plan_reminders", "claim_messages", "settle_messages", "note_message_statuses",
    "claim_calendar_syncs", "settle_calendar_syncs", "claim_busy_reads", "settle_busy_reads",
}  # fmt: skip
"""What carries the key itself, the run that repeats harmlessly, what the scheduler asks for, what reading a brief
writes, and what guardians answer, which is decided once."""
STRAIGHT = WITHOUT_A_KEY | {"import_house"}
"""An import of nothing, dry, asks whether the caller may."""


def test_lib_writes_through_the_functions_that_write_and_reads_through_the_others(house: Database) -> None:
    volatile = {
        name
        for (name,) in house.rows(
            "select proname from pg_proc where pronamespace = 'public'::regnamespace and provolatile = 'v'"
        )
    }
    calls = set(calls_in_lib())
    assert {name for verb, name in calls if verb == "write"} == volatile - WITHOUT_A_KEY
    assert {name for verb, name in calls if verb == "rpc"} & volatile <= STRAIGHT


def calls_in_lib() -> Iterator[tuple[str, str]]:
    """Every `….write("name", …)` and `….rpc("name", …)`."""
    for path in LIB.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="write" | "rpc" as verb), args=[ast.Constant(value=str(name)), *_]
                ):
                    yield verb, name
                case _:
                    pass
