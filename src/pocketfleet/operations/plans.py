"""Every kind of operation that there is."""

from __future__ import annotations

from pocketfleet.operations import create, delete, fetch, refresh, rollback, sleep, upgrade

PLANS = (
    create.PLAN,
    delete.PLAN,
    fetch.PLAN,
    refresh.PLAN,
    rollback.PLAN,
    sleep.PLAN,
    upgrade.PLAN,
)
