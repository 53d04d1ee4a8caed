"""Who did what in a team: in pages, by action, person and instance."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.domain.roles import Verb
from pocketfleet.models import Instance
from pocketfleet.web import audit
from pocketfleet.web.access import team_for
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import rendered, signed_in

PAGE_SIZE = 50


@require_safe
@signed_in
def show(request: FleetRequest, team_id: str) -> HttpResponse:
    """The newest first."""
    team = team_for(request, team_id, Verb.MANAGE)
    return rendered(request, "teams/audit.html", place="teams", team=team, **listed(request, team.id))


def listed(request: FleetRequest, team_id: str | None) -> dict[str, Any]:
    """What the page lists, and how it goes on; of everything where no team is given."""
    given = {name: request.GET.get(name, "").strip()[:150] for name in ("verb", "person", "instance")}
    wanted = audit.Filter(given["verb"], given["person"], _instance(given["instance"], team_id))
    before = request.GET.get("before", "")
    first = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    rows = audit.rows(team_id, wanted, before=first, limit=PAGE_SIZE + 1)
    query = {name: value for name, value in given.items() if value}
    older = urlencode({**query, "before": rows[PAGE_SIZE - 1]["id"]}) if len(rows) > PAGE_SIZE else ""
    return {
        "rows": rows[:PAGE_SIZE],
        "given": given,
        "older": older,
        "newest": f"?{urlencode(query)}" if first is not None else "",
        "verbs": [(verb, audit.words(verb)) for verb in audit.verbs(team_id)],
        "people": audit.actors(team_id) if team_id is not None else [],
    }


def _instance(reference: str, team_id: str | None) -> str:
    """The id of an instance by its name; what is no name of one is taken for an id."""
    known = Instance.objects.filter(name=reference) if reference.isprintable() and reference else None
    if known is not None and team_id is not None:
        known = known.filter(team_id=team_id)
    return (known.values_list("id", flat=True).first() if known is not None else None) or reference
