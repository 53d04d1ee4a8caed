"""What node knows of every instance: read once, kept up by the Change rows, so that a wake asks no database."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pocketfleet.actions import limits, observations, sealed
from pocketfleet.config import Config
from pocketfleet.domain import hostnames
from pocketfleet.domain.addresses import sandboxed_address
from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.domain.states import Power
from pocketfleet.errors import InstanceNotFound, SecretsSealed
from pocketfleet.operations.database import Database
from pocketfleet.operations.traffic import Traffic
from pocketfleet.routing.routes import Routes
from pocketfleet.runtime.guest import Guest

log = logging.getLogger(__name__)

#: Seconds that an instance which is over its storage may be awake for its owner to make room.
_ROOM_SECONDS = 600.0


class Executables(Protocol):
    """Where a release's executable lies."""

    def path(self, version: str) -> Path:
        """Raises ReleaseUnusable where it is not here."""


class Fleet:
    """The facts of all instances by id, and their hosts at the edge."""

    def __init__(
        self, config: Config, database: Database, routes: Routes, executables: Executables, *, sandboxed: bool = False
    ) -> None:
        """`sandboxed`: whether instances are reached where the sandbox has them."""
        self._config = config
        self._sandboxed = sandboxed
        self._database = database
        self._routes = routes
        self._executables = executables
        self._facts: dict[str, InstanceFacts] = {}
        #: kept beside the facts so that keeping them awake costs nothing for all others
        self._always_awake: set[str] = set()
        #: those that use more storage than they may, and until when (monotonic) one may be awake all the same
        self._full: set[str] = set()
        self._excused: dict[str, float] = {}
        #: of teams that have one of their own
        self._awake_limits: dict[str, int] = {}
        #: what each instance of a team may use, worked out once
        self._guest_limits: dict[str, GuestLimits] = {}
        self._traffic = Traffic(config, database, routes)

    async def load(self) -> None:
        """Read all instances and make the edge's hosts agree with them."""
        everything = await self._database.call(observations.facts)
        self._facts = {facts.id: facts for facts in everything}
        self._always_awake = {facts.id for facts in everything if facts.always_awake}
        hosts = {host: facts.id for facts in everything for host in self._hosts(facts)}
        # before the hosts: nobody is let through without their limits
        await self._traffic.load(everything)
        await self._routes.replace_hosts(hosts)
        await self._load_limits()
        self._try_key(everything)
        log.info("fleet loaded instances=%d", len(self._facts))

    async def renew(self, ids: Iterable[str]) -> dict[str, tuple[InstanceFacts | None, InstanceFacts | None]]:
        """Read these instances again, hosts included; answers what each was before and is now (None: not there)."""
        wanted = list(dict.fromkeys(ids))
        found = {facts.id: facts for facts in await self._database.call(observations.facts, wanted)}
        changes = {key: (self._facts.get(key), found.get(key)) for key in wanted}
        for key, (_, now) in changes.items():
            self._remember(key, now)
        traffic = {key: now for key, (before, now) in changes.items() if _traffic_of(before) != _traffic_of(now)}
        await self._traffic.renew(traffic)
        await self._change_hosts(changes.values())
        return changes

    async def renew_limits(self) -> None:
        """Read again what each team may use: instances awake, what each of them uses, and traffic."""
        await self._load_limits()
        await self._traffic.renew_teams(self._facts.values())

    async def renew_addresses(self) -> None:
        """Read the operator's lists of addresses again."""
        await self._traffic.renew_addresses()

    def awake_limit(self, team: str) -> int:
        """Instances of this team that may be awake at once; 0 for any number."""
        return self._awake_limits.get(team, self._config.team_awake) if team else 0

    def guest_limits(self, instance_id: str) -> GuestLimits:
        """What an instance may use when it starts: its team's limits, else the server's. Raises InstanceNotFound."""
        return self._guest_limits.get(self.facts(instance_id).team, self._config.guest_limits)

    def storage(self, instance_id: str) -> int:
        """Bytes that an instance's files may have; 0 for any, and for one that is not known."""
        return self.guest_limits(instance_id).storage if instance_id in self._facts else 0

    def facts(self, instance_id: str) -> InstanceFacts:
        """Raises InstanceNotFound."""
        try:
            return self._facts[instance_id]
        except KeyError:
            raise InstanceNotFound(instance_id) from None

    def known(self) -> list[InstanceFacts]:
        """Every instance; for start-up only, since it grows with all of them."""
        return list(self._facts.values())

    def kept_awake(self) -> list[str]:
        """Ids of those that should never sleep and may run."""
        return [key for key in self._always_awake if self.may_run(key) and not self._facts[key].hold]

    def may_run(self, instance_id: str) -> bool:
        """Whether it exists, is complete, switched on, not suspended and not over its storage."""
        facts = self._facts.get(instance_id)
        able = facts is not None and facts.ready and facts.power == Power.ON and not facts.suspended
        return able and not self.must_make_room(instance_id)

    def is_full(self, instance_id: str, full: bool) -> None:
        """Take note that it uses more storage than it may, or does not any more."""
        if full:
            self._full.add(instance_id)
        else:
            self._full.discard(instance_id)
            self._excused.pop(instance_id, None)

    def excuse(self, instance_id: str) -> None:
        """Its owner asked for something: let it be awake for a while, so that room can be made in it."""
        if instance_id in self._full:
            self._excused[instance_id] = time.monotonic() + _ROOM_SECONDS

    def must_make_room(self, instance_id: str) -> bool:
        """Whether it uses more storage than it may, and is not excused."""
        return instance_id in self._full and self._excused.get(instance_id, 0) < time.monotonic()

    def idle_timeout(self, instance_id: str) -> float | None:
        """Seconds without a request after which it sleeps; None for never."""
        facts = self._facts.get(instance_id)
        if facts is None:
            return self._config.idle_timeout
        if facts.always_awake or facts.hold:
            return None
        return facts.idle_timeout if facts.idle_timeout is not None else self._config.idle_timeout

    def guest(self, instance_id: str) -> Guest:
        """What a runner needs to start it. Raises InstanceNotFound, ReleaseUnusable, SecretsSealed.

        While an operation holds it, its storage has no limit: what was replaced lies beside what is tried, and no
        request gets through.
        """
        facts = self.facts(instance_id)
        may_use = self.guest_limits(facts.id)
        return Guest(
            instance_id=facts.id,
            release=facts.release,
            executable=self._executables.path(facts.release),
            folder=self._config.instances / facts.id,
            address=sandboxed_address(facts.address) if self._sandboxed else facts.address,
            port=self._config.guest_port,
            secrets=sealed.opened(facts.secrets),
            dev=facts.dev,
            log_folder=self._config.logs / facts.id,
            run_folder=self._config.run,
            limits=replace(may_use, storage=0) if facts.hold else may_use,
        )

    async def _load_limits(self) -> None:
        self._awake_limits = await self._database.call(limits.awake_limits)
        own = await self._database.call(limits.guest_limits)
        self._guest_limits = {team: self._config.guest_limits.overridden(each) for team, each in own.items()}

    def _try_key(self, everything: Iterable[InstanceFacts]) -> None:
        """Now, so that the first wake need not load what opens secrets, and a wrong key is known before it."""
        some = next((facts.secrets for facts in everything if facts.secrets), {})
        try:
            sealed.opened(some)
        except SecretsSealed as error:
            log.error("%s", error.detail)

    def _remember(self, key: str, facts: InstanceFacts | None) -> None:
        self._always_awake.discard(key)
        if facts is None:
            self._facts.pop(key, None)
            return
        self._facts[key] = facts
        if facts.always_awake:
            self._always_awake.add(key)

    async def _change_hosts(self, changes: Iterable[tuple[InstanceFacts | None, InstanceFacts | None]]) -> None:
        add: dict[str, str] = {}
        remove: set[str] = set()
        for before, now in changes:
            old = set(self._hosts(before)) if before else set()
            new = set(self._hosts(now)) if now else set()
            remove |= old - new
            if now:
                add |= dict.fromkeys(new - old, now.id)
        if add or remove:
            # a name that one instance gave up and another took in the same breath stays
            await self._routes.change_hosts(add, remove - set(add))

    def _hosts(self, facts: InstanceFacts) -> list[str]:
        return hostnames.hosts(facts.id, facts.name, self._config.domain)


def _traffic_of(facts: InstanceFacts | None) -> tuple[str, dict[str, int]] | None:
    """What its limits depend on, besides its team's."""
    return (facts.team, facts.traffic_limits) if facts else None
