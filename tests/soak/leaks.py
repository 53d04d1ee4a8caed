"""What may be left over: descriptors, processes, mounts, and files in a home that no record names."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.sandboxes import WHY_NOT, left_of
from tests.server import MODULES, Server

#: Descriptors of one sort that a process may have more of than before: connections that clients keep open, and threads'
#: own connections to the database.
SLACK = 12
_ID = "[a-z0-9]{15}"
#: What lies in a home besides what belongs to an instance; relative, `*` for the instance folders below.
_OURS = re.compile(
    r"control\.sqlite3(-wal|-shm)?|secret\.key|sealing\.key|operator\.json"
    r"|copies(/control-\w+\.sqlite3)?"
    r"|releases(/[0-9.]+(/.*)?)?"
    r"|edge(/[\w.-]+\.(cfg|map|lua|sock|json|html|http|pem))?"
    r"|run(/(serve|node)\.lock|/forwarding|/housekeeping)?"
    r"|logs(/(serve|node|control|edge)(\.err)?\.log(\.\d)?)?"
    r"|instances|snapshots|backups|quarantine|incoming|rehearsals"
)
_DESCRIPTOR = re.compile(r"^(socket|pipe|anon_inode):")


@dataclass(frozen=True, slots=True)
class Records:
    """What the API says there is. `quarantined`: ids of deleted instances."""

    instances: frozenset[str]
    awake: frozenset[str]
    quarantined: frozenset[str]
    #: (instance, snapshot's id)
    snapshots: frozenset[tuple[str, str]]
    #: (instance, file name)
    backups: frozenset[tuple[str, str]]


def strange_files(home: Path, records: Records) -> list[str]:
    """Paths relative to the home that nothing in the records explains; what lies in an instance's folder is its own."""
    found = []
    for root, folders, files in os.walk(home):
        below = Path(root).relative_to(home)
        for name in [*folders, *files]:
            path = below / name
            if not _is_known(path, records):
                found.append(str(path))
        folders[:] = [name for name in folders if _is_looked_into(below / name)]
    return sorted(found)


def _is_looked_into(path: Path) -> bool:
    """Not what is one thing: an instance's folder, a snapshot, a release."""
    depth = {"instances": 1, "quarantine": 1, "snapshots": 2, "releases": 1, "rehearsals": 1, "incoming": 1}
    return len(path.parts) <= depth.get(path.parts[0], 9)


def _is_known(path: Path, records: Records) -> bool:
    if _OURS.fullmatch(str(path)):
        return True
    top, *rest = path.parts
    owner = rest[0].partition(".")[0] if rest else ""
    match top:
        case "instances":
            return owner in records.instances
        case "logs":
            # an instance's, kept as long as its files are in quarantine
            return owner in records.instances | records.quarantined
        case "run":
            is_lock = rest[0] == f"{owner}.lock" and owner in records.instances
            return is_lock or (rest[0] == f"{owner}.json" and owner in records.awake)
        case "quarantine":
            return owner.partition("-")[0] in records.instances | records.quarantined
        case "snapshots":
            return owner in records.instances | records.quarantined and (
                len(rest) == 1 or (owner, rest[1]) in records.snapshots or owner in records.quarantined
            )
        case "backups":
            return owner in records.instances | records.quarantined and (
                len(rest) == 1 or (owner, rest[1]) in records.backups or owner in records.quarantined
            )
    return False


def descriptors(server: Server) -> dict[str, Counter[str]]:
    """Of edge, node and control: how many of each sort are open, files by their path below the home."""
    return {name: _open_in(server.pid(name), server.home) for name in MODULES}


def _open_in(pid: int, home: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(each.readlink())
            sort = _DESCRIPTOR.match(target)
            kind = target.partition(":")[2] if sort and sort[1] == "anon_inode" else sort[1] if sort else ""
            found[kind or target.removeprefix(f"{home}/")] += 1
    return found


def leaked_descriptors(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> list[str]:
    """Sorts of which a process has clearly more than before, files that are gone, and files of instances that sleep."""
    found = []
    for process, now in after.items():
        for sort, count in now.items():
            grown = count - before[process][sort]
            mine = sort.startswith(("instances/", "snapshots/", "backups/", "incoming/", "rehearsals/"))
            if grown > SLACK or sort.endswith(" (deleted)") or mine:
                found.append(f"{process} has {count} of {sort}, before {before[process][sort]}")
    return found


def strange_processes(server: Server) -> list[str]:
    """Processes that belong to the home, or descend from serve, and are none of edge, node and control."""
    assert server.process is not None
    serve = psutil.Process(server.process.pid)
    edge = psutil.Process(server.pid("edge"))
    known = {serve.pid, edge.pid, *(server.pid(name) for name in MODULES)}
    known |= {worker.pid for worker in edge.children()}
    return _named(found for found in [*server.leftovers(), *serve.children(recursive=True)] if found.pid not in known)


def workers(server: Server) -> int:
    """Of the edge: those of before a reload end in their own time."""
    return len(psutil.Process(server.pid("edge")).children())


def left_behind(server: Server) -> list[str]:
    """Processes, mounts and sockets of a server that was stopped; interfaces, groups and rules of its sandbox."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    below = [place for place in mounts if place.startswith(f"{server.home}/")]
    sockets = [str(path) for path in server.home.rglob("*") if path.is_socket() and is_listened_on(path)]
    return [*_named(server.leftovers()), *(f"mounted: {place}" for place in below), *sockets, *_left_of_sandbox(server)]


def _left_of_sandbox(server: Server) -> list[str]:
    return [] if WHY_NOT else left_of(server.home)


def is_listened_on(path: Path) -> bool:
    """Whether a process has this unix socket open."""
    return any(line.endswith(f" {path}") for line in Path("/proc/net/unix").read_text().splitlines())


def _named(processes: Iterable[psutil.Process]) -> list[str]:
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = f"process {process.pid}: {' '.join(process.cmdline())[:200]}"
    return list(found.values())
