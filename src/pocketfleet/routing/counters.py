"""What the edge counts per instance: connections open now, requests and bytes, over all of HAProxy's workers."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from pocketfleet.config import Config
from pocketfleet.domain.usage import Counts, Sample
from pocketfleet.errors import NotAnswering
from pocketfleet.routing import rendering
from pocketfleet.routing.master import EdgeAway, EdgeGone, Master

_ENTRY = re.compile(r"key=(\S+) .*?exp=(\d+) .*?gpt0=(\d+) conn_cur=(\d+) (http_req_cnt=.*)")
_COUNTS = re.compile(
    r"http_req_cnt=(\d+) http_err_cnt=(\d+) bytes_in_cnt=(\d+) bytes_out_cnt=(\d+) http_fail_cnt=(\d+)"
)
_STREAM = re.compile(r"key=(\S+) .*?conn_cur=(\d+)$", re.MULTILINE)
#: Seconds without an entry in the edge's tables after which a count begins anew, at nought.
FORGOTTEN_AFTER = 3600.0
#: Seconds after which an entry that later readings do not show is taken for expired: readings may overlap.
_GONE_AFTER = 60.0

#: What was read of one instance's entries last: by worker and beginning of the entry, `Counts.as_list`.
Marks = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """One instance's."""

    #: requests open now in all workers, those parked at the gate and event streams included
    connections: int
    #: grows with every request; since the edge has had an entry of it, or longer
    requests: int
    #: of the connections, those that stay open: event streams and upgraded ones, in all workers
    streams: int = 0
    #: of the requests, those that a PocketBase answered with a server error, or not at all
    failed: int = 0


class _Entry(NamedTuple):
    """An entry of a worker's table. Its counts only grow; one that expired and came again has another beginning."""

    instance_id: str
    #: worker and beginning, `4711.1795614678`
    life: str
    connections: int
    #: its counts as HAProxy shows them
    shown: str
    #: seconds since it was last touched
    age: float
    #: whether its beginning is written down: the moment before, it may not be counted yet
    is_whole: bool


@dataclass(slots=True)
class _Mark:
    counts: Counts
    #: monotonic
    seen: float
    #: what was shown when it was last read: most stay as they are from one second to the next
    shown: str = ""


class Counters:
    """Reads HAProxy's table; an instance without a request for 15 minutes is not in it.

    Every request is counted once, whatever reloads: workers hand nothing over, each one's own count is read. Across a
    restart of node too, where the new one resumes from the marks that the old one wrote down with what it took.
    """

    def __init__(self, config: Config) -> None:
        self._master = Master(config.master_socket, config.runtime_socket)
        #: by instance id and life of an entry, what was read last
        self._marks: defaultdict[str, dict[str, _Mark]] = defaultdict(dict)
        #: by instance id, what was counted in all, as far as marks tell, and since the last sample was taken
        self._totals: defaultdict[str, Counts] = defaultdict(Counts)
        self._samples: dict[str, Sample] = {}
        #: by instance id: since when (monotonic) no table knows it
        self._absent: dict[str, float] = {}
        self._read_at = 0.0

    async def read(self) -> dict[str, Traffic]:
        """By instance id; nothing while there is no HAProxy. Raises NotAnswering if there is one and it is silent."""
        try:
            tables = await self._tables()
        except EdgeGone:
            return {}
        except EdgeAway as error:
            raise NotAnswering(f"HAProxy does not say what it carries: {error}.") from error
        open_now = self._count(tables)
        streams = _streams(tables)
        return {key: self._traffic(key, count, streams[key]) for key, count in open_now.items()}

    def take_samples(self) -> dict[str, Sample]:
        """What the readings since the last call counted, by instance id; those without a request are missing."""
        taken, self._samples = self._samples, {}
        return taken

    def marks(self) -> dict[str, Marks]:
        """Up to where everything was counted, by instance id: to be kept together with the samples."""
        self._forget_expired()
        return {
            key: {life: mark.counts.as_list() for life, mark in lives.items()} for key, lives in self._marks.items()
        }

    def resume(self, marks: Mapping[str, Marks]) -> None:
        """Count on from what a former reader kept; before anything is read."""
        now = time.monotonic()
        for key, lives in marks.items():
            self._marks[key] = {life: _Mark(Counts.parse(counts), now) for life, counts in lives.items()}
            for mark in self._marks[key].values():
                self._totals[key] += mark.counts

    async def _tables(self) -> dict[int, str]:
        """Each live worker's table. A worker that ended while it was asked has nothing open."""
        commands = [f"show table {rendering.TABLE}", f"show table {rendering.STREAMS}"]
        newest, workers = await self._master.tell_newest(commands)
        tables = {workers.newest or 0: newest}
        for worker in workers.older:
            tables[worker] = await self._master.tell(worker, commands)
        return tables

    def _count(self, tables: Mapping[int, str]) -> Counter[str]:
        """Open requests by id. On the way, what came on top of the last reading is added up."""
        open_now: Counter[str] = Counter()
        self._read_at = time.monotonic()
        for worker, table in tables.items():
            for entry in _entries(worker, table):
                open_now[entry.instance_id] += entry.connections
                if entry.is_whole:
                    self._add(entry)
        return open_now

    def _add(self, entry: _Entry) -> None:
        """Readings may overlap and come in any order: what is older than the mark adds nothing."""
        marks = self._marks[entry.instance_id]
        mark = marks.get(entry.life)
        if mark is None:
            mark = marks[entry.life] = _Mark(Counts(), self._read_at)
        mark.seen = self._read_at
        if mark.shown == entry.shown:
            return
        counts = _counts(entry.shown)
        new = counts.since(mark.counts)
        mark.counts, mark.shown = counts.newer(mark.counts), entry.shown
        if new:
            self._totals[entry.instance_id] += new
            self._sample(entry, new)

    def _sample(self, entry: _Entry, new: Counts) -> None:
        at = datetime.fromtimestamp(time.time() - entry.age, UTC)
        sample = self._samples.get(entry.instance_id)
        if sample is not None:
            # bytes alone are the end of a request that came before
            later = new.requests and at > sample.last_request_at
            sample = Sample(sample.counts + new, at if later else sample.last_request_at)
        self._samples[entry.instance_id] = sample or Sample(new, at)

    def _forget_expired(self) -> None:
        oldest = self._read_at - _GONE_AFTER
        for key, lives in list(self._marks.items()):
            for life in [life for life, mark in lives.items() if mark.seen < oldest]:
                del lives[life]
            if not lives:
                del self._marks[key]
        self._forget_totals()

    def _forget_totals(self) -> None:
        """Drop the counts of those that nobody has asked for in a long time, so that they do not pile up."""
        absent = [key for key in self._totals if key not in self._marks]
        self._absent = {key: self._absent.get(key, self._read_at) for key in absent}
        for key in [key for key, since in self._absent.items() if self._read_at - since >= FORGOTTEN_AFTER]:
            del self._totals[key], self._absent[key]

    def _traffic(self, key: str, connections: int, streams: int) -> Traffic:
        total = self._totals[key]
        return Traffic(connections, total.requests, streams, total.server_errors)


def _entries(worker: int, table: str) -> Iterator[_Entry]:
    for key, expires, born, connections, shown in _ENTRY.findall(table):
        age = max(0.0, rendering.COUNTER_SECONDS - int(expires) / 1000)
        yield _Entry(key, f"{worker}.{born}", int(connections), shown, age, born != "0")


def _counts(shown: str) -> Counts:
    found = _COUNTS.match(shown)
    requests, errors, bytes_in, bytes_out, failed = (int(number) for number in found.groups()) if found else [0] * 5
    return Counts(requests, errors, failed, bytes_in, bytes_out)


def _streams(tables: Mapping[int, str]) -> Counter[str]:
    open_now: Counter[str] = Counter()
    for table in tables.values():
        for key, connections in _STREAM.findall(table):
            open_now[key] += int(connections)
    return open_now
