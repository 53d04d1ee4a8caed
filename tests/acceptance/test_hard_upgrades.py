"""Upgrades of data that makes trouble: each is told by its verdict, and then carried out whole or not at all."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.load import nothing_fails
from tests.server import Server, until
from tests.shops import KEY, NEW, OLD, Shop

#: A rehearsal is three starts and hundreds of requests, of which a busy machine makes minutes.
pytestmark = pytest.mark.timeout(600)

#: The sandbox of a rehearsal holds the executable alone, so it must not be a script that calls another one.
SETTINGS = {"versions": (OLD, NEW), "counted": False}
BOUNDARY = "a-boundary-that-occurs-nowhere"
UPLOADED = 50_000_000
SMALLER = 500_000
LAST = "last"

OLD_HOOKS = """routerAdd("GET", "/hello/:name", (c) => c.json(200, {hello: c.pathParam("name")}))

onRecordBeforeCreateRequest((e) => {
  e.record.set("text", e.record.get("text") + "!")
}, "notes")
"""
OLD_MIGRATION = """migrate((db) => {
  const dao = new Dao(db)
  const notes = dao.findCollectionByNameOrId("notes")
  notes.listRule = "@request.auth.id != ''"
  return dao.saveCollection(notes)
}, (db) => null)
"""
#: Loads in either age; in the new one it dies once the tables are migrated, but only where it is not rehearsed.
DIES_LIVE = """
if (typeof onBootstrap === "function") {
  onBootstrap((e) => {
    e.next()
    try { $os.readFile("%(lives)s") } catch (error) { return }
    $app.findCollectionByNameOrId("_superusers")
    console.log("the tables are migrated")
    $os.exit(3)
  })
}
"""


def test_hooks_of_the_old_age(server: Server) -> None:
    shop = Shop(server, "hooked")
    server.put(shop.id, "pb_hooks/main.pb.js", OLD_HOOKS)
    server.cli("sleep", shop.name)
    with server.client(shop.name) as client:
        made = client.post("/api/collections/notes/records", json={"text": "checked"})
        assert made.json()["text"] == "checked!"
        assert client.get("/hello/you").status_code == 200
    before = shop.everything()
    code, operation = shop.upgrade()
    assert (code, operation["state"], operation["verdict"]) == (3, "asking", "changed")
    assert shop.everything() == before
    told = server.cli("report", shop.name).stdout
    assert "main.pb.js:1" in told
    assert "/hello/{name}" in told
    assert "main.pb.js:3" in told
    assert "onRecordCreateRequest" in told
    assert "onRecordBeforeCreateRequest is not defined" in told
    shop.goes_through()


def test_a_migration_of_the_old_age_that_has_not_run_yet(server: Server) -> None:
    shop = Shop(server, "pending")
    server.put(shop.id, "pb_migrations/1900000000_rules.js", OLD_MIGRATION)
    shop.is_broken("1900000000_rules.js")
    # the way out: let the old release run it
    server.cli("sleep", shop.name)
    shop.works_on(OLD)
    shop.goes_through()


def test_encrypted_settings_with_their_key_and_without(server: Server) -> None:
    shop = Shop(server, "sealed")
    server.cli("secrets", shop.name, "set", f"PB_ENCRYPTION_KEY={KEY}")
    server.cli("sleep", shop.name)
    shop.as_superuser("PATCH", "/api/settings", {"meta": {"appName": "Sealed"}})
    kept = "SELECT value FROM _params WHERE %s = 'settings'"
    assert "Sealed" not in str(shop.rows(kept % "key"))

    server.cli("secrets", shop.name, "unset", "PB_ENCRYPTION_KEY", "--no-wait")
    before = shop.everything()
    code, operation = shop.upgrade("--accept-changes")
    assert (code, operation["state"], operation["verdict"]) == (1, "failed", "broken"), json.dumps(operation)
    assert "PB_ENCRYPTION_KEY" in operation["error"]["detail"], operation["error"]
    assert shop.everything() == before

    server.cli("secrets", shop.name, "set", f"PB_ENCRYPTION_KEY={KEY}")
    shop.goes_through()
    assert "Sealed" not in str(shop.rows(kept % "id"))
    assert shop.as_superuser("GET", "/api/settings", None, NEW)["meta"]["appName"] == "Sealed"


def test_a_view_on_a_system_table(server: Server) -> None:
    shop = Shop(server, "viewing")
    view = {"name": "watch", "type": "view", "options": {"query": "SELECT id, email FROM _admins"}}
    shop.as_superuser("POST", "/api/collections", view)
    shop.is_broken("watch")


def test_a_rule_that_names_a_field_which_is_gone(server: Server) -> None:
    shop = Shop(server, "ruled")
    shop.by_hand("UPDATE _collections SET updateRule = 'gone = 1' WHERE name = 'notes'")
    shop.is_broken("notes.updateRule")
    shop.by_hand("UPDATE _collections SET updateRule = '' WHERE name = 'notes'")
    shop.goes_through()


def test_indexes_made_by_hand(server: Server) -> None:
    shop = Shop(server, "indexed")
    shop.by_hand(
        "CREATE INDEX own_text ON notes (text)", "CREATE UNIQUE INDEX own_kinds ON _collections (type, system)"
    )
    shop.is_broken("_collections.type")
    shop.by_hand("DROP INDEX own_kinds")
    shop.goes_through()
    assert shop.rows("SELECT name FROM sqlite_master WHERE name = 'own_text'")


def test_a_hook_that_dies_once_the_tables_are_migrated(server: Server) -> None:
    shop = Shop(server, "dying")
    server.put(shop.id, "pb_public/lives", "")
    server.put(shop.id, "pb_hooks/main.pb.js", DIES_LIVE % {"lives": server.seen_inside(shop.id) / "pb_public/lives"})
    before = shop.everything()
    code, operation = shop.upgrade("--accept-changes")
    assert (code, operation["state"], operation["error"]["code"]) == (4, "rolled_back", "start_failed"), operation
    assert any("the tables are migrated" in line["text"] for line in server.log(shop.name))
    assert "exit code 3" in operation["error"]["detail"]
    assert shop.everything() == before
    shop.works_on(OLD)


class Upload:
    """A multipart upload of 50 MB, of which the last byte is sent once it may be."""

    def __init__(self, server: Server, name: str) -> None:
        self.may_end = threading.Event()
        self.status = 0
        self._server, self._name = server, name
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Upload:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_end.set()
        self._thread.join(120)

    def _run(self) -> None:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {
            "content-type": f"multipart/form-data; boundary={BOUNDARY}",
            "content-length": str(len(head) + UPLOADED + len(tail)),
        }
        with self._server.client(self._name) as client:
            pieces = self._pieces(head, tail)
            self.status = client.post("/api/collections/files/records", content=pieces, headers=headers).status_code

    def _pieces(self, head: bytes, tail: bytes) -> Iterator[bytes]:
        yield head
        for _ in range(UPLOADED // 1_000_000 - 1):
            yield os.urandom(1_000_000)
        # drop by drop, however long that takes: a client that is silent for too long is hung up on
        drops = 0
        while not self.may_end.wait(0.2):
            drops += 1
            yield b"."
        yield os.urandom(1_000_000 - drops)
        yield tail


def take_files(shop: Shop) -> None:
    """A public collection `files`."""
    field = {"name": "file", "type": "file", "options": {"maxSelect": 1, "maxSize": 2 * UPLOADED}}
    files = {"name": "files", "type": "base", "schema": [field], "createRule": "", "listRule": "", "viewRule": ""}
    shop.as_superuser("POST", "/api/collections", files)


def test_an_upload_is_waited_for_and_a_stream_ends_cleanly(server: Server) -> None:
    shop = Shop(server, "streaming")
    take_files(shop)
    heard: list[str] = []
    ended = threading.Event()

    def listen() -> None:
        with server.client(shop.name, timeout=90) as client, client.stream("GET", "/api/realtime") as stream:
            heard.extend(stream.iter_lines())  # raises where it is cut off in the middle
        ended.set()

    listener = threading.Thread(target=listen)
    listener.start()
    with nothing_fails(server, shop.name, clients=2) as load, Upload(server, shop.name) as upload:
        sent = {"range": NEW, "accept_changes": True}
        operation_id = server.api.post(f"/instances/{shop.name}/upgrade", json=sent).json()["operation"]["id"]
        # the first try to hold gives up on it, for it takes too long; a later one finds it gone
        until(lambda: "another try follows" in server.api.get(f"/operations/{operation_id}").text, 240, "a second try")
        assert upload.status == 0
        assert not ended.is_set()
        upload.may_end.set()
        operation = server.finished(operation_id, timeout=120)
        seen = load.requests
        until(lambda: load.requests > seen + 10, 20, "requests after the switch")
    listener.join(10)
    assert ended.is_set(), "the stream was cut off"
    assert any(line.startswith("event:PB_CONNECT") for line in heard)
    assert upload.status == 200
    assert 0 < operation["held_ms"] < 30_000
    shop.works_on(NEW)
    with server.client(shop.name) as client:
        (record,) = client.get("/api/collections/files/records").json()["items"]
        answer = client.get(f"/api/files/files/{record['id']}/{record['file']}")
        assert len(answer.content) == UPLOADED


class Uploads(threading.Thread):
    """Uploads one after the other, and hears of nothing but what PocketBase said; no retries."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.statuses: list[int] = []
        #: what was sent, by the id of its record
        self.sent: dict[str, bytes] = {}
        self._server, self._name = server, name

    def run(self) -> None:
        """Until `stopping` is set."""
        while not self.stopping.is_set():
            content = os.urandom(SMALLER)
            with self._server.client(self._name) as client:
                answer = client.post("/api/collections/files/records", files={"file": ("a.bin", content)})
            self.statuses.append(answer.status_code)
            if answer.status_code == 200:
                self.sent[answer.json()["id"]] = content
            self.stopping.wait(0.1)

    def arrived(self) -> None:
        """Each is there, to the last byte."""
        with self._server.client(self._name) as client:
            for identifier, content in self.sent.items():
                record = client.get(f"/api/collections/files/records/{identifier}").json()
                assert client.get(f"/api/files/files/{identifier}/{record['file']}").content == content


class Listener(threading.Thread):
    """An event stream as a page has it: where one ends cleanly, it opens the next, and hears of notes."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(daemon=True)
        self.trouble = ""
        self.ended = 0
        #: ids of clients that PocketBase gave, one for each stream; and the texts that were heard
        self.clients: list[str] = []
        self.heard: list[str] = []
        self._server, self._name = server, name

    def run(self) -> None:
        """Until the last note is heard of."""
        try:
            while LAST not in self.heard:
                self._listen()
                self.ended += 1
        except Exception as error:
            self.trouble = repr(error)

    def _listen(self) -> None:
        with self._server.client(self._name, timeout=90) as client, client.stream("GET", "/api/realtime") as stream:
            if stream.status_code != 200:
                raise RuntimeError(f"a stream was answered {stream.status_code}")
            for line in stream.iter_lines():  # raises where it is cut off in the middle
                key, _, value = line.partition(":")
                if key == "data":
                    self._hear(json.loads(value))
                if LAST in self.heard:
                    return

    def _hear(self, data: dict[str, Any]) -> None:
        if "record" in data:
            self.heard.append(str(data["record"]["text"]))
            return
        with self._server.client(self._name) as client:
            told = {"clientId": data["clientId"], "subscriptions": ["notes/*"]}
            # the stream may have ended meanwhile, with the release that knew this client
            if client.post("/api/realtime", json=told).status_code == 204:
                self.clients.append(data["clientId"])


def says_a_note(server: Server, name: str, listener: Listener, text: str) -> None:
    """A note of which the listener hears; it is written again where nobody was subscribed at that moment."""

    def heard() -> bool:
        with server.client(name) as client:
            assert client.post("/api/collections/notes/records", json={"text": text}).status_code == 200
        return text in listener.heard

    until(heard, 30, f"{text} to be heard of: {listener.trouble}")


@pytest.mark.parametrize("taken_back", [False, True], ids=["there", "there and back"])
def test_uploads_and_event_streams_go_on_through_a_switch(server: Server, taken_back: bool) -> None:
    shop = Shop(server, "back-and-forth" if taken_back else "on-and-on")
    take_files(shop)
    if taken_back:
        probes = [{"method": "GET", "path": "/api/health", "expect_status": 418, "safe": True}]
        server.api.put(f"/instances/{shop.name}/probes", json={"items": probes}).raise_for_status()
    uploads, listener = Uploads(server, shop.name), Listener(server, shop.name)
    uploads.start()
    listener.start()
    says_a_note(server, shop.name, listener, "before")
    sent = {"range": NEW, "accept_changes": True}
    operation_id = server.api.post(f"/instances/{shop.name}/upgrade", json=sent).json()["operation"]["id"]
    server.finished(operation_id, "rolled_back" if taken_back else "succeeded", timeout=200)
    seen = len(uploads.statuses)
    until(lambda: len(uploads.statuses) > seen + 1, 30, "uploads afterwards")
    says_a_note(server, shop.name, listener, "after")
    uploads.stopping.set()
    says_a_note(server, shop.name, listener, LAST)
    uploads.join(60)
    listener.join(10)
    assert (listener.trouble, listener.ended >= 1, len(listener.clients) >= 2) == ("", True, True)
    assert set(uploads.statuses) == {200}
    uploads.arrived()
    shop.works_on(OLD if taken_back else NEW)
