"""A rehearsal: an upgrade carried out on clones, in the order old, new, old again, and the report on it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pocketfleet.errors import RehearsalFailed
from pocketfleet.rehearsal import sandbox
from pocketfleet.rehearsal.clone import Release, Surroundings
from pocketfleet.rehearsal.hooks import registrations
from pocketfleet.rehearsal.identities import choose_identities
from pocketfleet.rehearsal.judging import Seen, judge_all
from pocketfleet.rehearsal.replaced import Brought
from pocketfleet.rehearsal.report import Report
from pocketfleet.rehearsal.requests import Asked, ProbeSpec, gather
from pocketfleet.rehearsal.room_left import while_there_is_room
from pocketfleet.rehearsal.rounds import Round, Script, Stage
from pocketfleet.rehearsal.shared import share, without_missing
from pocketfleet.rehearsal.writes import plan_probes, plan_writes
from pocketfleet.runtime import inspect
from pocketfleet.runtime.confines import Confines
from pocketfleet.runtime.copying import Copied, measure
from pocketfleet.runtime.errands import Errand, Progress, carry_out
from pocketfleet.runtime.removing import remove_quietly

#: Shares of the time that asking and writing may take in the first round; the other two take as long.
_READING, _WRITING = 0.15, 0.08

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one rehearsal: `seconds` in all."""

    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to rehearse. `snapshot` is a data folder that nobody writes to; `work` a path where nothing is yet.
    Where `brought` stands alone, `snapshot` is its folder and `old` is `new`.

    `probes` have the keys of the table Probe. `encryption_env` names the secret that holds the key of the settings.
    """

    snapshot: Path
    work: Path
    old: Release
    new: Release
    secrets: Mapping[str, str] = field(repr=False)
    dev: bool = False
    probes: Sequence[Mapping[str, Any]] = ()
    encryption_env: str = ""
    limits: Limits = Limits()
    #: other data that takes its place under `new`; None: `new` runs on the same data
    brought: Brought | None = None
    #: what holds the clones besides their namespaces
    confines: Confines | None = None
    #: bytes that an instance may have; 0 for any
    storage: int = 0


async def rehearse(request: Request, progress: Progress) -> Report:
    """Carry the upgrade out on clones and report. Nothing but `work` is written to, and that is gone afterwards.

    1 what will be asked, from the snapshot, 2 whether the new release starts, 3 the old one on a clone, 4 the new one,
    5 the old one again, 6 the comparison. May be cancelled at any moment. Raises RehearsalFailed where it takes too
    long, DiskTrouble, SnapshotUnusable, ReleaseUnusable.
    """
    begun = time.monotonic()
    _log.info("rehearsing %s -> %s", request.old.version, request.new.version)
    request.work.mkdir(mode=0o700, parents=True)
    try:
        async with asyncio.timeout(request.limits.seconds):
            disk = await asyncio.to_thread(_disk, request)
            rehearsal = _Rehearsal(request, disk, progress)
            report = await while_there_is_room(rehearsal.carry_out(), request.work, most=_most(request, disk))
    except TimeoutError:
        raise RehearsalFailed(
            f"The rehearsal took longer than {request.limits.seconds:.0f} s and was given up. Nothing live was touched."
        ) from None
    finally:
        await asyncio.to_thread(remove_quietly, request.work)
    report = replace(report, took_ms=round((time.monotonic() - begun) * 1000))
    _log.info("rehearsed %s -> %s: %s", request.old.version, request.new.version, report.verdict)
    return report


def _most(request: Request, disk: Mapping[str, int]) -> int:
    """Bytes that a rehearsal may take; 0 for any. A clone may grow as its instance may."""
    return 2 * disk["needed"] + request.storage if request.storage else 0


class _Rehearsal:
    def __init__(self, request: Request, disk: dict[str, int], progress: Progress) -> None:
        """`disk`: see `_disk`."""
        self._request = request
        self._disk = disk
        self._progress = progress

    async def carry_out(self) -> Report:
        confines = self._request.confines
        sandboxed, why_not = await asyncio.to_thread(sandbox.available, confines)
        if confines is not None and not sandboxed:
            # nothing of a tenant's runs here without what holds its instance
            raise RehearsalFailed(f"The rehearsal's sandbox does not work at this moment. {why_not}")
        self._place = sandbox.choose_place(sandboxed=sandboxed, confines=confines)
        played = await self._alone() if self._request.brought and self._request.brought.why_alone else None
        if played is None:
            played = await self._compared()
        await self._progress(0.95, "comparing")
        seen = Seen(
            snapshot=self._request.snapshot,
            old=played.old,
            new=played.new,
            again=played.again,
            asked=played.asked,
            script=played.script,
            sandboxed=sandboxed,
            why_not_sandboxed=why_not,
            disk=self._disk,
            brought=played.brought,
        )
        return await asyncio.to_thread(judge_all, seen)

    async def _compared(self) -> _Played:
        """Old, new, old again."""
        request, brought = self._request, self._request.brought
        asked, script = await self._prepared()
        stage = self._stage(request.snapshot, "old")
        after = self._stage(brought.folder, "new") if brought else stage

        # nothing needs asking of a release that does not start
        new = await after.play(request.new, Script([], []), None, self._telling(0.02, 0.05, request.new))
        script = script if new.answered else Script([], [])
        old = await stage.play(request.old, script, None, self._telling(0.05, 0.35, request.old))
        if brought and new.answered and not old.answered:
            why = f"PocketBase {request.old.version} does not start on that: {old.starts[-1].reason}"
            return await self._alone(old, replace(brought, why_alone=why))
        followed = replace(script, reading=old.kept, writing=script.writing[: len(old.written)])
        if new.answered:
            new = await after.play(request.new, followed, old, self._telling(0.35, 0.65, request.new))
        again = None
        if old.answered and new.answered:
            again = await stage.play(request.old, followed, old, self._telling(0.65, 0.95, request.old))
        return _Played(old, new, again, asked, followed, brought)

    async def _alone(self, old: Round | None = None, brought: Brought | None = None) -> _Played:
        """What is brought, by itself: there is nothing to compare its answers with."""
        request, brought = self._request, brought or self._request.brought
        data = brought.folder if brought else request.snapshot
        asked, script = await asyncio.to_thread(self._prepare, data, data / "pb_hooks")
        new = await self._stage(data, "alone").play(request.new, script, None, self._telling(0.1, 0.9, request.new))
        followed = replace(script, reading=new.kept, writing=script.writing[: len(new.written)])
        return _Played(old or Round(request.old.version), new, None, asked, followed, brought)

    def _stage(self, data: Path, name: str) -> Stage:
        request = self._request
        surroundings = Surroundings(request.secrets, request.dev, request.encryption_env)
        return Stage(data, request.work / name, surroundings, self._place)

    async def _prepared(self) -> tuple[Asked, Script]:
        """What will be asked. Of a restore: about what is there before and after it."""
        request, brought = self._request, self._request.brought
        hooks = request.snapshot / "pb_hooks"
        if brought is None:
            return await asyncio.to_thread(self._prepare, request.snapshot, hooks)
        shared = request.work / "shared"

        def prepare(errand: Errand) -> tuple[Asked, Script]:
            share(request.snapshot, brought.folder, shared, errand)
            asked, script = self._prepare(shared, hooks)
            reading, missing = without_missing(script.reading, request.snapshot, brought.folder)
            if missing:
                text = f"{missing} requests of the log are about records that are not in what is brought."
                asked.not_covered.append(text)
            shutil.rmtree(shared, ignore_errors=True)
            return asked, replace(script, reading=reading)

        return await carry_out(prepare)

    def _prepare(self, data: Path, hooks: Path) -> tuple[Asked, Script]:
        """Everything that will be asked, read from the data; hooks lie elsewhere where that holds databases alone."""
        request = self._request
        settings = inspect.settings(data) or {}
        remote = bool((settings.get("s3") or {}).get("enabled"))
        identities = choose_identities(data)
        probes = [_probe(probe) for probe in request.probes]
        registered = registrations(hooks)
        asked = gather(data, identities, probes, registered, files_are_here=not remote)
        reading, writing = plan_probes(asked.asks)
        seconds = request.limits.seconds
        planned = [*writing, *plan_writes(data, identities, registered)]
        return asked, Script(reading, planned, (seconds * _READING, seconds * _WRITING))

    def _telling(self, low: float, high: float, release: Release) -> Progress:
        async def tell(fraction: float | None, message: str) -> None:
            await self._progress(low + (high - low) * (fraction or 0), f"{release.version}: {message}")

        return tell


@dataclass(frozen=True, slots=True)
class _Played:
    """The rounds, and what was asked in them."""

    old: Round
    new: Round
    again: Round | None
    asked: Asked
    script: Script
    brought: Brought | None


def _probe(probe: Mapping[str, Any]) -> ProbeSpec:
    names = ("method", "path", "identity", "body", "expect_status", "expect_json")
    return ProbeSpec(**{name: probe[name] for name in names if name in probe})


def _disk(request: Request) -> dict[str, int]:
    """Bytes: the clone, which every round takes over, one of each data, and what the new release writes anew; and files
    in storage, which are asked for."""
    storage = request.snapshot / "pb_data" / "storage"
    files = measure(storage) if storage.is_dir() and not storage.is_symlink() else Copied()
    needed = files.bytes + measure(request.snapshot, lambda path: path in ("pb_data/backups", "pb_data/storage")).bytes
    if request.brought:
        needed += measure(request.brought.folder, lambda path: path == "pb_data/backups").bytes
    return {"needed": needed, "free": shutil.disk_usage(request.work).free, "files": files.files}
