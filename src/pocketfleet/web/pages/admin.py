"""The way into an instance's own admin page: a page whose form takes a ticket to the instance's host."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from pocketfleet.actions.admin_tickets import make_ticket
from pocketfleet.domain.admin_pages import ENTRANCE
from pocketfleet.domain.roles import Verb
from pocketfleet.models import Instance
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.middleware import CONTENT_SECURITY_POLICY
from pocketfleet.web.pages.guard import on_instance


@require_http_methods(["GET", "HEAD", "POST"])
@on_instance(Verb.DATA)
def open_admin(request: FleetRequest, instance: Instance) -> HttpResponse:
    """GET asks; POST makes a ticket and takes it there by itself, or by a button where there is no script."""
    if request.method == "POST":
        return _on_the_way(request, instance, make_ticket(instance.id, acting_user=caller_of(request).user))
    return _page(request, instance, "")


def _on_the_way(request: FleetRequest, instance: Instance, ticket: str) -> HttpResponse:
    """The one page of ours with a form to somewhere else: to exactly this instance's host."""
    response = _page(request, instance, ticket)
    origin = _origin(instance)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.replace(
        "form-action 'self'", f"form-action {origin}"
    )
    # else the browser would send `Origin: null`, by which the entrance could not know us; the path says nothing secret
    response.headers["Referrer-Policy"] = "strict-origin"
    return response


def _page(request: FleetRequest, instance: Instance, ticket: str) -> HttpResponse:
    origin = _origin(instance)
    context = {"id": instance.id, "name": instance.name, "origin": origin, "entrance": origin + ENTRANCE}
    return render(request, "instances/entrance.html", {**context, "ticket": ticket})


def _origin(instance: Instance) -> str:
    return str(settings.CONFIG.instance_url(instance.name or instance.id))
