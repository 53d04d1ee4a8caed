"""Every kind of operation that there is."""

from __future__ import annotations

from pocketfleet.operations import create, delete, fetch, refresh, sleep

PLANS = (create.PLAN, delete.PLAN, fetch.PLAN, refresh.PLAN, sleep.PLAN)
