"""What changed for everybody from release to release: shown beside a rehearsal's verdict, whatever it is.

From PocketBase's changelog and from running releases side by side; only what an owner may notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pocketfleet.domain.releases import Version, boundaries_between


class Touches(StrEnum):
    """What a change is about."""

    API = "api"
    HOOKS = "hooks"
    SIGN_IN = "sign-in"
    DATA = "data"
    FILES = "files"
    COMMANDS = "commands"
    DASHBOARD = "dashboard"


@dataclass(frozen=True, slots=True)
class BehaviourChange:
    """One change, in force from `since` on until `until` takes it back."""

    since: Version
    touches: Touches
    text: str
    until: Version | None = None

    def as_json(self) -> dict[str, str]:
        """As a report keeps it."""
        return {"since": str(self.since), "touches": str(self.touches), "text": self.text}


def _change(since: str, touches: Touches, text: str, until: str = "") -> BehaviourChange:
    return BehaviourChange(Version(since), touches, text, Version(until) if until else None)


#: In the order of releases.
BEHAVIOUR_CHANGES = (
    _change("0.17.0", Touches.DATA, "Relations in views are fields of type json."),
    _change("0.23.0", Touches.SIGN_IN, "Every token given out before answers 401: everybody signs in again."),
    _change("0.23.0", Touches.HOOKS, "Hooks and migrations in JavaScript are written otherwise; old ones do not load."),
    _change("0.23.0", Touches.HOOKS, "Routes of hooks name their parameters {name}; those with :name answer 404."),
    _change("0.23.0", Touches.API, "/api/admins is gone: admins are the records of the collection _superusers."),
    _change("0.23.0", Touches.API, "Errors carry “status” where they carried “code”, and other texts."),
    _change("0.23.0", Touches.API, "Lists without “sort” may come in another order; empty “expand” is left out."),
    _change("0.23.0", Touches.API, "Answers of /api/health and of auth-methods have another shape."),
    _change(
        "0.23.0", Touches.API, "Rules say @request.body where they said @request.data; those stored are rewritten."
    ),
    _change("0.23.0", Touches.FILES, "A protected file without its token answers 404 where it answered 403."),
    _change("0.23.0", Touches.SIGN_IN, "Settings of tokens, mails and OAuth2 belong to each auth collection."),
    _change("0.23.0", Touches.SIGN_IN, "People get a mail about a login from a new place."),
    _change("0.23.0", Touches.DATA, "Text fields without a maximum take at most 5,000 characters."),
    _change("0.23.0", Touches.DATA, "The request log begins anew: logs.db is deleted."),
    _change("0.23.0", Touches.COMMANDS, "The command `admin` is called `superuser`."),
    _change("0.23.0", Touches.API, "Clients that use PocketBase's JavaScript SDK need 0.22 or later of it, Dart 0.19."),
    _change("0.24.0", Touches.API, "A create rule is no longer tried out before the record is made."),
    _change(
        "0.25.0", Touches.SIGN_IN, "Google signs people in at its newer addresses; its raw user has `sub` for `id`."
    ),
    _change("0.26.0", Touches.FILES, "Files in S3 are read and written by another client: try it with your provider."),
    _change("0.26.0", Touches.SIGN_IN, "A first sign-in with OAuth2 prefers the e-mail address that the client sends."),
    _change("0.27.0", Touches.HOOKS, "Create rules are checked before onRecordCreateRequest runs."),
    _change("0.28.0", Touches.DATA, "Json fields without a limit take at most 1 MB."),
    _change("0.28.0", Touches.HOOKS, "getFile of a file system is called getReader; the old name warns."),
    _change("0.33.0", Touches.DATA, "Ids of records may hold fewer kinds of characters."),
    _change("0.36.0", Touches.API, "Queries of lists are built otherwise (taken back in 0.36.1).", until="0.36.1"),
    _change("0.36.7", Touches.DATA, "A fault in SQLite's write-ahead log that could damage databases is mended."),
    _change("0.37.0", Touches.DASHBOARD, "PocketBase's own admin page is a new one."),
    _change("0.40.0", Touches.COMMANDS, "Commands that fail end with a code other than 0, and print to stderr."),
    _change("0.40.0", Touches.FILES, "Names of files stand in quotes in the Content-Disposition header."),
    _change(
        "0.40.0", Touches.HOOKS, "Keys of objects that hooks answer come in any order, not in that of the alphabet."
    ),
)


def changes_between(old: Version, new: Version) -> list[BehaviourChange]:
    """What going from `old` up to `new` brings; for a way down, what it takes away. In the order of releases."""
    low, high = sorted((old, new))
    return [
        change
        for change in BEHAVIOUR_CHANGES
        if low < change.since <= high and not (change.until is not None and change.until <= high)
    ]


def known_changes(old: Version, new: Version) -> list[dict[str, str]]:
    """`changes_between` and the schema boundaries on the way, as a report keeps them."""
    told = [change.as_json() for change in changes_between(old, new)]
    told += [
        {"since": str(boundary), "touches": "schema", "text": f"PocketBase {boundary} changes its own tables."}
        for boundary in boundaries_between(old, new)
    ]
    return sorted(told, key=lambda one: Version(one["since"]))
