"""What holds a rehearsed PocketBase besides its namespaces, where this machine can: its instance's user and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confines:
    """Beginnings of command lines, for root: each goes on with what follows it."""

    #: joins the control groups and lowers the limits of a process
    join: tuple[str, ...]
    #: becomes the user, with no rights left
    become: tuple[str, ...]
    #: who owns the clone's files
    user: int
    #: what Go is told of the limits
    environment: Mapping[str, str]
