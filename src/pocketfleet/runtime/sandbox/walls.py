"""How far the kernel lets an instance's files grow, where its file system has project quotas.

Storage is measured every few seconds, and what may be written in between is bounded here. The kernel counts more than
what is measured: what was replaced and is not removed yet, files that lost their name. These others are what it counted
when the instance started, and become less with every measurement, never more; so the wall stands still however fast
somebody writes, and whoever hides files from the measurement has them counted all the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.projects import hands_down
from pocketfleet.runtime.sandbox.marking import mark_tree
from pocketfleet.runtime.sandbox.quotas import Quotas
from pocketfleet.runtime.sizes import Amount, Measured

#: What it may have beyond its storage: to be over that and put to sleep in order must come before writes that fail.
SLACK = Amount(64 * 1024**2, 10_000)
#: Names that are marked at one start, which takes a second; the next one goes on where it ended.
_MARKED_AT_ONCE = 15_000

_log = logging.getLogger(__name__)


class Walls:
    """The walls of one home's instances. Where nothing is held every verb does nothing; what fails is only logged."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._works = False
        #: one thread, since the kernel may wait for the disk, so what is asked for first is done first
        self._thread: ThreadPoolExecutor | None = None
        self._turn = threading.Lock()
        #: by instance id: what counts it, what it may have, and what else the kernel counts
        self._projects: dict[str, int] = {}
        self._most: dict[str, Amount] = {}
        self._others: dict[str, Amount] = {}
        self._running: set[str] = set()
        self._held: set[int] = set()

    def open(self, dead: Iterable[int]) -> None:
        """From now on there may be walls. `dead`: projects of those that ran when a former node died, and do not."""
        try:
            why_not = self._quotas.open()
        except OSError as error:
            why_not = str(error)
        self._works = not why_not
        _log.info("storage held by the file system: %s", f"no, {why_not}" if why_not else "yes")
        if self._works:
            self._thread = ThreadPoolExecutor(1, "walls")
            for project in dead:
                self._held.add(project)
                self._soon(partial(self._hold, project, None))

    def close(self) -> None:
        """No more of them; those of instances that live on stay."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        self._works = False
        self._quotas.close()

    def found(self, instance_id: str, project: int) -> None:
        """One that was started by a former node runs."""
        with self._turn:
            self._projects[instance_id] = project
            self._held.add(project)
            self._running.add(instance_id)

    def begin(self, guest: Guest) -> None:
        """Just before it runs, and nobody else is at its files. Blocks for a second or so at most."""
        if self._thread is None:
            return
        is_other = bool(guest.limits.storage) and _marked(guest)
        with self._turn:
            self._projects[guest.instance_id] = guest.user
            self._running.add(guest.instance_id)
        if guest.limits.storage:
            self._thread.submit(self._begin, guest, is_other).result()

    def end(self, instance_id: str) -> None:
        """It does not run: its files are ours to replace."""
        with self._turn:
            self._running.discard(instance_id)
            project = self._projects.get(instance_id, 0)
        if project in self._held:
            self._soon(partial(self._hold, project, None))

    def counted(self, instance_id: str) -> Amount | None:
        """What the kernel counts now; None where nothing is held. May wait for the disk."""
        project = self._projects.get(instance_id)
        if project is None or not self._works:
            return None
        with suppress(OSError):
            return self._quotas.used(project)
        return None

    def measured(self, instance_id: str, found: Measured) -> None:
        """Take note of what the kernel counts besides what was measured."""
        if found.counted is None:
            return
        before, after = found.counted
        # what was written meanwhile may not be measured, and what was deleted may be
        others = Amount(max(before.bytes, after.bytes), max(before.names, after.names)).besides(found.amount)
        with self._turn:
            known = self._others.get(instance_id, others)
            self._others[instance_id] = Amount(min(known.bytes, others.bytes), min(known.names, others.names))

    def bound(self, instance_id: str, most: Amount | None) -> None:
        """An instance may have so much in all, from now on and from its next start on; None for any amount."""
        with self._turn:
            before = self._most.pop(instance_id, None)
            if most is not None:
                self._most[instance_id] = most
            runs = instance_id in self._running
        if runs and not (most is None and before is None):
            self._soon(partial(self._renew, instance_id))

    def _begin(self, guest: Guest, is_other: bool) -> None:
        instance_id, now = guest.instance_id, self.counted(guest.instance_id)
        with self._turn:
            if now is not None and (is_other or instance_id not in self._others):
                self._others[instance_id] = now
            self._most.setdefault(instance_id, Amount.of(guest.limits.storage))
        self._renew(instance_id)

    def _renew(self, instance_id: str) -> None:
        with self._turn:
            project, runs = self._projects[instance_id], instance_id in self._running
            most, others = self._most.get(instance_id), self._others.get(instance_id)
        if runs and most is None:
            self._hold(project, None)
        elif runs and most is not None and others is not None:
            self._hold(project, most + others + SLACK)

    def _hold(self, project: int, most: Amount | None) -> None:
        try:
            self._quotas.hold(project, most)
        except OSError as error:
            _log.warning("storage of project %d not held by the file system: %s", project, error.strerror)
            return
        if most is None:
            self._held.discard(project)
        else:
            self._held.add(project)

    def _soon(self, work: Callable[[], None]) -> None:
        if self._thread is not None:
            self._thread.submit(work)


def _marked(guest: Guest) -> bool:
    """Mark what is there, as far as that goes; whether that was needed: this is not what was there before."""
    fields = {"instance": guest.instance_id}
    try:
        with opened_folder(guest.folder) as here:
            if hands_down(here) == guest.user:
                return False
        if not mark_tree(guest.folder, guest.user, _MARKED_AT_ONCE):
            _log.info("files marked in part, the rest at its next starts", extra=fields)
    except OSError as error:
        _log.warning("files not marked: %s", error, extra=fields)
    return True
