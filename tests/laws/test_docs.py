"""What the documents list is what there is: every refusal and every route, and nothing else."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lib import errors

ROOT = Path(__file__).parents[2]
ERRORS = ROOT / "docs" / "errors.md"
DOMAIN = ROOT / "docs" / "domain.md"
MIGRATIONS = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))
LIB = sorted((ROOT / "lib").glob("*.py"))

# A refusal is uttered (`refuse`), or only answered (`refusal`) and uttered later, by `refuse_if`.
A_CALL = re.compile(r"\bprivate\.refus(?:e|al)\((?!\(p_refusal )")
A_PLAIN_CALL = re.compile(r"\bprivate\.refus(?:e|al)\(\s*(\d{3}),\s*'([a-z_]+)'")
A_DECLARATION = re.compile(r"\b(?:create (?:or replace )?|on )function private\.refus(?:e|al)\(")
AN_ERROR_ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}) \|", re.MULTILINE)
A_ROUTE_ROW = re.compile(r"^\| `([A-Z]+) (/api/\S*)` \|", re.MULTILINE)

Refusal = tuple[str, int]


def raised_in_sql() -> set[Refusal]:
    """The codes and statuses that the migrations refuse with."""
    texts = [path.read_text(encoding="utf-8") for path in MIGRATIONS]
    return {(code, int(status)) for text in texts for status, code in A_PLAIN_CALL.findall(text)}


def raised_in_python() -> set[Refusal]:
    """The codes that the error classes bring along, and those that lib gives them by hand."""
    by_name = {kind.__name__: kind for kind in errors.BY_STATUS.values()}
    own = {(kind.default_code, kind.status) for kind in by_name.values()}
    return own | {(code, by_name[name].status) for path in LIB for name, code in _codes(path) if name in by_name}


def _codes(path: Path) -> Iterator[tuple[str, str]]:
    """Every ``Name("code", …)`` in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code)), *_]):
                yield name, code
            case _:
                pass


def routes_in_openapi() -> set[tuple[str, str]]:
    """Asked of a process of its own, because the app reads its settings when it is imported."""
    program = "import json, functions.main as m; print(json.dumps(m.app.openapi()['paths']))"
    settings = {"SUPABASE_URL": "http://supabase.test", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_test"}
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    paths: dict[str, dict[str, object]] = json.loads(told.stdout)
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def section(text: str, heading: str) -> str:
    """The text from a heading of the second level to the next."""
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"there is no section {heading!r}"
    return rest.partition("\n## ")[0]


def test_every_refusal_in_sql_names_its_status_and_code_in_plain_words() -> None:
    """Otherwise the next test would not see it."""
    for path in MIGRATIONS:
        text = path.read_text(encoding="utf-8")
        declared = len(A_DECLARATION.findall(text))
        assert len(A_CALL.findall(text)) - declared == len(A_PLAIN_CALL.findall(text)), path.name


def test_the_error_document_lists_exactly_the_codes_that_can_be_answered() -> None:
    listed = [(code, int(status)) for code, status in AN_ERROR_ROW.findall(ERRORS.read_text(encoding="utf-8"))]
    assert len(listed) == len({code for code, _ in listed}), "a code is listed twice"
    assert set(listed) == raised_in_sql() | raised_in_python()


def test_the_domain_document_lists_exactly_the_routes_that_exist() -> None:
    listed = A_ROUTE_ROW.findall(section(DOMAIN.read_text(encoding="utf-8"), "HTTP routes"))
    assert len(listed) == len(set(listed)), "a route is listed twice"
    assert set(listed) == routes_in_openapi()
