"""Every kind of operation that there is."""

from __future__ import annotations

from pocketfleet.operations import (
    backup,
    clone,
    create,
    delete,
    fetch,
    import_,
    refresh,
    restore,
    rollback,
    sleep,
    snapshot,
    upgrade,
)

PLANS = (
    backup.PLAN,
    backup.VERIFY,
    backup.DELETE,
    clone.PLAN,
    create.PLAN,
    delete.PLAN,
    fetch.PLAN,
    import_.PLAN,
    refresh.PLAN,
    restore.PLAN,
    rollback.PLAN,
    sleep.PLAN,
    snapshot.PLAN,
    snapshot.DELETE,
    upgrade.PLAN,
)
