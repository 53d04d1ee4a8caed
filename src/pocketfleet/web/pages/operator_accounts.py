"""All accounts, for operators: found, switched off and on, made operators, let in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import operators as actions
from pocketfleet.actions.sign_in import LINK_SECONDS
from pocketfleet.errors import Conflict
from pocketfleet.web import operators
from pocketfleet.web.access import operator_for
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import back, for_operators
from pocketfleet.web.pages.operator_lists import listing


@require_safe
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """The page."""
    return _page(request)


@require_POST
@for_operators
def switch_off(request: FleetRequest, user_id: int) -> HttpResponse:
    """They are signed out and stay out."""
    return _done(request, actions.switch_account_off, user_id)


@require_POST
@for_operators
def switch_on(request: FleetRequest, user_id: int) -> HttpResponse:
    """They may sign in again."""
    return _done(request, actions.switch_account_on, user_id)


@require_POST
@for_operators
def make_operator(request: FleetRequest, user_id: int) -> HttpResponse:
    """They may do everything here."""
    return _done(request, actions.make_operator_of, user_id)


@require_POST
@for_operators
def take_back(request: FleetRequest, user_id: int) -> HttpResponse:
    """They are an operator no longer."""
    return _done(request, actions.take_operator_back, user_id)


@require_POST
@for_operators
def link(request: FleetRequest, user_id: int) -> HttpResponse:
    """A link for one who cannot get in; it is in this answer alone."""
    try:
        user, secret = actions.let_in(user_id, acting_user=operator_for(request).user)
    except Conflict as error:
        return _page(request, error.status, notice={"kind": "bad", "text": error.detail})
    address = f"{settings.CONFIG.public_url}/sign-in/{secret}"
    return _page(request, made={"name": user.get_username(), "link": address, "minutes": LINK_SECONDS // 60})


def _done(request: FleetRequest, act: Any, user_id: int) -> HttpResponse:
    try:
        act(user_id, acting_user=operator_for(request).user)
    except Conflict as error:
        return _page(request, error.status, notice={"kind": "bad", "text": error.detail})
    return back(request, "operator-accounts")


def _page(request: FleetRequest, status: int = 200, **context: Any) -> HttpResponse:
    choices = (("operators", "operators"), ("off", "switched off"))
    me = operator_for(request).user.pk
    return listing(request, "accounts", operators.accounts, status, choices=choices, me=me, **context)
