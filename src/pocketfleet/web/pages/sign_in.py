"""Getting in by a link that works once, and out again. The other ways in are django-allauth's (accounts/urls.py)."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pocketfleet.actions.sign_in import find_link, use_link
from pocketfleet.errors import LinkUnusable
from pocketfleet.models import SignInLink, User
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.isolation import led_from_elsewhere
from pocketfleet.web.pages import invitations
from pocketfleet.web.pages.guard import back, rendered, signed_in, visitor


@require_safe
def explain(request: HttpRequest) -> HttpResponse:
    """The short address of the sign-in."""
    return redirect("instances" if visitor(request) else "account_login")


@require_http_methods(["GET", "POST"])
def follow(request: HttpRequest, secret: str) -> HttpResponse:
    """Sign in by a link, which is burnt by that: with a new session, so that none planted before goes on.

    Asks first where the link may be a trap: whoever makes people work in another account reads what they enter there.
    """
    if request.headers.get("Sec-Purpose", "").startswith("prefetch"):
        # a browser that only guesses that the link will be opened must not burn it
        return HttpResponse(status=503)
    try:
        if request.method == "GET" and _must_ask(request, user := find_link(secret).user):
            return rendered(request, "sign_in_ask.html", who=user.get_username(), secret=secret)
        link = use_link(secret)
    except LinkUnusable as error:
        if visitor(request) is not None:
            return redirect("instances")
        return rendered(request, "sign_in.html", error.status, why=error.facts["why"])
    return _enter(request, link)


def _must_ask(request: HttpRequest, user: User) -> bool:
    """Somebody else is signed in here; or nobody is, and another page led here, not the person's own hand."""
    here = visitor(request)
    return here != user if here is not None else led_from_elsewhere(request.headers)


def _enter(request: HttpRequest, link: SignInLink) -> HttpResponse:
    here, invited = visitor(request), invitations.waiting(request)
    if here is not None and here != link.user:
        get_adapter(request).logout(request)
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
