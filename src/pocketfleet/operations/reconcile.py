"""Making things as people want them: intents read from Change rows, carried out, and then marked as observed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from pocketfleet.actions import observations
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.errors import PocketfleetError, StartFailed, TeamAtLimit
from pocketfleet.operations.database import Database
from pocketfleet.operations.fleet import Fleet
from pocketfleet.operations.pauses import Pauses
from pocketfleet.operations.places import TeamPlaces
from pocketfleet.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

#: Seconds that requests and streams get to end when an instance is switched off.
DRAIN = 5.0
#: Seconds before a place is looked for again for an instance that should be awake while its team is at its limit; they
#: double each time, up to the second.
PLACE_AGAIN = 1.0
PLACE_AGAIN_MOST = 30.0


class Reconciler:
    """Carries intents out; one task per instance at a time, so that a slow one delays nobody else."""

    def __init__(
        self,
        fleet: Fleet,
        supervisor: Supervisor,
        database: Database,
        places: TeamPlaces,
        settle: Callable[[str], Awaitable[None]],
    ) -> None:
        """`settle`: sees to it that an instance's superusers are those that are wanted."""
        self._settle = settle
        self._fleet = fleet
        self._supervisor = supervisor
        self._database = database
        self._places = places
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        #: those that should be awake, and whose team has no place for them
        self._without_place = Pauses(PLACE_AGAIN, PLACE_AGAIN_MOST)

    async def look(self) -> None:
        """Stop what should not run, take up what is not yet so: at the start, and now and then for what failed."""
        for instance_id in self._supervisor.awake():
            if not self._fleet.may_run(instance_id):
                self._begin(instance_id)
        for instance_id in await self._database.call(observations.unobserved):
            self._begin(instance_id)

    async def changed(self, ids: Iterable[str]) -> None:
        """These instances changed in the database."""
        for instance_id, (_, now) in (await self._fleet.renew(ids)).items():
            # not by what was known before: others renew the fleet, too
            if now is None or now.generation != now.observed:
                self._supervisor.forgive(instance_id)
                self._without_place.forget(instance_id)
                self._fleet.excuse(instance_id)
                self._begin(instance_id)

    async def keep_awake(self) -> None:
        """Wake those that should never sleep and do; to be called every second."""
        awake = self._supervisor.awake()
        for instance_id in self._fleet.kept_awake():
            waits = instance_id in self._tasks or not self._without_place.is_over(instance_id)
            if instance_id not in awake and not waits:
                self._begin(instance_id)

    def limits_changed(self) -> None:
        """There may be places now where there were none."""
        self._without_place.forget_all()

    async def stop(self) -> None:
        """Let go; what is not done is taken up at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, instance_id: str) -> None:
        if instance_id in self._tasks:
            self._again.add(instance_id)
            return
        task = asyncio.create_task(self._carry_out(instance_id), name=f"reconcile {instance_id}")
        self._tasks[instance_id] = task
        task.add_done_callback(lambda _: self._ended(instance_id))

    def _ended(self, instance_id: str) -> None:
        self._tasks.pop(instance_id, None)
        if instance_id in self._again:
            self._again.discard(instance_id)
            self._begin(instance_id)

    async def _carry_out(self, instance_id: str) -> None:
        try:
            await self._carry_out_once(instance_id)
        except TeamAtLimit as error:
            self._without_place.grow(instance_id)
            log.debug("not kept awake: %s", error.detail, extra={"instance": instance_id})
            await self._database.call(observations.record_without_place, instance_id, error.detail)
        except StartFailed as error:
            # tried again every second; the log of wakes has it
            log.debug("not kept awake: %s", error.detail, extra={"instance": instance_id})
        except PocketfleetError as error:
            log.warning("intents not carried out instance=%s: %s", instance_id, error.detail)
        except Exception:
            log.exception("intents not carried out instance=%s", instance_id)

    async def _carry_out_once(self, instance_id: str) -> None:
        try:
            facts = self._fleet.facts(instance_id)
        except PocketfleetError:
            await self._stop_guest(instance_id, "deleted")
            return
        if facts.hold:
            return  # an operation has it; the end of the hold brings it back here
        if not self._fleet.may_run(instance_id):
            await self._stop_guest(instance_id, self._why_not(facts))
        if facts.generation != facts.observed:
            if not facts.always_awake or not self._fleet.may_run(instance_id):
                await self._database.call(observations.record_needs_no_place, instance_id)
            await self._settle_superusers(instance_id)
        # written before a start is tried: that it is wanted is so, whether PocketBase can is its state
        await self._observed(facts)
        if facts.always_awake and self._fleet.may_run(instance_id):
            async with self._places.of(facts):
                await self._supervisor.ensure(instance_id, cause="always awake")
            self._without_place.forget(instance_id)

    def _why_not(self, facts: InstanceFacts) -> str:
        if facts.suspended:
            return "suspended"
        return "its storage is used up" if self._fleet.must_make_room(facts.id) else "powered off"

    async def _settle_superusers(self, instance_id: str) -> None:
        """What fails here is taken up again by itself, and keeps no other intent waiting."""
        try:
            await self._settle(instance_id)
        except PocketfleetError as error:
            log.warning("superusers not settled: %s", error.detail, extra={"instance": instance_id})
        except Exception:
            log.exception("superusers not settled", extra={"instance": instance_id})

    async def _observed(self, facts: InstanceFacts) -> None:
        if facts.generation != facts.observed:
            await self._database.call(observations.record_observed, {facts.id: facts.generation})

    async def _stop_guest(self, instance_id: str, cause: str) -> None:
        # also one that is still waking; where there is nothing to stop this answers at once
        await self._supervisor.sleep(instance_id, cause=cause, drain=DRAIN, quiet_only=False)
