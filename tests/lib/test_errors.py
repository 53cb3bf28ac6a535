"""The error tree and what its docstring draws of it."""

import re

import pytest

from lib import errors
from lib.errors import BY_STATUS, Problem


def kinds(of: type[Problem] = Problem) -> list[type[Problem]]:
    return [kind for child in of.__subclasses__() for kind in (child, *kinds(child))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_each_kind_is_drawn_with_its_status_and_code(kind: type[Problem]) -> None:
    drawn = re.search(rf"[├└]── {kind.__name__} +(\d+)  (.+)", errors.__doc__ or "")
    assert drawn is not None
    assert int(drawn[1]) == kind.status
    assert BY_STATUS[kind.status] is kind
    if kind is not errors.Conflict:  # its own code comes last there
        assert drawn[2].startswith(kind.default_code)


def test_nothing_is_drawn_that_does_not_exist() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in kinds()}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_each_kind_has_a_sentence_for_people(kind: type[Problem]) -> None:
    assert kind().detail.endswith((".", "`."))


@pytest.mark.parametrize("member", sorted(errors.RESERVED))
def test_an_extension_member_never_replaces_an_own_one(member: str) -> None:
    assert errors.Conflict(members={member: 1, "policy": "x"}).members == {"policy": "x"}


def test_only_what_may_be_sent_again_says_when() -> None:
    assert {kind.status for kind in kinds() if kind().retry_after is not None} == {429, 503}
