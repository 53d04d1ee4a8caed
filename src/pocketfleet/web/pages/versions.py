"""The page Versions: what runs and comes next, choosing a release, how the range is followed, what was, ways back.

GET  /instances/<ref>/versions          the page; for htmx one of its live parts, or nothing where it is as shown
GET  /instances/<ref>/versions/choice   what one choice would mean
POST /instances/<ref>/versions/change   rehearse a choice, or switch to it
POST /instances/<ref>/versions/policy   how the range is followed, and when
POST /instances/<ref>/versions/retry    try a refused release once more
POST /instances/<ref>/versions/back     go back to a snapshot
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import upgrades as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import NoReleaseMatches, WrongRange, WrongSetting
from pocketfleet.models import Instance
from pocketfleet.web import picking, reading, versions
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.digests import digest_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance, to_operation
from pocketfleet.web.pages.operation import to_versions
from pocketfleet.web.policy_form import PolicyForm
from pocketfleet.web.probe_form import ProbeForm, probe_rows

#: Parts of the page that look again by themselves, and their templates.
_LIVE = {"present": "versions/present.html", "past": "versions/past.html"}
_OWN = "own"


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The page, or a part of it."""
    part = request.htmx.target if request.htmx else None
    if part in _LIVE:
        live = _live(instance, part)
        if live["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return framed(request, _LIVE[part], instance, "versions", 200, **{part: live})
    return page(request, instance, text=request.GET.get("range", ""))


@require_safe
@on_instance()
def choose(request: FleetRequest, instance: Instance) -> HttpResponse:
    """What the choice in the form would mean."""
    found = picking.choice(instance, _chosen(request.GET), picking.known_versions(), versions.flags(instance))
    return framed(request, "versions/choice.html", instance, "versions", choice=found)


@require_POST
@on_instance(Verb.OPERATE)
def change(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Open the operation, and go to where it is followed. A switch rehearses first, and asks where it must."""
    text = _chosen(request.POST)
    try:
        operation = actions.upgrade_instance(
            instance.id,
            text,
            rehearse_only=request.POST.get("do") == "rehearse",
            acting_user=caller_of(request).user,
        )
    except (WrongRange, NoReleaseMatches) as error:
        return page(request, instance, 422, text=text, problem=error.detail)
    return to_operation(instance, operation)


@require_POST
@on_instance(Verb.OPERATE)
def policy(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Policy and window together."""
    form = PolicyForm.read(request.POST)
    try:
        actions.change_policy(
            instance.id, policy=form.policy, window=form.window(), acting_user=caller_of(request).user
        )
    except WrongSetting as error:
        return page(request, instance, 422, policy_form=form, policy_error=error)
    return to_versions(instance, "following")


@require_POST
@on_instance(Verb.OPERATE)
def retry(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The owner asks again for what failed, or was taken back: rehearsed anew, and switched to if that is safe."""
    release = request.POST.get("release", "")
    known = picking.known_versions()
    target = versions.resolved(instance.range, known)
    follows = target is not None and target.text == release
    operation = actions.upgrade_instance(instance.id, None if follows else release, acting_user=caller_of(request).user)
    return to_operation(instance, operation)


@require_POST
@on_instance(Verb.OPERATE)
def back(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Go back to a snapshot; where anything would be lost it asks first."""
    operation = actions.rollback_instance(
        instance.id, request.POST.get("snapshot") or None, acting_user=caller_of(request).user
    )
    return to_operation(instance, operation)


def page(request: FleetRequest, instance: Instance, status: int = 200, **more: Any) -> HttpResponse:
    """The whole page; `more` is what a form that was refused has to show: `text` and `problem`, `policy_form` and
    `policy_error`, `probe_form` and `probe_error`."""
    flags = versions.flags(instance)
    catalogue = reading.releases()
    context: dict[str, Any] = {
        "lines": picking.lines(catalogue, instance.release, flags),
        "present": _live(instance, "present"),
        "past": _live(instance, "past"),
        "policy_form": PolicyForm.of(instance),
        "next_window": versions.next_window(instance),
        "probes": probe_rows(instance.id),
        "probe_form": ProbeForm(),
    }
    if more.get("text") and not more.get("problem"):
        more["choice"] = picking.choice(instance, more["text"], picking.known_versions(), flags)
    return framed(request, "versions/page.html", instance, "versions", status, **context | more)


def _live(instance: Instance, part: str) -> dict[str, Any]:
    if part == "present":
        shown: dict[str, Any] = versions.present(instance)
    else:
        shown = {
            "changes": versions.history(instance.id),
            "rehearsals": reading.rehearsals(instance.id, 10),
            "snapshots": versions.ways_back(instance.id),
        }
    return {**shown, "digest": digest_of(shown)}


def _chosen(form: Any) -> str:
    """The range that is chosen in the picker; the free field counts where it is chosen, or alone."""
    picked, own = form.get("choice", ""), form.get("own", "").strip()
    return str(own if picked == _OWN or not picked else picked)[:500]
