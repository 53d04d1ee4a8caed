"""What a range stands for, while it is typed; and looking for new releases."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions.releases import refresh_releases
from pocketfleet.errors import NoReleaseMatches, WrongRange
from pocketfleet.web import reading
from pocketfleet.web.access import operator_for
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import back, rendered, signed_in


@require_safe
@signed_in
def resolve(request: FleetRequest) -> HttpResponse:
    """One line: the release that the range takes now, or why none."""
    try:
        found, problem = reading.resolved(request.GET.get("range", "")[:500]), ""
    except (WrongRange, NoReleaseMatches) as error:
        found, problem = None, error.detail
    return rendered(request, "instances/resolved.html", resolved=found, problem=problem)


@require_POST
@signed_in
def refresh(request: FleetRequest) -> HttpResponse:
    """Look for new releases; the operation shows in the list."""
    refresh_releases(acting_user=operator_for(request).user)
    return HttpResponse(status=204) if request.htmx else back(request)
