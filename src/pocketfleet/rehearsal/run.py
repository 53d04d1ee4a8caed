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
from pocketfleet.rehearsal.report import Report
from pocketfleet.rehearsal.requests import Asked, ProbeSpec, gather
from pocketfleet.rehearsal.rounds import Script, Stage
from pocketfleet.rehearsal.writes import plan_probes, plan_writes
from pocketfleet.runtime import inspect
from pocketfleet.runtime.copying import Copied, measure
from pocketfleet.runtime.errands import Progress

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
            report = await _Rehearsal(request, progress).carry_out()
    except TimeoutError:
        raise RehearsalFailed(
            f"The rehearsal took longer than {request.limits.seconds:.0f} s and was given up. Nothing live was touched."
        ) from None
    finally:
        await asyncio.to_thread(shutil.rmtree, request.work, ignore_errors=True)
    report = replace(report, took_ms=round((time.monotonic() - begun) * 1000))
    _log.info("rehearsed %s -> %s: %s", request.old.version, request.new.version, report.verdict)
    return report


class _Rehearsal:
    def __init__(self, request: Request, progress: Progress) -> None:
        self._request = request
        self._progress = progress

    async def carry_out(self) -> Report:
        request = self._request
        sandboxed, why_not = await asyncio.to_thread(sandbox.available)
        disk = await asyncio.to_thread(_disk, request)
        asked, script = await asyncio.to_thread(self._prepare)
        surroundings = Surroundings(request.secrets, request.dev, request.encryption_env)
        seconds = request.limits.seconds
        stage = Stage(request.snapshot, request.work, surroundings, sandbox.choose_place(sandboxed=sandboxed))
        script = replace(script, seconds=(seconds * _READING, seconds * _WRITING))

        # nothing needs asking of a release that does not start
        new = await stage.play(request.new, Script([], []), None, self._telling(0.02, 0.05, request.new))
        script = script if new.answered else Script([], [])
        old = await stage.play(request.old, script, None, self._telling(0.05, 0.35, request.old))
        followed = replace(script, reading=old.kept, writing=script.writing[: len(old.written)])
        if new.answered:
            new = await stage.play(request.new, followed, old, self._telling(0.35, 0.65, request.new))
        again = None
        if old.answered and new.answered:
            again = await stage.play(request.old, followed, old, self._telling(0.65, 0.95, request.old))
        await self._progress(0.95, "comparing")
        seen = Seen(
            snapshot=request.snapshot,
            old=old,
            new=new,
            again=again,
            asked=asked,
            script=followed,
            sandboxed=sandboxed,
            why_not_sandboxed=why_not,
            disk=disk,
        )
        return await asyncio.to_thread(judge_all, seen)

    def _prepare(self) -> tuple[Asked, Script]:
        """Everything that will be asked, read from the snapshot."""
        request = self._request
        settings = inspect.settings(request.snapshot) or {}
        remote = bool((settings.get("s3") or {}).get("enabled"))
        identities = choose_identities(request.snapshot)
        probes = [_probe(probe) for probe in request.probes]
        hooks = registrations(request.snapshot / "pb_hooks")
        asked = gather(request.snapshot, identities, probes, hooks, files_are_here=not remote)
        reading, writing = plan_probes(asked.asks)
        return asked, Script(reading, [*writing, *plan_writes(request.snapshot, identities, hooks)])

    def _telling(self, low: float, high: float, release: Release) -> Progress:
        async def tell(fraction: float | None, message: str) -> None:
            await self._progress(low + (high - low) * (fraction or 0), f"{release.version}: {message}")

        return tell


def _probe(probe: Mapping[str, Any]) -> ProbeSpec:
    names = ("method", "path", "identity", "body", "expect_status", "expect_json")
    return ProbeSpec(**{name: probe[name] for name in names if name in probe})


def _disk(request: Request) -> dict[str, int]:
    """Bytes: the clone, which every round takes over, and what the new release writes anew; and files in storage."""
    storage = request.snapshot / "pb_data" / "storage"
    files = measure(storage) if storage.is_dir() and not storage.is_symlink() else Copied()
    rest = measure(request.snapshot, lambda path: path in ("pb_data/backups", "pb_data/storage"))
    return {
        "needed": rest.bytes + files.bytes,
        "free": shutil.disk_usage(request.work).free,
        "files": files.files,
    }
