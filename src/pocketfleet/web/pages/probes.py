"""The owner's own requests, which every rehearsal makes: add one, remove one.

POST /instances/<ref>/versions/probes          add
POST /instances/<ref>/versions/probes/remove   remove
"""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from pocketfleet.actions import upgrades as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import WrongUsage
from pocketfleet.models import Instance
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import on_instance
from pocketfleet.web.pages.operation import to_versions
from pocketfleet.web.pages.versions import page
from pocketfleet.web.probe_form import ProbeForm, without


@require_POST
@on_instance(Verb.OPERATE)
def add(request: FleetRequest, instance: Instance) -> HttpResponse:
    """One more."""
    form = ProbeForm.read(request.POST)
    try:
        probes = [*actions.probes_of(instance.id), form.probe()]
        actions.set_probes(instance.id, probes, acting_user=caller_of(request).user)
    except WrongUsage as error:
        field = str(error.facts.get("field", ""))
        return page(request, instance, 422, probe_form=form, probe_error=error, probe_field=field)
    return to_versions(instance, "probes")


@require_POST
@on_instance(Verb.OPERATE)
def remove(request: FleetRequest, instance: Instance) -> HttpResponse:
    """One less."""
    probes = without(instance.id, request.POST.get("probe", ""))
    actions.set_probes(instance.id, probes, acting_user=caller_of(request).user)
    return to_versions(instance, "probes")
