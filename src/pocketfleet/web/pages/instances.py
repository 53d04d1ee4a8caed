"""The list of instances, live, and what can be done from it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import instances as actions
from pocketfleet.actions.favourites import set_favourite
from pocketfleet.domain.roles import Verb
from pocketfleet.domain.states import Power
from pocketfleet.models import Instance, Team
from pocketfleet.web import reading, versions
from pocketfleet.web.access import seen_instances, seen_operations, seen_teams
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.digests import digest_of
from pocketfleet.web.pages.guard import back, on_instance, rendered, signed_in

PAGE_SIZE = 50
#: What else than by name, as people read it.
_SORTS = (
    ("awake", "Awake first"),
    ("called", "Last called first"),
    ("size", "Largest first"),
    ("newest", "Newest first"),
    ("release", "By release"),
)
#: What failed is shown this long beside what is under way.
FAILURES_SHOWN = timedelta(minutes=15)


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The page; for htmx only the list, or nothing at all where it is as the browser shows it."""
    if request.htmx and request.htmx.target == "live":
        live = _live(request)
        if live["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return rendered(request, "instances/live.html", **live)
    return rendered(request, "instances/page.html", place="instances", **_live(request))


@require_POST
@on_instance(Verb.OPERATE)
def power(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Switch an instance on or off."""
    wanted = request.POST.get("power", "")
    actions.set_power(instance.id, Power.OFF if wanted == "off" else Power.ON, acting_user=caller_of(request).user)
    return _changed(request, instance)


@require_POST
@on_instance()
def favourite(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Keep an instance at the top of one's own list, or no longer."""
    set_favourite(instance.id, request.POST.get("favourite") == "on", acting_user=caller_of(request).user)
    return _changed(request, instance)


@require_POST
@on_instance(Verb.OPERATE)
def sleep(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Put an instance to sleep now."""
    actions.sleep_instance(instance.id, acting_user=caller_of(request).user)
    return _changed(request, instance)


def _changed(request: FleetRequest, instance: Instance) -> HttpResponse:
    if request.htmx:
        return rendered(request, "instances/live.html", **_live(request))
    here = f"/instances/{instance.id}"
    places = {"overview": here, "danger": f"{here}/danger", "mend": f"{here}/mend"}
    return back(request, places.get(request.GET.get("to", ""), "instances"))


def _live(request: FleetRequest) -> dict[str, Any]:
    """What changes by itself; a fixed number of queries, however many instances there are."""
    caller, asked = caller_of(request), _asked(request)
    seen, first = seen_instances(caller), (asked.page - 1) * PAGE_SIZE
    rows, total = reading.instances(
        settings.CONFIG,
        seen,
        search=asked.search,
        team=asked.team,
        sort=asked.sort,
        user=caller.user,
        offset=first,
        limit=PAGE_SIZE,
    )
    newer = versions.newer_of(rows)
    shown = {
        "instances": [{**row, "newer": newer.get(row["id"])} for row in rows],
        "total": total,
        "counts": reading.process_counts(seen),
        "operations": reading.operations_to_show(seen_operations(caller), timezone.now() - FAILURES_SHOWN),
        "sources": reading.sources(),
        "teams": list(Team.objects.filter(seen_teams(caller)).values("id", "name")),
        **asked._asdict(),
    }
    digest = digest_of(shown)
    may = {row["id"]: caller.may(Verb.OPERATE, row["team"] and row["team"]["id"], row["id"]) for row in rows}
    return {
        **shown,
        "may_operate": {instance_id for instance_id, allowed in may.items() if allowed},
        "digest": digest,
        "sorts": _SORTS,
        "first": first + 1,
        "last": first + len(rows),
        "again": asked.query(seen=digest),
        "previous": asked.query(page=asked.page - 1) if asked.page > 1 else "",
        "next": asked.query(page=asked.page + 1) if first + PAGE_SIZE < total else "",
    }


class Asked(NamedTuple):
    """What of the list somebody wants to see."""

    search: str
    team: str
    sort: str
    page: int

    def query(self, page: int | None = None, **more: str) -> str:
        """The same as the query of an address, defaults left out."""
        page = self.page if page is None else page
        named = {"q": self.search, "team": self.team, "sort": "" if self.sort == "name" else self.sort}
        named |= {"page": str(page) if page > 1 else "", **more}
        return urlencode({name: value for name, value in named.items() if value})


def _asked(request: FleetRequest) -> Asked:
    get = request.GET.get
    sort = get("sort", "name")
    page = _page(get("page", "1"))
    return Asked(get("q", "")[:100], get("team", "")[:20], sort if sort in reading.SORTS else "name", page)


def _page(text: str) -> int:
    return min(max(int(text), 1), 100_000) if text.isascii() and text.isdigit() and len(text) < 9 else 1
