"""Getting in by a link that works once, and out again. The other ways in are django-allauth's (accounts/urls.py)."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST, require_safe

from pocketfleet.actions.sign_in import use_link
from pocketfleet.errors import LinkUnusable
from pocketfleet.models import User
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages import invitations
from pocketfleet.web.pages.guard import back, rendered, signed_in, visitor


@require_safe
def explain(request: HttpRequest) -> HttpResponse:
    """The short address of the sign-in."""
    return redirect("instances" if visitor(request) else "account_login")


@require_GET
def follow(request: HttpRequest, secret: str) -> HttpResponse:
    """Sign in by a link, which is burnt by that: with a new session, so that none planted before goes on."""
    if request.headers.get("Sec-Purpose", "").startswith("prefetch"):
        # a browser that only guesses that the link will be opened must not burn it
        return HttpResponse(status=503)
    if request.headers.get("Sec-Fetch-Dest", "document") != "document":
        # an image on somebody's page must not sign its visitor in as somebody else
        return HttpResponse(status=403)
    try:
        link = use_link(secret)
    except LinkUnusable as error:
        if visitor(request) is not None:
            return redirect("instances")
        return rendered(request, "sign_in.html", error.status, why=error.facts["why"])
    invited = invitations.waiting(request)
    request.session.flush()
    invitations.keep_waiting(request, invited)
    # who could make such a link may also change how they get in
    record_authentication(request, link.user, "link", reauthenticated=not link.second_factor)
    return _with_second_factor(request, link.user) if link.second_factor else _in(request, link.user)


@require_POST
@signed_in
def sign_out(request: FleetRequest) -> HttpResponse:
    """Forget this browser."""
    get_adapter(request).logout(request)
    return back(request, "account_login")


def _with_second_factor(request: HttpRequest, user: User) -> HttpResponse:
    """In, or first to the question for the second factor."""
    response: HttpResponse = perform_login(request, Login(user=user, email_verification="none"))
    return response


def _in(request: HttpRequest, user: User) -> HttpResponse:
    adapter = get_adapter(request)
    adapter.login(request, user)
    return adapter.post_login(
        request, user, email_verification="none", signal_kwargs=None, email=None, signup=False, redirect_url=None
    )
