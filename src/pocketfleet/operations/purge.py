"""What is due to go for good: quarantined files, and the journal of long ago. Node calls it from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from pocketfleet.actions.copy_records import forget_copies
from pocketfleet.actions.observations import due_for_purge, mark_purged
from pocketfleet.actions.operations import prune_operations
from pocketfleet.actions.records import prune_changes
from pocketfleet.actions.usage import PRUNED_AT_ONCE, forget_usage, prune_usage
from pocketfleet.config import Config
from pocketfleet.errors import PocketfleetError
from pocketfleet.operations.files import purge_quarantine
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.disk import remove_tree

log = logging.getLogger(__name__)

#: Batches of hours that go at one time of housekeeping; what is left waits for the next.
_BATCHES = 50
#: Seconds from one look at the clock to the next one, at most.
_STEADY = 86_400.0


def is_steady(config: Config) -> bool:
    """Whether the clock went on as usual since this was asked last, which is every hour while node runs.

    What goes by its age goes for good, and a clock may be years ahead until somebody sets it right: after a leap, or a
    day without any look, the next one decides. Blocks for a moment.
    """
    path, now, before = config.run / "housekeeping", time.time(), 0.0
    with contextlib.suppress(OSError, ValueError):
        before = float(path.read_text())
    with contextlib.suppress(OSError):
        path.write_text(str(now))
    return 0 <= now - before <= _STEADY


async def purge_due(tools: Tools) -> list[str]:
    """Remove the files and copies of instances whose time in quarantine is over; answers their ids.

    One that cannot be removed is left for the next call, with a warning.
    """
    purged = []
    for instance_id in await tools.database.call(due_for_purge, tools.config.quarantine):
        try:
            await asyncio.to_thread(purge_quarantine, tools.config, instance_id)
            await tools.snapshots.remove_all(instance_id)
            await asyncio.to_thread(remove_tree, tools.config.backups / instance_id)
        except (OSError, PocketfleetError) as error:
            log.warning("quarantine of %s cannot be removed: %s", instance_id, error, extra={"instance": instance_id})
            continue
        await tools.database.call(forget_copies, instance_id)
        await tools.database.call(forget_usage, instance_id)
        await tools.database.call(mark_purged, instance_id)
        log.info("quarantine of %s removed", instance_id, extra={"instance": instance_id})
        purged.append(instance_id)
    return purged


async def prune_records(tools: Tools) -> int:
    """Delete what the journal, the Change rows and the usage keep of long ago; answers how many rows."""
    pruned = await tools.database.call(prune_operations) + await tools.database.call(prune_changes)
    for _ in range(_BATCHES):
        # one call each, so that others have their turn in between
        batch = await tools.database.call(prune_usage)
        pruned += batch
        if batch < PRUNED_AT_ONCE:
            break
    return pruned
