"""The functions against their own OpenAPI document: whatever it allows and forbids, as each role.

All checks but none: no 5xx, no status, type, header or schema that the document does not name, bad data refused,
no route open without a token. One is told more, since a schema cannot say all rules of the house: what fits the
schema may still be 402 or 422 (days in the wrong order, no credit left), but never unreadable.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, cast
from uuid import UUID

import pytest
import schemathesis
from schemathesis import Case, HookContext
from schemathesis.config import PositiveDataAcceptanceConfig
from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.house import HARRIET, NADIA, OLIVER, Person
from tests.live.routes import Ids, ids_of
from tests.live.served import ServedHouse

pytestmark = pytest.mark.live

POSSIBLE_TO_A_SCHEMA = ["2xx", "3xx", "401", "402", "403", "404", "409", "422", "429"]
"""Not 400, 405, 413 or 415, which say that a request could not even be read; nor any 5xx."""
NORMAL, LONG = 10, 100
"""Examples a route. The six runs of the normal test make 4,800 cases at least, those of the long one 21,000."""


def least_cases(examples: int, *, at_every_edge: bool) -> int:
    return 30 * examples + 1500 * at_every_edge


@pytest.mark.parametrize("examples", [NORMAL, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("person", [NADIA, HARRIET, OLIVER], ids=["admin", "tutor", "student"])
def test_every_answer_is_as_the_document_says(
    busy_house: ServedHouse, person: Person, examples: int, chance: Random
) -> None:
    schema = document_of(busy_house, person)
    schema.config.seed = chance.getrandbits(32)
    schema.config.generation.update(max_examples=examples, database="none")
    # The edges of every field are the same for all, and nobody else's values get as far as an admin's.
    at_every_edge = person is NADIA
    schema.config.phases.coverage.enabled = at_every_edge

    seen, faults = Counter[str](), list[str]()
    for event in from_schema(schema).execute():
        faults += faults_in(event)
        if isinstance(event, events.ScenarioFinished):
            answers = [each.response for each in event.recorder.interactions.values() if each.response]
            seen["cases"] += len(answers)
            seen.update(str(each.status_code) for each in answers)
            seen.update(each.name for checks in event.recorder.checks.values() for each in checks)
    assert not faults, "\n\n".join(faults[:20])
    assert seen["cases"] >= least_cases(examples, at_every_edge=at_every_edge)
    assert min(seen[name] for name in ("not_a_server_error", "status_code_conformance", "negative_data_rejection"))
    for status in ("200", "201", "404", "422"):
        assert seen[status] > 0 or (status == "201" and person is not NADIA)


def document_of(house: ServedHouse, person: Person) -> OpenApiSchema:
    """The document, asked as this person, with every second id one that exists."""
    schema = schemathesis.openapi.from_url(f"{house.url}/openapi.json")
    schema.config.headers = {"Authorization": f"Bearer {house.visit(person).token}"}
    schema.config.checks.positive_data_acceptance = PositiveDataAcceptanceConfig(expected_statuses=POSSIBLE_TO_A_SCHEMA)
    ids = ids_of(house.database)

    def name_what_exists(_: HookContext, case: Case[Any]) -> Case[Any]:
        for part in (case.path_parameters, case.query, case.body):
            put_in(part, ids)
        return case

    schema.hook("map_case")(name_what_exists)  # pyright: ignore[reportUnknownMemberType]
    return schema


def put_in(part: object, ids: Ids) -> None:
    """Replace ids by such that exist; a well-formed id stays one, so that what is expected stays the same."""
    if isinstance(part, dict):
        named = cast("dict[str, object]", part)
        named.update({name: ids[name] for name, value in named.items() if name in ids and is_even_id(value)})


def is_even_id(value: object) -> bool:
    try:
        return isinstance(value, str) and UUID(value).int % 2 == 0
    except ValueError:
        return False


BESIDES = {("POST /api/sessions/refresh-status", "unsupported_method")}
"""GET there is asked of a session whose id is no id: 422, not 405."""


def faults_in(event: events.EngineEvent) -> Iterator[str]:
    """Checks that failed, with the request to send again, and whatever kept schemathesis from its work."""
    if isinstance(event, events.NonFatalError):
        yield f"{event.label}: {event.info.format()}"
    if isinstance(event, events.FatalError):
        yield repr(event.exception)
    if isinstance(event, events.ScenarioFinished):
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.failure_info and (event.recorder.label, check.name) not in BESIDES:
                    yield f"{event.recorder.label}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
