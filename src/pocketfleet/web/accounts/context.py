"""What every template knows of who is there and how accounts are made."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from pocketfleet.web.accounts import invited
from pocketfleet.web.pages.guard import visitor


def about_accounts(request: HttpRequest) -> dict[str, Any]:
    """`user`: who is signed in with this browser, or None. What costs a query is asked only where a page shows it."""
    return {
        "user": visitor(request),
        "sign_up": settings.CONFIG.sign_up,
        "may_sign_up": partial(invited.may_sign_up, request),
        "invited": partial(invited.invited_address, request),
        "sends_mail": bool(settings.CONFIG.smtp_url),
    }
