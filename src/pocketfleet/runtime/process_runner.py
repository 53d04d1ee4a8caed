"""The plain runner: a PocketBase as an ordinary process in a session of its own, which nothing holds back."""

from __future__ import annotations

import contextlib
import subprocess

from pocketfleet.errors import PocketfleetError, ReleaseUnusable
from pocketfleet.runtime import preflight
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.local_runner import LocalRunner, Spawned, standard_streams
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.owners import disown


class ProcessRunner(LocalRunner):
    """Starts a guest as whoever node runs as."""

    def _check(self, guest: Guest) -> None:
        preflight.check(guest)
        preflight.check_address(guest)

    async def _spawn(self, guest: Guest, lock: Lock) -> Spawned:
        """0.2 ms whatever our own size: CPython forks by vfork here, and unlike os.posix_spawn it can change directory.

        Nothing but the standard streams and the lock is handed down.
        """
        with contextlib.suppress(PermissionError):
            disown(guest.folder)
        with standard_streams(guest) as (stdin, stdout, stderr):
            child = subprocess.Popen(  # noqa: ASYNC220 - see above
                guest.command,
                cwd=guest.folder,
                env=guest.environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=(lock.descriptor,),
            )
        return Spawned(child.pid, child)

    def _trouble(self, guest: Guest, error: OSError) -> PocketfleetError:
        if error.filename in (str(guest.executable), guest.executable):
            reason = f"PocketBase {guest.release} cannot be run here: {error.strerror} ({guest.executable})."
            return ReleaseUnusable(f"{reason} Fetch a build for this machine.", release=guest.release)
        return preflight.disk_trouble(error, guest.log_folder if error.filename is None else error.filename)
