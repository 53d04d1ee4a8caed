"""An instance of an old release with data that tests upgrade, and what must be true of it afterwards."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any

from tests.pocketbases import JOURNEY_VERSIONS, NEWEST
from tests.server import Server, make_notes, superuser_token

OLD, NEW = JOURNEY_VERSIONS[0], NEWEST
#: A password and a key of the length that PocketBase wants.
KEY = "0123456789abcdef0123456789abcdef"


class Shop:
    """An instance of the old release with notes, and its data as it was when that was last looked at."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.id = str(server.create(name, OLD)["id"])
        with server.client(name) as client:
            make_notes(client, OLD)
            for number in range(3):
                sent = {"text": f"first {number}"}
                assert client.post("/api/collections/notes/records", json=sent).status_code == 200
            person = {"username": "ann", "password": KEY, "passwordConfirm": KEY}
            assert client.post("/api/collections/users/records", json=person).status_code == 200

    def as_superuser(self, method: str, path: str, body: Any, version: str = OLD) -> dict[str, Any]:
        """The JSON of a 200."""
        with self.server.client(self.name) as client:
            headers = {"authorization": superuser_token(client, version)}
            answer = client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def by_hand(self, *statements: str) -> None:
        """SQL on the sleeping instance's data, as somebody does who knows better than PocketBase."""
        self.server.cli("sleep", self.name)
        with contextlib.closing(sqlite3.connect(self.server.folder(self.id) / "pb_data" / "data.db")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    def rows(self, query: str) -> list[Any]:
        """What a query finds in the data, which somebody may be using."""
        path = self.server.folder(self.id) / "pb_data" / "data.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def records(self) -> list[Any]:
        """Of notes and users, to the last of their values that both ages have."""
        people = "SELECT id, created, updated, username, email, verified, emailVisibility, tokenKey FROM users"
        return self.rows("SELECT id, created, updated, text FROM notes ORDER BY id") + self.rows(people)

    def everything(self) -> list[str]:
        """All tables, definitions and rows, as statements."""
        path = self.server.folder(self.id) / "pb_data" / "data.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return list(database.iterdump())

    def upgrade(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON of `upgrade`."""
        done = self.server.cli("upgrade", self.name, NEW, *words, "--json", check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def report(self) -> dict[str, Any]:
        """The newest rehearsal's."""
        (newest, *_) = self.server.api.get(f"/instances/{self.name}/rehearsals").json()["items"]
        found: dict[str, Any] = self.server.api.get(f"/rehearsals/{newest['id']}").json()["report"]
        return found

    def works_on(self, version: str) -> None:
        """It runs on this release, and people get in."""
        assert self.server.show(self.name)["release"] == version
        with self.server.client(self.name) as client:
            assert superuser_token(client, version)
            signing_in = {"identity": "ann", "password": KEY}
            answer = client.post("/api/collections/users/auth-with-password", json=signing_in)
            assert answer.status_code == 200, answer.text

    def is_broken(self, obstacle: str) -> None:
        """The upgrade is refused, names what is in its way, and touches nothing, not even when told to accept."""
        before = self.everything()
        code, operation = self.upgrade("--accept-changes")
        assert (code, operation["state"]) == (1, "failed"), json.dumps(operation)
        assert operation["error"]["code"] == "release_broken"
        assert (operation["verdict"], operation["held_ms"]) == ("broken", None)
        (reason, *_) = self.report()["reasons"]
        assert obstacle in reason["where"], reason
        assert obstacle.rpartition(".")[2] in operation["error"]["detail"], operation["error"]["detail"]
        assert self.everything() == before
        self.works_on(OLD)

    def goes_through(self) -> dict[str, Any]:
        """It is upgraded, with equal records."""
        before = self.records()
        code, operation = self.upgrade("--accept-changes")
        assert (code, operation["state"]) == (0, "succeeded"), json.dumps(operation)
        assert self.records() == before
        self.works_on(NEW)
        return operation
