"""Every address that control serves."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from pocketfleet.web.api.root import make_api
from pocketfleet.web.assets import serve_asset
from pocketfleet.web.pages import (
    frame,
    instances,
    operation,
    probes,
    rehearsal,
    releases,
    sign_in,
    stream,
    versions,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", instances.show, name="instances"),
    path("instances", instances.create, name="create"),
    path("instances/<str:ref>/power", instances.power, name="power"),
    path("instances/<str:ref>/sleep", instances.sleep, name="sleep"),
    path("instances/<str:ref>/state", frame.state, name="instance-state"),
    path("instances/<str:ref>/versions", versions.show, name="versions"),
    path("instances/<str:ref>/versions/choice", versions.choose, name="choose-release"),
    path("instances/<str:ref>/versions/change", versions.change, name="change-release"),
    path("instances/<str:ref>/versions/policy", versions.policy, name="change-policy"),
    path("instances/<str:ref>/versions/retry", versions.retry, name="retry-release"),
    path("instances/<str:ref>/versions/back", versions.back, name="go-back"),
    path("instances/<str:ref>/versions/probes", probes.add, name="add-probe"),
    path("instances/<str:ref>/versions/probes/remove", probes.remove, name="remove-probe"),
    path("instances/<str:ref>/operations/<str:operation_id>", operation.show, name="instance-operation"),
    path("instances/<str:ref>/operations/<str:operation_id>/leave", operation.leave, name="leave-operation"),
    path("instances/<str:ref>/operations/<str:operation_id>/back", operation.back, name="answer-rollback"),
    path("instances/<str:ref>/rehearsals/<str:rehearsal_id>", rehearsal.show, name="rehearsal"),
    path("instances/<str:ref>/rehearsals/<str:rehearsal_id>/accept", rehearsal.accept, name="accept-rehearsal"),
    path("releases", releases.show, name="releases"),
    path("releases/fetch", releases.fetch, name="fetch-release"),
    path("ranges", releases.resolve, name="resolve"),
    path("releases/refresh", releases.refresh, name="refresh-releases"),
    path("live", stream.live, name="live"),
    path("sign-in", sign_in.explain, name="sign-in"),
    path("sign-in/<str:secret>", sign_in.follow, name="follow-link"),
    path("sign-out", sign_in.sign_out, name="sign-out"),
    path("static/<str:name>", serve_asset, name="asset"),
    path("api/v1/", make_api().urls),
]

handler400 = "pocketfleet.web.problems.bad_request"
handler403 = "pocketfleet.web.problems.forbidden"
handler404 = "pocketfleet.web.problems.not_found"
handler500 = "pocketfleet.web.problems.unexpected"
