"""The house rules that can be read off the source."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIB = sorted((ROOT / "lib").rglob("*.py"))
ADAPTERS = sorted((ROOT / "lib" / "adapters").glob("*.py"))
FUNCTIONS = sorted((ROOT / "functions").rglob("*.py"))
OURS = [*LIB, *FUNCTIONS]

PURE = {"answers", "cursors", "deadlines", "errors", "fields", "recurrence", "slots", "zones"}
PURE |= {"figures", "times"}
PURE |= {"brief_prompts", "brief_rules", "prompts", "record", "summary_drafts"}
"""Values in, values out, and the clock handed in. ``answers`` and ``fields`` are shapes that domain modules share."""
PORTS = {"models"}
"""Behind which an adapter stands that several domain modules use."""
FOUNDATION = PURE | PORTS | {"auth", "config", "database", "pages", "targets", "web"}
"""``targets`` is the guard in front of every address that somebody entered."""
DOMAIN = {path.stem for path in LIB if path not in ADAPTERS} - FOUNDATION - {"__init__"}
PURE_MAY_IMPORT = {"pendulum", "pydantic", "tzdata"}
PURE_MAY_NOT_IMPORT = {
    "asyncio",
    "http",
    "logging",
    "os",
    "pathlib",
    "random",
    "socket",
    "subprocess",
    "time",
    "urllib",
}
FORBIDDEN_NAMES = {"common", "helper", "helpers", "manager", "managers", "util", "utils"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, with ``from lib import x`` as ``lib.x``."""
    return set(_imports(ast.parse(path.read_text(encoding="utf-8"))))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_lib(path: Path) -> set[str]:
    """The modules of lib that a file imports, by their plain names."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("lib.")} & {p.stem for p in LIB}


def named(paths: list[Path], names: set[str]) -> list[Path]:
    found = [path for path in paths if path.stem in names and path not in ADAPTERS]
    assert found, f"none of {sorted(names)} exists"
    return found


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_domain_modules_to_hold_to_the_rules() -> None:
    assert {"people", "matches", "packages", "days_off", "schedules", "sessions"} <= DOMAIN


@pytest.mark.parametrize("path", LIB, ids=label)
def test_lib_never_imports_functions(path: Path) -> None:
    assert not {name for name in imports(path) if name.split(".")[0] == "functions"}


@pytest.mark.parametrize("path", named(LIB, DOMAIN), ids=label)
def test_a_domain_module_imports_no_other_one(path: Path) -> None:
    assert not of_lib(path) & DOMAIN


@pytest.mark.parametrize("path", named(LIB, DOMAIN), ids=label)
def test_a_domain_module_knows_the_database_and_nothing_of_http(path: Path) -> None:
    assert "database" in of_lib(path)
    assert not of_lib(path) & {"auth", "config", "web"}
    assert not {name.split(".")[0] for name in imports(path)} & {"fastapi", "httpcore", "httpx", "starlette"}


@pytest.mark.parametrize("path", ADAPTERS, ids=label)
def test_an_adapter_knows_its_service_and_neither_the_database_nor_the_domain(path: Path) -> None:
    assert of_lib(path) <= PURE | {"targets"}
    assert not imports(path) & {f"lib.adapters.{each.stem}" for each in ADAPTERS}
    assert not {name.split(".")[0] for name in imports(path)} & {"fastapi", "starlette"}


@pytest.mark.parametrize("path", [path for path in ADAPTERS if path.stem != "__init__"], ids=label)
def test_an_adapter_is_used_by_one_domain_module_or_port(path: Path) -> None:
    users = [each for each in OURS if f"lib.adapters.{path.stem}" in imports(each)]
    assert len(users) == 1
    assert set(users) <= set(named(LIB, DOMAIN | PORTS))


@pytest.mark.parametrize("path", named(LIB, FOUNDATION), ids=label)
def test_what_all_stand_on_imports_no_domain_module(path: Path) -> None:
    assert not of_lib(path) & DOMAIN


@pytest.mark.parametrize("path", named(LIB, PURE), ids=label)
def test_a_pure_module_does_no_input_or_output(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)} - {"lib"}
    assert roots - sys.stdlib_module_names <= PURE_MAY_IMPORT
    assert not roots & PURE_MAY_NOT_IMPORT
    assert of_lib(path) <= PURE
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert not names & {"open", "print", "input"}


@pytest.mark.parametrize("path", OURS, ids=label)
def test_only_the_database_module_imports_postgrest(path: Path) -> None:
    foreign = {name.split(".")[0] for name in imports(path)} & {"postgrest", "supabase", "psycopg", "asyncpg"}
    assert foreign == ({"postgrest"} if path == ROOT / "lib" / "database.py" else set())


@pytest.mark.parametrize("path", OURS, ids=label)
def test_only_the_config_module_reads_the_environment(path: Path) -> None:
    reads = {"os", "os.environ", "os.getenv", "pydantic_settings"} & imports(path)
    assert not reads or path == ROOT / "lib" / "config.py"


SQL = re.compile(
    r"\b(select\s.+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from|create\s+(table|function)|alter\s+table)\b",
    re.IGNORECASE | re.DOTALL,
)


@pytest.mark.parametrize("path", OURS, ids=label)
def test_no_python_holds_sql(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    assert not [text for text in texts if SQL.search(text)]


def test_the_sql_rule_sees_sql() -> None:
    assert SQL.search("select id from sessions")
    assert SQL.search("UPDATE packages SET x = 1")
    assert not SQL.search("updates a session")


@pytest.mark.parametrize("path", OURS, ids=label)
def test_modules_are_named_after_what_they_are_about(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names


def test_the_supabase_folder_does_not_shadow_the_package() -> None:
    assert not list((ROOT / "supabase").rglob("__init__.py"))


@pytest.mark.parametrize("path", FUNCTIONS, ids=label)
def test_a_handler_decides_nothing(path: Path) -> None:
    """A handler is one that a router's decorator announces: no ``if``, no ``try``, no loop."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and _is_route(node)]
    decisions = (ast.If, ast.IfExp, ast.Try, ast.For, ast.While, ast.Match)
    assert not [
        (handler.name, node.lineno) for handler in handlers for node in ast.walk(handler) if isinstance(node, decisions)
    ]


def _is_route(function: ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).startswith("router.") for decorator in function.decorator_list)
