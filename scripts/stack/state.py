"""What a stack remembers between commands: one folder, one JSON file only its owner may read.

`.stack/<name>/state.json` holds the secrets made for this stack, the ports it took last, the processes it
started, where its data lies and what the data was built from. Logs lie beside it, one per process.
"""

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import IO, Any

from scripts.stack.errors import StackError

CHECKOUT = Path(__file__).resolve().parents[2]


class State:
    """The memory of one stack; every change is on disk at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = CHECKOUT / ".stack" / name
        self._file = self.folder / "state.json"
        self._lock: IO[str] | None = None
        self._values: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}

    @property
    def locked(self) -> bool:
        return self._lock is not None

    def lock(self) -> None:
        """Claim the stack for this process, until `unlock` or the end of the process.

        Raises:
            StackError: another process has it.
        """
        if self._lock:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise StackError(f"The stack '{self.name}' is in use by process {holder}.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        self._values = json.loads(self._file.read_text()) if self._file.exists() else {}

    def unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - a JSON document
        return self._values.get(key, default)

    def put(self, key: str, value: Any) -> None:  # noqa: ANN401 - a JSON document
        self._values[key] = value
        fresh = self._file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self._values, file, indent=2)
        fresh.replace(self._file)

    def secret(self, name: str, prefix: str = "") -> str:
        """A secret of this stack, made when first asked for."""
        known: dict[str, str] = self.get("secrets", {})
        if name not in known:
            self.put("secrets", known | {name: prefix + secrets.token_hex(24)})
        return self.get("secrets")[name]

    def log(self, process: str) -> Path:
        return self.folder / f"{process}.log"
