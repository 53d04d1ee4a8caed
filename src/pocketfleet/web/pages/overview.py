"""An instance at a glance: where it is, how it is and why, what it did lately."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.models import Instance
from pocketfleet.web import copies, reading
from pocketfleet.web.callers import FleetRequest
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
    return framed(request, "overview/page.html", instance, "overview", **live)


def _live(instance_id: str) -> dict[str, Any]:
    """What changes by itself; a fixed number of queries."""
    shown = {
        "row": reading.instance(settings.CONFIG, instance_id),
        "events": copies.events(instance_id, limit=EVENTS_SHOWN),
        "newest": copies.newest(instance_id),
    }
    digest = hashlib.sha256(json.dumps(shown, cls=DjangoJSONEncoder).encode()).hexdigest()[:16]
    return {**shown, "digest": digest}
