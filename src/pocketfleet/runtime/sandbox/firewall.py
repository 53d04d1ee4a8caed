"""The packet filter around all instances of one home: the file beside this one, filled in and loaded by `nft`."""

from __future__ import annotations

import contextlib
import logging
import subprocess
from pathlib import Path
from string import Template

from pocketfleet.errors import SandboxUnavailable

#: Connections to the outside that one instance may have open at once.
_CONNECTIONS = 1000
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_RULES = Path(__file__).with_name("firewall.nft")
_SECONDS = 20
#: Where Docker lets others say what may pass: it drops all that it does not know.
_DOCKER = ("ip", "filter", "DOCKER-USER")

_log = logging.getLogger(__name__)


class Firewall:
    """Every verb blocks for some milliseconds."""

    def __init__(self, mark: str, cables: str, run_folder: Path, nft: str) -> None:
        """`cables`: how this home's interfaces begin. `nft`: the executable."""
        self.table = f"pocketfleet_{mark}"
        self._cables = cables
        #: holds the boot in which this host forwarded nothing before we came
        self._alone = run_folder / "forwarding"
        self._nft = nft

    def load(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        """From now on the rules are these. Raises SandboxUnavailable with nft's words."""
        text = self.rules(allowed, ports, alone=self._forward())
        self._hand_over(text)
        self._pass_docker()

    def check(self, allowed: tuple[str, ...], ports: tuple[str, ...]) -> None:
        """Whether they could be loaded. Raises SandboxUnavailable."""
        self._hand_over(self.rules(allowed, ports, alone=True), "--check")

    def rules(self, allowed: tuple[str, ...], ports: tuple[str, ...], *, alone: bool) -> str:
        """The text of the rules. `alone`: this host forwards for nobody else."""
        nobody = '        iifname != "pf*" oifname != "pf*" drop  # as before: this host forwarded for nobody'
        return Template(_RULES.read_text()).substitute(
            table=self.table,
            cables=self._cables,
            allowed="\n".join(f"        {line}" for each in allowed for line in _accepting(each)),
            others=nobody if alone else "",
            ports=", ".join(ports) or "0",
            connections=_CONNECTIONS,
        )

    def unload(self) -> None:
        """No rules are needed where no instance runs."""
        self._run("delete", "table", "inet", self.table)

    def _hand_over(self, text: str, *flags: str) -> None:
        done = self._run(*flags, "-f", "-", given=text)
        if done.returncode != 0:
            said = done.stderr.strip()[-500:]
            raise SandboxUnavailable(
                f"The packet filter cannot be set: nft says: {said}. Its version must be 1.0 or later, and the kernel "
                "must have nf_tables."
            )

    def _forward(self) -> bool:
        """Let this host forward; whether it did so for nobody before."""
        boot = _BOOT.read_text()
        if _FORWARDING.read_text().strip() == "0":
            self._alone.write_text(boot)
            _FORWARDING.write_text("1")
        with contextlib.suppress(FileNotFoundError):
            return self._alone.read_text() == boot
        return False

    def _pass_docker(self) -> None:
        """Docker's own chain for it lets our packets through, if Docker is here; its rules end what ours accept."""
        present = self._run("list", "chain", *_DOCKER)
        if present.returncode != 0 or self._cables in present.stdout:
            return
        for rule in (
            f'iifname "{self._cables}*" accept',
            f'oifname "{self._cables}*" ct state established,related accept',
        ):
            done = self._run("insert", "rule", *_DOCKER, *rule.split())
            if done.returncode != 0:
                _log.warning("Docker may keep instances from the internet: %s", done.stderr.strip())

    def _run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self._nft, *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=_SECONDS)


def _accepting(text: str) -> list[str]:
    """A destination of the setting, which has been checked."""
    where, _, port = text.partition(":")
    if not port:
        return [f"ip daddr {where} accept"]
    return [f"ip daddr {where} {protocol} dport {port} accept" for protocol in ("tcp", "udp")]
