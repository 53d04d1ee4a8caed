"""Node's composition root: routing, runtime and operations, wired together; `python -m pocketfleet.node`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from pocketfleet import diagnostics
from pocketfleet.bell import Bell
from pocketfleet.config import Config, load
from pocketfleet.errors import HomeInUse, PocketfleetError
from pocketfleet.routing.entrance import Entrance
from pocketfleet.routing.gate import Gate, Go, Question, Refuse
from pocketfleet.runtime.sizes import Measured
from pocketfleet.runtime.surroundings import Open, SeenProcess

log = logging.getLogger("pocketfleet.node")

#: Seconds between two looks whether the edge's maps are as large as they should be, and between two comparisons entry
#: by entry, which cost 2 ms per 1,000 instances.
GLANCE_EVERY = 5.0
CHECK_EVERY = 600.0
HOUSEKEEPING_EVERY = 3600.0
#: Seconds between two looks at scheduled backups and mail; cron's finest is a minute.
CLOCK_EVERY = 20.0
#: Seconds between two looks at instances that changed their release not long ago.
WATCH_EVERY = 2.0
#: Seconds between two looks for what is kept of instances that sleep.
TIDY_EVERY = 60.0
#: Seconds between two looks for intents that could not be carried out.
LOOK_EVERY = 30.0
#: Changes that are read at once.
CHANGES_AT_ONCE = 10_000
#: Seconds until a loop that failed begins anew: the database was away, or the disk full.
LOOP_AGAIN = 1.0


class Node:
    """Everything that node does, in the order in which it may begin."""

    def __init__(self, config: Config) -> None:
        from pocketfleet.operations.account_mail import AccountMailer
        from pocketfleet.operations.database import Database
        from pocketfleet.operations.engine import Engine
        from pocketfleet.operations.fleet import Fleet
        from pocketfleet.operations.follow import Follower
        from pocketfleet.operations.held import HeldRoutes
        from pocketfleet.operations.limits import Limits
        from pocketfleet.operations.places import TeamPlaces
        from pocketfleet.operations.plans import PLANS
        from pocketfleet.operations.processor_time import ProcessorTime
        from pocketfleet.operations.reconcile import Reconciler
        from pocketfleet.operations.resolve import Resolver
        from pocketfleet.operations.schedule import Clock
        from pocketfleet.operations.seen import SeenWriter
        from pocketfleet.operations.sizes import Sizes
        from pocketfleet.operations.superusers import Superusers
        from pocketfleet.operations.tools import Tools
        from pocketfleet.operations.usage import UsageWriter
        from pocketfleet.operations.wakes import WakeBounds
        from pocketfleet.operations.watch import Watcher
        from pocketfleet.routing.counters import Counters
        from pocketfleet.routing.routes import Routes
        from pocketfleet.runtime.commands import Commander, PlainCommander
        from pocketfleet.runtime.idle import IdleSweeper
        from pocketfleet.runtime.output import LogKeeper
        from pocketfleet.runtime.process_runner import ProcessRunner
        from pocketfleet.runtime.runner import Runner
        from pocketfleet.runtime.sandbox import rights
        from pocketfleet.runtime.sandbox.runner import SandboxRunner
        from pocketfleet.runtime.snapshots import SnapshotStore
        from pocketfleet.runtime.sources import configured_sources
        from pocketfleet.runtime.store import ReleaseStore
        from pocketfleet.runtime.supervisor import Supervisor

        self.config = config
        #: id of the last change that was acted upon
        self._last = 0
        self.database = Database()
        self.routes = Routes(config)
        self.counters = Counters(config)
        self.store = ReleaseStore(config, configured_sources(config))
        # serve has looked already; what is missing since then says `prepare`
        sandboxed, why_not = (True, "") if config.sandbox == "on" else rights.choose(config)
        log.info("sandbox %s", "on" if sandboxed else f"off: {why_not}")
        #: None where instances run as node does
        self.sandbox = SandboxRunner(config, rights.means(config)) if sandboxed else None
        runner: Runner = self.sandbox or ProcessRunner(config)
        commander: Commander = self.sandbox or PlainCommander()
        self.fleet = Fleet(config, self.database, self.routes, self.store, sandboxed=sandboxed)
        self.processor_time = ProcessorTime(self.fleet, self.sandbox.share if self.sandbox else lambda *_: None)
        self.seen = SeenWriter(self.database)
        self.usage = UsageWriter(self.database, self.counters)
        self.sizes = Sizes(
            config.instances,
            self._measured,
            limit=self.fleet.storage,
            processes=self.sandbox.processes if self.sandbox else lambda instance_id: (),
            counted=self.sandbox.walls.counted if self.sandbox else lambda instance_id: None,
        )
        self.logs = LogKeeper(config)
        self.gate = Gate(
            config.gate_socket,
            self._resolve,
            wake_timeout=config.wake_timeout,
            restoring=self._restores,
        )
        self.open_routes = HeldRoutes(self.routes, self.gate)
        self.supervisor = Supervisor(
            runner,
            guest_of=self.processor_time.guest,
            routes=self.open_routes,
            parked=self.gate.parked,
            connections=self._connections,
            seen=self._process_seen,
            log=self.logs.of,
            config=config,
        )
        self.limits = Limits(
            self.fleet,
            self.supervisor,
            self.database,
            bound=self.sandbox.walls.bound if self.sandbox else lambda *_: None,
            measure=self.sizes.changed,
        )
        self.sweeper = IdleSweeper(self.supervisor, self.counters, self.gate, self.fleet.idle_timeout)
        self.places = TeamPlaces(self.fleet, self.supervisor, self.sweeper)
        self.resolver = Resolver(self.fleet, self.supervisor, self.places, WakeBounds(config, self.supervisor))
        self.tools = Tools(
            config=config,
            database=self.database,
            supervisor=self.supervisor,
            store=self.store,
            fleet=self.fleet,
            gate=self.gate,
            snapshots=SnapshotStore(config),
            commander=commander,
        )
        self.engine = Engine(PLANS, self.tools, self.database, ended=self.sizes.changed)
        self.clock = Clock(self.tools)
        self.superusers = Superusers(self.tools, self.gate.ask)
        self.entrance = Entrance(config.entrance_socket, config.public_url, self.superusers.let_in, self.gate.parking)
        self.reconciler = Reconciler(
            self.fleet, self.supervisor, self.database, self.places, settle=self.superusers.settle
        )
        self.account_mail = AccountMailer(config, self.database)
        self.follower = Follower(self.tools)
        self.watcher = Watcher(self.tools, self.counters.read)

    async def run(self, stopping: asyncio.Event) -> None:
        """1 sandbox, 2 facts, 3 holds, 4 adopt, 5 routes, 6 open operations, 7 gate and entrance; then the changes."""
        if self.sandbox is not None:
            await asyncio.to_thread(self.sandbox.prepare)
        self._last = await self.database.call(_last_change)
        self.store.sweep()
        await self.fleet.load()
        await self.usage.resume()
        self._hold()
        adopted = await self.supervisor.adopt()
        await self.seen.reset(set(adopted))
        await self.open_routes.replace(self.supervisor.awake())
        await self.engine.resume()
        await self.gate.start()
        await self.entrance.start()
        if self.sandbox is not None:
            self.sandbox.make_ready()
        log.info("node serves instances=%d adopted=%d", len(self.fleet.known()), len(adopted))
        tasks = [asyncio.create_task(lasting(name, each), name=name) for name, each in self._loops().items()]
        try:
            await stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop()

    def _hold(self) -> None:
        for facts in self.fleet.known():
            if facts.hold:
                self.gate.hold(facts.id)

    def _loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        guard = {} if self.sandbox is None else {"guard": self.sandbox.guard}
        return guard | {
            "changes": self._follow,
            "seen": self.seen.run,
            "usage": self.usage.run,
            "sizes": self.sizes.run,
            "limits": self.limits.run,
            "logs": self.logs.run,
            "idle": self.sweeper.run,
            "awake": partial(_every, 1.0, self.reconciler.keep_awake),
            "superusers": partial(_every, LOOK_EVERY, self.superusers.look),
            "intents": partial(_every, LOOK_EVERY, self.reconciler.look),
            "keepers": partial(_every, TIDY_EVERY, self.supervisor.tidy),
            "routes": partial(_every, GLANCE_EVERY, self.routes.glance),
            "every route": partial(_every, CHECK_EVERY, self.routes.check),
            "releases": partial(_every, self.config.release_refresh, self._refresh_releases),
            "followers": self.follower.run,
            "new releases": partial(_every, WATCH_EVERY, self.watcher.look),
            "clock": partial(_every, CLOCK_EVERY, self.clock.tick),
            "account mail": self.account_mail.run,
            "housekeeping": partial(_every, HOUSEKEEPING_EVERY, self._keep_house),
            "executables": self._mend_releases,
        }

    async def _follow(self) -> None:
        """Act on every change since the last one, whenever the bell rings; begun anew, it rings at once."""
        async with contextlib.aclosing(Bell(self.config).rings()) as rings:
            async for _ in rings:
                while await self._catch_up() == CHANGES_AT_ONCE:
                    pass

    async def _catch_up(self) -> int:
        """How many changes there were. Those that could not be acted upon are read again."""
        from pocketfleet.actions import observations

        changes = await self.database.call(observations.changes_since, self._last, CHANGES_AT_ONCE)
        if any(kind == "operation" for _, kind, _ in changes):
            self.engine.notice()
        if any(kind == "release" for _, kind, _ in changes):
            self.follower.notice()
        if any(kind == "team" for _, kind, _ in changes):
            await self.fleet.renew_limits()
            self.processor_time.renew_all()
            self.limits.renew_all()
            self.reconciler.limits_changed()
        if any(kind == "addresses" for _, kind, _ in changes):
            await self.fleet.renew_addresses()
        if any(kind == "mail" for _, kind, _ in changes):
            self.account_mail.notice()
        if instances := {key for _, kind, key in changes if kind == "instance"}:
            await self.reconciler.changed(instances)
            self.processor_time.renew(instances)
            self.limits.renew(instances)
        self._last = changes[-1][0] if changes else self._last
        return len(changes)

    async def _refresh_releases(self) -> None:
        from pocketfleet.actions.releases import refresh_releases

        await self.database.call(refresh_releases, acting_user=None)

    async def _mend_releases(self) -> None:
        from pocketfleet.operations.fetch import mend_releases

        try:
            await mend_releases(self.tools)
        except PocketfleetError as error:
            log.warning("executables not checked: %s", error.detail)

    async def _keep_house(self) -> None:
        from pocketfleet.operations.purge import is_steady, prune_records, purge_due

        steady = await asyncio.to_thread(is_steady, self.config)
        if steady:
            await prune_records(self.tools)
            await purge_due(self.tools)
        await self.clock.clear_away(by_age=steady)

    async def _resolve(self, question: Question) -> Go | Refuse:
        return await self.resolver.resolve(question)

    def _process_seen(self, seen: SeenProcess) -> None:
        self.seen.put(seen)
        self.usage.seen(seen)
        self.sizes.seen(seen)
        self.limits.seen(seen)
        self.processor_time.seen(seen)

    def _measured(self, instance_id: str, measured: Measured) -> None:
        self.usage.measured(instance_id, measured.amount.bytes)
        if self.sandbox is not None:
            self.sandbox.walls.measured(instance_id, measured)
        self.limits.measured(instance_id, measured)

    def _restores(self, instance_id: str) -> None:
        self.supervisor.expect_restart(instance_id)
        self.superusers.expect_restore(instance_id)

    async def _connections(self, instance_id: str) -> Open:
        traffic = (await self.counters.read()).get(instance_id)
        return Open(traffic.connections, traffic.streams) if traffic else Open()

    async def _stop(self) -> None:
        """No more answers, no more work, every guest asleep, and all of it written down."""
        await self.entrance.stop()
        await self.gate.stop()
        await self.reconciler.stop()
        await self.engine.stop()
        await self.supervisor.stop_all()
        if self.sandbox is not None:
            await asyncio.to_thread(self.sandbox.close)
        await self.logs.drain()
        await self.seen.flush()
        await self.usage.write()
        await self.database.close()


def main() -> int:
    """Run node until SIGTERM, which also puts every guest to sleep; a kill leaves them running, to be adopted."""
    config = load()
    diagnostics.log_to_file(config, "node")
    try:
        with _alone(config):
            _set_up_django()
            asyncio.run(_run(config))
    except PocketfleetError as error:
        log.error("%s", error.detail)
        print(error.detail, file=sys.stderr)
        return 1
    except Exception:
        log.exception("node ended")
        raise
    return 0


async def _run(config: Config) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await Node(config).run(stopping)


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    config.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (config.run / "node.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HomeInUse(f"Another node runs on {config.home}; there is one per home.") from None
        yield


async def lasting(name: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Carry a loop out, and begin it anew when it fails: one that is gone would be missed by nobody but the users."""
    while True:
        try:
            await begin()
            return
        except Exception:
            log.exception("the loop “%s” failed, beginning anew in %.0f s", name, LOOP_AGAIN)
            await asyncio.sleep(LOOP_AGAIN)


async def _every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await act()
        except Exception as error:
            log.warning("%s failed, trying again in %.0f s: %s", getattr(act, "__name__", act), seconds, error)
        await asyncio.sleep(seconds)


def _last_change() -> int:
    from pocketfleet.actions import observations

    return observations.last_change()


def _set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pocketfleet.web.settings")
    import django

    django.setup()


if __name__ == "__main__":
    sys.exit(main())
