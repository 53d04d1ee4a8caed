"""Who asks in a rehearsal: superuser, anonymous, and of every auth collection the records that see different things."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketfleet.runtime import inspect
from pocketfleet.runtime.tables import columns, named, opened, tables
from pocketfleet.runtime.tokens import admin_token, old_record_token, record_token

#: Profiles of an auth collection (sets of values of its select and bool fields) that get an identity each.
_MOST_PROFILES = 6
#: Auth collections that are looked into, the largest first.
_MOST_COLLECTIONS = 6
_SUPERUSERS = "_superusers"
#: Types of fields that may say what somebody may do.
_TELLING = ("select", "bool")
#: Whether others see an address: no role.
_SAYS_NOTHING = "emailVisibility"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who asks. `name` says who in words; `record_id` is "" for the anonymous and the superuser."""

    name: str
    collection: str = ""
    record_id: str = ""


ANONYMOUS = Identity("anonymous")
SUPERUSER = Identity("superuser", _SUPERUSERS)


@dataclass(frozen=True, slots=True)
class Relation:
    """A field that refers to records of another collection."""

    collection: str
    field: str
    target: str
    several: bool


class Minter:
    """Tokens for one PocketBase, minted from its own data. Blocks."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None, *, live: bool = False) -> None:
        """`live`: PocketBase runs on the folder."""
        self._folder = folder
        self._live = live
        self._settings = dict(settings or {})
        self._collections = {item["name"]: item for item in inspect.collections(folder, live=live)}
        self._is_old = any("schema" in item for item in self._collections.values())
        self._known: dict[Identity, str] = {}

    def token(self, identity: Identity) -> str:
        """A token, "" for the anonymous and wherever none can be made: no such record, no secret."""
        if identity not in self._known:
            self._known[identity] = self._mint(identity)
        return self._known[identity]

    def _mint(self, identity: Identity) -> str:
        try:
            if identity == SUPERUSER:
                return self._superuser()
            if not identity.record_id:
                return ""
            key = self._key(identity.collection, identity.record_id)[1]
            collection = self._collections[identity.collection]
            if self._is_old:
                return old_record_token(identity.record_id, collection["id"], key, self._settings)
            return record_token(identity.record_id, collection, key)
        except (KeyError, TypeError, LookupError):
            return ""

    def _superuser(self) -> str:
        if self._is_old:
            return admin_token(*self._key("_admins"), self._settings)
        record_id, key = self._key(_SUPERUSERS)
        return record_token(record_id, self._collections[_SUPERUSERS], key)

    def _key(self, table: str, record_id: str | None = None) -> tuple[str, str]:
        """The id and token key of a record, by default the first. Raises LookupError where there is none."""
        which = "WHERE id = ?" if record_id else "ORDER BY id LIMIT 1"
        query = f"SELECT id, tokenKey FROM {named(table)} {which}"  # noqa: S608 - a name, quoted
        with opened(self._folder, live=self._live) as connection:
            row = connection.execute(query, [record_id] if record_id else []).fetchone()
        if row is None:
            raise LookupError(record_id or table)
        return str(row[0]), str(row[1])


def choose_identities(data: Path) -> list[Identity]:
    """Whose eyes a rehearsal looks through. Blocks.

    Per auth collection: the record that most others refer to, one for each distinct set of values of select and bool
    fields (a role), and one that nothing refers to. Anonymous is first, the superuser second.
    """
    collections = inspect.collections(data)
    found = [ANONYMOUS, SUPERUSER]
    people = [item for item in collections if item["type"] == "auth" and item["name"] != _SUPERUSERS]
    with opened(data) as connection:
        people.sort(key=lambda item: -_count(connection, item["name"]))
        for collection in people[:_MOST_COLLECTIONS]:
            found += _of_collection(connection, collection, relations(collections))
    return found


def relations(collections: Sequence[Mapping[str, Any]]) -> list[Relation]:
    """All relation fields, in the form of either age."""
    names = {item["id"]: item["name"] for item in collections}
    found = []
    for item in collections:
        for field in fields_of(item):
            options = {**field, **(field.get("options") or {})}
            target = names.get(options.get("collectionId", ""))
            if field.get("type") == "relation" and target and item["type"] != "view":
                # absent or 1 is one; 0.22 writes null for as many as one likes
                several = options.get("maxSelect", 1) not in (1, 0)
                found.append(Relation(item["name"], field["name"], target, several))
    return found


def fields_of(collection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A collection's fields, `schema` or `fields`."""
    found = collection.get("fields") or collection.get("schema") or []
    return [field for field in found if isinstance(field, dict)]


def referred(connection: sqlite3.Connection, relation: Relation, record_id: str | None = None) -> Iterator[str]:
    """Ids that a relation refers to, of one record or of all."""
    which, values = ("WHERE id = ?", [record_id]) if record_id else ("", [])
    query = f"SELECT {named(relation.field)} FROM {named(relation.collection)} {which}"  # noqa: S608 - names, quoted
    for (value,) in connection.execute(query, values):
        if relation.several:
            yield from ids_in(value)
        elif value:
            yield str(value)


def ids_in(value: Any) -> list[str]:
    """The ids in a column that holds several, or one."""
    try:
        found = json.loads(value) if value else []
    except (TypeError, ValueError):
        return [str(value)]
    return [str(item) for item in found] if isinstance(found, list) else [str(found)]


def _of_collection(
    connection: sqlite3.Connection, collection: Mapping[str, Any], all_relations: Sequence[Relation]
) -> list[Identity]:
    name = collection["name"]
    ids = [str(row[0]) for row in connection.execute(f"SELECT id FROM {named(name)} ORDER BY id")]  # noqa: S608
    if not ids:
        return []
    there = set(ids)
    incoming: Counter[str] = Counter()
    for relation in all_relations:
        if relation.target == name:
            incoming.update(record_id for record_id in referred(connection, relation) if record_id in there)
    found: dict[str, str] = {}
    for record_id, _ in incoming.most_common(1):
        found[record_id] = "whom most records refer to"
    for record_id, profile in _profiles(connection, collection, incoming):
        found.setdefault(record_id, f"with {profile}")
    lonely = next((record_id for record_id in ids if not incoming[record_id]), None)
    if lonely:
        found.setdefault(lonely, "whom nothing refers to")
    if not found:
        found[ids[0]] = "the first"
    return [Identity(f"one of {name} {words}", name, record_id) for record_id, words in found.items()]


def _profiles(
    connection: sqlite3.Connection, collection: Mapping[str, Any], incoming: Counter[str]
) -> list[tuple[str, str]]:
    """A record for each set of values, the one with most relations, and the values in words; rare sets first."""
    name = collection["name"]
    there = columns(connection, name)
    telling = [field["name"] for field in fields_of(collection) if field.get("type") in _TELLING]
    telling = [field for field in telling if field != _SAYS_NOTHING]
    telling = [field for field in dict.fromkeys([*telling, "verified"]) if field in there]
    if not telling:
        return []
    query = f"SELECT id, {', '.join(map(named, telling))} FROM {named(name)}"  # noqa: S608 - names, quoted
    best: dict[tuple[Any, ...], str] = {}
    sizes: Counter[tuple[Any, ...]] = Counter()
    for record_id, *values in connection.execute(query):
        profile = tuple(values)
        sizes[profile] += 1
        if profile not in best or incoming[record_id] > incoming[best[profile]]:
            best[profile] = record_id
    chosen = _spread(list(sizes), sizes)
    return [(best[profile], _words(telling, profile)) for profile in chosen]


def _spread(profiles: list[tuple[Any, ...]], sizes: Counter[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """At most so many, each with values that no one before it has, as long as there are such; then the largest."""
    profiles.sort(key=lambda profile: (-sizes[profile], repr(profile)))
    seen: set[tuple[int, Any]] = set()
    fresh: list[tuple[Any, ...]] = []
    rest: list[tuple[Any, ...]] = []
    for profile in profiles:
        values = set(enumerate(profile))
        (rest if values <= seen else fresh).append(profile)
        seen |= values
    return [*fresh, *rest][:_MOST_PROFILES]


def _words(names: Sequence[str], values: Sequence[Any]) -> str:
    said = []
    for name, value in zip(names, values, strict=True):
        shown = {0: "false", 1: "true", "": "empty"}.get(value, str(value)[:30])
        said.append(f"{name} {shown}")
    return ", ".join(said)


def _count(connection: sqlite3.Connection, table: str) -> int:
    if table not in tables(connection):
        return 0
    return int(connection.execute(f"SELECT count(*) FROM {named(table)}").fetchone()[0])  # noqa: S608
