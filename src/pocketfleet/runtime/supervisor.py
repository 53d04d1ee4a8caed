"""Keeps every instance's PocketBase: starts it when asked for, notices its death, ends it, adopts it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from pocketfleet.config import Config
from pocketfleet.errors import Unavailable
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.keeper import Keeper, Manner, Peace
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.output import GuestLog
from pocketfleet.runtime.runner import Runner
from pocketfleet.runtime.surroundings import Open, RoutePort, SeenProcess, Surroundings

__all__ = ["Open", "RoutePort", "SeenProcess", "Supervisor"]

#: Seconds that requests get to end when everything stops, and how many instances stop at the same time.
_LAST_DRAIN = 2.0
_STOPS_AT_ONCE = 16


class Supervisor:
    """One keeper per instance that is up, in use or failing; all others cost nothing, however often they were up."""

    def __init__(
        self,
        runner: Runner,
        *,
        guest_of: Callable[[str], Guest],
        routes: RoutePort,
        parked: Callable[[str], int],
        connections: Callable[[str], Awaitable[Open]],
        seen: Callable[[SeenProcess], None],
        log: Callable[[str], GuestLog],
        config: Config,
    ) -> None:
        places = asyncio.Semaphore(config.starts_limit)
        self._runner = runner
        self._around = Surroundings(runner, guest_of, routes, parked, connections, seen, log, config, places)
        self._keepers: dict[str, Keeper] = {}
        self._stopping = False

    async def ensure(self, instance_id: str, *, cause: str, suspect: bool = False) -> str:
        """`127.x.y.z:port` where it accepts connections; starts it if need be, once however many ask.

        The start goes on when the caller goes away. `suspect`: the caller was refused a connection there, so the
        address is tried before it is trusted; while the process lives it is waited for, never doubled.
        `cause` is for the instance's log. Raises StartFailed(reason, retry_after), Unavailable while all stops.
        """
        if self._stopping:
            raise Unavailable("This server is stopping; try again in a moment.")
        with self._kept(instance_id) as keeper:
            return await keeper.ensure(cause, suspect=suspect)

    async def sleep(
        self, instance_id: str, *, cause: str, drain: float | None, quiet_only: bool, grace: float | None = None
    ) -> bool:
        """Put it to sleep; whether it sleeps. 1 route away, 2 drain, 3 SIGTERM, SIGKILL after the grace, 4 at rest.

        `drain`: seconds that what is in flight gets to end; None for as long as it takes where `quiet_only`, else for
        `stop_timeout`. `quiet_only`: give up, and publish the route again, if requests came or time is up.
        `grace`: seconds from SIGTERM to SIGKILL, `stop_timeout` at most and where None; given, a start or another
        sleep that is under way gets no more than that either.
        Past SIGTERM a request waits for the end and starts it anew. It goes on when the caller goes away.
        """
        manner = Manner.QUIET if quiet_only else Manner.FORCED
        with self._kept(instance_id) as keeper:
            return await keeper.sleep(cause, drain=drain, manner=manner, grace=grace)

    async def halt(self, instance_id: str, *, cause: str, drain: float, grace: float | None = None) -> bool:
        """Put to sleep what the gate holds; whether it sleeps. As `sleep`, but nobody's request is cut off.

        Parked requests are meant to wait and event streams to end, so neither counts. If anything else is still in
        flight after `drain` seconds, or it is still starting, the route is published again and it stays awake.
        """
        with self._kept(instance_id) as keeper:
            return await keeper.sleep(cause, drain=drain, manner=Manner.HALT, grace=grace)

    async def publish(self, instance_id: str) -> None:
        """Tell the edge again where an awake instance is: after a hold, during which nothing was published."""
        with self._kept(instance_id) as keeper:
            await keeper.publish()

    def release(self, instance_id: str) -> str | None:
        """The release of the guest that runs, None where none does."""
        keeper = self._keepers.get(instance_id)
        return keeper.release if keeper else None

    def failures(self, instance_id: str) -> int:
        """How often in a row it failed to start or died young."""
        keeper = self._keepers.get(instance_id)
        return keeper.failures if keeper else 0

    @asynccontextmanager
    async def at_rest(self, instance_id: str, *, cause: str = "work on its files") -> AsyncIterator[Lock]:
        """`async with`: it sleeps (was put to sleep), its lock is held and given, starts wait until it is left.

        If the instance's folder is gone by the end, so is the lock. Raises InstanceInUse.
        """
        with self._kept(instance_id) as keeper:
            async with keeper.at_rest(cause) as lock:
                yield lock

    @asynccontextmanager
    async def peace(self, instance_id: str) -> AsyncIterator[Peace]:
        """`async with`: its files may be copied, awake or asleep, and nobody is stopped or started for it.

        Awake, it is not put to sleep for idleness meanwhile. Asleep, its lock is held and starts wait; once one does,
        `wanted` is set, and whoever copies had better leave, and come again when it is awake. While PocketBase
        restores a backup of its own this waits. Raises InstanceInUse.
        """
        with self._kept(instance_id) as keeper:
            async with keeper.peace() as peace:
                yield peace

    def expect_restart(self, instance_id: str) -> None:
        """PocketBase was asked to restore a backup: it is not stopped until it has re-executed itself."""
        if instance_id in self._keepers:
            self._keepers[instance_id].expect_restart()

    async def adopt(self) -> list[str]:
        """Take on all guests that a former node started; their ids. The caller publishes their routes."""
        ids = self._runner.recorded()

        async def adopt(instance_id: str) -> bool:
            with self._kept(instance_id) as keeper:
                return await keeper.adopt()

        adopted = await asyncio.gather(*map(adopt, ids))
        return [instance_id for instance_id, taken in zip(ids, adopted, strict=True) if taken]

    def forgive(self, instance_id: str) -> None:
        """Forget failures: something changed, so the next request tries."""
        if instance_id in self._keepers:
            self._keepers[instance_id].forgive()

    def awake(self) -> dict[str, str]:
        """Instances that answer, and where."""
        return {key: keeper.address for key, keeper in self._keepers.items() if keeper.address is not None}

    def up(self) -> set[str]:
        """Ids of those that have, or are about to have, a process."""
        return {key for key, keeper in self._keepers.items() if keeper.is_up}

    def is_up(self, instance_id: str) -> bool:
        """Whether it has, or is about to have, a process."""
        keeper = self._keepers.get(instance_id)
        return keeper is not None and keeper.is_up

    async def stop_all(self) -> None:
        """Put all to sleep, in order, several at a time; from here on nothing is woken."""
        self._stopping = True
        # one deadline for all: hundreds with open streams must not wait for it in one batch after the other
        give_up = time.monotonic() + _LAST_DRAIN
        places = asyncio.Semaphore(_STOPS_AT_ONCE)

        async def stop(keeper: Keeper) -> None:
            async with places:
                left = max(0.0, give_up - time.monotonic())
                await keeper.sleep("pocketfleet stops", drain=left, manner=Manner.FORCED)

        await asyncio.gather(*(stop(keeper) for keeper in self._keepers.values() if keeper.is_up))

    async def tidy(self) -> None:
        """Drop the keepers that have nothing to keep; to be called now and then."""
        for instance_id in [key for key, keeper in self._keepers.items() if keeper.is_idle]:
            del self._keepers[instance_id]

    @contextmanager
    def _kept(self, instance_id: str) -> Iterator[Keeper]:
        """The keeper, which is not dropped meanwhile: two of one instance would start it twice."""
        keeper = self._keepers.get(instance_id)
        if keeper is None:
            keeper = self._keepers[instance_id] = Keeper(instance_id, self._around)
        keeper.users += 1
        try:
            yield keeper
        finally:
            keeper.users -= 1
