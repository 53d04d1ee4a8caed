"""What people see: tables and colours on a terminal, plain columns elsewhere, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pocketfleet.errors import PocketfleetError, WrongUsage

DONE, FAILED, WRONG_USAGE, ASKING, ROLLED_BACK = range(5)

STATE_STYLES = {
    "awake": "green",
    "waking": "cyan",
    "asleep": "blue",
    "held": "yellow",
    "failing": "red",
    "off": "dim",
    "suspended": "red",
    "succeeded": "green",
    "running": "cyan",
    "pending": "cyan",
    "asking": "yellow",
    "failed": "red",
    "rolled_back": "yellow",
    "cancelled": "dim",
}


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table; on a terminal with colours and borders, elsewhere plain columns. `empty` is said where there is none."""
    cells = [["" if cell is None else plain(str(cell)) for cell in row] for row in rows]
    if not cells:
        say(empty)
    elif sys.stdout.isatty():
        _rich_table(columns, cells)
    else:
        _plain_table(columns, cells)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Names and values below each other; those without a value are left out."""
    known = [(name, plain(str(value))) for name, value in facts if value not in (None, "")]
    width = max(len(name) for name, _ in known)
    for name, value in known:
        lines = value.splitlines() or [""]
        print(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            print(f"{'':<{width}}  {line}")


def say(text: str) -> None:
    """A remark for people, on stderr."""
    print(text, file=sys.stderr)


def fail(error: PocketfleetError, *, as_json: bool) -> None:
    """One plain line on stderr, or the problem as JSON."""
    if as_json:
        print(json.dumps(error.as_problem(), ensure_ascii=False), file=sys.stderr)
        return
    line = " ".join(plain(error.detail).split())
    print(f"{red('✗')} {line}", file=sys.stderr)


def exit_code(error: PocketfleetError) -> int:
    """2 for input that does not fit, 1 for everything else."""
    problem = error.as_problem()
    wrong = isinstance(error, WrongUsage) or (problem["status"] == 422 and str(problem["code"]).startswith("wrong_"))
    return WRONG_USAGE if wrong else FAILED


def red(text: str) -> str:
    """The text in red, where stderr is a terminal that wants colours."""
    if not sys.stderr.isatty():
        return text
    from rich.console import Console

    with (console := Console(stderr=True)).capture() as captured:
        console.print(text, style="red", end="", markup=False)
    return captured.get()


def plain(text: str) -> str:
    """The text without control characters: tenants decide what stands in logs and reasons, terminals obey escapes."""
    return "".join(char if char in "\n\t" or (char.isprintable()) else "�" for char in text)


def ago(moment: str | None) -> str:
    """How long ago an ISO time was, in words."""
    if not moment:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    return f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    """Seconds in words, rounded: `0.4 s`, `3 min`, `2 h`, `5 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """Bytes in words: `12 kB`, `3.4 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count} bytes"


def _rich_table(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def _plain_table(columns: Sequence[str], cells: list[list[str]]) -> None:
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
