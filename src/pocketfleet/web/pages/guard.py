"""What stands before every page but the sign-in: somebody must be signed in with a browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from pocketfleet.errors import NotAllowed, PocketfleetError
from pocketfleet.models import User
from pocketfleet.web import problems
from pocketfleet.web.callers import FleetRequest, Via, caller_of

P = ParamSpec("P")
View = Callable[Concatenate[FleetRequest, P], HttpResponse]


def signed_in(view: View[P]) -> View[P]:
    """Send strangers to the sign-in page, and show typed errors as people can read them."""

    @wraps(view)
    def guarded(request: FleetRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if visitor(request) is None:
            return to_sign_in(request)
        try:
            return view(request, *args, **kwargs)
        except PocketfleetError as error:
            return problems.page(request, error)

    return guarded


def for_operators(view: View[P]) -> View[P]:
    """For those who look after the server; the others are refused."""

    @wraps(view)
    def checked(request: FleetRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not caller_of(request).user.is_superuser:
            raise NotAllowed("This is for the operators of this server.")
        return view(request, *args, **kwargs)

    return signed_in(checked)


def visitor(request: HttpRequest) -> User | None:
    """Who is signed in with this browser. A token is not enough for pages: their forms trust the session alone."""
    caller = getattr(request, "caller", None)
    return caller.user if caller is not None and caller.via is Via.SESSION else None


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page, and back here from it; a fragment that htmx asked for must not become that page."""
    address = reverse("account_login")
    if request.method == "GET" and request.path != "/" and not getattr(request, "htmx", False):
        address += "?" + urlencode({"next": request.get_full_path()})
    if getattr(request, "htmx", False):
        response = HttpResponse(status=401)
        response.headers["HX-Redirect"] = address
        return response
    return redirect(address)


def back(request: FleetRequest, to: str = "instances") -> HttpResponse:
    """After a form without script: to the page, so that reloading does not send the form again."""
    response = redirect(to)
    response.status_code = 303
    return response


def rendered(request: HttpRequest, template: str, status: int = 200, **context: object) -> HttpResponse:
    """A page or fragment."""
    return render(request, template, {"user": visitor(request), **context}, status=status)
