"""The catalogue of releases, what a range stands for while it is typed, and looking for new releases.

GET  /releases           the catalogue by line; for htmx its live part, or nothing where it is as shown
POST /releases/refresh   look at every source
POST /releases/fetch     fetch one ahead of its first use
GET  /ranges             what a range takes now
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions.releases import fetch_release, refresh_releases
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import NoReleaseMatches, WrongRange
from pocketfleet.web import catalogue, reading
from pocketfleet.web.access import operator_for, seen_instances
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.digests import digest_of
from pocketfleet.web.pages.guard import back, rendered, signed_in


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The page; five queries besides the visitor's own, however many releases and instances there are."""
    caller = caller_of(request)
    shown: dict[str, Any] = {
        "lines": catalogue.by_line(seen_instances(caller)),
        "sources": reading.sources(),
        "operations": catalogue.under_way(),
        "may_serve": caller.may(Verb.SERVE),
    }
    shown["digest"] = digest_of(shown)
    if request.htmx and request.htmx.target == "catalogue":
        if shown["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return rendered(request, "releases/catalogue.html", **shown)
    return rendered(request, "releases/page.html", place="releases", **shown)


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
    """Look for new releases; the operation shows in the list, and on the page of releases."""
    refresh_releases(acting_user=operator_for(request).user)
    return _done(request)


@require_POST
@signed_in
def fetch(request: FleetRequest) -> HttpResponse:
    """Fetch a release, so that the first instance that wants it need not wait."""
    fetch_release(request.POST.get("release", ""), acting_user=operator_for(request).user)
    return _done(request)


def _done(request: FleetRequest) -> HttpResponse:
    if request.htmx:
        return HttpResponse(status=204)
    return back(request, "releases" if request.POST.get("to") == "releases" else "instances")
