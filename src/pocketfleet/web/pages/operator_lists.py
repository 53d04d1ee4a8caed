"""What the operators' lists have in common: a part of many rows, found by a text or narrowed to a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpResponse

from pocketfleet.web import operators
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.operators import Listed, Row
from pocketfleet.web.pages.guard import rendered

#: `only=` in the address, and the words for it.
Choices = Sequence[tuple[str, str]]


def listing(
    request: FleetRequest,
    tab: str,
    read: Callable[[Listed], tuple[list[Row], int]],
    status: int = 200,
    *,
    choices: Choices = (),
    team_of: Callable[[Row], str | None] | None = None,
    **context: Any,
) -> HttpResponse:
    """The page `operator/<tab>.html` with the rows as `<tab>`. `read`: those rows, and how many there are in all;
    `team_of`: each also gets the names of its team's `owners`."""
    listed = Listed.of(request)
    rows, total = read(listed)
    if team_of is not None:
        teams = [team_of(row) for row in rows]
        owners = operators.owners({team for team in teams if team})
        rows = [{**row, "owners": owners.get(team or "", [])} for row, team in zip(rows, teams, strict=True)]
    given = {tab: rows, "choices": choices, **listed.context(len(rows), total)}
    return rendered(request, f"operator/{tab}.html", status, place="operator", tab=tab, **given | context)
