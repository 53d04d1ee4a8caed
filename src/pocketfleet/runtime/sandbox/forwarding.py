"""That this host forwards packets, of IPv4 or of IPv6: switched on where it was off, and how it was comes back.

What must come back is written down before anything is changed, with the boot it is true of: whoever is killed in
between leaves a file from which the next one goes on. IPv6 has more to it: a host that forwards takes no router's word
any more for its own addresses and its way out, so those interfaces that did are told to take it all the same (2).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SWITCHES = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}
_INTERFACES = Path("/proc/sys/net/ipv6/conf")
#: What an interface is noted with: it takes routers' advertisements; it was one that forwards, all by itself.
_LISTENS, _FORWARDS = "accept_ra", "forwarding"
#: To take them although this host forwards.
_ALL_THE_SAME = "2"


class Forwarding:
    """Of one version of IP, in the network of the calling thread. Every verb blocks for no time worth it."""

    def __init__(self, version: int, record: Path, cables: str) -> None:
        """`record`: a file in run/. `cables`: how this home's interfaces begin."""
        self._version = version
        self._switch = _SWITCHES[version]
        #: holds the boot, then a line for each interface that this host had when it forwarded nothing; none if it did
        self._record = record
        self._cables = cables

    @property
    def is_noted(self) -> bool:
        """Whether there may be something to put back."""
        return self._record.exists()

    def note(self) -> None:
        """Write down how it is without us, unless it is ours already."""
        known = self._noted()
        if not self._forwards():
            names = interfaces()
        elif known is None:
            names = []
        else:
            return
        lines = [" ".join((name, *self._habits(name, (known or {}).get(name, ())))) for name in names]
        fresh = self._record.with_suffix(".fresh")
        fresh.write_text("\n".join((_boot(), *lines)))
        fresh.replace(self._record)

    def before(self) -> Sequence[str]:
        """Interfaces between which nothing was forwarded until we came, in this boot; none where this host did."""
        return [*(self._noted() or ())]

    def is_on(self) -> bool:
        """Whether packets are forwarded, and routers still listened to."""
        return self._forwards() and not any(_read(name, _LISTENS) == "1" for name in self._listening())

    def switch_on(self) -> None:
        """From now on. First note() it, and let nobody else's packets pass. Raises OSError."""
        # before the switch, which makes this host forget ways that it learnt of routers it no longer listens to
        for name in self._listening():
            if _read(name, _LISTENS) == "1":
                _write(name, _LISTENS, _ALL_THE_SAME)
        if not self._forwards():
            self._switch.write_text("1")

    def give_back(self) -> None:
        """As it was before us, unless somebody has come since who needs it. May be done again. Raises OSError."""
        noted = self._noted()
        if noted and any(name not in noted for name in interfaces(besides=self._cables)):
            return
        if noted:
            self._switch.write_text("0")
        for name, habits in (noted or {}).items():
            # unless somebody has decided otherwise meanwhile
            if _LISTENS in habits and _read(name, _LISTENS) == _ALL_THE_SAME:
                _write(name, _LISTENS, "1")
            if _FORWARDS in habits:
                _write(name, _FORWARDS, "1")
        self._record.unlink(missing_ok=True)

    def _forwards(self) -> bool:
        return self._switch.read_text().strip() != "0"

    def _listening(self) -> list[str]:
        return [name for name, habits in (self._noted() or {}).items() if _LISTENS in habits]

    def _habits(self, name: str, known: Sequence[str]) -> list[str]:
        """What an interface does besides, of what the switch changes. `known`: what had been noted of it before."""
        if self._version == 4 or name == "lo":
            return []
        if _read(name, _FORWARDS) == "1" or _FORWARDS in known:
            return [_FORWARDS]
        listens = _read(name, _LISTENS)
        return [_LISTENS] if listens == "1" or (listens == _ALL_THE_SAME and _LISTENS in known) else []

    def _noted(self) -> Mapping[str, Sequence[str]] | None:
        """What is written down of this boot, by interface."""
        with contextlib.suppress(FileNotFoundError):
            boot, *lines = self._record.read_text().split("\n")
            if boot == _boot():
                return {name: habits for name, *habits in (line.split() for line in lines if line)}
        return None


def interfaces(besides: str = "pf") -> list[str]:
    """This thread's network's, without those that begin so."""
    return [name for _, name in socket.if_nameindex() if not name.startswith(besides)]


def _boot() -> str:
    return _BOOT.read_text().strip()


def _read(interface: str, name: str) -> str:
    """Nothing where the interface is gone, or has no IPv6."""
    with contextlib.suppress(OSError):
        return (_INTERFACES / interface / name).read_text().strip()
    return ""


def _write(interface: str, name: str, value: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        (_INTERFACES / interface / name).write_text(value)
