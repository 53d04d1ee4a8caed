"""The operator's lists: who is let in without limits, and who is not let in at all."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_http_methods, require_POST

from pocketfleet.actions import traffic as actions
from pocketfleet.actions.records import whence
from pocketfleet.errors import AddressNotFound, WrongUsage
from pocketfleet.web import traffic
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, for_operators, rendered


@require_http_methods(["GET", "HEAD", "POST"])
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """Both lists, and a form that adds to them."""
    given = {name: request.POST.get(name, "").strip()[:300] for name in ("network", "listing", "note")}
    error = None
    if request.method == "POST":
        user, own = caller_of(request).user, whence.get().address
        try:
            actions.list_address(**_asked(given), caller_address=own, acting_user=user)
            return back(request, "operator-addresses")
        except WrongUsage as refused:
            error = refused
    field = error.facts.get("field", "network") if error else ""
    context = {"given": given, "error": error, "error_field": field, "listed": traffic.listed(), "own": whence.get()}
    return rendered(
        request, "operator/addresses.html", 422 if error else 200, place="operator", tab="addresses", **context
    )


@require_POST
@for_operators
def drop(request: FleetRequest) -> HttpResponse:
    """Take one off its list. Twice is no error: it is off."""
    try:
        actions.drop_address(request.POST.get("network", "")[:100], acting_user=caller_of(request).user)
    except AddressNotFound:
        pass
    return back(request, "operator-addresses")


def _asked(given: dict[str, str]) -> dict[str, str]:
    return {"text": given["network"], "listing": given["listing"], "note": given["note"]}
