"""Who may use what, as data: a row for every page and every route of the API. `test_walk.py` asks all of them as
everybody, and fails for one that has no row here.

To add a route: one line with its method, its address, who may use it (`WHO`), and the status of success.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ROLES = ("stranger", "viewer", "maintainer", "owner", "outsider", "operator", "token")
#: What becomes of a request by each role: `yes`, or the status of the refusal. `viewer`, `maintainer` and `owner` are
#: in the team that the address is about, `outsider` owns another one, `token` is the owner's, for this team, and may
#: view and operate.
WHO: dict[str, tuple[int | str, ...]] = {
    "everybody": ("yes", "yes", "yes", "yes", "yes", "yes", "yes"),
    "signed in": (401, "yes", "yes", "yes", "yes", "yes", "yes"),
    "a person": (401, "yes", "yes", "yes", "yes", "yes", 403),
    "view": (401, "yes", "yes", "yes", 404, "yes", "yes"),
    "operate": (401, 403, "yes", "yes", 404, "yes", "yes"),
    "create": (401, 403, "yes", "yes", 404, "yes", 403),
    "data": (401, 403, "yes", "yes", 404, "yes", 403),
    "delete": (401, 403, 403, "yes", 404, "yes", 403),
    "manage": (401, 403, 403, "yes", 404, "yes", 403),
    "serve": (401, 403, 403, 403, 403, "yes", 403),
    "serve in a team": (401, 403, 403, 403, 404, "yes", 403),
    # what only those find who have it
    "nobody has it": (401, 404, 404, 404, 404, 404, 404),
    "nobody has it, person": (401, 404, 404, 404, 404, 404, 403),
    "a member, person": (401, 409, 409, 409, 404, 404, 403),
}


@dataclass(frozen=True)
class Route:
    """One page or route: `{team}`, `{ref}` and so on are filled in by the walk."""

    method: str
    path: str
    who: str
    #: status of success
    done: int = 200
    #: JSON of the API, a form of a page
    body: Any = field(default=None, hash=False)


API = (
    Route("GET", "/server", "signed in"),
    Route("GET", "/me", "signed in"),
    Route("POST", "/sign-in-links", "a person", 201, {}),
    Route("GET", "/instances", "signed in"),
    Route("POST", "/instances", "create", 202, {"name": "fresh", "team": "{team}"}),
    Route("GET", "/instances/{ref}", "view"),
    Route("PATCH", "/instances/{ref}", "operate", 200, {"dev": True}),
    Route("DELETE", "/instances/{ref}", "delete", 202),
    Route("POST", "/instances/{ref}/sleep", "operate", 202, {}),
    Route("POST", "/instances/{ref}/upgrade", "operate", 202, {"rehearse_only": True}),
    Route("POST", "/instances/{ref}/rollback", "operate", 202, {}),
    Route("GET", "/instances/{ref}/rehearsals", "view"),
    Route("GET", "/rehearsals/{rehearsal_id}", "view"),
    Route("GET", "/instances/{ref}/probes", "view"),
    Route("PUT", "/instances/{ref}/probes", "operate", 200, {"items": [{"path": "/api/health"}]}),
    Route("GET", "/instances/{ref}/usage", "view"),
    Route("GET", "/instances/{ref}/snapshots", "view"),
    Route("POST", "/instances/{ref}/snapshots", "operate", 202, {}),
    Route("DELETE", "/instances/{ref}/snapshots/{snapshot_id}", "operate", 202),
    Route("GET", "/instances/{ref}/backups", "view"),
    Route("POST", "/instances/{ref}/backups", "operate", 202, {}),
    Route("POST", "/instances/{ref}/backups/{name}/verify", "operate", 202, {}),
    Route("DELETE", "/instances/{ref}/backups/{name}", "operate", 202),
    Route("GET", "/instances/{ref}/backups/{name}/file", "data"),
    Route("POST", "/uploads", "signed in", 201, {}),
    Route("POST", "/instances/{ref}/restore", "operate", 202, {"backup": "one.zip"}),
    Route("POST", "/instances/{ref}/clone", "create", 202, {"name": "copy"}),
    Route("POST", "/imports", "create", 202, {"name": "imported", "upload": "uploaded1234567", "team": "{team}"}),
    Route("GET", "/instances/{ref}/events", "view"),
    Route("GET", "/instances/{ref}/secrets", "view"),
    Route("PATCH", "/instances/{ref}/secrets", "operate", 200, {"KEY": "value"}),
    Route("GET", "/instances/{ref}/logs", "view"),
    Route("GET", "/instances/{ref}/logs/events", "view"),
    Route("GET", "/instances/{ref}/operations", "view"),
    Route("POST", "/instances/{ref}/move", "delete", 200, {"team": "{team}"}),
    Route("GET", "/operations", "signed in"),
    Route("GET", "/operations/{operation_id}", "view"),
    Route("GET", "/operations/{operation_id}/events", "view"),
    Route("GET", "/releases", "signed in"),
    Route("POST", "/releases/refresh", "serve", 202, {}),
    Route("POST", "/releases/{version}/fetch", "serve", 202, {}),
    Route("GET", "/ranges", "signed in"),
    Route("GET", "/teams", "signed in"),
    Route("POST", "/teams", "a person", 201, {"name": "Another"}),
    Route("GET", "/teams/{team_id}", "view"),
    Route("PATCH", "/teams/{team_id}", "manage", 200, {"name": "Renamed"}),
    Route("DELETE", "/teams/{team_id}", "manage", 409),
    Route("PATCH", "/teams/{team_id}/members/{user_id}", "manage", 200, {"role": "maintainer"}),
    Route("DELETE", "/teams/{team_id}/members/{user_id}", "manage", 204),
    Route("GET", "/teams/{team_id}/invitations", "manage"),
    Route("POST", "/teams/{team_id}/invitations", "manage", 201, {"email": "new@example.org"}),
    Route("DELETE", "/teams/{team_id}/invitations/{invitation_id}", "manage", 204),
    Route("POST", "/invitations/accept", "a person", 200, {"secret": "{secret}"}),
    Route("GET", "/teams/{team_id}/audit", "manage"),
    Route("GET", "/audit", "serve"),
    Route("GET", "/tokens", "a person"),
    Route("POST", "/tokens", "a person", 201, {"name": "laptop"}),
    Route("DELETE", "/tokens/{token_id}", "nobody has it, person", 204),
    Route("GET", "/events", "signed in"),
)

PAGES = (
    Route("GET", "/", "a person"),
    Route("GET", "/new", "a person"),
    Route("POST", "/new/create", "a person", 200, {"name": "fresh"}),
    Route("GET", "/names", "a person"),
    Route("GET", "/import", "a person"),
    Route("POST", "/import", "a person", 303, {"name": "fresh", "upload": "uploaded1234567"}),
    Route("GET", "/instances/{ref}", "view"),
    Route("GET", "/instances/{ref}/usage", "view"),
    Route("GET", "/instances/{ref}/making", "view"),
    Route("GET", "/instances/{ref}/logs", "view"),
    Route("GET", "/instances/{ref}/logs/file", "view"),
    Route("GET", "/instances/{ref}/events", "view"),
    Route("GET", "/instances/{ref}/secrets", "view"),
    Route("POST", "/instances/{ref}/secrets", "operate", 303, {"name": "KEY", "value": "value"}),
    Route("GET", "/instances/{ref}/settings", "view"),
    Route("POST", "/instances/{ref}/settings", "operate", 303, {"idle_timeout": "60"}),
    Route("POST", "/instances/{ref}/favourite", "view", 303, {"favourite": "on"}),
    Route("GET", "/instances/{ref}/admin", "data"),
    Route("POST", "/instances/{ref}/admin", "data"),
    Route("GET", "/instances/{ref}/backups", "view"),
    Route("POST", "/instances/{ref}/backups/make", "operate", 303),
    Route("POST", "/instances/{ref}/backups/verify", "operate", 303, {"backup": "one.zip"}),
    Route("POST", "/instances/{ref}/backups/remove", "operate", 303, {"backup": "one.zip"}),
    Route("POST", "/instances/{ref}/backups/plan", "operate", 303, {"time": "0 3 * * *", "keep": "7"}),
    Route("POST", "/instances/{ref}/snapshots/take", "operate", 303),
    Route("POST", "/instances/{ref}/snapshots/retention", "operate", 303, {"last": "5", "daily": "7", "weekly": "4"}),
    Route("GET", "/instances/{ref}/restore", "operate"),
    Route("POST", "/instances/{ref}/restore", "operate", 303, {"backup": "one.zip"}),
    Route("GET", "/instances/{ref}/danger", "operate"),
    Route("POST", "/instances/{ref}/danger/rename", "operate", 303, {"name": "renamed"}),
    Route("POST", "/instances/{ref}/danger/clone", "create", 303, {"name": "copy"}),
    Route("POST", "/instances/{ref}/danger/move", "delete", 303, {"team": "{team}"}),
    Route("POST", "/instances/{ref}/danger/delete", "delete", 303, {"confirm": "{ref}"}),
    Route("POST", "/instances/{ref}/power", "operate", 303, {"power": "on"}),
    Route("POST", "/instances/{ref}/sleep", "operate", 303),
    Route("GET", "/instances/{ref}/state", "view"),
    Route("GET", "/teams", "a person"),
    Route("POST", "/teams/new", "a person", 303, {"name": "Another"}),
    Route("GET", "/teams/{team_id}", "view"),
    Route("POST", "/teams/{team_id}/name", "manage", 303, {"name": "Renamed"}),
    Route("POST", "/teams/{team_id}/end", "manage", 409, {"confirm": "Acme"}),
    Route("POST", "/teams/{team_id}/leave", "a member leaves", 303),
    Route("POST", "/teams/{team_id}/members/{user_id}/role", "manage", 303, {"role": "maintainer"}),
    Route("POST", "/teams/{team_id}/members/{user_id}/remove", "manage", 303),
    Route("POST", "/teams/{team_id}/invitations", "manage", 200, {"email": "new@example.org", "role": "viewer"}),
    Route("POST", "/teams/{team_id}/invitations/{invitation_id}/withdraw", "manage", 303),
    Route("GET", "/teams/{team_id}/audit", "manage"),
    Route("GET", "/invitations/{secret}", "a person"),
    Route("POST", "/invitations/{secret}/accept", "a person", 303),
    Route("GET", "/tokens", "a person"),
    Route("POST", "/tokens/new", "a person", 200, {"name": "laptop", "verbs": "view", "life": "30"}),
    Route("POST", "/tokens/{token_id}/revoke", "nobody has it"),
    Route("GET", "/operator", "serve"),
    Route("GET", "/operator/accounts", "serve"),
    Route("POST", "/operator/accounts/{user_id}/off", "serve", 303),
    Route("POST", "/operator/accounts/{user_id}/on", "serve", 303),
    Route("POST", "/operator/accounts/{user_id}/operator", "serve", 303),
    Route("POST", "/operator/accounts/{user_id}/take-back", "serve", 303),
    Route("POST", "/operator/accounts/{user_id}/link", "serve", 200),
    Route("GET", "/operator/instances", "serve"),
    Route("POST", "/operator/instances/{ref}/suspend", "serve", 303, {"reason": "It sent mail to strangers."}),
    Route("POST", "/operator/instances/{ref}/lift", "serve", 409),
    Route("GET", "/operator/teams", "serve"),
    Route("POST", "/operator/teams/{team_id}/limits", "serve", 303, {"awake_limit": "2", "storage_limit": ""}),
    Route("GET", "/operator/audit", "serve"),
    Route("GET", "/ranges", "a person"),
    Route("POST", "/releases/refresh", "serve", 303),
    Route("GET", "/live", "a stream"),
    Route("GET", "/sign-in", "signed out"),
    Route("GET", "/sign-in/{link}", "a dead link"),
    Route("POST", "/sign-out", "a person", 303),
    Route("GET", "/static/{name}", "everybody"),
)
