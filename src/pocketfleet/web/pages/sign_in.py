"""Getting in by a link that works once, and out again."""

from __future__ import annotations

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST, require_safe

from pocketfleet.actions.sign_in import use_link
from pocketfleet.errors import LinkUnusable
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages import invitations
from pocketfleet.web.pages.guard import back, rendered, signed_in, visitor

_BACKEND = "django.contrib.auth.backends.ModelBackend"


@require_safe
def explain(request: HttpRequest) -> HttpResponse:
    """How to get in."""
    return redirect("instances") if visitor(request) else rendered(request, "sign_in.html")


@require_GET
def follow(request: HttpRequest, secret: str) -> HttpResponse:
    """Sign in by a link, which is burnt by that: with a new session, so that none planted before goes on."""
    if request.headers.get("Sec-Purpose", "").startswith("prefetch"):
        # a browser that only guesses that the link will be opened must not burn it
        return HttpResponse(status=503)
    try:
        user = use_link(secret)
    except LinkUnusable as error:
        if visitor(request) is not None:
            return redirect("instances")
        return rendered(request, "sign_in.html", error.status, why=error.facts["why"])
    invited = invitations.waiting(request)
    request.session.flush()
    login(request, user, backend=_BACKEND)
    return redirect("invitation", invited) if invited else redirect("instances")


@require_POST
@signed_in
def sign_out(request: FleetRequest) -> HttpResponse:
    """Forget this browser."""
    logout(request)
    return back(request, "sign-in")
