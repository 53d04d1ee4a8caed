"""Watching new releases for a while after a switch: one that starts to die goes back by itself, if nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from pocketfleet.actions import watching
from pocketfleet.actions.watching import Switched
from pocketfleet.operations.tools import Tools

log = logging.getLogger(__name__)

#: Early deaths in a row after which a new release counts as dying; before its switch it was verified.
DEATHS = 2
#: Requests since the switch before their errors mean anything, and the share of them that does, and how many times as
#: many as before that must be.
ENOUGH = 20
SHARE = 0.05
TIMES = 3.0


class TrafficOf(Protocol):
    """One instance's: requests, and those that ended with a server error, ever."""

    @property
    def requests(self) -> int: ...

    @property
    def failed(self) -> int: ...


class Watcher:
    """Looks at those that changed their release not long ago; which those are is read from the journal."""

    def __init__(self, tools: Tools, traffic: Callable[[], Awaitable[Mapping[str, TrafficOf]]]) -> None:
        self._tools = tools
        self._traffic = traffic
        #: by operation: requests and errors of the instance up to the moment when its watch began
        self._before: dict[str, tuple[int, int]] = {}

    async def look(self) -> None:
        """Take back what fails; to be called every few seconds."""
        seconds = self._tools.config.watch_seconds
        found = await self._tools.database.call(watching.switched, seconds) if seconds else []
        self._before = {item.operation_id: seen for item in found if (seen := self._before.get(item.operation_id))}
        for item in found:
            if item.failing or self._tools.supervisor.failures(item.instance_id) >= DEATHS:
                await self._go_back(item)
        if found:
            await self._compare_errors(found)

    async def _go_back(self, item: Switched) -> None:
        operation_id = await self._tools.database.call(watching.go_back, item)
        if operation_id is not None:
            fields = {"instance": item.instance_id, "operation": operation_id}
            log.warning("PocketBase %s fails since the upgrade: going back", item.release, extra=fields)

    async def _compare_errors(self, found: list[Switched]) -> None:
        traffic = await self._traffic()
        for item in found:
            now = traffic.get(item.instance_id)
            if now is None:
                continue
            before = self._before.setdefault(item.operation_id, (now.requests, now.failed))
            if now.requests < before[0]:  # counted anew, after a long time without a request
                before = self._before[item.operation_id] = (now.requests, now.failed)
            requests, failed = now.requests - before[0], now.failed - before[1]
            if is_worse(before, (requests, failed)):
                await self._tools.database.call(watching.tell_of_errors, item, failed, requests)


def is_worse(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether the share of requests that failed has risen enough to speak of; each is (requests, failed)."""
    if after[0] < ENOUGH:
        return False
    share = after[1] / after[0]
    return share >= SHARE and share >= TIMES * before[1] / max(before[0], 1)
