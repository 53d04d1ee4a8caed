"""Every address that control serves."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from pocketfleet.web.api.root import make_api
from pocketfleet.web.assets import serve_asset
from pocketfleet.web.pages import (
    account,
    instances,
    operator_invitations,
    operator_mail,
    releases,
    sign_in,
    stream,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", instances.show, name="instances"),
    path("instances", instances.create, name="create"),
    path("instances/<str:instance_id>/power", instances.power, name="power"),
    path("instances/<str:instance_id>/sleep", instances.sleep, name="sleep"),
    path("ranges", releases.resolve, name="resolve"),
    path("releases/refresh", releases.refresh, name="refresh-releases"),
    path("live", stream.live, name="live"),
    path("sign-in", sign_in.explain, name="sign-in"),
    path("sign-in/<str:secret>", sign_in.follow, name="follow-link"),
    path("sign-out", sign_in.sign_out, name="sign-out"),
    path("account", account.show, name="account"),
    path("account/sessions", account.show_sessions, name="sessions"),
    path("account/sessions/<int:session_id>/end", account.end_session, name="end-session"),
    path("account/sessions/end-others", account.end_other_sessions, name="end-other-sessions"),
    path("account/delete", account.delete, name="delete-account"),
    path("account/sign-in/cancel", account.cancel_sign_in, name="cancel-sign-in"),
    path("account/invited/<str:secret>", operator_invitations.follow, name="invited"),
    path("operator/mail", operator_mail.show, name="operator-mail"),
    path("operator/mail/<int:mail_id>/drop", operator_mail.drop, name="drop-mail"),
    path("operator/invitations", operator_invitations.show, name="operator-invitations"),
    path(
        "operator/invitations/<int:invitation_id>/withdraw",
        operator_invitations.withdraw,
        name="withdraw-sign-up-invitation",
    ),
    path("account/", include("pocketfleet.web.accounts.urls")),
    path("static/<str:name>", serve_asset, name="asset"),
    path("api/v1/", make_api().urls),
]

handler400 = "pocketfleet.web.problems.bad_request"
handler403 = "pocketfleet.web.problems.forbidden"
handler404 = "pocketfleet.web.problems.not_found"
handler429 = "pocketfleet.web.problems.too_many"
handler500 = "pocketfleet.web.problems.unexpected"
