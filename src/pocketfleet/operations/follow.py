"""Following ranges: instances with a newer release inside theirs are rehearsed, and upgraded where their policy lets
them; one after the other, so that a new release does not shake everybody at once."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from pocketfleet.actions import following
from pocketfleet.actions.following import Candidate, Group
from pocketfleet.domain.following import Next, fingerprint, next_step
from pocketfleet.errors import PocketfleetError
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.taking import fingerprints

log = logging.getLogger(__name__)

#: Seconds between two looks while there is nothing to do, and while something was just begun.
EVERY = 60.0
SOON = 5.0
#: Candidates that one look reads at most; the next look goes on behind them.
PAGE = 200
#: Seconds after which an instance that waits for its hooks or schema to change is read again.
RECHECK = 6 * 3600.0


class Follower:
    """Looks who is behind. What it knows it reads from the database, so a restart forgets nothing that matters."""

    def __init__(self, tools: Tools, *, recheck: float = RECHECK) -> None:
        self._tools = tools
        self._recheck = recheck
        self._bell = asyncio.Event()
        #: by group: id of the last candidate that was looked at; a look that reaches the end begins anew
        self._after: dict[Group, str] = {}
        #: by instance id: when (monotonic) its files were last compared with what was judged
        self._compared: dict[str, float] = {}

    def notice(self) -> None:
        """There may be a new release, or an instance may have a new policy."""
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                busy = await self.look()
            except Exception as error:
                log.warning("who is behind cannot be told, trying again: %s", error)
                busy = False
            try:
                async with asyncio.timeout(SOON if busy else EVERY):
                    await self._bell.wait()
            except TimeoutError:
                continue
            self._bell.clear()

    async def look(self) -> bool:
        """Open one upgrade at most; whether one is under way now."""
        call = self._tools.database.call
        await call(following.tell_of_failures)
        if await call(following.is_following):
            return True
        for group in await call(following.groups_behind):
            for candidate in await self._page(group):
                if await self._wants(candidate) and await self._begin(candidate):
                    return True
        return False

    async def _page(self, group: Group) -> list[Candidate]:
        after = self._after.pop(group, "")
        page = await self._tools.database.call(following.candidates, group, after, PAGE)
        if len(page) == PAGE:
            self._after[group] = page[-1].instance_id
        return page

    async def _wants(self, candidate: Candidate) -> bool:
        wanted = next_step(candidate.behind, datetime.now(UTC))
        if wanted is Next.IF_CHANGED:
            return await self._has_changed(candidate)
        return wanted is Next.GO

    async def _begin(self, candidate: Candidate) -> bool:
        group = candidate.group
        operation_id = await self._tools.database.call(following.follow, candidate.instance_id)
        if operation_id is None:
            return False
        fields = {"instance": candidate.instance_id, "operation": operation_id}
        log.info("follows %s: %s -> %s", group.range, group.release, group.target, extra=fields)
        return True

    async def _has_changed(self, candidate: Candidate) -> bool:
        """Whether hooks, migrations and schema are others than those that were judged; looked at now and then only."""
        now = time.monotonic()
        if now - self._compared.get(candidate.instance_id, -self._recheck) < self._recheck:
            return False
        self._compared[candidate.instance_id] = now
        try:
            present = await self._fingerprint(candidate)
        except (PocketfleetError, OSError) as error:
            log.debug("not compared: %s", error, extra={"instance": candidate.instance_id})
            return False
        return present != candidate.fingerprint

    async def _fingerprint(self, candidate: Candidate) -> str:
        folder = self._tools.config.instances / candidate.instance_id
        async with self._tools.supervisor.peace(candidate.instance_id) as peace:
            found = await asyncio.to_thread(fingerprints, folder, live=peace.awake)
        return fingerprint(found, candidate.group.release, candidate.group.target)
