"""What every source of releases can do: say what it has, and fetch one executable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

#: how far a fetch is: 0 to 1 or None where it cannot be known, and a few words
Progress = Callable[[float | None, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OfferedAt:
    """One release at one source."""

    source: str
    #: exact version, `0.40.6`
    version: str
    #: what the source needs to fetch it; JSON
    location: dict[str, Any] = field(default_factory=dict)
    #: hexadecimal SHA-256 of what is fetched; "" where it is told at fetching
    checksum: str = ""
    published_at: datetime | None = None


class Source(Protocol):
    """A place that has releases."""

    name: str

    async def offers(self) -> list[OfferedAt]:
        """Every release it has for this machine. Raises SourceDown with the reason in plain words."""

    async def fetch(self, offer: OfferedAt, into: Path, progress: Progress) -> Path:
        """Put the verified executable somewhere below `into`, an empty folder of the caller's, and say where.

        Raises SourceDown where it could not be had, ReleaseUnusable where it is not what it should be.
        """
