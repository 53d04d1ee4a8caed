"""What holds a rehearsed PocketBase besides its namespaces, where this machine can: its instance's user and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Confines:
    """Beginnings of command lines, for root: each goes on with what follows it."""

    #: joins the control groups and lowers the limits of a process
    join: tuple[str, ...]
    #: becomes the user, with no rights left
    become: tuple[str, ...]
    bwrap: Path
    #: who owns the clone's files
    user: int
    #: what Go is told of the limits; empty where memory has none
    environment: Mapping[str, str]
    #: what ended something in there that the kernel ended, as the end of "PocketBase was ended: ..."; "" for nothing
    cause: Callable[[], str]
