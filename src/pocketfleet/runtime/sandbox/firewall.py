"""The packet filter around all instances of one home: the file beside this one, filled in and loaded by `nft`."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from string import Template

from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.sandbox.passage import Passage

#: Connections to the outside that one instance may have open at once.
_CONNECTIONS = 1000
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_RULES = Path(__file__).with_name("firewall.nft")
_SECONDS = 20

_log = logging.getLogger(__name__)


class Firewall:
    """Every verb blocks for some milliseconds."""

    def __init__(self, mark: str, cables: str, run_folder: Path, nft: str, passage: Passage) -> None:
        """`cables`: how this home's interfaces begin. `nft`: the executable."""
        self.table = f"pocketfleet_{mark}"
        self._cables = cables
        #: holds the boot in which this host forwarded nothing before we came, and the interfaces that it had then
        self._alone = run_folder / "forwarding"
        self._nft = nft
        self._passage = passage
        #: what was loaded, and how nft says it
        self._loaded: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._listed = ""
        self._turn = threading.Lock()

    def load(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        """From now on the rules are these. Raises SandboxUnavailable with nft's words."""
        with self._turn:
            self._load(allowed, ports)

    def keep(self) -> bool:
        """Load them again where somebody took them away, as `nft flush ruleset` does; whether that was needed."""
        with self._turn:
            if self._loaded is None or self._is_whole():
                return False
            self._load(*self._loaded)
            _log.warning("somebody had changed the rules around instances; they are loaded again")
            return True

    def check(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        """Whether they could be loaded. Raises SandboxUnavailable."""
        self._hand_over(self.rules(allowed, ports, before=_interfaces()), "--check")

    def rules(self, allowed: tuple[str, ...], ports: tuple[str, ...], *, before: Sequence[str]) -> str:
        """The text of the rules. `before`: the interfaces between which this host forwarded nothing until we came."""
        names = ", ".join(f'"{name}"' for name in before)
        return Template(_RULES.read_text()).substitute(
            table=self.table,
            cables=self._cables,
            allowed="\n".join(f"        {line}" for each in allowed for line in _accepting(each)),
            before=f'        iifname {{ {names} }} oifname != "pf*" goto as_before' if before else "",
            ports=", ".join(ports) or "0",
            connections=_CONNECTIONS,
        )

    def unload(self) -> None:
        """No rules are needed where no instance runs, and no forwarding where nobody has come since we did."""
        with self._turn:
            self._loaded = None
            self._passage.close()
            before = self._before()
            others = {name for name in _interfaces(besides=self._cables) if name not in before}
            if before and not others:
                _FORWARDING.write_text("0")
                self._alone.unlink()
            self._run("delete", "table", "inet", self.table)

    def _load(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        if not _forwards():
            self._alone.write_text("\n".join((_BOOT.read_text().strip(), *_interfaces())))
        # the rules first: nobody else's packets pass meanwhile
        self._hand_over(self.rules(allowed, ports, before=self._before()))
        if not _forwards():
            _FORWARDING.write_text("1")
        self._passage.open()
        self._loaded, self._listed = (allowed, ports), self._list()

    def _is_whole(self) -> bool:
        return _forwards() and self._list() == self._listed and self._passage.is_open()

    def _list(self) -> str:
        """Without what changes by itself."""
        return self._run("--stateless", "--terse", "list", "table", "inet", self.table).stdout

    def _before(self) -> Sequence[str]:
        """Interfaces between which nothing was forwarded until we came, in this boot; none where this host did."""
        with contextlib.suppress(FileNotFoundError):
            words = self._alone.read_text().split()
            if words[:1] == [_BOOT.read_text().strip()]:
                return words[1:]
        return ()

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
    where, _, port = text.partition(":")
    if not port:
        return [f"ip daddr {where} accept"]
    return [f"ip daddr {where} {protocol} dport {port} accept" for protocol in ("tcp", "udp")]


def _forwards() -> bool:
    return _FORWARDING.read_text().strip() != "0"


def _interfaces(besides: str = "pf") -> list[str]:
    """This thread's network's, without those that begin so."""
    return [name for _, name in socket.if_nameindex() if not name.startswith(besides)]
