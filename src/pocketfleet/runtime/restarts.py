"""PocketBase's own restore: it answers 204 at once, and only seconds later unpacks and re-executes itself.

Until then nothing shows that it is coming (FACTS.md), and stopping or copying it meanwhile could lose the restore. Seen
from outside it is over when the same process runs another image: the random bytes that `exec` gives each image differ.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

#: Seconds after which it is believed to have failed: a broken archive leaves everything as it was, without a sign.
LONGEST = 300.0
_LOOK_EVERY = 0.05


class Restart:
    """One that is expected of a process."""

    def __init__(self, pid: int, longest: float = LONGEST) -> None:
        self._pid = pid
        self._image = image_of(pid)
        self._give_up = time.monotonic() + longest

    def is_coming(self) -> bool:
        """Whether it must still be waited for; not once the process is gone, re-executed itself, or time is up."""
        now = image_of(self._pid)
        # in the middle of an exec the kernel shows nothing but zeros
        unchanged = bool(now) and (now == self._image or not any(now))
        return unchanged and bool(self._image) and time.monotonic() < self._give_up

    async def over(self) -> None:
        """Wait for it."""
        while self.is_coming():  # noqa: ASYNC110 - the kernel tells nobody of an exec
            await asyncio.sleep(_LOOK_EVERY)


def image_of(pid: int) -> bytes:
    """What is different after every `exec` of one process: the addresses it was loaded at; empty where it is gone."""
    try:
        return (Path("/proc") / str(pid) / "auxv").read_bytes()
    except OSError:
        return b""
