"""The edge's routes and limits: hosts to instances, awake instances to addresses, what each may be asked and by whom;
files first, then every live worker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

from pocketfleet.config import Config
from pocketfleet.routing import rendering
from pocketfleet.routing.maps import MapFile, check_word, lines
from pocketfleet.routing.master import LONGEST_COMMAND, EdgeAway, Master

_log = logging.getLogger(__name__)
_ENTRY = re.compile(r"^0x[0-9a-f]+ (\S+) (\S*)$", re.MULTILINE)
#: A line of `show map`: a map's name and how many entries it has.
_COUNT = re.compile(r"^\d+ \((\S+)\) .*\bentry_cnt=(\d+)", re.MULTILINE)
#: What HAProxy says where nothing is wrong: deleting what is not there.
_FINE = "Key not found."
#: Entries to delete from which on the whole map is replaced instead.
_MANY = 200
#: Seconds between two looks whether a HAProxy that was away is back; the last one repeats.
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Routes:
    """HAProxy's maps. No verb raises when HAProxy is away: it reads the files when it comes back.

    One object per home writes them. A new worker reads the files, and each verb writes its file before it asks
    which workers there are, so that none is missed.
    """

    def __init__(self, config: Config) -> None:
        self._master = Master(config.master_socket, config.runtime_socket)
        self._hosts = _Map(rendering.HOSTS, config, self._master)
        self._upstreams = _Map(rendering.UPSTREAMS, config, self._master)
        self._limits = _Map(rendering.LIMITS, config, self._master)
        self._trusted = _Map(rendering.TRUSTED, config, self._master)
        self._addresses = _Map(rendering.ADDRESSES, config, self._master)
        self._all = (self._hosts, self._upstreams, self._limits, self._trusted, self._addresses)

    async def replace_hosts(self, hosts: Mapping[str, str]) -> None:
        """Let exactly these hosts be known: host -> instance id."""
        await self._hosts.replace(hosts)

    async def change_hosts(self, add: Mapping[str, str], remove: Iterable[str] = ()) -> None:
        """Take hosts away and add others; a host in both is changed."""
        await self._hosts.change(add, remove)

    async def publish(self, instance_id: str, address: str) -> None:
        """The instance is reached at this address, `127.x.y.z:port`, from now on."""
        await self._upstreams.change({instance_id: address}, ())

    async def withdraw(self, instance_id: str) -> None:
        """Requests for this instance go to the gate from now on."""
        await self._upstreams.change({}, (instance_id,))

    async def replace_upstreams(self, upstreams: Mapping[str, str]) -> None:
        """Let exactly these instances be awake: id -> address."""
        await self._upstreams.replace(upstreams)

    async def replace_limits(self, limits: Mapping[str, str]) -> None:
        """Let exactly these instances have limits of their own: id -> traffic.as_word; others have the server's."""
        await self._limits.replace(limits)

    async def change_limits(self, add: Mapping[str, str], remove: Iterable[str]) -> None:
        """Give limits to some instances, the server's to others."""
        await self._limits.change(add, remove)

    async def replace_trusted(self, networks: Mapping[str, str]) -> None:
        """Let exactly these teams trust somebody: id -> addresses and networks with commas between them."""
        await self._trusted.replace(networks)

    async def replace_addresses(self, listed: Mapping[str, str]) -> None:
        """The operator's lists: network -> `allow` or `deny`; of several that hold an address the smallest counts."""
        await self._addresses.replace(listed)

    async def check(self) -> int:
        """Compare the files and every live worker with what should be, repair, and count what was wrong.

        Reads everything: milliseconds per 1,000 hosts. For the start, a restart of HAProxy, and now and then.
        """
        return sum([await each.check() for each in self._all])

    async def glance(self) -> int:
        """`check` if a live worker has more or fewer entries than there should be, else nothing is wrong: 0.

        Costs the same however many hosts there are. A wrong value in the right number of them is left to `check`.
        """
        try:
            for worker in (await self._master.workers()).prefixes:
                counts = dict(_COUNT.findall(await self._master.ask(f"{worker} show map")))
                if not all(each.agrees(counts) for each in self._all):
                    return await self.check()
        except EdgeAway:
            # nobody has anything wrong; `check` and every change see to what is missed meanwhile
            _log.debug("HAProxy is away")
        return 0


class _Map:
    """One map: what should be in it, its file, and what the workers hold."""

    def __init__(self, name: str, config: Config, master: Master) -> None:
        self._name = name
        self._file = MapFile(config.edge / name)
        self._master = master
        self._wanted = self._file.read()
        #: Two changes of one map never overtake each other.
        self._turn = asyncio.Lock()
        self._catching_up: asyncio.Task[None] | None = None

    async def replace(self, entries: Mapping[str, str]) -> None:
        _check_words(entries)
        async with self._turn:
            self._wanted = dict(entries)
            self._repair_file()
            await self._repair_workers()

    async def change(self, add: Mapping[str, str], remove: Iterable[str]) -> None:
        _check_words(add)
        async with self._turn:
            gone = [check_word(key) for key in remove if key not in add]
            changed = {key: value for key, value in add.items() if self._wanted.get(key) != value}
            new_only = not self._wanted.keys() & (changed.keys() | set(gone))
            for key in gone:
                self._wanted.pop(key, None)
            self._wanted.update(changed)
            if new_only and changed:
                self._file.append(changed)
            elif not new_only:
                self._file.write(self._wanted)
            await self._tell_all([*self._deletions([*gone, *add]), *self._additions(add)])

    def agrees(self, counts: Mapping[str, str]) -> bool:
        """Whether a worker that has so many entries by map has as many in this one as it should."""
        return counts.get(self._name) == str(len(self._wanted))

    async def check(self) -> int:
        async with self._turn:
            return self._repair_file() + await self._repair_workers()

    def _repair_file(self) -> int:
        wrong = _difference(self._file.read(), self._wanted)
        if wrong:
            self._file.write(self._wanted)
        return len(wrong)

    async def _repair_workers(self) -> int:
        """Count and repair in each live worker; one that is gone in the meantime needs no repair."""
        wrong = 0
        try:
            for worker in (await self._master.workers()).prefixes:
                wrong += await self._repair_worker(worker)
        except EdgeAway as error:
            self._catch_up_later(error)
        return wrong

    async def _repair_worker(self, worker: str) -> int:
        there = dict(_ENTRY.findall(await self._master.ask(f"{worker} show map {self._name}")))
        wrong = _difference(there, self._wanted)
        surplus = [key for key in wrong if key in there]
        if len(surplus) > _MANY:
            await self._replace_in_worker(worker)
            return len(wrong)
        for command in _batches([f"{worker} {command}" for command in self._deletions(surplus)], "; "):
            await self._master.ask(command)
        await self._add_to_worker(worker, self._name, {key: self._wanted[key] for key in wrong if key in self._wanted})
        return len(wrong)

    async def _replace_in_worker(self, worker: str) -> None:
        """All at once: HAProxy searches a whole map for each entry that is deleted by its key."""
        answer = await self._master.ask(f"{worker} prepare map {self._name}")
        version = f"@{int(answer.rpartition(':')[2])}"
        await self._add_to_worker(worker, f"{version} {self._name}", self._wanted)
        await self._master.ask(f"{worker} commit map {version} {self._name}")

    async def _add_to_worker(self, worker: str, name: str, entries: Mapping[str, str]) -> None:
        for payload in _batches(lines(entries).splitlines(), "\n"):
            await self._master.ask(f"{worker} add map {name} <<\n{payload}\n")

    async def _tell_all(self, commands: Sequence[str]) -> None:
        """The newest worker and all older ones. Deleting before adding, since HAProxy would keep both."""
        if not commands:
            return
        try:
            async for answer in self._answers(commands):
                if unexpected := answer.replace(_FINE, "").strip():
                    _log.warning("HAProxy said of a change of %s: %s", self._name, unexpected)
        except EdgeAway as error:
            self._catch_up_later(error)

    def _catch_up_later(self, error: EdgeAway) -> None:
        """A HAProxy that starts may have read the file before it was written, and listen only after it was told."""
        _log.info("HAProxy is away, it is told of %s when it is back: %s", self._name, error)
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
            await asyncio.sleep(pause)
            with contextlib.suppress(EdgeAway):
                async with self._turn:
                    for worker in (await self._master.workers()).prefixes:
                        await self._repair_worker(worker)
                return

    async def _answers(self, commands: Sequence[str]) -> AsyncIterator[str]:
        for batch in _grouped(commands):
            answer, workers = await self._master.tell_newest(batch)
            yield answer
            for worker in workers.older:
                with contextlib.suppress(EdgeAway):
                    await self._master.tell(worker, batch)

    def _deletions(self, keys: Iterable[str]) -> list[str]:
        return [f"del map {self._name} {key}" for key in keys]

    def _additions(self, entries: Mapping[str, str]) -> list[str]:
        return [f"add map {self._name} {key} {value}" for key, value in entries.items()]


def _difference(there: Mapping[str, str], wanted: Mapping[str, str]) -> set[str]:
    """The keys that are missing, too many, or have another value."""
    if there == wanted:
        return set()
    return {key for key, _ in there.items() ^ wanted.items()}


def _check_words(entries: Mapping[str, str]) -> None:
    for key, value in entries.items():
        check_word(key)
        for word in value.split(","):
            check_word(word)


def _batches(items: Sequence[str], separator: str) -> Iterator[str]:
    """The items joined, as few as possible of them at once within what HAProxy reads at once."""
    for group in _grouped(items):
        yield separator.join(group)


def _grouped(items: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for item in items:
        if group and size + len(item) > LONGEST_COMMAND:
            yield group
            group, size = [], 0
        group.append(item)
        # Room for a worker's name and the separator.
        size += len(item) + 20
    if group:
        yield group
