"""A client of HAProxy's master socket, through which every worker is reached, old ones after a reload too."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Bytes of one line to HAProxy, or of one payload: its buffer has 16,384.
LONGEST_COMMAND = 12_000
#: Seconds that an answer may take.
_TIMEOUT = 5.0
#: Seconds in which a master that loads its configuration again comes back.
_RELOAD_PATIENCE = 10.0

_WORKER = re.compile(r"^(\d+)\s+worker\s", re.MULTILINE)
_PROOF = "#<PID>"
#: The newest worker, in the master's words.
NEWEST = "@1"


class EdgeAway(Exception):
    """HAProxy does not answer."""


class EdgeGone(EdgeAway):
    """There is no HAProxy."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Process ids: of the one that accepts connections, and of those that still carry some from before a reload."""

    newest: int | None
    older: tuple[int, ...]

    @property
    def prefixes(self) -> list[str]:
        """Each one as a prefix of commands."""
        return [f"@!{pid}" for pid in (self.newest, *self.older) if pid is not None]


class Master:
    """One connection per command: HAProxy answers, then closes."""

    def __init__(self, socket: Path, worker_socket: Path | None = None) -> None:
        """`worker_socket`: where a worker's Runtime API listens, which tells a reload from a HAProxy that is gone."""
        self._socket = socket
        self._worker_socket = worker_socket

    async def ask(self, text: str, *, timeout: float = _TIMEOUT) -> str:
        """The answer to a line, or to a line and its payload. Raises EdgeAway."""
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(text)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise EdgeGone("no HAProxy listens") from error
        except (OSError, TimeoutError) as error:
            raise EdgeAway(str(error) or "no answer in time") from error

    async def tell_newest(self, commands: Sequence[str]) -> tuple[str, Workers]:
        """Have the newest worker carry out commands; the answer, and which workers live.

        All on one connection, and a master that reloads drops its connections: so whatever worker comes later than
        this has read its files later, too. Asked again while the master reloads. Raises EdgeAway.
        """
        line = "; ".join([f"{NEWEST} {command}" for command in commands] + ["show proc"])
        give_up = time.monotonic() + _RELOAD_PATIENCE
        while _PROOF not in (answer := await self._ask_unless_reloading(line)):
            if time.monotonic() > give_up:
                raise EdgeAway("HAProxy's master does not name its workers")
            await asyncio.sleep(0.005)
        said, _, listing = answer.rpartition(_PROOF)
        return said, _workers(listing)

    async def tell(self, worker: int, commands: Sequence[str]) -> str:
        """Have an older worker carry out commands; one that has ended says nothing. Raises EdgeAway."""
        line = "; ".join(f"@!{worker} {command}" for command in commands)
        while not (answer := await self._ask_unless_reloading(line)):
            if worker not in (await self.workers()).older:
                break
            await asyncio.sleep(0.005)
        return answer

    async def workers(self) -> Workers:
        """Which workers live. Raises EdgeAway."""
        return (await self.tell_newest([]))[1]

    async def _ask_unless_reloading(self, line: str) -> str:
        """Nothing while the master loads its configuration: for that time it does not listen, though workers do."""
        try:
            return await self.ask(line)
        except EdgeGone:
            if not await self._worker_listens():
                raise
            return ""

    async def _worker_listens(self) -> bool:
        if self._worker_socket is None:
            return False
        try:
            _, writer = await asyncio.open_unix_connection(self._worker_socket)
        except OSError:
            return False
        writer.close()
        return True

    async def _exchange(self, text: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(f"{text}\n".encode())
            # The master waits for more until this side is closed.
            writer.write_eof()
            return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()


def _workers(listing: str) -> Workers:
    current, _, older = listing.partition("# old workers")
    newest = _WORKER.findall(current)
    return Workers(int(newest[0]) if newest else None, tuple(int(pid) for pid in _WORKER.findall(older)))
