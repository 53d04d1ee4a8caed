"""The executables that are here: fetched once, verified, and never half there."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from pocketfleet.config import Config
from pocketfleet.errors import DiskTrouble, PocketfleetError, ReleaseUnusable
from pocketfleet.runtime.disk import flush
from pocketfleet.runtime.sources import OfferedAt, Progress, Source
from pocketfleet.runtime.sources.archives import sha256_of

log = logging.getLogger(__name__)

EXECUTABLE = "pocketbase"
_RECORD = "release.json"
_TEMPORARY = ".tmp-"
_RECORD_VERSION = 1
#: Releases that are fetched from one source at the same time; another source has as many, however slow this one is.
_FETCHES_AT_ONCE = 8
#: Seconds that `--version` may take.
_ANSWER_TIMEOUT = 20.0
_SAFE = re.compile(r"[0-9][0-9A-Za-z.+-]{0,49}")
_ANSWER = re.compile(r"\S+ version v?(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An executable that is here."""

    version: str
    #: the source that gave it
    source: str
    #: hexadecimal SHA-256 of the executable
    sha256: str
    path: Path


class _Flight:
    """One fetch and those who wait for it."""

    def __init__(self, fetch: Callable[[Progress], Coroutine[Any, Any, Fetched]]) -> None:
        self.listeners: list[Progress] = []
        self.task = asyncio.create_task(fetch(self.report))

    async def report(self, fraction: float | None, message: str) -> None:
        for listener in list(self.listeners):
            await listener(fraction, message)


class ReleaseStore:
    """`home/releases`: a folder per release, made whole under a temporary name and renamed."""

    def __init__(self, config: Config, sources: Iterable[Source]) -> None:
        self._folder = config.releases
        self._sources = {source.name: source for source in sources}
        self._flights: dict[str, _Flight] = {}
        self._places = {name: asyncio.Semaphore(_FETCHES_AT_ONCE) for name in self._sources}
        self._verified: set[str] = set()

    @property
    def sources(self) -> list[Source]:
        """In the order of the setting."""
        return list(self._sources.values())

    def path(self, version: str) -> Path:
        """The executable. Raises ReleaseUnusable where it is not here; asks the disk, not the network."""
        found = self._home(version) / EXECUTABLE
        if not os.access(found, os.X_OK):
            raise ReleaseUnusable(
                f"PocketBase {version} is not on this server (any more). `pocketfleet releases` shows what is; "
                "it is fetched again when pocketfleet starts.",
                release=version,
            )
        return found

    def has(self, version: str) -> bool:
        """Whether the executable is here."""
        return self.record(version) is not None

    def record(self, version: str) -> Fetched | None:
        """What was written down beside the executable when it was fetched; None where there is none."""
        try:
            home = self._home(version)
            path = self.path(version)
            noted = json.loads((home / _RECORD).read_bytes())
            return Fetched(version, str(noted["source"]), str(noted["sha256"]), path)
        except (ReleaseUnusable, OSError, ValueError, KeyError, TypeError):
            return None

    async def fetch(self, version: str, offers: Sequence[OfferedAt], known_sha256: str, progress: Progress) -> Fetched:
        """The executable, from the first offer that holds what it should.

        Whoever asks for a release that is being fetched waits for that fetch; it ends when nobody waits any more.
        Raises ReleaseUnusable with what each source said, DiskTrouble.
        """
        self._home(version)
        flight = self._flights.get(version)
        if flight is None:
            flight = self._flights[version] = _Flight(partial(self._fetch, version, offers, known_sha256))
        flight.listeners.append(progress)
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.listeners.remove(progress)
            if not flight.listeners and self._flights.get(version) is flight:
                del self._flights[version]
                flight.task.cancel()
                await asyncio.wait([flight.task])

    async def verify(self, version: str, sha256: str) -> bool:
        """Whether the executable still has this sha256; read whole once per start of ours, away from any wake.

        One that has not is taken away, so that it is fetched anew.
        """
        if version in self._verified:
            return self.has(version)
        if not os.access(self._home(version) / EXECUTABLE, os.R_OK):
            return False
        if await asyncio.to_thread(sha256_of, self._home(version) / EXECUTABLE) == sha256:
            self._verified.add(version)
            return True
        await self.discard(version)
        return False

    async def discard(self, version: str) -> None:
        """Take a release away; a PocketBase that runs from it goes on."""
        self._verified.discard(version)
        await asyncio.to_thread(self._put_aside, version)

    def sweep(self) -> None:
        """Remove what fetches that were killed left; to be called at start."""
        for entry in self._folder.glob(f"{_TEMPORARY}*"):
            owner = entry.name.removeprefix(_TEMPORARY).partition("-")[0]
            if not owner.isdigit() or int(owner) == os.getpid() or not _is_alive(int(owner)):
                shutil.rmtree(entry, ignore_errors=True)

    async def _fetch(self, version: str, offers: Sequence[OfferedAt], known_sha256: str, progress: Progress) -> Fetched:
        here = self.record(version)
        if here is not None and known_sha256 in ("", here.sha256):
            return here
        said = []
        for offer in offers:
            source = self._sources.get(offer.source)
            if source is not None:
                try:
                    async with self._places[offer.source]:
                        return await self._from(source, offer, known_sha256, progress)
                except (DiskTrouble, OSError):
                    raise
                except PocketfleetError as error:
                    said.append(f"{offer.source}: {error.detail}")
                except Exception as error:
                    log.exception("the source %s failed on %s", offer.source, version)
                    said.append(f"{offer.source}: {type(error).__name__}, see pocketfleet's own log.")
        why = " ".join(said) or "No source that is switched on offers it."
        raise ReleaseUnusable(f"PocketBase {version} could not be fetched. {why}", release=version)

    async def _from(self, source: Source, offer: OfferedAt, known_sha256: str, progress: Progress) -> Fetched:
        temporary = await asyncio.to_thread(self._temporary)
        try:
            found = await source.fetch(offer, temporary, progress)
            ready = await asyncio.to_thread(_make_ready, found, temporary)
            await progress(None, "checking")
            await _check_version(ready / EXECUTABLE, offer.version)
            return await asyncio.to_thread(self._install, ready, offer, known_sha256)
        finally:
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)

    def _install(self, ready: Path, offer: OfferedAt, known_sha256: str) -> Fetched:
        sha256 = sha256_of(ready / EXECUTABLE)
        if known_sha256 and sha256 != known_sha256:
            raise ReleaseUnusable(
                "its executable is not the one that was fetched first (another sha256); it was not installed.",
                release=offer.version,
            )
        _write_record(ready / _RECORD, offer, sha256)
        for path in (ready / EXECUTABLE, ready / _RECORD, ready):
            flush(path)
        self._rename(ready, offer.version, sha256)
        self._verified.add(offer.version)
        return Fetched(offer.version, offer.source, sha256, self._home(offer.version) / EXECUTABLE)

    def _rename(self, ready: Path, version: str, sha256: str) -> None:
        try:
            ready.rename(self._home(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            there = self.record(version)
            if there is None or there.sha256 != sha256 or sha256_of(there.path) != sha256:
                self._put_aside(version)
                ready.rename(self._home(version))
            # else another process was faster with the very same
        flush(self._folder)

    def _put_aside(self, version: str) -> None:
        aside = self._temporary()
        try:
            self._home(version).rename(aside / version)
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _temporary(self) -> Path:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-", dir=self._folder))
        except OSError as error:
            raise DiskTrouble(f"Nothing can be written to {self._folder}: {error.strerror}.") from error

    def _home(self, version: str) -> Path:
        if not _SAFE.fullmatch(version):
            raise ReleaseUnusable(f"“{version[:50]}” is not a release of PocketBase.", release=version[:50])
        return self._folder / version


def _make_ready(found: Path, temporary: Path) -> Path:
    ready = temporary / "ready"
    ready.mkdir(mode=0o755)
    ready.chmod(0o755)
    found.rename(ready / EXECUTABLE)
    (ready / EXECUTABLE).chmod(0o755)
    return ready


async def _check_version(executable: Path, version: str) -> None:
    """It must run here and call itself what it is offered as."""
    said = await _answer(executable)
    match = _ANSWER.fullmatch(said)
    if match is None or match[1] != version:
        first = said.strip().splitlines()[0][:200] if said.strip() else "nothing"
        raise ReleaseUnusable(f"its executable does not say that it is {version}: `--version` printed “{first}”.")


async def _answer(executable: Path) -> str:
    process = await _spawn(executable)
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT):
            said = await _read(cast(asyncio.StreamReader, process.stdout), 10_000)
            await process.wait()
            return said.decode(errors="replace")
    except TimeoutError:
        raise ReleaseUnusable(f"its executable did not answer `--version` in {_ANSWER_TIMEOUT:.0f} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Up to the end, however small the pieces in which it comes, but not without a limit."""
    said = b""
    while len(said) < limit and (piece := await stream.read(limit)):
        said += piece
    return said


async def _spawn(executable: Path) -> asyncio.subprocess.Process:
    for wait in (0.05, 0.2, 1.0, None):
        try:
            return await asyncio.create_subprocess_exec(
                executable,
                "--version",
                cwd=executable.parent,
                env={},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            # a child that another thread forks a moment ago may hold the file open for writing until its own exec
            if error.errno != errno.ETXTBSY or wait is None:
                raise ReleaseUnusable(f"its executable does not run on this machine: {error.strerror}.") from error
            await asyncio.sleep(wait)
    raise AssertionError("unreachable")


def _write_record(path: Path, offer: OfferedAt, sha256: str) -> None:
    noted: dict[str, Any] = {
        "version": _RECORD_VERSION,
        "release": offer.version,
        "source": offer.source,
        "sha256": sha256,
    }
    path.write_text(json.dumps(noted, indent=1) + "\n")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
