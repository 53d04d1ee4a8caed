"""The guided path for data that a release cannot take, or does not start on: stop, know why, take, mend, bring back.

GET /instances/<ref>/mend   where one is on it; each step's button is a form of another page
"""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.models import Instance
from pocketfleet.web import mending
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The steps, with what is known for each."""
    return framed(request, "mend/page.html", instance, "versions", way=mending.way(instance))
