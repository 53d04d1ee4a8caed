"""Snapshots: consistent copies of an instance on the same disk, made to go back to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.errors import SnapshotNotFound, SnapshotUnusable
from pocketfleet.runtime import putting_back
from pocketfleet.runtime.copying import measure
from pocketfleet.runtime.databases import is_database_file
from pocketfleet.runtime.disk import disk_trouble, flush, flush_all, remove_tree
from pocketfleet.runtime.errands import Errand, Progress, carry_out
from pocketfleet.runtime.manifest import Manifest
from pocketfleet.runtime.taking import Prepared, Request, is_passed_over, prepare, take, verified

_MANIFEST = "manifest.json"
_DATA = "data"
#: Beginnings of names of what is not finished, or on its way out.
_TAKING, _REMOVING, _COPYING, _PREPARING = ".taking-", ".removing-", ".copying-", ".preparing-"
#: Such a folder holds the files of a snapshot to come, whole and flushed.
_PREPARED = ".prepared-"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a snapshot of an instance takes at most: neither links nor reflinks are counted on."""

    bytes: int
    files: int


class SnapshotStore:
    """All snapshots of a home: `snapshots/<instance id>/<snapshot id>/{data/,manifest.json}`.

    What has a name without a dot in front is finished: it got that name once it was verified and flushed.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        #: temporary folders that work goes on in, which a sweep passes over
        self._in_use: set[Path] = set()
        #: what is known of prepared folders since they were made
        self._prepared: dict[Path, Prepared] = {}

    def path(self, instance_id: str, snapshot_id: str) -> Path:
        """The folder of its data: `pb_data`, `pb_hooks` ... Nobody may write there: files have names elsewhere, too."""
        return self._folder(instance_id) / snapshot_id / _DATA

    def manifest(self, instance_id: str, snapshot_id: str) -> Manifest:
        """Raises SnapshotNotFound, SnapshotUnusable."""
        try:
            text = (self._folder(instance_id) / snapshot_id / _MANIFEST).read_text()
            return Manifest.from_json(json.loads(text))
        except (FileNotFoundError, NotADirectoryError):
            raise SnapshotNotFound(f"There is no snapshot {snapshot_id}.", snapshot=snapshot_id) from None
        except (OSError, ValueError) as error:
            raise SnapshotUnusable(f"The snapshot's manifest cannot be read: {error}.") from error

    def present(self, instance_id: str) -> list[str]:
        """Ids of all finished ones, in no order."""
        with contextlib.suppress(FileNotFoundError):
            return [path.name for path in self._folder(instance_id).iterdir() if path.name.isalnum()]
        return []

    async def prepare(
        self, instance_id: str, snapshot_id: str, *, base: str | None = None, progress: Progress | None = None
    ) -> None:
        """Copy the files of a snapshot to come ahead, while everything goes on: `take` then looks for what came, went
        or changed since, and is quick. One that is prepared already is made anew; one that is taken stays.

        Raises DiskTrouble.
        """
        if snapshot_id in self.present(instance_id):
            return
        _log.info("preparing snapshot %s", snapshot_id, extra={"instance": instance_id})
        request = self._request(instance_id, snapshot_id, base)
        await carry_out(lambda errand: self._prepare(request, errand), progress)

    def is_prepared(self, instance_id: str, snapshot_id: str) -> bool:
        """Whether its files are there already."""
        return self._folder(instance_id).joinpath(_PREPARED + snapshot_id).is_dir()

    async def drop_prepared(self, instance_id: str, snapshot_id: str) -> None:
        """What was prepared and not taken goes, if there is anything. Raises DiskTrouble."""
        folder = self._folder(instance_id)
        with disk_trouble("What was prepared for a snapshot could not be removed"):
            for path in (folder / f"{_PREPARED}{snapshot_id}", folder / f"{_PREPARING}{snapshot_id}"):
                self._prepared.pop(path, None)
                self._in_use.discard(path)
                await asyncio.to_thread(remove_tree, path)

    async def take(
        self,
        instance_id: str,
        snapshot_id: str,
        *,
        release: str,
        awake: bool,
        base: str | None = None,
        progress: Progress | None = None,
        thorough: bool = True,
    ) -> Manifest:
        """A snapshot of the instance as it stands. One that is there already is answered as it is.

        1 storage and other files, 2 databases, 3 if awake: files again, 4 verified and counted, 5 flushed, 6 renamed.
        Of one that was prepared 1 is what came, went or changed since; if it fails, what was prepared stays.
        Awake: SQLite's backup API on read-only connections; nobody is stopped. Asleep: the caller holds its lock.
        `base`: the newest earlier snapshot; unchanged files under storage get a second name from there. `thorough`:
        every page of the databases is read; without it they are opened only, for a copy made while people wait.
        Raises SnapshotUnusable, DiskTrouble.
        """
        with contextlib.suppress(SnapshotNotFound):
            return self.manifest(instance_id, snapshot_id)
        _log.info("taking snapshot %s", snapshot_id, extra={"instance": instance_id})
        request = self._request(instance_id, snapshot_id, base, release=release, awake=awake, thorough=thorough)
        manifest = await carry_out(lambda errand: self._take(request, errand), progress)
        facts = (snapshot_id, manifest.bytes / 1e6, manifest.files, manifest.took_ms)
        _log.info("snapshot %s taken: %.0f MB, %d files, %d ms", *facts, extra={"instance": instance_id})
        return manifest

    async def verify(self, instance_id: str, snapshot_id: str) -> Manifest:
        """Read it again: every page of its databases, rows, files and bytes. Raises SnapshotUnusable, NotFound."""
        known = self.manifest(instance_id, snapshot_id)
        data = self.path(instance_id, snapshot_id)

        def look(errand: Errand) -> None:
            with disk_trouble("The snapshot cannot be read"):
                files, counts = measure(data), verified(data, errand, thorough=True)
            if counts != known.counts or (files.files, files.bytes) != (known.files, known.bytes):
                raise SnapshotUnusable(
                    f"The snapshot {snapshot_id} does not hold any more what it held when it was made."
                )

        await carry_out(look)
        return known

    async def put_back(self, instance_id: str, snapshot_id: str, progress: Progress | None = None) -> None:
        """The instance's folder becomes what the snapshot holds. The caller holds its lock.

        Steps and what a kill at each leaves: runtime/putting_back.py. Raises SnapshotNotFound, SnapshotUnusable,
        DiskTrouble; the instance's folder is as it was then.
        """
        manifest = self.manifest(instance_id, snapshot_id)
        _log.info("putting back snapshot %s", snapshot_id, extra={"instance": instance_id})
        data, live = self.path(instance_id, snapshot_id), self._config.instances / instance_id
        fresh = putting_back.fresh_name(self._folder(instance_id), snapshot_id)

        def work(errand: Errand) -> None:
            with disk_trouble("The snapshot could not be put back"), self._using(fresh):
                putting_back.put_back(data, live, fresh, manifest, errand)

        await carry_out(work, progress)
        _log.info("snapshot %s put back", snapshot_id, extra={"instance": instance_id})

    async def hand_over(self, instance_id: str, snapshot_id: str) -> None:
        """The instance's folder becomes what the snapshot holds, by renames alone, and there is no such snapshot any
        more. The caller holds its lock; called again after it was done, nothing happens until `forget_given`.

        Raises SnapshotUnusable, DiskTrouble; the instance's folder and the snapshot are as they were then.
        """
        _log.info("handing over snapshot %s", snapshot_id, extra={"instance": instance_id})
        snapshot, live = self._folder(instance_id) / snapshot_id, self._config.instances / instance_id

        def work(errand: Errand) -> None:
            with disk_trouble("The snapshot could not take its instance's place"):
                putting_back.hand_over(snapshot, live, errand)

        await carry_out(work)

    async def forget_given(self, instance_id: str) -> None:
        """What `hand_over` left behind, once nobody calls it again."""
        with disk_trouble("What is left of a snapshot could not be removed"):
            live = self._config.instances / instance_id
            await asyncio.to_thread(putting_back.forget_given, self._folder(instance_id), live)

    async def copy_to(self, instance_id: str, snapshot_id: str, target: Path, progress: Progress | None = None) -> None:
        """`target` becomes a folder with a copy of its own of the snapshot's data; what was there is replaced.

        On the same disk; reflinks or copies, never hard links. Killed at any point and called again it ends the same.
        Raises SnapshotNotFound, SnapshotUnusable, DiskTrouble.
        """
        manifest = self.manifest(instance_id, snapshot_id)
        fresh = self._folder(instance_id) / f"{_COPYING}{snapshot_id}-{target.name}"

        def work(errand: Errand) -> None:
            with disk_trouble("The snapshot could not be copied"), self._using(fresh):
                remove_tree(fresh)
                putting_back.copy_whole(self.path(instance_id, snapshot_id), fresh, manifest, errand)
                putting_back.replace(fresh, target)
                remove_tree(fresh)

        await carry_out(work, progress)

    async def remove(self, instance_id: str, snapshot_id: str) -> None:
        """Gone, or was never there. Other snapshots keep what they share with it."""

        def work(errand: Errand) -> None:
            folder = self._folder(instance_id)
            doomed = folder / f"{_REMOVING}{snapshot_id}"
            with disk_trouble("The snapshot could not be removed"), self._using(doomed):
                remove_tree(doomed)
                with contextlib.suppress(FileNotFoundError):
                    (folder / snapshot_id).rename(doomed)
                    flush(folder)
                remove_tree(doomed)

        await carry_out(work)

    async def remove_all(self, instance_id: str) -> None:
        """Every snapshot of an instance that is gone for good."""
        with disk_trouble("The snapshots could not be removed"):
            await asyncio.to_thread(remove_tree, self._folder(instance_id))

    def owners(self) -> list[str]:
        """Ids of the instances that a snapshot, or what is left of one, lies there of."""
        top = self._config.snapshots
        return sorted(path.name for path in top.iterdir() if path.is_dir()) if top.is_dir() else []

    async def sweep(self, instance_id: str, wanted: Collection[str] = ()) -> None:
        """Take away what work that was killed has left. What must not be lost of it is brought to its place.

        `wanted`: ids of snapshots that will yet be taken, so that what was prepared for them stays.
        """

        def work(errand: Errand) -> None:
            folder = self._folder(instance_id)
            with disk_trouble("Left-over copies could not be removed"):
                putting_back.recover(folder, self._config.instances / instance_id, self._in_use)
                kept = {folder / f"{_PREPARED}{snapshot_id}" for snapshot_id in wanted}
                for path in folder.glob(".*"):
                    if path not in self._in_use and path not in kept:
                        remove_tree(path)

        if self._folder(instance_id).is_dir():
            await carry_out(work)

    async def estimate(self, instance_id: str, prepared: str = "") -> Estimate:
        """What a snapshot of it would take at most; if it is `prepared`, besides what is there. Raises DiskTrouble."""
        live = self._config.instances / instance_id
        with disk_trouble("The instance's files cannot be counted"):
            if prepared and self.is_prepared(instance_id, prepared):
                found = await asyncio.to_thread(measure, live / "pb_data", lambda path: not is_database_file(path))
            else:
                found = await asyncio.to_thread(measure, live, is_passed_over)
        return Estimate(found.bytes, found.files)

    def free_bytes(self) -> int:
        """What the disk of the snapshots has left."""
        return shutil.disk_usage(self._config.home).free

    def _folder(self, instance_id: str) -> Path:
        return self._config.snapshots / instance_id

    def _request(
        self,
        instance_id: str,
        snapshot_id: str,
        base: str | None,
        *,
        release: str = "",
        awake: bool = True,
        thorough: bool = False,
    ) -> Request:
        earlier = self.path(instance_id, base) if base and base != snapshot_id else None
        return Request(
            instance_id=instance_id,
            snapshot_id=snapshot_id,
            release=release,
            live=self._config.instances / instance_id,
            awake=awake,
            base=earlier if earlier is not None and earlier.is_dir() else None,
            thorough=thorough,
        )

    def _prepare(self, request: Request, errand: Errand) -> None:
        folder = self._folder(request.instance_id)
        fresh, done = folder / f"{_PREPARING}{request.snapshot_id}", folder / f"{_PREPARED}{request.snapshot_id}"
        with disk_trouble("The snapshot could not be prepared"), self._using(fresh):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._prepared.pop(done, None)
            for path in (fresh, done):
                remove_tree(path)
            fresh.mkdir(mode=0o700)
            prepared = prepare(request, fresh / _DATA, errand)
            flush_all(fresh)
            self._prepared[done] = prepared
            self._in_use.add(done)
            fresh.rename(done)

    def _take(self, request: Request, errand: Errand) -> Manifest:
        folder = self._folder(request.instance_id)
        with disk_trouble("The snapshot could not be made"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            prepared = folder / f"{_PREPARED}{request.snapshot_id}"
            if prepared.is_dir():
                return self._finish(request, prepared, errand)
            fresh = folder / f"{_TAKING}{request.snapshot_id}"
            with self._using(fresh):
                remove_tree(fresh)
                fresh.mkdir(mode=0o700)
                return self._finish(request, fresh, errand)

    def _finish(self, request: Request, fresh: Path, errand: Errand) -> Manifest:
        """Take it in this folder, and give that its name."""
        folder = self._folder(request.instance_id)
        manifest = take(request, fresh / _DATA, errand, self._prepared.get(fresh))
        (fresh / _MANIFEST).write_text(json.dumps(manifest.as_json(), indent=1))
        flush_all(fresh)
        fresh.rename(folder / request.snapshot_id)
        flush(folder)
        self._prepared.pop(fresh, None)
        self._in_use.discard(fresh)
        return manifest

    @contextlib.contextmanager
    def _using(self, folder: Path) -> Iterator[None]:
        """A sweep leaves this alone; an error takes it away, if it does not hold what must not be lost."""
        self._in_use.add(folder)
        try:
            yield
        except BaseException:
            if not folder.name.startswith(putting_back.PREFIX):
                remove_tree(folder)
            raise
        finally:
            self._in_use.discard(folder)
