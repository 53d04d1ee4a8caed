"""Whose data it is: instances under load, and what their owners ask for, whoever has just been killed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.crash.shaking import Kill
from tests.load import Load, Write
from tests.server import Server, make_notes, until
from tests.soak.books import Book, Copy, Return, not_kept

#: (release, the one that it goes to and comes back from, whether each switch is to be taken back)
KINDS = (("0.23.12", "0.30.4", False), ("0.36.9", "0.40.6", True), ("0.22.27", "", False))
VERSIONS = tuple(version for release, other, _ in KINDS for version in (release, other) if version)
#: A safe probe that no release passes, so that a switch is always taken back.
FAILING = {"method": "GET", "path": "/api/health", "expect_status": 418, "safe": True}
#: Seconds that an operation may take, with everything that is done to the server meanwhile.
PATIENCE = 300.0
#: Seconds after a lost answer in which the operation that it was about must show, if it was opened.
SHOWS = 3.0
OPEN = ("pending", "running")
_AWAY = (httpx.HTTPError, OSError, ValueError, KeyError)


@dataclass(slots=True)
class Tenant:
    """One instance. Clients call it by its id, so a new name changes nothing for them."""

    id: str
    name: str
    kind: int
    release: str
    book: Book = field(default_factory=Book)
    #: one thing is asked at a time
    turn: threading.Lock = field(default_factory=threading.Lock)
    renamed: int = 0


class Owners:
    """Ask for things through the API. An answer that is lost is looked up, never asked for again."""

    def __init__(self, server: Server, excuse: Callable[[Kill], None]) -> None:
        self.server = server
        #: each period of load since the beginning
        self.loads: list[Load] = []
        #: what was asked and how it ended
        self.ended: Counter[str] = Counter()
        #: why some did not succeed
        self.reasons: list[str] = []
        #: ids of instances that were to be deleted: the journal forgets them once the clock is far enough ahead
        self.deleted: set[str] = set()
        #: everything that must not be, in words
        self.troubles: list[str] = []
        self._excuse = excuse
        self._clones = 0

    # --- the fleet ---------------------------------------------------------------------------------------------

    def make(self, count: int) -> list[Tenant]:
        """The first of each kind is created, the others are clones of them."""
        first = [self._create(kind) for kind in range(min(count, len(KINDS)))]
        return [*first, *(self._copy(first[number % len(first)], number) for number in range(len(first), count))]

    def _create(self, kind: int) -> Tenant:
        release, _, fails = KINDS[kind]
        name = f"soak-{kind}"
        made = self.server.create(name, release)
        with self.server.client(name) as client:
            make_notes(client, release)
        tenant = Tenant(str(made["id"]), name, kind, release)
        self._set_probes(tenant, fails)
        return tenant

    def _copy(self, source: Tenant, number: int) -> Tenant:
        name = f"soak-{number}"
        answer = self.server.api.post(f"/instances/{source.id}/clone", json={"name": name})
        assert answer.status_code == 202, answer.text
        self.server.finished(answer.json()["operation"]["id"])
        tenant = Tenant(str(answer.json()["instance"]["id"]), name, source.kind, source.release)
        self._set_probes(tenant, KINDS[source.kind][2])
        return tenant

    def _set_probes(self, tenant: Tenant, fails: bool) -> None:
        if fails:
            self.server.api.put(f"/instances/{tenant.id}/probes", json={"items": [FAILING]}).raise_for_status()

    # --- what they ask for -------------------------------------------------------------------------------------

    def carry_out(self, work: str, tenant: Tenant) -> None:
        """One thing, to its end."""
        with tenant.turn:
            try:
                getattr(self, f"_{work}")(tenant)
            except AssertionError as error:
                self.troubles.append(f"{work} of {tenant.name} ({tenant.id}): {error}")

    def _sleep(self, tenant: Tenant) -> None:
        self._operate("sleep", tenant, "sleep")

    def _backup(self, tenant: Tenant) -> None:
        asked = time.time()
        done = self._operate("backup", tenant, "backups", {"full": False})
        if done and done["state"] == "succeeded":
            tenant.book.backups.append(Copy(str(done["result"]["name"]), asked))

    def _snapshot(self, tenant: Tenant) -> None:
        asked = time.time()
        done = self._operate("snapshot", tenant, "snapshots", {})
        if done and done["state"] == "succeeded":
            tenant.book.snapshots.append(Copy(str(done["result"]["snapshot"]), asked))

    def _restore(self, tenant: Tenant) -> None:
        if not tenant.book.backups:
            self._backup(tenant)
        if not tenant.book.backups:
            return
        copy = tenant.book.backups.pop()
        self._go_back("restore", tenant, copy, {"backup": copy.id}, "snapshot")

    def _rollback(self, tenant: Tenant) -> None:
        if not tenant.book.snapshots:
            self._snapshot(tenant)
        if not tenant.book.snapshots:
            return
        copy = tenant.book.snapshots.pop()
        body = {"snapshot": copy.id, "accept_loss": True, "export": False}
        self._go_back("rollback", tenant, copy, body, "checkpoint")

    def _upgrade(self, tenant: Tenant) -> None:
        release, other, fails = KINDS[tenant.kind]
        if not other:
            return self._sleep(tenant)
        wanted = other if tenant.release == release else release
        done = self._operate("upgrade", tenant, "upgrade", {"range": wanted, "accept_changes": True})
        if done is not None:
            assert not (fails and done["state"] == "succeeded"), f"its probe cannot be passed: {done}"
            expected = wanted if done["state"] == "succeeded" else tenant.release
            tenant.release = str(self._show(tenant)["release"])
            assert tenant.release == expected, f"it is on {tenant.release}, not {expected}: {done}"
        return None

    def _power(self, tenant: Tenant) -> None:
        began = time.time()
        for power in ("off", "on"):
            self._intend("power", tenant.id, {"power": power})
        self._excuse(Kill("power", tenant.id, began, time.time(), status=503))

    def _rename(self, tenant: Tenant) -> None:
        tenant.renamed += 1
        name = f"{tenant.name}-{tenant.renamed}"
        self._intend("rename", tenant.id, {"name": name})
        with self.server.client(name) as client:
            until(lambda: _status(client) in (200, 0), 60, f"{name} to answer")

    def _clone(self, tenant: Tenant) -> None:
        """A clone that is deleted again."""
        self._clones += 1
        name = f"clone-{self._clones}"
        done = self._operate("clone", tenant, "clone", {"name": name}, on=name)
        if done is None:
            return
        if done["state"] == "succeeded":
            made = str(done["instance_id"])
            self.deleted.add(made)
            self._intend("power", made, {"power": "off"})
            self._finish("delete", self._asked("DELETE", f"/instances/{made}", None, made, "delete"))

    def _go_back(self, kind: str, tenant: Tenant, copy: Copy, body: dict[str, Any], kept_as: str) -> None:
        """What it goes behind is in the copy that is made of it first, or in quarantine; afterwards nothing is lost."""
        asked = time.time()
        written = self._must_be_there(tenant)
        done = self._operate(kind, tenant, kind, body)
        ended = time.time()
        if done is None or (done["state"] != "succeeded" and done["result"].get("stands") != "new"):
            return
        tenant.book.returns.append(Return(copy.asked, ended))
        # a read of what was written a moment before finds nothing any more
        self._excuse(Kill(kind, tenant.id, asked, ended + 1, status=404))
        tenant.release = str(self._show(tenant)["release"])
        home = self.server.home
        present = home / "snapshots" / tenant.id / str(done["result"].get(kept_as)) / "data" / "pb_data"
        aside = home / "quarantine" / f"{tenant.id}-{done['id']}" / "pb_data"
        missing = not_kept(written, present, aside)
        assert not missing, f"{len(missing)} of {len(written)} writes are not in what was kept: {missing[:5]}, {done}"

    def _must_be_there(self, tenant: Tenant) -> list[str]:
        return tenant.book.must_be_there(self.writes(tenant.id))

    def writes(self, host: str) -> list[Write]:
        """All that were acknowledged so far."""
        return [write for load in self.loads for write in load.writes(host)]

    # --- how they ask ------------------------------------------------------------------------------------------

    def _operate(
        self, kind: str, tenant: Tenant, path: str, body: dict[str, Any] | None = None, on: str = ""
    ) -> dict[str, Any] | None:
        """The operation as it ended; None where there was none."""
        asked = self._asked("POST", f"/instances/{tenant.id}/{path}", body, on or tenant.id, kind)
        return self._finish(kind, asked)

    def _asked(self, method: str, path: str, body: dict[str, Any] | None, on: str, kind: str) -> str:
        """The id of the operation that was opened; "" where none was."""
        before = self._operations(on)
        with contextlib.suppress(*_AWAY):
            answer = self.server.api.request(method, path, json=body)
            if answer.status_code == 202:
                return str(answer.json()["operation"]["id"])
            if answer.status_code < 500:
                self.ended[f"{kind}: refused ({answer.json()['code']})"] += 1
                return ""
        deadline = time.monotonic() + SHOWS
        while time.monotonic() < deadline:
            if found := [item for item in self._operations(on) if item not in before]:
                return found[0]
            time.sleep(0.2)
        self.ended[f"{kind}: not asked"] += 1
        return ""

    def _operations(self, on: str) -> list[str]:
        answer = self.patiently(f"/instances/{on}/operations")
        return [str(item["id"]) for item in answer.get("items", ())]

    def _finish(self, kind: str, operation_id: str) -> dict[str, Any] | None:
        if not operation_id:
            return None
        done: dict[str, Any] = {}

        def over() -> bool:
            done.update(self.patiently(f"/operations/{operation_id}"))
            time.sleep(0.1)
            return done["state"] not in OPEN

        until(over, PATIENCE, f"the end of {kind} {operation_id}: {done}")
        why = f" ({done['error']['code']})" if done["error"] else ""
        if why:
            self.reasons.append(f"{kind} {operation_id}: {done['state']}, {done['error']}")
        self.ended[f"{kind}: {done['state']}{why}"] += 1
        assert "not_undone" not in (done["error"] or {}), done
        return done

    def _intend(self, what: str, instance_id: str, body: dict[str, Any]) -> None:
        """Asked again until it is so: a setting may be set twice."""

        def is_so() -> bool:
            with contextlib.suppress(*_AWAY):
                answer = self.server.api.patch(f"/instances/{instance_id}", params={"wait": 20}, json=body)
                if answer.status_code < 500:
                    assert answer.status_code == 200, answer.text
                    return bool(answer.json()["observed_generation"] >= answer.json()["generation"])
            time.sleep(0.2)
            return False

        until(is_so, PATIENCE, f"{instance_id} to follow {body}")
        self.ended[f"{what}: done"] += 1

    def _show(self, tenant: Tenant) -> dict[str, Any]:
        return self.patiently(f"/instances/{tenant.id}")

    def patiently(self, path: str) -> dict[str, Any]:
        """What the API says, as soon as it can; {} for 404."""
        found: dict[str, Any] = {}

        def says() -> bool:
            with contextlib.suppress(*_AWAY):
                answer = self.server.api.get(path)
                if answer.status_code == 200:
                    found.update(answer.json())
                    return True
                if answer.status_code == 404:
                    return True
            time.sleep(0.1)
            return False

        until(says, 120, f"GET {path}")
        return found


def _status(client: httpx.Client) -> int:
    """0 where nobody answers."""
    try:
        return client.get("/api/health").status_code
    except httpx.HTTPError:
        return 0
