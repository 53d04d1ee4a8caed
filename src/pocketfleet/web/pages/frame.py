"""The frame around every page of one instance: its head, its tabs, what the visitor may do; and the live head alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.domain.roles import Verb
from pocketfleet.models import Instance
from pocketfleet.web import reading
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import on_instance, rendered


class Tab(NamedTuple):
    """One of an instance's pages; `path` comes after `/instances/<name>`."""

    id: str
    label: str
    path: str
    verb: Verb = Verb.VIEW


TABS = (
    Tab("overview", "Overview", ""),
    Tab("versions", "Versions", "/versions"),
    Tab("backups", "Backups", "/backups"),
    Tab("logs", "Logs", "/logs"),
    Tab("events", "Events", "/events"),
    Tab("secrets", "Secrets", "/secrets"),
    Tab("settings", "Settings", "/settings"),
    Tab("danger", "Danger Zone", "/danger", Verb.OPERATE),
)


def framed(
    request: FleetRequest, template: str, instance: Instance, tab: str, status: int = 200, **context: Any
) -> HttpResponse:
    """A page that extends `instance/frame.html`, or a fragment of one: with `row` (reading.instance), `may` (a truth
    for each verb) and the tabs; `notice` ({kind: warn|bad|good, text}) stands above it."""
    caller = caller_of(request)
    may = {str(verb): caller.may(verb, instance.team_id, instance.id) for verb in Verb}
    given: dict[str, Any] = {"row": reading.instance(settings.CONFIG, instance.id)}
    given |= {"may": may, "tab": tab, "tabs": [item for item in TABS if may[item.verb]], "place": "instances"}
    return rendered(request, template, status, **given | context)


@require_safe
@on_instance()
def state(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The head's live part; nothing where it is as the browser shows it."""
    row = reading.instance(settings.CONFIG, instance.id)
    opened = row["operation"]["id"] if row["operation"] else ""
    if request.GET.get("seen") == f"{row['state']}{row['generation']}{row['observed_generation']}{opened}":
        return HttpResponse(status=204)
    return rendered(request, "instance/state.html", row=row)
