"""Waiting until node has done what was wanted: woken by changes, not by looking again and again."""

from __future__ import annotations

import asyncio

from pocketfleet.config import Config
from pocketfleet.errors import InstanceNotFound
from pocketfleet.web import reading
from pocketfleet.web.hub import Changed, Hub

#: Longest wait in seconds; whoever wants to wait longer asks again.
LONGEST = 60.0


async def until_observed(hub: Hub, config: Config, row: reading.Row, seconds: float) -> reading.Row:
    """The instance once node has seen to its newest intents, or as it is after so many seconds."""
    if seconds <= 0 or _observed(row):
        return row
    wanted = Changed("instance", row["id"])
    deadline = asyncio.get_running_loop().time() + min(seconds, LONGEST)
    async with hub.listen(lambda change: change == wanted) as feed:
        while True:
            try:
                row = await hub.read(reading.instance, config, row["id"])
            except InstanceNotFound:
                return row
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or feed.closed or _observed(row):
                return row
            await feed.take(left)


def _observed(row: reading.Row) -> bool:
    seen: int = row["observed_generation"]
    wanted: int = row["generation"]
    return seen >= wanted
