"""How the story is set: one column of at most a hundred characters, calm on a terminal, plain in a pipe."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

import httpx
from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.status import Status
from rich.table import Table
from rich.text import Text

from scripts.demo import ExpectationError

WIDTH = 100
INDENT = 2


class Page:
    """Standard output, and standard error for what goes wrong."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, emoji=False)
        self._out.width = min(self._out.width, WIDTH) if self._out.is_terminal else WIDTH
        self._ends_open = False
        self._chapters = 0
        self._held = 0

    def waiting(self, for_what: str) -> Status:
        """Something moves on a terminal until the block ends."""
        return self._out.status(Text(for_what, style="dim"))

    def title(self, title: str, line: str) -> None:
        self.gap()
        self._print(Text(title, style="bold"), indent=0)
        self._print(Text(line, style="dim"), indent=0)

    def chapter(self, heading: str, text: str, call: str = "") -> None:
        """A numbered step: what happens, and the request that makes it happen."""
        self._chapters += 1
        self.gap()
        self._print(Text(f"{self._chapters}. {heading}", style="bold cyan"), indent=0)
        self.text(text)
        if call:
            self._print(Text(call, style="dim"))
        self.gap()

    def text(self, text: str) -> None:
        self._print(Text(_one_line(text)))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """A table; columns whose heading begins with `>` are set to the right."""
        table = Table(
            title=_one_line(title),
            title_justify="left",
            title_style="italic",
            header_style="dim",
            border_style="dim",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for column in columns:
            table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
        for row in rows:
            table.add_row(*row)
        self.gap()
        self._print(table)
        self.gap()

    def letter(self, text: str, buttons: Sequence[str]) -> None:
        """What somebody reads on their phone, and the buttons below it."""
        self.gap()
        for line in text.strip().splitlines():
            self._print(Text(line), indent=2 * INDENT)
        if buttons:
            self._print(Text("  ".join(f"[{each}]" for each in buttons), style="cyan"), indent=2 * INDENT)
        self.gap()

    def refusal(self, who: str, answer: httpx.Response, *, shown: int = 2) -> None:
        """A problem document as it came; of a list, the first ones."""
        self.gap()
        kind = answer.headers["content-type"]
        self._print(Text.assemble(f"{who} is refused: ", (str(answer.status_code), "yellow"), (f"  {kind}", "dim")))
        document = json.dumps(_shortened(answer.json(), shown), indent=2, ensure_ascii=False)
        self._print(Text(document, style="dim"), indent=2 * INDENT)
        self.gap()

    def expect(self, sentence: str, found: object, wanted: object) -> None:
        """Look whether something holds, and say so.

        Raises:
            ExpectationError: it does not.
        """
        if found != wanted:
            raise ExpectationError(f"“{sentence}” does not hold. Wanted {wanted!r}, found {found!r}.")
        self._held += 1
        self._print(Text.assemble(("✓ ", "green"), (sentence, "dim")))

    def failure(self, what: str, why: object) -> None:
        Console(stderr=True, highlight=False, emoji=False).print(
            Text.assemble((f"\n{what}: ", "bold red"), str(why)), soft_wrap=True
        )

    def ending(self, seconds: float) -> None:
        self.gap()
        held = (f"{self._held} expectations held", "bold")
        rest = f" in {seconds:.1f} s, and all that was started has been stopped."
        self._print(Text.assemble(("✓ ", "green"), held, rest), indent=0)

    def gap(self) -> None:
        """One empty line, however many things ask for it."""
        if self._ends_open:
            self._out.print()
        self._ends_open = False

    def _print(self, what: RenderableType, indent: int = INDENT) -> None:
        self._out.print(Padding(what, (0, 0, 0, indent), expand=False))
        self._ends_open = True


def _shortened(document: dict[str, Any], shown: int) -> dict[str, Any]:
    """A document whose lists end early, and say so."""

    def cut(value: Any) -> Any:  # noqa: ANN401 - any JSON
        if not isinstance(value, list):
            return value
        items = cast("list[Any]", value)
        left = len(items) - shown
        return items if left <= 0 else [*items[:shown], f"… and {left} more"]

    return {name: cut(value) for name, value in document.items()}


def _one_line(text: str) -> str:
    """Without the spaces that align dates in a column."""
    return " ".join(text.split())
