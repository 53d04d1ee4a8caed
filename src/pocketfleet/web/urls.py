"""Every address that control serves."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from pocketfleet.web.api.root import make_api
from pocketfleet.web.assets import serve_asset
from pocketfleet.web.pages import (
    frame,
    instances,
    invitations,
    operator,
    operator_accounts,
    operator_audit,
    operator_instances,
    operator_teams,
    releases,
    sign_in,
    stream,
    team,
    team_audit,
    teams,
    tokens,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", instances.show, name="instances"),
    path("instances", instances.create, name="create"),
    path("instances/<str:ref>/power", instances.power, name="power"),
    path("instances/<str:ref>/sleep", instances.sleep, name="sleep"),
    path("instances/<str:ref>/state", frame.state, name="instance-state"),
    path("teams", teams.show, name="teams"),
    path("teams/new", teams.create, name="create-team"),
    path("teams/<str:team_id>", team.show, name="team"),
    path("teams/<str:team_id>/name", team.rename, name="rename-team"),
    path("teams/<str:team_id>/end", team.end, name="end-team"),
    path("teams/<str:team_id>/leave", team.leave, name="leave-team"),
    path("teams/<str:team_id>/members/<int:user_id>/role", team.change_role, name="change-role"),
    path("teams/<str:team_id>/members/<int:user_id>/remove", team.remove, name="remove-member"),
    path("teams/<str:team_id>/invitations", team.invite, name="invite"),
    path("teams/<str:team_id>/invitations/<str:invitation_id>/withdraw", team.withdraw, name="withdraw-invitation"),
    path("teams/<str:team_id>/audit", team_audit.show, name="team-audit"),
    path("invitations/<str:secret>", invitations.show, name="invitation"),
    path("invitations/<str:secret>/accept", invitations.accept, name="accept-invitation"),
    path("tokens", tokens.show, name="tokens"),
    path("tokens/new", tokens.create, name="create-token"),
    path("tokens/<int:token_id>/revoke", tokens.revoke, name="revoke-token"),
    path("operator", operator.show, name="operator"),
    path("operator/accounts", operator_accounts.show, name="operator-accounts"),
    path("operator/accounts/<int:user_id>/off", operator_accounts.switch_off, name="switch-account-off"),
    path("operator/accounts/<int:user_id>/on", operator_accounts.switch_on, name="switch-account-on"),
    path("operator/accounts/<int:user_id>/operator", operator_accounts.make_operator, name="make-operator"),
    path("operator/accounts/<int:user_id>/take-back", operator_accounts.take_back, name="take-operator-back"),
    path("operator/accounts/<int:user_id>/link", operator_accounts.link, name="let-in"),
    path("operator/instances", operator_instances.show, name="operator-instances"),
    path("operator/instances/<str:ref>/suspend", operator_instances.suspend, name="suspend"),
    path("operator/instances/<str:ref>/lift", operator_instances.lift, name="lift-suspension"),
    path("operator/teams", operator_teams.show, name="operator-teams"),
    path("operator/teams/<str:team_id>/limits", operator_teams.limits, name="team-limits"),
    path("operator/audit", operator_audit.show, name="operator-audit"),
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
