"""The answer to the edge's question “where is instance X?”: its address once it is awake, or an honest no."""

from __future__ import annotations

import math

from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.domain.states import Power
from pocketfleet.errors import (
    InstanceFull,
    InstanceNotFound,
    PocketfleetError,
    StartFailed,
    TeamAtLimit,
    TooManyWakes,
    WokenTooOften,
)
from pocketfleet.operations.fleet import Fleet
from pocketfleet.operations.places import TeamPlaces
from pocketfleet.operations.wakes import WakeBounds
from pocketfleet.routing.gate import Go, Question, Refuse
from pocketfleet.runtime.supervisor import Supervisor

_FULL = (
    "This instance has used up its storage and sleeps until there is room; nothing is lost. "
    "Its owner finds the next step in its feed."
)


class Resolver:
    """Power and suspension first, then the supervisor; the reason of a failed start is for its owner only."""

    def __init__(self, fleet: Fleet, supervisor: Supervisor, places: TeamPlaces, wakes: WakeBounds) -> None:
        self._fleet = fleet
        self._supervisor = supervisor
        self._places = places
        self._wakes = wakes

    async def resolve(self, question: Question) -> Go | Refuse:
        """Never raises a PocketfleetError: each has its answer."""
        try:
            facts = await self._facts(question.instance_id)
            refusal = _refusal(facts)
            if refusal is not None:
                return refusal
            if self._fleet.must_make_room(facts.id):
                return Refuse(InstanceFull.status, InstanceFull.code, _FULL, None)
            async with self._wakes.of(facts), self._places.of(facts):
                address = await self._supervisor.ensure(facts.id, cause=question.cause, suspect=question.stale)
            return Go(address)
        except InstanceNotFound:
            return Refuse(404, "instance_not_found", "There is nothing at this address.", None)
        except StartFailed as error:
            reason = (
                "PocketBase did not start here. Its owner finds the reason in the instance's log "
                "and with `pocketfleet show`."
            )
            return Refuse(503, error.code, reason, max(1, round(error.retry_after)))
        except TeamAtLimit as error:
            reason = f"{error.detail} It wakes as soon as another one of them sleeps."
            return Refuse(503, error.code, reason, round(error.facts["retry_after"]))
        except (TooManyWakes, WokenTooOften) as error:
            return Refuse(503, error.code, error.title, max(1, math.ceil(error.facts["retry_after"])))
        except PocketfleetError as error:
            return Refuse(503, error.code, error.title, 5)

    async def _facts(self, instance_id: str) -> InstanceFacts:
        facts = self._fleet.facts(instance_id)
        if not facts.ready:
            # a create that has just ended is known to its owner a moment before the Change row reaches us
            await self._fleet.renew([instance_id])
            facts = self._fleet.facts(instance_id)
        return facts


def _refusal(facts: InstanceFacts) -> Refuse | None:
    if facts.suspended:
        return Refuse(503, "suspended", "This instance is suspended by the operator of this server.", None)
    if facts.power == Power.OFF:
        return Refuse(503, "powered_off", "This instance is switched off for maintenance.", 60)
    if not facts.ready:
        return Refuse(503, "not_ready", "This instance is being made.", 1)
    return None
