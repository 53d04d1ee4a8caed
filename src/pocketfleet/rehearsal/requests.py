"""What is asked in a rehearsal: what clients asked, every collection as everybody, routes of hooks, files, probes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from pocketfleet.rehearsal.hooks import Registers, Registration
from pocketfleet.rehearsal.identities import ANONYMOUS, SUPERUSER, Identity, fields_of, ids_in, referred, relations
from pocketfleet.rehearsal.report import Source
from pocketfleet.runtime import inspect
from pocketfleet.runtime.tables import columns, named, opened

#: From the log: requests in all, of one kind (route, query, who, status), and rows that are read.
MOST_LOGGED = 300
_MOST_ALIKE = 2
_MOST_OF_A_PATTERN = 12
_MOST_ROWS = 200_000
#: Milliseconds; what took longer then would take our time now.
_SLOW = 2000
#: PocketBase cuts what it logs at 3,000 characters.
_CUT = 2990
#: Records of a collection that are asked for at once, and one by one.
_SAMPLE = 20
_VIEWS = 3
_FILES = 3
_MOST_COLLECTIONS = 60
_MOST_ROUTES = 100
_MOST_CANDIDATES = 10

_LEFT_OUT = re.compile(
    r"^/_(/|$)|^/api/(logs|backups|settings|crons|health|realtime|admins|batch|oauth2-redirect|files/token)(/|$|\?)"
    r"|^/api/collections/_|^/api/collections/[^/]+/(auth-|request-|confirm-|impersonate|external-auths)"
)
_ID = re.compile(r"^[a-z0-9]{15}$")
_NUMBER = re.compile(r"^\d+$")
_LONG = re.compile(r"^[0-9a-fA-F-]{16,}$|^[A-Za-z0-9_-]{20,}$")
_VARIED = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d[\d.]*\b")
_VARIABLE = re.compile(r"\{[^}]*\}|:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A request of the owner's: see the table Probe. `identity` is `anonymous` or `superuser`."""

    method: str
    path: str
    identity: str = "anonymous"
    body: Any = None
    expect_status: int | None = None
    expect_json: Any = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `pattern` is its route with what varies taken out; its answers are judged together.

    `candidates` are who may have asked it, of whom the first with `logged_status` is taken. `about` says what kind it
    is: `log`, `list`, `sample`, `view`, `file`, `route`, `builtin`, `probe`.
    """

    method: str
    path: str
    identity: Identity
    pattern: str
    about: str
    source: Source = Source.SYNTHETIC
    candidates: tuple[Identity, ...] = ()
    logged_status: int = 0
    #: carries a file token of this identity, minted for each clone
    file_token: bool = False
    body: Any = None
    probe: ProbeSpec | None = None
    #: the collection it is about, where it is about one
    collection: str = ""
    #: how many requests of the log it stands for
    stands_for: int = 1


@dataclass(slots=True)
class Asked:
    """All that will be asked, and in plain words what will not."""

    asks: list[Ask] = field(default_factory=list)
    not_covered: list[str] = field(default_factory=list)
    #: requests of the log that could be replayed, and how many of them are
    logged: int = 0


def gather(
    data: Path,
    identities: Sequence[Identity],
    probes: Sequence[ProbeSpec],
    hooks: Sequence[Registration] = (),
    *,
    files_are_here: bool = True,
) -> Asked:
    """Everything that is asked by reading, from a snapshot, and the owner's probes of any kind. Blocks.

    `hooks` is what its hooks register. `files_are_here` is False where storage is on S3: no snapshot holds it.
    """
    collections = [item for item in inspect.collections(data) if not item["name"].startswith("_")]
    asked = Asked()
    asked.asks += _of_probes(probes)
    asked.asks += _of_log(data, collections, identities, asked, files_are_here)
    if len(collections) > _MOST_COLLECTIONS:
        asked.not_covered.append(f"Only {_MOST_COLLECTIONS} of {len(collections)} collections were looked into.")
    for collection in collections[:_MOST_COLLECTIONS]:
        asked.asks += _of_collection(data, collection, identities)
        if files_are_here:
            asked.asks += _of_files(data, collection)
    asked.asks += of_routes(hooks, reading=True)
    asked.asks += _builtin(collections)
    if not files_are_here:
        asked.not_covered.append("Files are kept in S3, which a rehearsal does not reach: none was asked for.")
    return asked


def pattern_of(method: str, path: str) -> str:
    """`GET /api/collections/posts/records/{id}?expand`: what varies is taken out, parameters by name alone."""
    route, _, query = path.partition("?")
    parts = [_part(part, at, route) for at, part in enumerate(unquote(route).split("/"))]
    names = sorted({name for name, _ in parse_qsl(query, keep_blank_values=True)})
    return f"{method} {'/'.join(parts)}{'?' + '&'.join(names) if names else ''}"


def _part(part: str, at: int, route: str) -> str:
    if route.startswith("/api/files/") and at in (4, 5):
        return "{id}" if at == 4 else "{file}"
    # the name of a collection stays even where it looks like an id
    if route.startswith("/api/collections/") and at == 3:
        return part
    for shape, name in ((_ID, "{id}"), (_NUMBER, "{number}"), (_LONG, "{id}")):
        if shape.match(part):
            return name
    return part


def _of_probes(probes: Iterable[ProbeSpec]) -> Iterator[Ask]:
    for probe in probes:
        identity = SUPERUSER if probe.identity == "superuser" else ANONYMOUS
        pattern = f"{probe.method} {probe.path}"
        yield Ask(probe.method, probe.path, identity, pattern, "probe", Source.PROBE, body=probe.body, probe=probe)


def _of_log(
    data: Path,
    collections: Sequence[Mapping[str, Any]],
    identities: Sequence[Identity],
    asked: Asked,
    files_are_here: bool,
) -> list[Ask]:
    sampled: dict[tuple[str, str, int], dict[str, int]] = defaultdict(dict)
    weights: dict[tuple[str, str, int], int] = defaultdict(int)
    owners: dict[str, str] = {}
    for number, row in enumerate(inspect.request_log(data)):
        if number >= _MOST_ROWS:
            break
        url = _replayable(row)
        if url is None or (url.startswith("/api/files/") and not files_are_here):
            continue
        kind = (_fine_pattern(url), str(row.get("auth") or "guest"), int(row["status"]))
        weights[kind] += 1
        asked.logged += 1
        if len(sampled[kind]) < _MOST_ALIKE:
            sampled[kind].setdefault(url, int(row["status"]))
            owners.setdefault(url, str(row.get("authId") or ""))
    return _chosen(sampled, weights, owners, _Finder(data, collections, identities))


def _chosen(
    sampled: Mapping[tuple[str, str, int], Mapping[str, int]],
    weights: Mapping[tuple[str, str, int], int],
    owners: Mapping[str, str],
    finder: _Finder,
) -> list[Ask]:
    """The most frequent kinds first, and not too many of one pattern."""
    found: list[Ask] = []
    of_pattern: dict[str, int] = defaultdict(int)
    for kind in sorted(sampled, key=lambda kind: -weights[kind]):
        for url in sampled[kind]:
            pattern = pattern_of("GET", url)
            of_pattern[pattern] += 1
            if of_pattern[pattern] > _MOST_OF_A_PATTERN or len(found) >= MOST_LOGGED:
                continue
            found.append(_logged(url, pattern, kind, weights[kind], finder, owners.get(url, "")))
    return found


def _logged(url: str, pattern: str, kind: tuple[str, str, int], weight: int, finder: _Finder, owner: str) -> Ask:
    route, _, query = url.partition("?")
    file_token = False
    who = finder.candidates(url, kind[1], owner)
    if route.startswith("/api/files/") and "token=" in query:
        parameters = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "token"]
        url = f"{route}?{urlencode(parameters)}" if parameters else route
        file_token = True
        who = finder.candidates(url, "", owner, anybody=True)
    collection = finder.collection_of(route)
    return Ask(
        "GET",
        url,
        who[0] if who else ANONYMOUS,
        pattern,
        "log",
        Source.LOG,
        tuple(who),
        kind[2],
        file_token,
        collection=collection,
        stands_for=weight,
    )


def _replayable(row: Mapping[str, Any]) -> str | None:
    """The path and query of a row that can be asked again without harm; None for all others (FACTS.md)."""
    url, status = row.get("url"), row.get("status")
    if row.get("type", "request") != "request" or not isinstance(url, str) or not isinstance(status, int):
        return None
    took = row.get("execTime") or 0
    if row.get("method") != "GET" or not 200 <= status < 500 or status == 429 or took > _SLOW:
        return None
    if not url.startswith("/") or len(url) >= _CUT or "/_/" in str(row.get("referer", "")) or _LEFT_OUT.match(url):
        return None
    has_token = "token=" in url.partition("?")[2]
    return None if has_token and not url.startswith("/api/files/") else url


def _fine_pattern(url: str) -> str:
    """Like `pattern_of`, with the values of parameters but for what varies in them."""
    query = url.partition("?")[2]
    values = [f"{name}={_VARIED.sub('_', value)}" for name, value in parse_qsl(query) if name not in ("token", "page")]
    return f"{pattern_of('GET', url)} {'&'.join(sorted(values))}"


class _Finder:
    """Who may have asked something: the log of 0.22 tells the kind alone, later ones the collection."""

    def __init__(self, data: Path, collections: Sequence[Mapping[str, Any]], identities: Sequence[Identity]) -> None:
        self._data = data
        self._identities = [identity for identity in identities if identity.record_id]
        self._by_name = {item["name"]: item for item in collections}
        self._by_name |= {item["id"]: item for item in collections}
        self._people = [item["name"] for item in collections if item["type"] == "auth"]
        self._relations = relations(collections)

    def collection_of(self, route: str) -> str:
        """The collection that a route is about, "" for none."""
        parts = route.split("/")
        known = self._by_name.get(parts[3]) if len(parts) > 3 and parts[1] == "api" else None
        return str(known["name"]) if known else ""

    def candidates(self, url: str, auth: str, owner: str, *, anybody: bool = False) -> list[Identity]:
        """Most likely first: who is named, the record itself, owners of it, then all others of the kind."""
        if not anybody and auth in ("guest", ""):
            return [ANONYMOUS]
        if not anybody and auth in ("admin", "_superusers"):
            return [SUPERUSER]
        among = [auth] if auth in self._people else self._people
        found: dict[Identity, None] = {}
        with opened(self._data) as connection:
            for record_id in [owner, *re.findall(r"\b[a-z0-9]{15}\b", unquote(url)), *self._owners(connection, url)]:
                for people in among:
                    if record_id and self._is_there(connection, people, record_id):
                        found.setdefault(Identity(f"one of {people} {record_id}", people, record_id))
        known = {(identity.collection, identity.record_id): identity for identity in self._identities}
        likely = [known.get((one.collection, one.record_id), one) for one in found]
        rest = [one for one in self._identities if one.collection in among and one not in likely]
        return [*likely, *rest, *([SUPERUSER] if anybody else [])][:_MOST_CANDIDATES]

    def _owners(self, connection: Any, url: str) -> list[str]:
        """Ids of people that the record in a path refers to, directly or by one step."""
        parts = unquote(url.partition("?")[0]).split("/")
        name, record_id = self.collection_of(url), next((part for part in parts[4:] if _ID.match(part)), "")
        if not name or not record_id:
            return []
        found = []
        for relation in self._relations:
            if relation.collection != name:
                continue
            targets = list(referred(connection, relation, record_id))[:5]
            if relation.target in self._people:
                found += targets
            for onward in self._relations:
                if onward.collection == relation.target and onward.target in self._people:
                    found += [one for target in targets for one in list(referred(connection, onward, target))[:3]]
        return found

    def _is_there(self, connection: Any, table: str, record_id: str) -> bool:
        query = f"SELECT 1 FROM {named(table)} WHERE id = ?"  # noqa: S608 - a name, quoted
        return connection.execute(query, [record_id]).fetchone() is not None


def _of_collection(data: Path, collection: Mapping[str, Any], identities: Sequence[Identity]) -> Iterator[Ask]:
    """The first page, a sample by ids, and a few records one by one, as everybody."""
    name = collection["name"]
    path = f"/api/collections/{name}/records"
    ids = sample_ids(data, collection)
    expand = ",".join(one["name"] for one in fields_of(collection) if one.get("type") == "relation")
    some = ids[:: max(1, len(ids) // _VIEWS)][:_VIEWS]
    wanted = urlencode({"filter": " || ".join(f"id='{record_id}'" for record_id in ids), "perPage": 50, "sort": "id"})
    for identity in identities:
        yield Ask("GET", path, identity, f"GET {path}", "list", collection=name)
        if ids:
            yield Ask("GET", f"{path}?{wanted}", identity, f"GET {path}?filter", "sample", collection=name)
        for record_id in some:
            query = f"?{urlencode({'expand': expand})}" if expand else ""
            pattern = f"GET {path}/{{id}}{'?expand' if expand else ''}"
            yield Ask("GET", f"{path}/{record_id}{query}", identity, pattern, "view", collection=name)


def sample_ids(data: Path, collection: Mapping[str, Any]) -> list[str]:
    """Up to 20 ids, spread over all of a collection; none for a view, which may need PocketBase to be read."""
    if collection["type"] == "view":
        return []
    with opened(data) as connection:
        name = named(collection["name"])
        count = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - a name, quoted
        step = max(1, count // _SAMPLE)
        query = f"SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM {name}) WHERE n % ? = 0 LIMIT ?"  # noqa: S608
        return [str(row[0]) for row in connection.execute(query, [step, _SAMPLE])]


def _of_files(data: Path, collection: Mapping[str, Any]) -> Iterator[Ask]:
    """Files of a few records, as nobody and as the superuser, with a token where they are protected."""
    name = collection["name"]
    for item in fields_of(collection) if collection["type"] != "view" else []:
        options = {**item, **(item.get("options") or {})}
        if item.get("type") != "file":
            continue
        for record_id, file in _files(data, name, item["name"]):
            path = f"/api/files/{name}/{record_id}/{file}"
            pattern = f"GET /api/files/{name}/{{id}}/{{file}}"
            for identity in (ANONYMOUS, SUPERUSER):
                yield Ask("GET", path, identity, pattern, "file", collection=name)
            if options.get("protected"):
                yield Ask("GET", path, SUPERUSER, f"{pattern}?token", "file", file_token=True, collection=name)


def _files(data: Path, table: str, column: str) -> list[tuple[str, str]]:
    with opened(data) as connection:
        if column not in columns(connection, table):
            return []
        query = (
            f"SELECT id, {named(column)} FROM {named(table)}"  # noqa: S608 - names, quoted
            f" WHERE {named(column)} NOT IN ('', '[]') ORDER BY id LIMIT ?"
        )
        rows = connection.execute(query, [_FILES]).fetchall()
    return [(str(row[0]), file) for row in rows for file in ids_in(row[1])[:1]]


def of_routes(hooks: Iterable[Registration], *, reading: bool) -> Iterator[Ask]:
    """The routes that hooks add, those that only read or all others, as nobody and as the superuser."""
    routes = [one for one in hooks if one.kind is Registers.ROUTE and one.path]
    for route in routes[:_MOST_ROUTES]:
        if (route.name in ("GET", "HEAD")) == reading:
            example = _VARIABLE.sub("rehearsal", route.path)
            for identity in (ANONYMOUS, SUPERUSER):
                body: Any = None if reading else {}
                yield Ask(route.name, example, identity, f"{route.name} {route.path}", "route", body=body)


def _builtin(collections: Iterable[Mapping[str, Any]]) -> Iterator[Ask]:
    for path in ("/api/health", "/", "/api/rehearsal-asks-for-nothing"):
        yield Ask("GET", path, ANONYMOUS, f"GET {path}", "builtin")
    for collection in collections:
        if collection["type"] == "auth":
            path = f"/api/collections/{collection['name']}/auth-methods"
            yield Ask("GET", path, ANONYMOUS, f"GET {path}", "builtin", collection=collection["name"])
