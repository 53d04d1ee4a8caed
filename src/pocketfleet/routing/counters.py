"""What the edge counts per instance: connections open now, and requests, over all of HAProxy's workers."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pocketfleet.config import Config
from pocketfleet.errors import NotAnswering
from pocketfleet.routing import rendering
from pocketfleet.routing.master import EdgeAway, EdgeGone, Master

#: Seconds without an entry in the edge's tables after which a count begins anew, at nought.
FORGOTTEN_AFTER = 3600.0

_ENTRY = re.compile(r"key=(\S+) .*?conn_cur=(\d+) http_req_cnt=(\d+)(?: http_fail_cnt=(\d+))?")
_STREAM = re.compile(r"key=(\S+) .*?conn_cur=(\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Traffic:
    """One instance's."""

    #: requests open now in all workers, those parked at the gate and event streams included
    connections: int
    #: grows with every request; since this reader began, or since there was none for more than an hour
    requests: int
    #: of the connections, those that stay open: event streams and upgraded ones, in all workers
    streams: int = 0
    #: of the requests, those that a PocketBase answered with a server error, or not at all
    failed: int = 0


class Counters:
    """Reads HAProxy's table; an instance without a request for 15 minutes is not in it."""

    def __init__(self, config: Config) -> None:
        self._master = Master(config.master_socket, config.runtime_socket)
        #: by worker and instance id: the requests, and the failed ones, that its table said last
        self._last: dict[tuple[int, str], tuple[int, int]] = {}
        #: by instance id: the requests, and the failed ones, seen so far
        self._requests: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        #: by instance id: since when (monotonic) no table knows it
        self._absent: dict[str, float] = {}

    async def read(self) -> dict[str, Traffic]:
        """By instance id; nothing while there is no HAProxy. Raises NotAnswering if there is one and it is silent."""
        try:
            tables = await self._tables()
        except EdgeGone:
            tables = {}
        except EdgeAway as error:
            raise NotAnswering(f"HAProxy does not say what it carries: {error}.") from error
        open_now = self._count(tables)
        streams = _streams(tables)
        return {
            key: Traffic(count, self._requests[key], streams[key], self._failed[key]) for key, count in open_now.items()
        }

    async def _tables(self) -> dict[int, str]:
        """Each live worker's table. A worker that ended while it was asked has nothing open."""
        commands = [f"show table {rendering.TABLE}", f"show table {rendering.STREAMS}"]
        newest, workers = await self._master.tell_newest(commands)
        tables = {workers.newest or 0: newest}
        for worker in workers.older:
            tables[worker] = await self._master.tell(worker, commands)
        return tables

    def _count(self, tables: Mapping[int, str]) -> Counter[str]:
        """Open requests by id. On the way, each change of any worker's count is added to what was seen so far.

        Counts go over to a new worker some time after a reload: seen twice, they look like requests for once, which
        keeps an instance awake a little longer and never puts one to sleep that is in use.
        """
        open_now: Counter[str] = Counter()
        last: dict[tuple[int, str], tuple[int, int]] = {}
        for worker, table in tables.items():
            for key, connections, *counts in _ENTRY.findall(table):
                open_now[key] += int(connections)
                requests, failed = (int(count or 0) for count in counts)
                before = self._last.get((worker, key), (0, 0))
                last[worker, key] = requests, failed
                self._requests[key] = self._requests.get(key, 0) + abs(requests - before[0])
                self._failed[key] = self._failed.get(key, 0) + abs(failed - before[1])
        self._last = last
        self._forget(open_now)
        return open_now

    def _forget(self, present: Mapping[str, int]) -> None:
        """Drop the counts of those that nobody has asked for in a long time, so that they do not pile up."""
        now = time.monotonic()
        self._absent = {key: self._absent.get(key, now) for key in self._requests if key not in present}
        for key in [key for key, since in self._absent.items() if now - since >= FORGOTTEN_AFTER]:
            del self._requests[key], self._failed[key], self._absent[key]


def _streams(tables: Mapping[int, str]) -> Counter[str]:
    open_now: Counter[str] = Counter()
    for table in tables.values():
        for key, connections in _STREAM.findall(table):
            open_now[key] += int(connections)
    return open_now
