"""Mail about accounts that waits, for the operators of a server without a mail server."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import account_mail
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, for_operators, rendered


@require_safe
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """What waits, newest first; its links as long as they work."""
    waiting = [mail for mail in account_mail.waiting_mail() if not mail.to_nobody]
    return rendered(request, "operator/mail.html", place="operator", tab="mail", waiting=waiting[::-1])


@require_POST
@for_operators
def drop(request: FleetRequest, mail_id: int) -> HttpResponse:
    """Forget one that was passed on."""
    account_mail.drop_mail(mail_id, acting_user=caller_of(request).user)
    return back(request, "operator-mail")
