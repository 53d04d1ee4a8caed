"""An instance at a glance: where it is, how it is and why, what it did lately."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.models import Instance, Usage
from pocketfleet.web import copies, reading, usage
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.digests import digest_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance

EVENTS_SHOWN = 5


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The page; for htmx only what changes, or nothing where it is as the browser shows it."""
    live = _live(instance.id)
    if request.htmx and request.htmx.target == "overview":
        if live["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return framed(request, "overview/live.html", instance, "overview", **live)
    return framed(request, "overview/page.html", instance, "overview", **live, **_charts(instance.id))


@require_safe
@on_instance()
def used(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The charts alone; nothing where they are as the browser shows them."""
    charts = _charts(instance.id)
    if charts["usage_digest"] == request.GET.get("seen"):
        return HttpResponse(status=204)
    return framed(request, "overview/usage.html", instance, "overview", **charts)


def _charts(instance_id: str) -> dict[str, Any]:
    shown = usage.chart_data(instance_id)
    counted = Usage.objects.filter(instance_id=instance_id).order_by("-pk").values_list("pk", "requests", "size_bytes")
    return {"usage": shown, "usage_digest": digest_of([shown["last_request_at"], shown["size"], counted.first()])}


def _live(instance_id: str) -> dict[str, Any]:
    """What changes by itself; a fixed number of queries."""
    shown = {
        "row": reading.instance(settings.CONFIG, instance_id),
        "events": copies.events(instance_id, limit=EVENTS_SHOWN),
        "newest": copies.newest(instance_id),
    }
    return {**shown, "digest": digest_of(shown)}
