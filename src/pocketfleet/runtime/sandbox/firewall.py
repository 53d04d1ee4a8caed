"""The packet filter around all instances of one home: the file beside this one, filled in and loaded by `nft`."""

from __future__ import annotations

import logging
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pocketfleet.domain.destinations import read_destination
from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.sandbox.forwarding import Forwarding, interfaces
from pocketfleet.runtime.sandbox.passage import Passage
from pocketfleet.runtime.sandbox.ways_out import WaysOut, ways_out

#: Connections to the outside that one instance may have open at once.
_CONNECTIONS = 1000
_RULES = Path(__file__).with_name("firewall.nft")
#: How a line of the rules ends that stands only where IPv6 is on, or off.
_ONLY_IF = re.compile(r" +# IPv6 (on|off)$", re.MULTILINE)
_SECONDS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """How packets of one version of IP get through this host, besides the rules."""

    forwarding: Forwarding
    passage: Passage

    def open(self) -> None:
        """Raises OSError."""
        self.forwarding.switch_on()
        self.passage.open()

    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return self.forwarding.is_on() and self.passage.is_open()

    def close(self) -> None:
        """As if we had never been here; nothing where we have not. Raises OSError."""
        if self.forwarding.is_noted:
            self.passage.close()
            self.forwarding.give_back()


class Firewall:
    """Every verb blocks for some milliseconds."""

    def __init__(self, mark: str, cables: str, nft: str, ways: tuple[Way, Way], network6: str = "") -> None:
        """`cables`: how this home's interfaces begin. `nft`: the executable. `ways`: of IPv4 and of IPv6.

        `network6`: the addresses that this home's instances have over IPv6; empty where that is closed to them.
        """
        self.table = f"pocketfleet_{mark}"
        self._cables = cables
        self._nft = nft
        self._ways = ways
        self._network6 = network6
        #: what was loaded, and how nft says it
        self._loaded: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._listed = ""
        self._out = WaysOut()
        self._turn = threading.Lock()

    @property
    def _open_ways(self) -> tuple[Way, ...]:
        return self._ways if self._network6 else self._ways[:1]

    def load(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        """From now on the rules are these. Raises SandboxUnavailable with nft's words."""
        with self._turn:
            self._load(allowed, ports)

    def keep(self) -> bool:
        """Load them again where somebody took them away, as `nft flush ruleset` does; whether that was needed.

        Or where this server has another way to the internet over IPv6.
        """
        with self._turn:
            same_ways = self._ways_out() == self._out
            if self._loaded is None or (same_ways and self._is_whole()):
                return False
            if same_ways:
                _log.warning("somebody had changed the rules around instances; they are loaded again")
            self._load(*self._loaded)
            return True

    def check(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        """Whether they could be loaded. Raises SandboxUnavailable."""
        names = interfaces()
        self._hand_over(self.rules(allowed, ports, before=(names, names), out=ways_out()), "--check")

    def rules(
        self,
        allowed: tuple[str, ...],
        ports: tuple[str, ...],
        *,
        before: tuple[Sequence[str], Sequence[str]],
        out: WaysOut,
    ) -> str:
        """The text of the rules. `before`: the interfaces between which this host forwarded nothing until we came.

        Those of IPv4 and those of IPv6. `out`: how it reaches the internet over IPv6.
        """
        wanted = "on" if self._network6 else "off"
        lines = _RULES.read_text().split("\n")
        kept = [line for line in lines if (only := _ONLY_IF.search(line)) is None or only[1] == wanted]
        as_before = (_as_before(version, names) for version, names in zip((4, 6), before, strict=True) if names)
        return Template("\n".join(_ONLY_IF.sub("", line) for line in kept)).substitute(
            table=self.table,
            cables=self._cables,
            allowed="\n".join(f"        {line}" for each in allowed for line in _accepting(each)),
            before="\n".join(as_before),
            ports=", ".join(ports) or "0",
            connections=_CONNECTIONS,
            network6=self._network6,
            routers="".join(f", {router}" for router in out.routers),
            not_tunnels=f"oifname != {_listed(out.tunnels)} " if out.tunnels else "",
        )

    def unload(self) -> None:
        """No rules are needed where no instance runs, and no forwarding where nobody has come since we did."""
        with self._turn:
            self._loaded = None
            for way in self._ways:
                way.close()
            self._run("delete", "table", "inet", self.table)

    def _load(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        for way in self._ways:
            if way in self._open_ways:
                way.forwarding.note()
            else:
                # of a start that had it open, and was killed
                way.close()
        # the rules first: nobody else's packets pass meanwhile
        ipv4, ipv6 = (way.forwarding.before() for way in self._ways)
        self._out = self._ways_out()
        self._hand_over(self.rules(allowed, ports, before=(ipv4, ipv6), out=self._out))
        for way in self._open_ways:
            way.open()
        self._loaded, self._listed = (allowed, ports), self._list()

    def _is_whole(self) -> bool:
        return all(way.is_open() for way in self._open_ways) and self._list() == self._listed

    def _ways_out(self) -> WaysOut:
        return ways_out() if self._network6 else WaysOut()

    def _list(self) -> str:
        """Without what changes by itself."""
        return self._run("--stateless", "--terse", "list", "table", "inet", self.table).stdout

    def _hand_over(self, text: str, *flags: str) -> None:
        done = self._run(*flags, "-f", "-", given=text)
        if done.returncode != 0:
            said = done.stderr.strip()[-500:]
            raise SandboxUnavailable(
                f"The packet filter cannot be set: nft says: {said}. Its version must be 1.0 or later, and the kernel "
                "must have nf_tables."
            )

    def _run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self._nft, *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=_SECONDS)


def _accepting(text: str) -> list[str]:
    """A destination of the setting, which has been checked."""
    destination = read_destination(text)
    where = f"ip6 daddr {destination.network}" if destination.is_ipv6 else f"ip daddr {destination.network}"
    if destination.port is None:
        return [f"{where} accept"]
    return [f"{where} {protocol} dport {destination.port} accept" for protocol in ("tcp", "udp")]


def _as_before(version: int, names: Sequence[str]) -> str:
    return f'        meta nfproto ipv{version} iifname {_listed(names)} oifname != "pf*" goto as_before'


def _listed(names: Sequence[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"
