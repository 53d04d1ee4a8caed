"""What crosses the layers about an instance: the facts that node needs to run it, and nothing of the ORM."""

from __future__ import annotations

from dataclasses import dataclass, field

from pocketfleet.domain.states import Power


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One instance as node keeps it in memory; renewed whenever a Change row names it."""

    id: str
    name: str
    #: text of its loopback address, without the port
    address: str
    #: the release it runs, "" until it was resolved the first time
    release: str
    power: str = Power.ON
    #: id of its team, "" for none
    team: str = ""
    #: why an operator suspended it, "" otherwise
    suspended: str = ""
    #: id of the operation that holds its requests, "" otherwise
    hold: str = ""
    #: seconds; None for the server's default
    idle_timeout: int | None = None
    #: of its traffic, where stricter than its team's; see domain/traffic.py
    traffic_limits: dict[str, int] = field(default_factory=dict)
    dev: bool = False
    always_awake: bool = False
    #: by name, sealed as they are stored
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    #: raised by every intent; node writes it back once things are so
    generation: int = 0
    #: the generation that is so
    observed: int = 0
    #: whether its folders and first superuser are there, so that it may be started
    ready: bool = False
