"""The harness: a fleet on a small disk under a clock of its own; load, work and faults; then the reckoning.

1 instances are made; 2 a storm: clients write and read all the time while owners ask for things and faults are done
to everything; 3 everybody sleeps, a first look at all descriptors; 4 a calm, in which nobody is killed; 5 everybody
sleeps, and nothing may have leaked; 6 everything is read back and compared with what was acknowledged; 7 the server
stops, and nothing may be left.
"""

from __future__ import annotations

import contextlib
import queue
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.load import Load, texts
from tests.server import MODULES, Server, until
from tests.soak import leaks
from tests.soak.books import damage_in
from tests.soak.clock import Clock
from tests.soak.disks import SmallDisk
from tests.soak.faults import Faults
from tests.soak.leaks import Records
from tests.soak.schedules import STORM, WORK, Event, schedule
from tests.soak.tenants import VERSIONS, Owners, Tenant

#: Megabytes of the disk: the executables, and of each instance its data, copies and clones.
DISK_BASE, DISK_EACH = 500, 40
#: Things that are asked for at the same time.
OWNERS_AT_ONCE = 4
#: Things that wait to be asked for where the machine is slower than the schedule; more are left out.
BACKLOG = 20
#: Seconds that an instance may be idle: everybody falls asleep all the time.
IDLE = 4
#: States of an instance that nobody calls. One that could not start says why until it is called again; a clone stays
#: switched off where the disk was full as it was to be deleted.
AT_REST = ("asleep", "failing", "off")
NAMED = ("succeeded", "failed", "rolled_back", "asking", "cancelled")


@dataclass(frozen=True, slots=True)
class Length:
    """How long, how many, and from which seed."""

    seconds: float
    instances: int
    clients: int
    seed: int
    #: seconds that a client waits between two rounds, on average
    pause: float = 0.02


@dataclass
class Summary:
    """What happened, and what must not have."""

    length: Length
    without: list[str] = field(default_factory=list)
    load: str = ""
    writes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    memory: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        given = self.length
        rows = [
            ("soak", f"seed {given.seed}, {given.instances} instances, {given.clients} clients, {given.seconds:.0f} s"),
            *((f"{'WITHOUT':<12}", text) for text in self.without),
            ("requests", self.load),
            ("writes", _listed(self.writes)),
            ("operations", _listed(self.operations)),
            ("faults", _listed(self.faults)),
            ("failed", _listed(self.failed) or "none"),
            ("memory", ", ".join(f"{name} {text}" for name, text in self.memory.items())),
            ("troubles", f"{len(self.troubles)}" if self.troubles else "none"),
        ]
        told = [*(f"{name:<12}{text}" for name, text in rows), *(f"  {text}" for text in self.troubles)]
        return "\n".join([*told, "What did not succeed, and why:", *(f"  {text}" for text in self.reasons)])


class Soak:
    """One run."""

    def __init__(self, server: Server, length: Length, disk: SmallDisk | None, clock: Clock | None) -> None:
        self.server = server
        self.length = length
        self.summary = Summary(length)
        self._disk = disk
        self._clock = clock
        self._work: queue.Queue[Event | None] = queue.Queue()
        self._tenants: list[Tenant] = []
        self._deleted: set[str] = set()
        self._memory: dict[str, int] = {}

    def run(self) -> Summary:
        """All of it; what is wrong is in the summary's troubles."""
        owners = Owners(self.server, lambda kill: faults.excuse(kill))
        self._deleted = owners.deleted
        self._tenants = owners.make(self.length.instances)
        ids = {tenant.id: tenant.id for tenant in self._tenants}
        faults = Faults(self.server, ids, random.Random(self.length.seed), self._disk, self._clock)
        events = schedule(self.length.seed, self.length.seconds, self.length.instances)
        storm = self.length.seconds * STORM
        self._happen([event for event in events if event.at <= storm], 0, owners, faults)
        before, self._memory = self._look(), self._measure()
        self._happen([event for event in events if event.at > storm], storm, owners, faults)
        self._require_ends(owners)
        self._require_no_leak(before)
        self._require_excuses(owners, faults)
        self._require_writes(owners, faults)
        self._add_up(owners, faults)
        self._stop()
        return self.summary

    # --- what happens ------------------------------------------------------------------------------------------

    def _happen(self, events: list[Event], beginning: float, owners: Owners, faults: Faults) -> None:
        """Part of the schedule, under load, to the end of what it began."""
        clients = self.length.clients
        hosts = [tenant.id for tenant in self._tenants]
        first = clients * len(owners.loads)
        with Load(self.server, hosts, clients=clients, pause=self.length.pause, first=first) as load:
            owners.loads.append(load)
            self._begin_work(owners)
            began = time.monotonic() - beginning
            for event in events:
                self._wait_for(event, began)
                self._do(event, owners, faults)
            faults.settle()
            self._finish_work()

    def _do(self, event: Event, owners: Owners, faults: Faults) -> None:
        if event.kind in WORK:
            if self._work.qsize() < BACKLOG:
                self._work.put(event)
            return
        try:
            faults.carry_out(event)
        except AssertionError as error:
            owners.troubles.append(f"{event}: {error}")

    @staticmethod
    def _wait_for(event: Event, began: float) -> None:
        time.sleep(max(0.0, began + event.at - time.monotonic()))

    def _begin_work(self, owners: Owners) -> None:
        def work() -> None:
            while event := self._work.get():
                owners.carry_out(event.kind, self._tenants[event.subject])

        self._workers = [threading.Thread(target=work, daemon=True) for _ in range(OWNERS_AT_ONCE)]
        for worker in self._workers:
            worker.start()

    def _finish_work(self) -> None:
        """What was begun is done to its end."""
        for _ in self._workers:
            self._work.put(None)
        for worker in self._workers:
            worker.join()

    def _look(self) -> dict[str, Counter[str]]:
        """The open descriptors, once everybody sleeps and the edge has one set of workers."""
        with contextlib.suppress(AssertionError):
            until(self._all_asleep, 120, "everybody to fall asleep")
        for row in self._all("/instances"):
            if row["state"] not in AT_REST:
                running = self.server.guest_pids(row["id"])
                self._trouble(f"{row['name']} ({row['id']}) is {row['state']} for long, processes {running}: {row}")
        until(lambda: leaks.workers(self.server) == 1, 60, "old workers of the edge to end")
        return leaks.descriptors(self.server)

    # --- the reckoning -----------------------------------------------------------------------------------------

    def _require_ends(self, owners: Owners) -> None:
        """Every operation has ended in a state that it names; those that failed say why."""
        self.summary.troubles += owners.troubles
        for item in self._all("/operations"):
            if item["state"] not in NAMED:
                self._trouble(f"{item['kind']} {item['id']} is {item['state']}")
            elif item["state"] in ("failed", "rolled_back") and not (item["error"] or {}).get("detail"):
                self._trouble(f"{item['kind']} {item['id']} is {item['state']} and does not say why")

    def _require_no_leak(self, before: dict[str, Counter[str]]) -> None:
        """Descriptors, processes and files."""
        self.summary.troubles += leaks.leaked_descriptors(before, self._look())
        time.sleep(2.5)  # serve looks every two seconds for what has ended
        self.summary.troubles += leaks.strange_processes(self.server)
        self.summary.troubles += [f"no record names {path}" for path in self._strange_files()]

    def _all_asleep(self) -> bool:
        time.sleep(0.2)
        return all(row["state"] in AT_REST for row in self._all("/instances"))

    def _strange_files(self) -> list[str]:
        return leaks.strange_files(self.server.home, self._records())

    def _records(self) -> Records:
        rows = self._all("/instances")
        known = frozenset(row["id"] for row in rows)
        snapshots = {(key, row["id"]) for key in known for row in self._all(f"/instances/{key}/snapshots")}
        backups = {(key, row["name"]) for key in known for row in self._all(f"/instances/{key}/backups")}
        deleted = {row["instance_id"] for row in self._all("/operations") if row["kind"] == "delete"} | self._deleted
        awake = frozenset(row["id"] for row in rows if row["state"] == "awake")
        return Records(known, awake, frozenset(deleted - known), frozenset(snapshots), frozenset(backups))

    def _require_excuses(self, owners: Owners, faults: Faults) -> None:
        kills = faults.shaker.kills
        for entry in (entry for load in owners.loads for entry in load.failures):
            reasons = [kill.victim for kill in kills if kill.excuses(entry)]
            self.summary.failed[f"because of {reasons[0]}" if reasons else "for no reason"] += 1
            if not reasons:
                self._trouble(f"failed for no reason: {entry}")

    def _require_writes(self, owners: Owners, faults: Faults) -> None:
        for tenant in self._tenants:
            faults.shaker.until_it_answers(tenant.id)
            writes, there = owners.writes(tenant.id), texts(self.server, tenant.id)
            for trouble in tenant.book.troubles(writes, there):
                self._trouble(f"{tenant.name} ({tenant.id}) {trouble}")
            must = len(tenant.book.must_be_there(writes))
            self.summary.writes += Counter({"acknowledged": len(writes), "read back": must})
            self.summary.writes["gone behind by an owner"] += len(writes) - must

    def _stop(self) -> None:
        """In order, with whole databases, and without a trace."""
        if (code := self.server.stop()) != 0:
            self._trouble(f"serve ended with {code}")
        self.summary.troubles += [f"left behind: {text}" for text in leaks.left_behind(self.server)]
        for tenant in self._tenants:
            data = self.server.folder(tenant.id) / "pb_data"
            self.summary.troubles += [f"{tenant.name}: {text}" for text in damage_in(data)]

    def _add_up(self, owners: Owners, faults: Faults) -> None:
        self.summary.load = "; in the calm ".join(load.summary() for load in owners.loads)
        self.summary.operations = owners.ended
        self.summary.reasons = owners.reasons
        self.summary.faults = faults.done
        now = self._measure()
        self.summary.memory = {name: f"{self._memory[name]} -> {now[name]} MB" for name in now}
        self.summary.without += [] if self._disk else ["a full disk: mounting one takes root"]
        self.summary.without += [] if self._clock else ["a clock that jumps: it takes a C compiler"]

    def _measure(self) -> dict[str, int]:
        pids = {name: self.server.pid(name) for name in MODULES}
        return {name: psutil.Process(pid).memory_info().rss // 1_000_000 for name, pid in pids.items()}

    def _all(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (
            self.server.api.get(path, params={"limit": 1000}).raise_for_status().json()["items"]
        )
        return items

    def _trouble(self, text: str) -> None:
        self.summary.troubles.append(text)


@contextlib.contextmanager
def prepared(length: Length) -> Iterator[Soak]:
    """A started server on a small disk with a clock of its own, where that can be; removed afterwards."""
    outside = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    home = outside / "home"
    home.mkdir()
    disk: SmallDisk | None = SmallDisk(home, DISK_BASE + DISK_EACH * length.instances)
    clock: Clock | None = None
    with contextlib.suppress(LookupError):
        clock = Clock(outside)
    if disk and not disk.mount():
        disk = None
    # the sandbox of a rehearsal holds the executable alone, so it must not be a script that calls another one
    server = Server(
        home,
        versions=VERSIONS,
        counted=False,
        extra_environment=clock.environment if clock else {},
        idle_timeout=IDLE,
        log_level="INFO",
    )
    try:
        yield Soak(server.start(), length, disk, clock)
    finally:
        server.clean()
        if disk:
            disk.unmount()
        shutil.rmtree(outside, ignore_errors=True)


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items()))
