"""Every address that control serves."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from pocketfleet.web.api.root import make_api
from pocketfleet.web.assets import serve_asset
from pocketfleet.web.pages import admin, instances, releases, sign_in, stream

urlpatterns: list[URLPattern | URLResolver] = [
    path("", instances.show, name="instances"),
    path("instances", instances.create, name="create"),
    path("instances/<str:instance_id>/power", instances.power, name="power"),
    path("instances/<str:instance_id>/sleep", instances.sleep, name="sleep"),
    path("instances/<str:ref>/admin", admin.open_admin, name="open-admin"),
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
