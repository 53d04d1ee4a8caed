"""Who did what on this server, for operators."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import for_operators, rendered
from pocketfleet.web.pages.team_audit import listed


@require_safe
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """The newest first, of all teams and of the server itself."""
    return rendered(request, "operator/audit.html", place="operator", tab="audit", **listed(request, None))
