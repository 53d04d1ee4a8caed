"""What happens in a soak and when, drawn from a seed: the same seed, the same schedule."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Asked of one instance. Those that are mentioned more often come more often.
WORK = ("sleep", "sleep", "backup", "restore", "snapshot", "rollback", "upgrade", "power", "rename", "clone")
#: Done to the whole server, or to one instance's PocketBase.
FAULTS = (
    "node",
    "node",
    "control",
    "edge",
    "guest",
    "guest",
    "serve",
    "everything",
    "reload",
    "disk",
    "clock",
    "clock",
)
#: Seconds between two of them, on average.
WORK_EVERY = 1.2
FAULTS_EVERY = 3.5
#: Of the whole time; in the rest nobody is killed, so that what a process leaks is seen.
STORM = 0.75
#: Seconds for which the disk is full.
FULL = (1.0, 5.0)
#: Seconds that the clock is ahead: nothing, an NTP step, daylight saving done wrong, a dead battery.
AHEAD = (0, 0, 90, 3600, 26 * 3600, 40 * 86400)


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One of them. `subject`: which instance, where it concerns one; `amount`: see FULL and AHEAD."""

    at: float
    kind: str
    subject: int = 0
    amount: float = 0.0


def schedule(seed: int, seconds: float, instances: int) -> list[Event]:
    """In order of time. Every kind comes once before any comes again, so short soaks have all of them."""
    chance = random.Random(seed)
    storm = seconds * STORM
    events = [
        *_drawn(chance, WORK, WORK_EVERY, seconds, instances),
        *_drawn(chance, FAULTS, FAULTS_EVERY, storm, instances),
    ]
    # a clock that is right again, long before the descriptors are looked at
    return sorted([*events, Event(storm, "clock")])


def _drawn(
    chance: random.Random, kinds: Sequence[str], every: float, seconds: float, instances: int
) -> Iterator[Event]:
    at = 0.0
    while True:
        deck = list(kinds)
        chance.shuffle(deck)
        for kind in deck:
            at += chance.uniform(0.2, 1.8) * every
            if at >= seconds:
                return
            yield Event(round(at, 3), kind, chance.randrange(instances), _amount(chance, kind))


def _amount(chance: random.Random, kind: str) -> float:
    if kind == "disk":
        return round(chance.uniform(*FULL), 3)
    return float(chance.choice(AHEAD)) if kind == "clock" else 0.0
