"""Processor time of those that are awake: what an operator changes counts at once, for one that never sleeps as well.

It is the one limit that a living PocketBase can be held to without ending it; all others count from its next start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.domain.states import Process
from pocketfleet.errors import InstanceNotFound
from pocketfleet.operations.fleet import Fleet
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.surroundings import SeenProcess


class ProcessorTime:
    """Remembers what those that run were given, and gives anew where that is no longer what counts."""

    def __init__(self, fleet: Fleet, share: Callable[[str, GuestLimits], None]) -> None:
        """`share`: holds an instance that runs to its processor time, at once."""
        self._fleet = fleet
        self._share = share
        #: by instance, what it starts with
        self._starting: dict[str, GuestLimits] = {}
        #: by instance that is awake, what it was given last; None for one that a former node started
        self._given: dict[str, GuestLimits | None] = {}

    def guest(self, instance_id: str) -> Guest:
        """As Fleet.guest, for a start."""
        guest = self._fleet.guest(instance_id)
        self._starting[instance_id] = guest.limits
        return guest

    def seen(self, seen: SeenProcess) -> None:
        """What became of an instance's process. The limits may have changed while it started."""
        if seen.process is Process.AWAKE:
            self._given[seen.instance_id] = self._starting.pop(seen.instance_id, None)
            self.renew([seen.instance_id])
        elif seen.process is not Process.WAKING:
            self._starting.pop(seen.instance_id, None)
            self._given.pop(seen.instance_id, None)

    def renew(self, ids: Iterable[str]) -> None:
        """These may have another team, or another limit, than before; those that are not awake are passed over."""
        for instance_id in ids:
            if instance_id in self._given:
                self._renew(instance_id)

    def renew_all(self) -> None:
        """Some team's limits may have changed."""
        self.renew(list(self._given))

    def _renew(self, instance_id: str) -> None:
        try:
            limits = self._fleet.guest_limits(instance_id)
        except InstanceNotFound:
            return  # it is being deleted, and ends
        if limits != self._given[instance_id]:
            self._share(instance_id, limits)
            self._given[instance_id] = limits
