"""Builds what Vercel would deploy, without an account, and asks the built function a few questions.

The Vercel CLI builds a copy of the working tree as it would be uploaded. Then the function it made is started as the
platform starts it, from its own files and packages alone, and speaks to an embedded stack of its own. Nothing is left
in the checkout, and nothing runs afterwards.

    make deploy-check

Exit status: 0 when all is well, 1 when the build or the function is wrong, 3 when this machine lacks something to
tell (Python 3.12, or the Vercel CLI).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from scripts.stack import Stack, StackError
from scripts.stack.processes import run
from scripts.stack.state import CHECKOUT

VERCEL = "vercel@60.1.3"
"""Fetched when asked for: with what it brings along it is larger than all the rest of the workbench."""
PYTHON = "3.12"
"""What Vercel runs us on."""
WRONG, CANNOT_TELL = 1, 3
SHIPPED = {"functions", "lib", "_vendor", "pyproject.toml", "requirements.txt", "vc__handler__python.py"}
"""Has to be in the function."""
NOT_SHIPPED = {".ci", ".stack", ".venv", "benchmarks", "docs", "node_modules", "scripts", "supabase", "tests"}
"""Has no business there."""

Call: TypeAlias = dict[str, Any]
Answer: TypeAlias = dict[str, Any]

# Runs inside the built function, which is handed requests as the platform hands them over.
ASK = """
import importlib, json, sys
module, _, name = sys.argv[1].rpartition(".")
handler = getattr(importlib.import_module(module), name)
answers = [handler({"body": json.dumps(call)}, None) for call in json.loads(sys.argv[2])]
open(sys.argv[3], "w").write(json.dumps(answers))
"""


class CannotTellError(Exception):
    """Something is missing on this machine; the message is one sentence that says what."""


class WrongError(Exception):
    """What would be deployed is wrong."""


def main() -> int:
    """Build, start, ask."""
    try:
        with tempfile.TemporaryDirectory(prefix="lessonkeeper-deploy-") as scratch:
            check(Path(scratch))
    except CannotTellError as reason:
        print(f"Not checked: {reason}", file=sys.stderr)
        return CANNOT_TELL
    except (WrongError, StackError) as reason:
        print(f"Wrong: {reason}", file=sys.stderr)
        return WRONG
    print("It can be deployed.")
    return 0


def check(scratch: Path) -> None:
    """All of it, in a folder that is thrown away afterwards.

    Raises:
        CannotTellError: this machine lacks something.
        WrongError: what would be deployed is wrong.
    """
    python = find_python()
    environment = building_environment(scratch, python)
    print(f"Building with {VERCEL} and Python {PYTHON} …", flush=True)
    project = copy_of_checkout(scratch / "project")
    function = unpacked(build(project, environment), scratch / "function")
    must_ship(entry.name for entry in function.iterdir())
    print(f"Built {megabytes(function):.0f} MB. Starting it beside a stack of its own …", flush=True)
    with Stack.unused("deploy") as stack:
        try:
            stack.start_database()
            stack.start_services(functions=False)
            converse(function, python, stack.env())
        finally:
            stack.reset()


# --- building -------------------------------------------------------------------------------------------


def find_python() -> Path:
    """Python 3.12, wherever uv finds one."""
    status, said = run(["uv", "python", "find", "--no-python-downloads", PYTHON], environment={"PATH": search_path()})
    if status:
        raise CannotTellError(
            f"no Python {PYTHON} runs here: put one on PATH, or `.venv/bin/uv python install {PYTHON}`."
        )
    return Path(said.splitlines()[-1])


def search_path() -> str:
    """Where programs are found, our own uv among them."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def building_environment(scratch: Path, python: Path) -> dict[str, str]:
    """An environment in which the Vercel CLI finds uv and Python, and neither an account nor a project."""
    programs = scratch / "bin"
    programs.mkdir()
    (programs / f"python{PYTHON}").symlink_to(python)
    (programs / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("VERCEL_", "VIRTUAL_ENV"))}
    return ours | {
        "CI": "1",
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "VERCEL_TELEMETRY_DISABLED": "1",
        "XDG_DATA_HOME": str(scratch / "data"),
    }


def copy_of_checkout(target: Path) -> Path:
    """What git knows or would add, as it stands, linked to a project that does not exist."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT)[1]
    for name in filter(None, listed.split("\0")):
        source, copy = CHECKOUT / name, target / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    link = target / ".vercel" / "project.json"
    link.parent.mkdir()
    link.write_text(json.dumps({"orgId": "nobody", "projectId": "nothing", "settings": {}}))
    return target


def build(project: Path, environment: Mapping[str, str]) -> Path:
    """Run the Vercel CLI; the folder of the one function it makes."""
    status, said = vercel("--version", project=project, environment=environment)
    if status:
        raise CannotTellError(f"npx could not fetch {VERCEL}. The end of what it said:\n\n{said[-1500:]}")
    status, said = vercel("build", "--yes", project=project, environment=environment)
    if status:
        raise WrongError(f"`vercel build` failed:\n\n{said[-4000:]}")
    functions = [path.parent for path in (project / ".vercel" / "output" / "functions").rglob(".vc-config.json")]
    if len(functions) != 1:
        raise WrongError(f"one function was expected, {len(functions)} were built: {functions}")
    return functions[0]


def vercel(*arguments: str, project: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The Vercel CLI; its exit status and what it said."""
    return run_with_only(environment, ["npx", "--yes", VERCEL, *arguments], project)


def run_with_only(environment: Mapping[str, str], command: Sequence[str | Path], folder: Path) -> tuple[int, str]:
    """Run a program that sees nothing of our own environment; its exit status and what it said."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        return done.returncode, output.read().decode(errors="replace").strip()


def unpacked(built: Path, target: Path) -> Path:
    """The function with its files in place: the build only notes where each would be uploaded from."""
    shutil.copytree(built, target)
    project = built.parents[3]
    for name, source in settings_of(built)["filePathMap"].items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / source, copy)
    return target


def settings_of(function: Path) -> dict[str, Any]:
    """How the platform is told to run it."""
    return json.loads((function / ".vc-config.json").read_text())


def must_ship(names: Iterable[str]) -> None:
    """Our code and its packages are in the function; tests and tools are not."""
    there = set(names)
    if missing := sorted(SHIPPED - there):
        raise WrongError(f"missing in the built function: {', '.join(missing)}")
    if needless := sorted(NOT_SHIPPED & there):
        raise WrongError(f"shipped without need (excludeFiles in vercel.json): {', '.join(needless)}")


def megabytes(folder: Path) -> float:
    """The size of all its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1_000_000


# --- asking ---------------------------------------------------------------------------------------------


def converse(function: Path, python: Path, stack: Mapping[str, str]) -> None:
    """Ask the built function, started once, what shows that it lives: nobody, somebody, the scheduler."""
    admin = {"Authorization": f"Bearer {token(stack)}"}
    scheduler = {"Authorization": f"Bearer {stack['CRON_SECRET']}"}
    questions: list[tuple[str, str, dict[str, str], int, str]] = [
        ("anybody", "/api/health", {}, 200, "status"),
        ("the admin", "/api/health", admin, 200, "clock"),
        ("the admin", "/api/sessions", admin, 200, "sessions"),
        ("anybody", "/api/sessions", {}, 401, "code"),
        ("the scheduler", "/api/cron/complete-sessions", scheduler, 200, "sweeps"),
        ("anybody", "/api/openapi.json", {}, 200, "paths"),
    ]
    calls = [{"method": "GET", "path": path, "headers": headers} for _, path, headers, _, _ in questions]
    answers = ask(function, python, calls, stack)
    for (who, path, _, status, member), answer in zip(questions, answers, strict=True):
        if answer["statusCode"] != status or member not in json.loads(answer["body"]):
            raise WrongError(f"GET {path} for {who} was answered {answer['statusCode']}: {answer['body'][:500]}")
        print(f"  {status} GET {path}, for {who}")


def ask(function: Path, python: Path, calls: list[Call], stack: Mapping[str, str]) -> list[Answer]:
    """Start the built function with its own packages alone and hand it the calls, one after the other."""
    settings = settings_of(function)
    answers = function / "answers.json"
    variables = (
        "SUPABASE_URL",
        "SUPABASE_PUBLISHABLE_KEY",
        "SUPABASE_SECRET_KEY",
        "SUPABASE_JWT_SECRET",
        "CRON_SECRET",
    )
    environment = settings["environment"] | {name: stack[name] for name in variables}
    # -S: nothing that this Python happens to have installed helps out.
    command = [python, "-S", "-c", ASK, settings["handler"], json.dumps(calls), answers]
    status, said = run_with_only(environment, command, function)
    if status:
        raise WrongError(f"the built function did not start or broke off:\n\n{said[-4000:]}")
    return json.loads(answers.read_text())


def token(stack: Mapping[str, str]) -> str:
    """The seeded admin signs in."""
    answer = httpx.post(
        f"{stack['SUPABASE_URL']}/auth/v1/token?grant_type=password",
        headers={"apikey": stack["SUPABASE_PUBLISHABLE_KEY"]},
        json={"email": stack["ADMIN_EMAIL"], "password": stack["SEED_PASSWORD"]},
        timeout=30,
    )
    return answer.raise_for_status().json()["access_token"]


if __name__ == "__main__":
    sys.exit(main())
