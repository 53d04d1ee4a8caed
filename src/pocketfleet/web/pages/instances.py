"""The list of instances, live, and what can be done from it."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import instances as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.domain.states import Power
from pocketfleet.errors import (
    NameTaken,
    NoReleaseMatches,
    PocketfleetError,
    WrongName,
    WrongRange,
    WrongUsage,
)
from pocketfleet.models import Instance
from pocketfleet.web import reading
from pocketfleet.web.access import seen_instances, seen_operations
from pocketfleet.web.api.instances import default_email, new_password
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, on_instance, rendered, signed_in

PAGE_SIZE = 50
#: What failed is shown this long beside what is under way.
FAILURES_SHOWN = timedelta(minutes=15)

#: The field of the form that an error is about.
_FIELD_OF: tuple[tuple[type[PocketfleetError], str], ...] = (
    (WrongName, "name"),
    (NameTaken, "name"),
    (WrongRange, "range"),
    (NoReleaseMatches, "range"),
)
_FIELDS = ("name", "range", "email", "password")


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The page; for htmx only the list, or nothing at all where it is as the browser shows it."""
    if request.htmx and request.htmx.target == "live":
        live = _live(request)
        if live["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return rendered(request, "instances/live.html", **live)
    return rendered(request, "instances/page.html", place="instances", **_live(request), **_form())


@require_POST
@signed_in
def create(request: FleetRequest) -> HttpResponse:
    """Make an instance. Its password is in this answer alone, so there is no redirect to a page that shows it."""
    given = {name: request.POST.get(name, "").strip() for name in _FIELDS}
    given["password"] = request.POST.get("password", "")
    email = given["email"] or default_email(given["name"])
    password = given["password"] or new_password()
    try:
        instance, _ = actions.create_instance(
            given["name"],
            email=email,
            password=password,
            version_range=given["range"] or None,
            acting_user=caller_of(request).user,
        )
    except (WrongUsage, NameTaken, NoReleaseMatches) as error:
        return _with_form(request, 422, _form(given, error))
    created = {
        "row": reading.instance(settings.CONFIG, instance.id),
        "email": email,
        "password": None if given["password"] else password,
    }
    return _with_form(request, 200, {**_form(), "created": created})


@require_POST
@on_instance(Verb.OPERATE)
def power(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Switch an instance on or off."""
    wanted = request.POST.get("power", "")
    actions.set_power(instance.id, Power.OFF if wanted == "off" else Power.ON, acting_user=caller_of(request).user)
    return _changed(request)


@require_POST
@on_instance(Verb.OPERATE)
def sleep(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Put an instance to sleep now."""
    actions.sleep_instance(instance.id, acting_user=caller_of(request).user)
    return _changed(request)


def _changed(request: FleetRequest) -> HttpResponse:
    return rendered(request, "instances/live.html", **_live(request)) if request.htmx else back(request)


def _with_form(request: FleetRequest, status: int, form: dict[str, Any]) -> HttpResponse:
    if request.htmx:
        return rendered(request, "instances/new.html", status, **form)
    return rendered(request, "instances/page.html", status, place="instances", **_live(request), **form)


def _live(request: FleetRequest) -> dict[str, Any]:
    """What changes by itself; five queries, however many instances there are."""
    search = request.GET.get("q", "")[:100]
    page = _page(request.GET.get("page", "1"))
    caller = caller_of(request)
    seen, first = seen_instances(caller), (page - 1) * PAGE_SIZE
    rows, total = reading.instances(
        settings.CONFIG, seen, search=search, offset=(page - 1) * PAGE_SIZE, limit=PAGE_SIZE
    )
    shown = {
        "instances": rows,
        "total": total,
        "counts": reading.process_counts(seen),
        "operations": reading.operations_to_show(seen_operations(caller), timezone.now() - FAILURES_SHOWN),
        "sources": reading.sources(),
        "search": search,
        "page": page,
        "pages": max(1, -(-total // PAGE_SIZE)),
    }
    digest = hashlib.sha256(json.dumps(shown, cls=DjangoJSONEncoder).encode()).hexdigest()[:16]
    query = {name: value for name, value in (("q", search), ("page", page if page > 1 else "")) if value}
    return {
        **shown,
        "digest": digest,
        "first": first + 1,
        "last": first + len(rows),
        "again": urlencode({**query, "seen": digest}),
        "previous": urlencode({**query, "page": page - 1}) if page > 1 else "",
        "next": urlencode({**query, "page": page + 1}) if page * PAGE_SIZE < total else "",
    }


def _form(given: dict[str, str] | None = None, error: PocketfleetError | None = None) -> dict[str, Any]:
    return {
        "given": given or {},
        "error": error,
        "error_field": _field_of(error) if error is not None else "",
        "standard": _standard_range(),
        "config": settings.CONFIG,
        "address": settings.CONFIG.instance_url("name").partition("://name"),
    }


def _field_of(error: PocketfleetError) -> str:
    named = next((field for kind, field in _FIELD_OF if isinstance(error, kind)), "")
    return named or str(error.facts.get("field", ""))


def _standard_range() -> dict[str, Any] | None:
    try:
        return reading.resolved("")
    except NoReleaseMatches:
        return None


def _page(text: str) -> int:
    return min(max(int(text), 1), 100_000) if text.isascii() and text.isdigit() and len(text) < 9 else 1
