"""An invitation's link: what it is, and accepting it. Strangers are sent to sign in, and come back."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions.teams import accept_invitation, find_invitation
from pocketfleet.errors import InvitationUnusable, PocketfleetError
from pocketfleet.web import problems
from pocketfleet.web.accounts.invited import let_sign_up, may_sign_up
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, rendered, signed_in, visitor

#: Where the session keeps the secret of a link that was opened before signing in.
_WAITING = "pocketfleet.invitation"


@require_safe
def show(request: FleetRequest, secret: str) -> HttpResponse:
    """What it is. Opening it burns nothing: mail programs look at links by themselves."""
    try:
        invitation = find_invitation(secret)
    except InvitationUnusable as error:
        request.session.pop(_WAITING, None)
        return problems.page(request, error)
    if visitor(request) is None:
        keep_waiting(request, secret)
        # others than its owner may have seen the link, so it proves no address
        let_sign_up(request, invitation.email, proved=False, into_team=invitation.id)
        return redirect("account_signup" if may_sign_up(request) else "account_login")
    request.session.pop(_WAITING, None)
    inside = invitation.team_id in caller_of(request).roles
    return rendered(request, "teams/invitation.html", invitation=invitation, secret=secret, inside=inside)


@require_POST
@signed_in
def accept(request: FleetRequest, secret: str) -> HttpResponse:
    """Join the team."""
    membership = accept_invitation(secret, acting_user=caller_of(request).user)
    return back(request, "team", membership.team_id)


def keep_waiting(request: HttpRequest, secret: str) -> None:
    """Come back to this invitation after signing in, or up; nothing where there is none."""
    if secret:
        request.session[_WAITING] = secret


def waiting(request: HttpRequest) -> str:
    """The secret of the invitation that this browser opened before it signed in; "" where there is none that is open.

    Whoever signs people in sends them to the page `invitation` with it, and not to the list.
    """
    secret = str(request.session.get(_WAITING, ""))
    try:
        return secret if secret and find_invitation(secret) else ""
    except PocketfleetError:
        return ""
