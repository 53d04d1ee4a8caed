"""The operator's first page: how the server is, and what to do where something is not well."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.web import health
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import for_operators, rendered


@require_safe
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """All that control can see by itself."""
    parts = health.look(settings.CONFIG)
    worst = [check for part in parts for check in part.checks if check.state != "good"]
    errors = health.last_errors(settings.CONFIG)
    return rendered(
        request, "operator/health.html", place="operator", tab="health", parts=parts, worst=worst, errors=errors
    )
