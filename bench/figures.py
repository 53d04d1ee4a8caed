"""A figure: what was measured, what it compares with, and the goal; the table that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ours` and `other` are in `unit`; `other` is None where there is nothing like it."""

    group: str
    name: str
    unit: str
    ours: float
    other: float | None = None
    #: what `other` is
    against: str = ""
    goal: str = ""
    #: whether the goal was met; None where there is none
    met: bool | None = None
    #: raw samples and side figures, for the JSON only
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the other; None where one of them is missing or zero."""
        return self.ours / self.other if self.other else None

    def record(self) -> dict[str, Any]:
        """The figure as JSON holds it."""
        return asdict(self) | {"ratio": self.ratio}


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` (0 to 1) of all samples do not exceed. Raises ValueError if none."""
    if not samples:
        raise ValueError("there are no samples")
    ordered = sorted(samples)
    # ceil without floating point's dust: 0.95 * 40 is 38.0, and its rank is 38
    rank = -int(-round(share * len(ordered), 9) // 1)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def p25(samples: Sequence[float]) -> float:
    """The 25th percentile."""
    return percentile(samples, 0.25)


def p95(samples: Sequence[float]) -> float:
    """The 95th percentile."""
    return percentile(samples, 0.95)


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Least, median, 95th percentile and most, rounded, for the JSON."""
    found = {"min": min(samples), "median": median(samples), "p95": p95(samples), "max": max(samples)}
    return {name: round(value, 3) for name, value in found.items()}


def number(value: float | None) -> str:
    """Three or four significant digits, thousands with commas; "-" for nothing."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(figures: Sequence[Figure]) -> Table:
    """All figures as one table, grouped in the order in which they came."""
    shown = Table(show_edge=False, pad_edge=False)
    for heading in ("", "figure", "unit"):
        shown.add_column(heading, no_wrap=bool(heading != "figure"))
    for heading in ("pocketfleet", "other", "ratio"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("the other is")
    shown.add_column("goal")
    last = ""
    for figure in figures:
        if last and figure.group != last:
            shown.add_section()
        shown.add_row(figure.group if figure.group != last else "", *_cells(figure))
        last = figure.group
    return shown


def _cells(figure: Figure) -> list[str]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    mark = {True: "[green]✓[/green] ", False: "[red]✗[/red] ", None: ""}[figure.met]
    other = number(figure.other) if figure.against else ""
    return [figure.name, figure.unit, number(figure.ours), other, ratio, figure.against, mark + figure.goal]


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table."""
    console.print()
    console.print(table(figures))
