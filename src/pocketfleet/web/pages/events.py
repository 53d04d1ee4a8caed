"""What happened to an instance, what was done to it, and by whom."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.domain.roles import Verb
from pocketfleet.models import Instance
from pocketfleet.web import copies, reading
from pocketfleet.web.audit import Filter, rows
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance

EVENTS_SHOWN = 50
OPERATIONS_SHOWN = 20
ACTS_SHOWN = 50


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The feed, a page at a time (`before`: an event's id); operations; the audit for those who manage the team."""
    text = request.GET.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
    events = copies.events(instance.id, before=before, limit=EVENTS_SHOWN + 1)
    manages = caller_of(request).may(Verb.MANAGE, instance.team_id, instance.id)
    of_this = Filter(subject=instance.id)
    return framed(
        request,
        "events/page.html",
        instance,
        "events",
        events=events[:EVENTS_SHOWN],
        older=events[EVENTS_SHOWN - 1]["id"] if len(events) > EVENTS_SHOWN else None,
        first_page=before is None,
        operations=reading.operations(instance_id=instance.id, limit=OPERATIONS_SHOWN) if before is None else [],
        acts=rows(instance.team_id or "", of_this, limit=ACTS_SHOWN) if manages and before is None else None,
    )
