"""What iptables is told, where this host has it: instances' packets pass its chain FORWARD, which Docker and ufw close.

Through `iptables` itself, not `nft`: where a chain holds one rule that iptables would have written otherwise, it calls
the whole chain incompatible, and Docker, which then cannot read its DOCKER-USER, no longer uses it from its next start
on. Appended, so that the operator's own rules come first; to FORWARD, so that it holds whoever comes later. `ip6tables`
is its twin for IPv6.
"""

from __future__ import annotations

import logging
import subprocess

_CHAIN = "FORWARD"
_SECONDS = 20
#: Seconds to wait for others who change rules.
_PATIENCE = "5"

_log = logging.getLogger(__name__)


class Passage:
    """Every verb blocks for some milliseconds."""

    def __init__(self, cables: str, iptables: str | None) -> None:
        """`cables`: how this home's interfaces begin. `iptables`: either executable, None where there is none."""
        # in iptables' words, + is for whatever follows
        self._rules = (
            ("-i", f"{cables}+", "-j", "ACCEPT"),
            ("-o", f"{cables}+", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
        )
        self._iptables = iptables

    def open(self) -> None:
        """What may leave an instance passes, and answers to it."""
        for rule in self._rules:
            if self._iptables is None or self._run("-C", rule).returncode == 0:
                continue
            done = self._run("-A", rule)
            if done.returncode != 0:
                _log.warning("%s may keep instances from the internet: %s", self._iptables, done.stderr.strip())
                self._iptables = None

    def is_open(self) -> bool:
        """Whether nothing more can be done."""
        return self._iptables is None or all(self._run("-C", rule).returncode == 0 for rule in self._rules)

    def close(self) -> None:
        """As if we had never been here."""
        for rule in self._rules if self._iptables is not None else ():
            self._run("-D", rule)

    def _run(self, verb: str, rule: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        command = [str(self._iptables), "-w", _PATIENCE, verb, _CHAIN, *rule]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
