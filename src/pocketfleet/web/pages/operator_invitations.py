"""An operator's invitations to make an account on this server, and what an invited person sees."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from pocketfleet.actions import sign_up
from pocketfleet.errors import Conflict, InvitationUnusable, WrongUsage
from pocketfleet.web import problems
from pocketfleet.web.accounts.invited import let_sign_up
from pocketfleet.web.accounts.letters import send_invitation
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, for_operators, rendered, visitor


@require_http_methods(["GET", "HEAD", "POST"])
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """The open invitations, and a form for another; its link is in this answer alone."""
    given, link, error = request.POST.get("email", "").strip(), "", None
    if request.method == "POST":
        try:
            link = _invite(request, given)
        except (WrongUsage, Conflict) as refused:
            error = refused
    context = {
        "place": "operator",
        "tab": "invitations",
        "invitations": sign_up.open_invitations(),
        "given": given,
        "link": link,
    }
    return rendered(request, "operator/invitations.html", 422 if error else 200, error=error, **context)


@require_POST
@for_operators
def withdraw(request: FleetRequest, number: int) -> HttpResponse:
    """Make an invitation's link work no longer."""
    sign_up.withdraw(number, acting_user=caller_of(request).user)
    return back(request, "operator-invitations")


@require_GET
def follow(request: HttpRequest, secret: str) -> HttpResponse:
    """By the link of an invitation to the sign-up."""
    if visitor(request) is not None:
        return redirect("instances")
    try:
        found = sign_up.find_invitation(secret)
    except InvitationUnusable as error:
        return problems.page(request, error)
    let_sign_up(request, found.email, proved=True, invitation_id=found.pk)
    return redirect("account_signup")


def _invite(request: FleetRequest, email: str) -> str:
    secret = sign_up.invite(email, acting_user=caller_of(request).user)
    link = f"{settings.CONFIG.public_url}{reverse('invited', args=[secret])}"
    if settings.CONFIG.smtp_url:
        send_invitation(email, link)
    return link
