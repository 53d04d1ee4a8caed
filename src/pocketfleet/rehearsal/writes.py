"""What is tried by writing, last and on clones alone: who may create, change and delete what, and what comes of it."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pocketfleet.rehearsal.hooks import Registration
from pocketfleet.rehearsal.identities import SUPERUSER, Identity, fields_of, ids_in, relations
from pocketfleet.rehearsal.replay import Answer
from pocketfleet.rehearsal.requests import Ask, of_routes
from pocketfleet.rehearsal.rules import Cell
from pocketfleet.runtime import inspect
from pocketfleet.runtime.tables import columns, named, opened

#: Writes in all; a collection takes four for each identity.
MOST_WRITES = 600
_PASSWORD = "Rehearsal-only-1"  # noqa: S105 - of records that are made on clones alone
#: What PocketBase sets itself, or what cannot be sent as JSON.
_NOT_SENT = {"id", "created", "updated", "tokenKey", "password", "passwordHash", "emailVisibility"}
_NOT_COPIED = ("file", "autodate", "password")


def plan_writes(data: Path, identities: Sequence[Identity], hooks: Sequence[Registration]) -> list[Ask]:
    """Per collection and identity: change nothing, create the least and a full copy, delete. Blocks.

    Bodies come from the old schema, with values of their own for each identity; so do the records that are changed and
    deleted, which are the identity's own where it has some. Routes of hooks that write are tried with nothing in them.
    The superuser comes last, and deleting after all else.
    """
    collections = [item for item in inspect.collections(data) if not item["name"].startswith("_")]
    planned: list[Ask] = []
    ordered = [*(one for one in identities if one != SUPERUSER), SUPERUSER]
    with opened(data) as connection:
        for item in collections:
            if item["type"] != "view":
                planned += _Writes(connection, item, collections).of(ordered)
    planned.sort(key=lambda ask: ask.method == "DELETE")
    return [*of_routes(hooks, reading=False), *planned][:MOST_WRITES]


def plan_probes(asks: Iterable[Ask]) -> tuple[list[Ask], list[Ask]]:
    """The requests split in two: those that read, and the owner's probes that may write."""
    reading: list[Ask] = []
    writing: list[Ask] = []
    for ask in asks:
        (writing if ask.probe and ask.method not in ("GET", "HEAD") else reading).append(ask)
    return reading, writing


def with_writes(
    cells: Mapping[tuple[str, str], Cell], asks: Sequence[Ask], answers: Sequence[Answer]
) -> dict[tuple[str, str], Cell]:
    """The cells with the status of each kind of write."""
    statuses: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for ask, answer in zip(asks, answers, strict=True):
        if ask.about == "write":
            statuses[ask.collection, ask.identity.name][_verb(ask)] = answer.status
    return {key: replace(cell, writes=statuses[key]) for key, cell in cells.items()}


def _verb(ask: Ask) -> str:
    if ask.method == "POST":
        return "create" if "(a copy)" in ask.pattern else "create the least"
    return {"PATCH": "change", "DELETE": "delete"}[ask.method]


class _Writes:
    """The writes that are tried on one collection."""

    def __init__(
        self, connection: sqlite3.Connection, collection: Mapping[str, Any], collections: Sequence[Mapping[str, Any]]
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._name = str(collection["name"])
        self._relations = [one for one in relations(collections) if one.collection == self._name]
        rows = connection.execute(f"SELECT id FROM {named(self._name)} ORDER BY id LIMIT 200")  # noqa: S608
        self._ids = [str(row[0]) for row in rows]
        self._taken: set[str] = set()

    def of(self, identities: Sequence[Identity]) -> Iterator[Ask]:
        path = f"/api/collections/{self._name}/records"
        for number, identity in enumerate(identities):
            yield self._ask("POST", path, identity, "(the least)", self._body(identity, number, full=False))
            # passwords take long to hash: of people one copy is made
            if self._ids and (self._collection["type"] != "auth" or identity == SUPERUSER):
                yield self._ask("POST", path, identity, "(a copy)", self._body(identity, number, full=True))
            own = self._own(identity)
            body: Any
            for method, record_id in (("PATCH", self._first(own)), ("DELETE", self._free(own))):
                if record_id:
                    body = {} if method == "PATCH" else None
                    yield self._ask(method, f"{path}/{record_id}", identity, "", body)

    def _ask(self, method: str, path: str, identity: Identity, what: str, body: Any) -> Ask:
        route = f"/api/collections/{self._name}/records"
        pattern = f"{method} {route}{'' if method == 'POST' else '/{id}'}{' ' + what if what else ''}"
        return Ask(method, path, identity, pattern, "write", body=body, collection=self._name)

    def _first(self, own: Sequence[str]) -> str:
        return next(iter([*own, *self._ids]), "")

    def _free(self, own: Sequence[str]) -> str:
        """A record that nobody else deletes."""
        found = next((one for one in [*own, *reversed(self._ids)] if one not in self._taken), "")
        self._taken.add(found)
        return found

    def _own(self, identity: Identity) -> list[str]:
        """Records that are the identity, or refer to it."""
        if identity.collection == self._name and identity.record_id:
            return [identity.record_id]
        found = []
        for relation in self._relations:
            if relation.target == identity.collection and identity.record_id:
                query = f"SELECT id FROM {named(self._name)} WHERE {named(relation.field)} LIKE ? ORDER BY id LIMIT 3"  # noqa: S608
                found += [str(row[0]) for row in self._connection.execute(query, [f"%{identity.record_id}%"])]
        return found

    def _body(self, identity: Identity, number: int, *, full: bool) -> dict[str, Any]:
        mark = f"r{number}{'c' if full else 'm'}"
        source = self._record(self._own(identity)) if full else {}
        body: dict[str, Any] = {}
        for field in fields_of(self._collection):
            options = {**field, **(field.get("options") or {})}
            name, kind = field["name"], field.get("type")
            if name in _NOT_SENT or kind in _NOT_COPIED:
                continue
            if full:
                body[name] = _copied(source.get(name), options, mark)
            elif options.get("required"):
                body[name] = _least(options, self._target(name), mark)
            if options.get("collectionId") and self._refers_to(name, identity) and (full or name in body):
                body[name] = identity.record_id
        if self._collection["type"] == "auth":
            body |= {"email": f"{mark}@rehearsal.example", "password": _PASSWORD, "passwordConfirm": _PASSWORD}
            if "username" in columns(self._connection, self._name):
                body["username"] = f"rehearsal_{mark}"
        return body

    def _refers_to(self, name: str, identity: Identity) -> bool:
        return bool(identity.record_id) and any(
            one.field == name and one.target == identity.collection for one in self._relations
        )

    def _target(self, name: str) -> str:
        """A record that a required relation may refer to."""
        for relation in self._relations:
            if relation.field == name:
                query = f"SELECT id FROM {named(relation.target)} ORDER BY id LIMIT 1"  # noqa: S608 - a name, quoted
                row = self._connection.execute(query).fetchone()
                return str(row[0]) if row else ""
        return ""

    def _record(self, own: Sequence[str]) -> dict[str, Any]:
        query = f"SELECT * FROM {named(self._name)} WHERE id = ?"  # noqa: S608 - a name, quoted
        row = self._connection.execute(query, [self._first(own)]).fetchone()
        return dict(row) if row else {}


def _copied(value: Any, options: Mapping[str, Any], mark: str) -> Any:
    """A value as it is sent, made one of its own where it is a text: there may be an index that wants that."""
    kind = options.get("type")
    if kind == "text" and value and not options.get("pattern"):
        longest = options.get("max") or 5000
        return f"{value} {mark}"[: int(longest)]
    if kind == "bool":
        return bool(value)
    if kind == "json":
        return _json(value)
    if kind in ("select", "relation") and options.get("maxSelect", 1) not in (1, 0):
        return ids_in(value)
    return value


def _least(options: Mapping[str, Any], target: str, mark: str) -> Any:
    """The simplest value that a required field may take."""
    kind = options.get("type")
    if kind == "number":
        return options.get("min") or 1
    if kind == "select":
        return (options.get("values") or [""])[0]
    simple = {
        "bool": True,
        "email": f"{mark}@rehearsal.example",
        "url": f"https://rehearsal.example/{mark}",
        "date": "2024-01-02 03:04:05.000Z",
        "json": {"rehearsal": mark},
        "relation": target,
        "geoPoint": {"lon": 1, "lat": 1},
    }
    text = f"rehearsal {mark}".ljust(int(options.get("min") or 0), "x")
    return simple.get(str(kind), text[: int(options.get("max") or 0) or None])


def _json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError:
        return value
