"""What is done by the clock: scheduled backups, mail, and clearing away what nobody uses."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from pocketfleet.actions import copy_records
from pocketfleet.actions.accounts import forget_unverified
from pocketfleet.actions.events import prune_events
from pocketfleet.actions.sign_in import forget_old_sessions
from pocketfleet.domain.ids import derived_id
from pocketfleet.operations import staging
from pocketfleet.operations.mail import Mailer
from pocketfleet.operations.snapshot import drop_snapshot
from pocketfleet.operations.tools import Tools

log = logging.getLogger(__name__)


class Clock:
    """Reads only what is due, and events that were not mailed."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._mailer = Mailer(tools.config, tools.database)

    async def tick(self) -> None:
        """One look: node calls it every so often, and what it opens the engine notices."""
        begun = await self._tools.database.call(copy_records.begin_due_backups, datetime.now(UTC))
        if begun:
            log.info("scheduled backups begun: %d", len(begun))
        await self._mailer.send_due()

    async def _sweep_snapshots(self) -> None:
        """Leftovers, and snapshots that no row names: their operation was killed between the one and the other.

        What lies there is looked at first: its operation is open after that, or it has ended and its row is there.
        """
        store, call = self._tools.snapshots, self._tools.database.call
        present = await asyncio.to_thread(lambda: {key: set(store.present(key)) for key in store.owners()})
        at_work = await call(copy_records.open_ids)
        # a clone's copy lies with the instance that it is a clone of
        wanted = {derived_id(key, purpose) for key in at_work for purpose in ("checkpoint", "rehearsal", "source")}
        busy, known = await call(copy_records.instances_at_work), await call(copy_records.snapshot_ids)
        for instance_id, found in present.items():
            await store.sweep(instance_id, wanted)
            for snapshot_id in () if instance_id in busy else found - known - wanted:
                log.warning("removing a snapshot that no row names: %s", snapshot_id, extra={"instance": instance_id})
                await store.remove(instance_id, snapshot_id)

    async def clear_away(self, *, by_age: bool = True) -> None:
        """Uploads that nobody used, leftovers of copies, and the feed of long ago: at the start and now and then.

        `by_age`: whether the clock can be trusted with what is old.
        """
        await staging.sweep(self._tools, by_age=by_age)
        for instance_id, snapshot_id in await self._tools.database.call(copy_records.stray_rehearsals):
            await drop_snapshot(self._tools, instance_id, snapshot_id)
        await self._sweep_snapshots()
        if moved := await self._tools.database.call(copy_records.bring_forward_backups, datetime.now(UTC)):
            log.warning("the clock was ahead: backups brought forward: %d", moved)
        if by_age:
            await self._tools.database.call(prune_events)
        await self._tools.database.call(forget_unverified)
        await self._tools.database.call(forget_old_sessions)
