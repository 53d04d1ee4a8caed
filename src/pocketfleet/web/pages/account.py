"""One's own account: how one gets in, where one is signed in, and how it ends."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from allauth.account.internal.stagekit import clear_login
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pocketfleet.actions import accounts as actions
from pocketfleet.errors import NotFound, WrongUsage
from pocketfleet.web.accounts.reading import security_of, sessions_of
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, rendered, signed_in


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The page."""
    security = security_of(caller_of(request).user)
    return rendered(request, "account/page.html", place="account", security=security)


@require_safe
@signed_in
def show_sessions(request: FleetRequest) -> HttpResponse:
    """Where one is signed in."""
    rows = sessions_of(caller_of(request).user, request.session.session_key)
    return rendered(request, "account/sessions.html", place="account", sessions=rows)


@require_POST
@signed_in
def end_session(request: FleetRequest, session_id: int) -> HttpResponse:
    """Sign out another browser."""
    user = caller_of(request).user
    with transaction.atomic():
        found = UserSession.objects.filter(user=user, pk=session_id).first() if session_id < 2**63 else None
        if found is None:
            raise NotFound("There is no such session; it has ended already.")
        actions.record(user, "end_session", acting_user=user, address=found.ip)
        found.end()
    return back(request, "sessions")


@require_POST
@signed_in
def end_other_sessions(request: FleetRequest) -> HttpResponse:
    """Sign out every browser but this one."""
    user = caller_of(request).user
    with transaction.atomic():
        others = UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key)
        actions.record(user, "end_other_sessions", acting_user=user, count=others.count())
        for each in others:
            each.end()
    return back(request, "sessions")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@reauthentication_required
def delete(request: FleetRequest) -> HttpResponse:
    """What would be lost, and the end of the account once its name was typed."""
    user = caller_of(request).user
    if request.method == "POST" and request.POST.get("name", "").strip() == user.username:
        actions.delete_account(user, acting_user=user)
        # no sign-out: there is nobody any more whom it could be written down for
        request.session.flush()
        return rendered(request, "account/deleted.html", user=None)
    error = WrongUsage("This is not the name of your account.") if request.method == "POST" else None
    left = actions.what_is_left(user)
    refusal = actions.why_not_deleted(user)
    context = {"place": "account", "left": left, "refusal": refusal, "error": error}
    return rendered(request, "account/delete.html", 422 if error else 200, **context)


@require_POST
def cancel_sign_in(request: HttpRequest) -> HttpResponse:
    """Leave a sign-in that waits for its second factor."""
    clear_login(request)
    return redirect("account_login")
