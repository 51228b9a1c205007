"""How the demo looks: numbered steps, each with what was sent, what came back, and why.

Labels stand in a column of their own so that the eye can follow one of them down the screen.
Values of the database are shown as text, never as markup.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_WIDTH_MAX: Final = 104
_LABEL_WIDTH: Final = 8
_GAP: Final = 3  # between two columns of a table
_STYLES: Final = {
    "sends": "bold cyan",
    "gets": "bold green",
    "refused": "bold bright_red",
    "waits": "bold yellow",
    "person": "bold magenta",
    "stored": "bold bright_blue",
    "forged": "bold bright_red",
    "verify": "bold green",
    "why": "dim",
}
_OUTCOME_STYLES: Final = {
    "refused": "bright_red",
    "ok": "green",
    "approved": "magenta",
    "waits": "yellow",
}


class Screen:
    """The terminal, or a file that reads as well."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._started = time.monotonic()
        self._unicode = self._console.encoding.lower().startswith("utf")
        self._step = 0

    @property
    def width(self) -> int:
        """Columns that are written to."""
        return min(self._console.width, _WIDTH_MAX)

    def opening(self) -> None:
        """Say what this is, in three lines."""
        self._print()
        self._print(
            Text.assemble(("  Postern", "bold"), "  a gateway between AI agents and PostgreSQL")
        )
        self._print()
        self._paragraph(
            "One agent at work on a real database, with an ordinary driver. Postern stands between:"
            " it knows who is asking, decides every statement, masks personal data, asks a person"
            " where a rule says so, and records everything."
        )
        self._print()

    @contextmanager
    def preparing(self) -> Iterator[Preparation]:
        """Show what is being made, with a moving sign on a terminal."""
        preparation = Preparation(self)
        with self._console.status("", spinner="dots" if self._unicode else "line") as status:
            preparation.status = status
            yield preparation
            preparation.done()
        self._print()

    def picture(self, agent: str, gateway: str, database: str) -> None:
        """Draw who talks to whom."""
        arrow = " ───▶ " if self._unicode else " ---> "
        row = Table.grid(padding=(0, 1))
        for _ in range(5):
            row.add_column(justify="center")
        row.add_row(
            Text("agent", style="bold cyan"), arrow, Text("Postern", style="bold green"), arrow,
            Text("PostgreSQL", style="bold bright_blue"),
        )  # fmt: skip
        row.add_row(*(Text(text, style="dim") for text in (agent, "", gateway, "", database)))
        self._print(Padding(row, (0, 2)))

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._heading(f"{self._step}  {title}")

    def sends(self, statement: str) -> None:
        """Show SQL that the agent sends."""
        self._labelled("sends", self._sql(statement))

    def sends_code(self, code: str) -> None:
        """Show Python that the agent runs."""
        self._labelled("sends", Text(code))

    def gets(self, text: str, label: str = "gets") -> None:
        """Show what the agent gets."""
        self._labelled(label, Text(text))

    def rows(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], masked: Sequence[str]
    ) -> None:
        """Show rows that the agent gets; masked columns stand out."""
        table = _table()
        for name in columns:
            style = "yellow" if name in masked else ""
            table.add_column(Text(name, style=f"bold {style}"), style=style, overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self._labelled("gets", table)

    def refused(self, sqlstate: str, text: str) -> None:
        """Show an error word by word as the agent's driver prints it."""
        first, *rest = text.splitlines()
        lines = [Text.assemble((f"ERROR {sqlstate}  ", "bold bright_red"), (first, "bright_red"))]
        # JSON has no blanks to break at; broken anywhere it stays beside its DETAIL.
        room = self.width - _LABEL_WIDTH - 2
        lines += [Text(line[at : at + room]) for line in rest for at in range(0, len(line), room)]
        self._labelled("gets", Text("\n").join(lines), style="refused")

    def waits(self, text: str) -> None:
        """Show a notice that arrives while the agent waits."""
        self._labelled("waits", Text(text, style="yellow"))

    def person(self, *lines: str | Text) -> None:
        """Show what a person sees or does."""
        content = Text("\n").join(Text(line) if isinstance(line, str) else line for line in lines)
        self._labelled("person", content)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table without a label; the last column is cut where there is no room."""
        table = _table()
        for name in columns:
            table.add_column(Text(name, style="bold"), no_wrap=True)
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        room = self.width - 2 - _GAP - sum(width + _GAP for width in widths[:-1])
        for row in rows:
            cells = [*row[:-1], self._cut(row[-1], room)]
            table.add_row(*(Text(cell, style=_outcome_style(cell)) for cell in cells))
        self._print(Padding(table, (0, 0, 1, 2)), width=self.width)

    def why(self, text: str) -> None:
        """Say in a line why that happened."""
        self._labelled("why", Text(text, style="dim"))

    def closing(self, title: str) -> None:
        """Begin what follows the steps."""
        self._heading(title)

    def passed(self, steps: int) -> None:
        """Say that every step did what it should."""
        seconds = time.monotonic() - self._started
        text = f"  {self.mark} All {steps} steps did what they should, in {seconds:.0f} s."
        self._print(Text(text, style="bold green"))

    def failed(self, text: str, log: str) -> None:
        """Say what went wrong, with the gateway's last words."""
        self._print()
        self._print(Text(f"The demo stopped: {text}", style="bold red"))
        if log:
            self._print(Text(f"Last lines of the gateway's log:\n{log}", style="dim"))

    def say(self, text: str, style: str = "") -> None:
        """Print a paragraph."""
        self._paragraph(text, style)

    def paste(self, label: str, *lines: str) -> None:
        """Print lines to be copied: never wrapped, never cut, nothing beside them."""
        self._print(Text(f"  {label}", style="bold"))
        for line in lines:
            self._console.print(Text(f"    {line}", style="cyan"), soft_wrap=True)
        self._print()

    @property
    def mark(self) -> str:
        """The sign for done."""
        return "✓" if self._unicode else "ok"

    def finished(self, text: str, seconds: float) -> None:
        """Tick off one part of the preparation."""
        line = Text.assemble((f"  {self.mark} ", "green"), text, (f"  {seconds:.1f} s", "dim"))
        self._print(line)

    def _heading(self, title: str) -> None:
        self._print()
        line = Text(f" {title} ", style="bold")
        rest = max(self.width - line.cell_len - 2, 0)
        sign = "─" if self._unicode else "-"
        self._print(Text.assemble((sign * 2, "dim"), line, (sign * rest, "dim")))

    def _sql(self, statement: str) -> Text:
        # Weight instead of colours: those of a theme are unreadable on somebody's background.
        text = Text(statement)
        text.highlight_regex(r"\b[A-Z]{2,}\b", "bold")
        return text

    def _cut(self, text: str, room: int) -> str:
        end = "…" if self._unicode else "..."
        return text if len(text) <= room else text[: max(room - len(end), 0)] + end

    def _labelled(self, label: str, content: RenderableType, *, style: str = "") -> None:
        grid = Table.grid(padding=0)
        grid.add_column(width=_LABEL_WIDTH)
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, style=_STYLES[style or label]), content)
        self._print(Padding(grid, (0, 0, 0, 2)), width=self.width)

    def _paragraph(self, text: str, style: str = "") -> None:
        self._print(Padding(Text(text, style=style), (0, 0, 0, 2)), width=self.width)

    def _print(self, content: RenderableType = "", *, width: int | None = None) -> None:
        self._console.print(content, width=width)


class Preparation:
    """What is being prepared, ticked off with the time each part took."""

    def __init__(self, screen: Screen) -> None:
        self.status: Any = None
        self._screen = screen
        self._part = ""
        self._since = 0.0

    def tell(self, part: str) -> None:
        """End the part before and begin `part`."""
        self.done()
        self._part, self._since = part, time.monotonic()
        self.status.update(f"preparing {part} ...")

    def done(self) -> None:
        """End the part that is under way."""
        if self._part:
            self._screen.finished(self._part, time.monotonic() - self._since)
        self._part = ""


def _console() -> Console:
    is_terminal = sys.stdout.isatty()
    return Console(highlight=False, width=None if is_terminal else _WIDTH_MAX)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP, 0, 0))


def _outcome_style(cell: str) -> str:
    first = cell.partition(" ")[0]
    return {"refused": "bright_red", "ok": "green", "approved": "magenta", "waits": "yellow"}.get(
        first, ""
    )
