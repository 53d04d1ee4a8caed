"""Running one of PocketBase's commands on data at rest, to its end; and what a clone of an instance is held by."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from pocketfleet.errors import ReleaseUnusable
from pocketfleet.runtime.confines import Confines
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock

#: Seconds that a command may take: system migrations of old data included.
COMMAND_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and all that it printed."""

    code: int
    text: str


class Commander(Protocol):
    """Whoever runs instances runs their commands and holds their clones: what is in their data is their tenant's."""

    def seen(self, guest: Guest) -> Guest:
        """The guest with the paths that its PocketBase sees, for a command's flags."""

    async def run(self, guest: Guest, lock: Lock, arguments: Sequence[str]) -> Done:
        """Its end; it inherits the lock, so whoever comes after our death waits for it. Raises ReleaseUnusable."""

    def confined(self, name: str, guest: Guest) -> AbstractAsyncContextManager[Confines | None]:
        """`async with`: what a clone of the guest is held by, under a name of its own; all in it has ended then.

        None where there is no sandbox. Raises OSError.
        """


class PlainCommander:
    """Without a sandbox: as whoever node runs as."""

    def seen(self, guest: Guest) -> Guest:
        """See Commander."""
        return guest

    async def run(self, guest: Guest, lock: Lock, arguments: Sequence[str]) -> Done:
        """See Commander."""
        return await asyncio.to_thread(_run, guest, lock, arguments)

    def confined(self, name: str, guest: Guest) -> AbstractAsyncContextManager[Confines | None]:
        """See Commander."""
        return nullcontext(None)


def not_runnable(guest: Guest, error: OSError) -> ReleaseUnusable:
    """What is said of an executable that cannot be started."""
    return ReleaseUnusable(f"PocketBase {guest.release} cannot be run here: {error.strerror}.")


def not_ending(guest: Guest) -> ReleaseUnusable:
    """What is said of a command that took too long."""
    return ReleaseUnusable(f"PocketBase {guest.release} did not end within {COMMAND_SECONDS} s.")


def _run(guest: Guest, lock: Lock, arguments: Sequence[str]) -> Done:
    try:
        done = subprocess.run(
            [str(guest.executable), *arguments],
            cwd=guest.folder,
            env=guest.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            pass_fds=(lock.descriptor,),
            check=False,
        )
    except OSError as error:
        raise not_runnable(guest, error) from error
    except subprocess.TimeoutExpired:
        raise not_ending(guest) from None
    return Done(done.returncode, done.stdout.decode(errors="replace"))
