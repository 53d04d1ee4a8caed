"""What people may do: the roles in a team, the verbs of pages and tokens, and which role has which verb."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody is in a team."""

    OWNER = "owner"
    MAINTAINER = "maintainer"
    VIEWER = "viewer"


class Verb(StrEnum):
    """What a page or a route of the API does; tokens are scoped by the same words."""

    #: see instances, logs, events, reports, and who is in the team
    VIEW = "view"
    #: power, sleep, rename, settings, secrets, snapshots and backups made or removed, upgrades, rollbacks, restores
    OPERATE = "operate"
    #: make instances, clones and imports
    CREATE = "create"
    #: take data away: backups, uploads for restores, the instance's own admin page
    DATA = "data"
    #: delete an instance, or move it to another team
    DELETE = "delete"
    #: invite, change roles, remove people, rename the team; the team's audit
    MANAGE = "manage"
    #: the server itself: everybody's accounts, limits, suspension, releases
    SERVE = "serve"


ROLE_VERBS: dict[Role, frozenset[Verb]] = {
    Role.VIEWER: frozenset({Verb.VIEW}),
    Role.MAINTAINER: frozenset({Verb.VIEW, Verb.OPERATE, Verb.CREATE, Verb.DATA}),
    Role.OWNER: frozenset(Verb) - {Verb.SERVE},
}
#: What a token may be given.
ALL_VERBS = tuple(Verb)


def may(role: Role | str | None, verb: Verb) -> bool:
    """Whether somebody with this role in a team may do this to what is the team's; None: not in the team."""
    return role is not None and verb in ROLE_VERBS[Role(role)]


def roles_that_may(verb: Verb) -> list[Role]:
    """The roles that have this verb."""
    return [role for role, verbs in ROLE_VERBS.items() if verb in verbs]
