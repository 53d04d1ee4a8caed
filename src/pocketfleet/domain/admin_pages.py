"""Where each release's admin page looks for who is signed in: read in their JavaScript, and tried for real."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pocketfleet.domain.releases import Version, has_superusers_collection

#: The path below which everything on an instance's host is ours; the edge never lets an instance see it.
RESERVED = "/_pocketfleet/"
#: Where a ticket is sent by POST; `routing/templates/haproxy.cfg` lets exactly this one through to node.
ENTRANCE = RESERVED + "admin"
#: PocketBase's own page.
PAGE = "/_/"
#: Seconds that somebody stays signed in: a working day. From 0.23 to 0.28 the page renews its session at each visit,
#: for as long as the instance's own setting says (a day by default).
SESSION_SECONDS = 8 * 3600
#: Seconds from the click to the entrance; the browser needs one or two.
TICKET_SECONDS = 60

#: The first release with PocketBase's new admin page.
_NEW_PAGE = (0, 37)
#: The first release whose page goes on with a token that cannot be renewed; those before, from 0.23, sign out.
_FIXED_TOKENS = (0, 29)


@dataclass(frozen=True, slots=True)
class AdminSession:
    """What the admin page finds in the browser's local storage: `value` as JSON under `key`."""

    key: str
    value: dict[str, Any] = field(repr=False)
    path: str = PAGE


def must_renew(release: str) -> bool:
    """Whether this release's page only works with a token that it can renew."""
    version = Version.parse(release)
    return has_superusers_collection(version) and version.numbers[:2] < _FIXED_TOKENS


def admin_session(release: str, token: str, record: dict[str, Any]) -> AdminSession:
    """The session of this superuser as this release's page keeps it; `record` is the superuser as its API shows it."""
    version = Version.parse(release)
    if not has_superusers_collection(version):
        return AdminSession("pb_admin_auth", {"token": token, "model": record})
    # the new page adds its own path, without the slash at its end, so that several can live on one origin
    new = version.numbers[:2] >= _NEW_PAGE
    key = "__pb_superusers__" + PAGE.rstrip("/") if new else "__pb_superuser_auth__"
    return AdminSession(key, {"token": token, "record": record})
