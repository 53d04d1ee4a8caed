"""What one instance may use at once: the limits of a server and, in place of them, its team's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pocketfleet.errors import WrongSetting

#: What is left of an instance's memory when Go begins to collect garbage harder.
_COLLECT_AT = 0.85
_MEBIBYTE = 1024**2


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What one instance may use at once; 0 for no limit. All but `storage` are held by the sandbox alone."""

    #: bytes, what its processes keep in /tmp included
    memory: int = 0
    #: processors' worth of time, 1.5 for one and a half
    cpus: float = 0.0
    #: its share where processors are short; 100 is everybody's
    cpu_weight: int = 100
    #: processes and threads
    processes: int = 0
    open_files: int = 0
    #: bytes of one file
    file_bytes: int = 0
    #: bytes of all its files; over them it sleeps until there is room
    storage: int = 0

    @property
    def go_memory(self) -> int:
        """Bytes for GOMEMLIMIT: a PocketBase that is near its limit collects garbage before it is killed."""
        return int(self.memory * _COLLECT_AT)

    def overridden(self, own: Mapping[str, Any]) -> GuestLimits:
        """With the numbers that somebody set in place of these."""
        return replace(self, **own)

    def as_json(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


NAMES = tuple(field.name for field in fields(GuestLimits))
#: Those that are bytes.
BYTES = ("memory", "file_bytes", "storage")
#: The one that is no limit but a share, so it is never 0.
_SHARE = "cpu_weight"
#: The one that need not be whole.
_FRACTION = "cpus"
#: From what PocketBase can do with, to what the kernel takes. Below so many threads Go ends itself when it is busy.
_BOUNDS: dict[str, tuple[float, int]] = {
    "memory": (64 * _MEBIBYTE, 2**40),
    "cpus": (0.1, 1024),
    "cpu_weight": (1, 10_000),
    "processes": (64, 1_000_000),
    "open_files": (256, 1_000_000),
    "file_bytes": (16 * _MEBIBYTE, 2**40),
    "storage": (16 * _MEBIBYTE, 2**40),
}


def parse_guest_limits(data: Mapping[str, Any], setting: str = "guest_limits") -> dict[str, float]:
    """Numbers by name, as they are stored; those given as None are left out. Raises WrongSetting with the `field`."""
    for name, number in data.items():
        if name not in NAMES:
            raise WrongSetting(f"There is no limit “{name[:70]}”; there are {', '.join(NAMES)}.", setting=setting)
        if number is not None and not _fits(name, number):
            raise WrongSetting(f"{name} takes {_what_fits(name)}.", setting=setting, field=name)
    return {name: number for name, number in data.items() if number is not None}


def in_words(name: str, number: float) -> str:
    """A limit as people read it: `256 MiB`, `1.5`, `no limit`."""
    if not number:
        return "no limit"
    return mebibytes(int(number)) if name in BYTES else f"{number:,.10g}"


def mebibytes(count: int) -> str:
    """`256 MiB`; bytes where those are no tenths of one."""
    tenths = count * 10 / _MEBIBYTE
    return f"{tenths / 10:,.10g} MiB" if tenths == int(tenths) else f"{count:,} bytes"


def _fits(name: str, number: Any) -> bool:
    whole = type(number) is int
    if not (whole or (name == _FRACTION and type(number) is float)):
        return False
    least, most = _BOUNDS[name]
    return bool(least <= number <= most or (number == 0 and name != _SHARE))


def _what_fits(name: str) -> str:
    least, most = (in_words(name, bound) for bound in _BOUNDS[name])
    other = "100 is everybody's" if name == _SHARE else "0 is no limit"
    if name in BYTES:
        return f"from {least} to {most}, in whole bytes; {other}"
    return f"a {'' if name == _FRACTION else 'whole '}number from {least} to {most}; {other}"
