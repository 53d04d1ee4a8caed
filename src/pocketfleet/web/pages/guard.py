"""What stands before every page but the sign-in: somebody must be signed in with a browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse

from pocketfleet.domain.roles import Verb
from pocketfleet.errors import PocketfleetError
from pocketfleet.models import Instance, Operation, User
from pocketfleet.web import problems
from pocketfleet.web.access import instance_for, operator_for
from pocketfleet.web.callers import FleetRequest, Via

P = ParamSpec("P")
View = Callable[Concatenate[FleetRequest, P], HttpResponse]
#: takes the request, the instance, and the rest of the address by name
InstanceView = Callable[..., HttpResponse]


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
    """For views that look after the server: operators only."""

    def checked(request: FleetRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        operator_for(request)
        return view(request, *args, **kwargs)

    guarded: View[P] = signed_in(checked)
    return wraps(view)(guarded)


def on_instance(verb: Verb = Verb.VIEW) -> Callable[[InstanceView], Callable[..., HttpResponse]]:
    """For views of one instance: they are given it in place of the `ref` of the address (its name or id), if the
    visitor may do this to it; what they may not see is not there."""

    def decorate(view: InstanceView) -> Callable[..., HttpResponse]:
        def found(request: FleetRequest, *, ref: str, **address: str) -> HttpResponse:
            return view(request, instance_for(request, ref, verb), **address)

        guarded: Callable[..., HttpResponse] = signed_in(found)
        return wraps(view)(guarded)

    return decorate


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


def back(request: FleetRequest, to: str = "instances", *address: str) -> HttpResponse:
    """After a form without script: to the page, so that reloading does not send the form again. `to`: a page's name,
    or an address of ours that begins with a slash."""
    response = redirect(to, *address)
    response.status_code = 303
    return response


def to_operation(instance: Instance, operation: Operation) -> HttpResponse:
    """To the page that follows an operation."""
    address = reverse("instance-operation", args=[instance.name or instance.id, operation.id])
    return HttpResponseRedirect(address, status=303)


def rendered(request: HttpRequest, template: str, status: int = 200, **context: object) -> HttpResponse:
    """A page or fragment."""
    return render(request, template, {"user": visitor(request), **context}, status=status)
