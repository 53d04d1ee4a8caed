"""What clients of an instance may ask, in an hour and at once: the limits of a server, its teams and instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pocketfleet.errors import WrongSetting

#: More than any instance answers; ten times as much is still a number of 32 bits, in which HAProxy counts.
MOST = 100_000_000
#: Seconds in which requests are counted, by the clock.
WINDOW = 3600
#: A request of a file costs one, any other this much.
COST, FILE_COST = 10, 1


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    """0 is no limit; for the trusted ones it is what counts for everybody."""

    #: requests that one address may make to one instance in an hour, and have open at once
    address_hourly: int = 0
    address_at_once: int = 0
    #: requests that an instance gets in an hour, and has open at once
    instance_hourly: int = 0
    instance_at_once: int = 0
    #: the hourly ones for what comes from an address that the team trusts
    trusted_address_hourly: int = 0
    trusted_instance_hourly: int = 0

    def overridden(self, own: Mapping[str, int]) -> TrafficLimits:
        """With the numbers that somebody set in place of these."""
        return replace(self, **own)

    def for_trusted(self) -> TrafficLimits:
        """The same, with what counts for trusted addresses worked out: never less than for everybody."""
        return replace(
            self,
            trusted_address_hourly=_more(self.address_hourly, self.trusted_address_hourly),
            trusted_instance_hourly=_more(self.instance_hourly, self.trusted_instance_hourly),
        )

    def tightened(self, own: Mapping[str, int]) -> TrafficLimits:
        """With the numbers of `own` that are stricter than these: nobody raises their own limits."""
        stricter = {name: number for name, number in own.items() if 0 < number < (getattr(self, name) or MOST + 1)}
        return replace(self, **stricter)

    def as_json(self) -> dict[str, int]:
        """By name."""
        return asdict(self)


NAMES = tuple(field.name for field in fields(TrafficLimits))


def parse_limits(data: Mapping[str, Any], setting: str = "limits") -> dict[str, int]:
    """Numbers by name, as they are stored; those given as None are left out. Raises WrongSetting."""
    for name, number in data.items():
        if name not in NAMES:
            raise WrongSetting(f"There is no limit “{name[:70]}”; there are {', '.join(NAMES)}.", setting=setting)
        if number is not None and not (type(number) is int and 0 <= number <= MOST):
            raise WrongSetting(f"{name} takes a whole number from 0 (no limit) to {MOST:,}.", setting=setting)
    return {name: number for name, number in data.items() if number is not None}


def limits_that_count(server: TrafficLimits, team: Mapping[str, int], instance: Mapping[str, int]) -> TrafficLimits:
    """The server's, a team's own in place of them, and an instance's own where they are stricter."""
    return server.overridden(team).for_trusted().tightened(instance)


def as_word(limits: TrafficLimits, team: str = "") -> str:
    """As the edge's map holds them: six numbers, and the team whose trusted addresses are asked for, or `-`.

    "" where there is nothing that the edge should look at.
    """
    numbers = [getattr(limits, name) for name in NAMES]
    return ":".join(map(str, [*numbers, team or "-"])) if any(numbers) or team else ""


def _more(usual: int, trusted: int) -> int:
    return 0 if not usual else max(usual, trusted)
