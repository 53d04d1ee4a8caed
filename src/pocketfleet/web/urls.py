"""Every address that control serves."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from pocketfleet.web.api.root import make_api
from pocketfleet.web.assets import serve_asset
from pocketfleet.web.pages import (
    backups,
    danger,
    events,
    frame,
    imports,
    instances,
    logs,
    new,
    overview,
    releases,
    restore,
    secrets,
    sign_in,
    stream,
)
from pocketfleet.web.pages import settings as pages_settings

urlpatterns: list[URLPattern | URLResolver] = [
    path("", instances.show, name="instances"),
    path("new", new.show, name="new"),
    path("new/create", new.create, name="create"),
    path("names", new.check_name, name="check-name"),
    path("instances/<str:ref>/power", instances.power, name="power"),
    path("instances/<str:ref>/sleep", instances.sleep, name="sleep"),
    path("instances/<str:ref>/favourite", instances.favourite, name="favourite"),
    path("instances/<str:ref>", overview.show, name="overview"),
    path("instances/<str:ref>/usage", overview.used, name="usage"),
    path("instances/<str:ref>/making", new.making, name="making"),
    path("instances/<str:ref>/logs", logs.show, name="logs"),
    path("instances/<str:ref>/logs/file", logs.download, name="log-file"),
    path("instances/<str:ref>/events", events.show, name="events"),
    path("instances/<str:ref>/secrets", secrets.show, name="secrets"),
    path("instances/<str:ref>/settings", pages_settings.show, name="settings"),
    path("import", imports.show, name="import"),
    path("instances/<str:ref>/backups", backups.show, name="backups"),
    path("instances/<str:ref>/backups/make", backups.back_up, name="make-backup"),
    path("instances/<str:ref>/backups/verify", backups.verify, name="verify-backup"),
    path("instances/<str:ref>/backups/remove", backups.remove, name="remove-copy"),
    path("instances/<str:ref>/backups/plan", backups.plan, name="backup-plan"),
    path("instances/<str:ref>/snapshots/take", backups.take_snapshot, name="take-snapshot"),
    path("instances/<str:ref>/snapshots/retention", backups.retention, name="retention"),
    path("instances/<str:ref>/restore", restore.show, name="restore"),
    path("instances/<str:ref>/danger", danger.show, name="danger"),
    path("instances/<str:ref>/danger/rename", danger.rename, name="rename"),
    path("instances/<str:ref>/danger/clone", danger.clone, name="clone"),
    path("instances/<str:ref>/danger/move", danger.move, name="move"),
    path("instances/<str:ref>/danger/delete", danger.delete, name="delete"),
    path("instances/<str:ref>/state", frame.state, name="instance-state"),
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
