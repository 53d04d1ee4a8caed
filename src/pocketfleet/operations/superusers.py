"""Superusers of people: made at rest or through PocketBase's API, taken away when access is lost, and signed in by a
ticket. Nobody's password is known to anybody."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from pocketfleet.actions import admin_tickets, events
from pocketfleet.actions import superusers as records
from pocketfleet.actions.superusers import Wanted
from pocketfleet.domain.admin_pages import SESSION_SECONDS, AdminSession, admin_session
from pocketfleet.errors import NotAllowed, PocketfleetError, Unavailable
from pocketfleet.operations.tools import Tools
from pocketfleet.routing.gate import Go, Question, Refuse
from pocketfleet.runtime import superuser_api, superusers
from pocketfleet.runtime.changes import Changes
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.superusers import Removal, Superuser

log = logging.getLogger(__name__)

_CAUSE = "open admin"
#: What somebody who may open the admin page can do about a refusal of the gate's.
_NEXT = {
    "powered_off": "Power it on in the dashboard, then open its admin page again.",
    "held": "Look at it in the dashboard, and open its admin page again when that is over.",
    "not_ready": "Open its admin page again in a moment.",
    "wake_timeout": "Open its admin page again in a moment.",
}


class Superusers:
    """One piece of work per instance at a time: what one makes, the other would otherwise miss."""

    def __init__(self, tools: Tools, ask: Callable[[Question], Awaitable[Go | Refuse]]) -> None:
        """`ask`: what the gate would tell the edge (Gate.ask); it wakes, and waits while the instance is held."""
        self._tools = tools
        self._database = tools.database
        self._fleet = tools.fleet
        self._supervisor = tools.supervisor
        self._ask = ask
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def let_in(self, instance_id: str, ticket: str) -> AdminSession:
        """What the browser needs to be signed in to the instance's admin page; the instance is awake then.

        1 the ticket is burnt, 2 that person's superuser is there, 3 a token of it, 4 the instance is awake.
        Raises TicketUnusable, NotAllowed, Unavailable, SettingsEncrypted, DiskTrouble.
        """
        admitted = await self._database.call(admin_tickets.burn_ticket, ticket, instance_id)
        log.info("opening the admin page for %s", admitted.actor, extra={"instance": instance_id})
        if not self._fleet.may_run(instance_id) or self._fleet.facts(instance_id).hold:
            await self._wake(instance_id)
        async with self._turns[instance_id]:
            superuser, token = await self._signed_in(instance_id, admitted.user)
        await self._wake(instance_id)
        log.info("the admin page is open for %s", admitted.actor, extra={"instance": instance_id})
        return admin_session(self._fleet.facts(instance_id).release, token, superuser.record)

    async def settle(self, instance_id: str) -> None:
        """Make what is wanted and is not there, take away what must go. One that is held is left for later."""
        facts = self._fleet.facts(instance_id)
        if facts.hold or not facts.ready:
            return
        async with self._turns[instance_id]:
            wanted = await self._database.call(records.superusers_of, instance_id)
            for each in wanted:
                if each.revoked:
                    await self._take_away(instance_id, each)
            for each in wanted:
                if not each.revoked and not each.made:
                    await self._see_to(instance_id, each, signs_in=False)

    async def look(self) -> None:
        """Take up what could not be settled before; to be called now and then."""
        for instance_id in await self._database.call(records.unsettled):
            await self._try_to_settle(instance_id)

    def expect_restore(self, instance_id: str) -> None:
        """PocketBase is about to restore a backup of its own, with whoever was in it: look again after that."""
        task = asyncio.create_task(self._after_restore(instance_id), name=f"superusers after a restore {instance_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _after_restore(self, instance_id: str) -> None:
        """Written down first; settling waits by itself until the restore is over."""
        await self._database.call(records.record_came_back, instance_id)
        await self._try_to_settle(instance_id)

    async def _try_to_settle(self, instance_id: str) -> None:
        try:
            await self.settle(instance_id)
        except PocketfleetError as error:
            log.warning("superusers not settled: %s", error.detail, extra={"instance": instance_id})
        except Exception:
            log.exception("superusers not settled", extra={"instance": instance_id})

    async def _wake(self, instance_id: str) -> None:
        answer = await self._ask(Question(instance_id, stale=False, cause=_CAUSE))
        if isinstance(answer, Refuse):
            reason = answer.reason
            if answer.code == "suspended":
                reason += f" The reason: {self._fleet.facts(instance_id).suspended}"
            raise Unavailable(f"{reason} {_NEXT.get(answer.code, '')}".strip(), retry_after=answer.retry_after)

    async def _signed_in(self, instance_id: str, user: int) -> tuple[Superuser, str]:
        """Their superuser and a token of it. Those who must go are gone before: one may have had this address."""
        wanted = await self._database.call(records.superusers_of, instance_id)
        for each in wanted:
            if each.revoked:
                await self._take_away(instance_id, each)
        own = next((each for each in wanted if not each.revoked and each.user == user), None)
        found = await self._see_to(instance_id, own, signs_in=True) if own is not None else None
        if own is None or found is None or not await self._database.call(records.record_opened, own.key):
            raise NotAllowed("You lost access to this instance a moment ago. Ask an owner of its team for it.")
        return found

    # Being there

    async def _see_to(self, instance_id: str, wanted: Wanted, *, signs_in: bool) -> tuple[Superuser, str] | None:
        """It is there. If somebody `signs_in` a token of it, too, and an awake instance whose PocketBase refuses is put
        to rest for it; else that is left for later, and the answer is None."""
        guest = self._fleet.guest(instance_id)
        async with self._supervisor.peace(instance_id) as peace:
            if peace.awake:
                found = await _there_awake(guest, wanted, signs_in)
            else:
                found = await asyncio.to_thread(_there_at_rest, guest, wanted, signs_in)
        if found is None and signs_in:
            async with self._supervisor.at_rest(instance_id, cause=_CAUSE):
                found = await asyncio.to_thread(_there_at_rest, guest, wanted, signs_in)
        if found is not None:
            await self._database.call(records.record_there, wanted.key, found[0].record_id)
        return found

    # Being gone

    async def _take_away(self, instance_id: str, lost: Wanted) -> None:
        """Whatever it takes: an instance whose PocketBase refuses is put to rest for it."""
        guest = self._fleet.guest(instance_id)
        async with self._supervisor.peace(instance_id) as peace:
            if peace.awake:
                done = await _gone_awake(guest, lost)
            else:
                done = await asyncio.to_thread(_gone_at_rest, guest, lost)
        if done is None:
            async with self._supervisor.at_rest(instance_id, cause="a superuser lost access"):
                done = await asyncio.to_thread(_gone_at_rest, guest, lost)
        if not lost.ours and done is Removal.LOCKED:
            await _say_that_it_stays(self._tools, instance_id, lost.email)
        await self._database.call(records.record_gone, lost.key)
        log.info("superuser of somebody without access: %s", done and done.value, extra={"instance": instance_id})


async def _say_that_it_stays(tools: Tools, instance_id: str, email: str) -> None:
    text = (
        f"{email} lost access, and was signed out of the admin page. The superuser with this address was not "
        "made by pocketfleet, so it is still there: delete it in PocketBase if its password should not work."
    )
    await tools.database.call(events.tell, instance_id, "superuser_stays", text, events.WARNING)


async def weed(tools: Tools, instance_id: str) -> None:
    """Data that came from elsewhere or from before holds nobody's superuser who has no access now: ours go, those that
    others made stay, signed out, and its owner is told. Before PocketBase runs on it; the caller holds the lock."""
    guest = tools.fleet.guest(instance_id)

    def found() -> set[str]:
        with superusers.at_rest(guest) as connection:
            return superusers.ids(connection)

    def take_away(ours: Collection[str], others: Collection[str]) -> None:
        with superusers.at_rest(guest) as connection:
            for record_id in sorted(ours):
                superusers.remove(connection, record_id)
            for record_id in sorted(others):
                superusers.sign_out(connection, record_id)

    there = await asyncio.to_thread(found)
    strangers = await tools.database.call(records.strangers, instance_id, there)
    lost = await tools.database.call(records.lost_ones, instance_id, there)
    if strangers or lost:
        await asyncio.to_thread(take_away, strangers, lost)
        counts = (len(strangers), len(lost))
        log.info("superusers without access taken away: %d, signed out: %d", *counts, extra={"instance": instance_id})
    for email in lost.values():
        await _say_that_it_stays(tools, instance_id, email)
    await tools.database.call(records.record_exchanged, instance_id)


async def without_ours(tools: Tools, instance_id: str, changes: Changes) -> Changes:
    """What would be lost besides superusers that pocketfleet made: those come again by themselves."""
    made = changes.records.get("_superusers")
    if made is None or made.total > len(made.created_ids):
        return changes
    ours = await tools.database.call(records.made_here, instance_id, made.created_ids)
    if ours < set(made.created_ids):
        return changes
    others = {name: changed for name, changed in changes.records.items() if changed is not made}
    return replace(changes, records=others)


def _session_token(guest: Guest, connection: sqlite3.Connection, superuser: Superuser, signs_in: bool) -> str:
    return superusers.token(guest, connection, superuser, life=SESSION_SECONDS) if signs_in else ""


def _there_at_rest(guest: Guest, wanted: Wanted, signs_in: bool) -> tuple[Superuser, str]:
    with superusers.at_rest(guest) as connection:
        if wanted.ours and not wanted.made:
            superusers.readdress(connection, wanted.record_id, wanted.email)
        there = superusers.make(connection, wanted.record_id, wanted.email)
        return there, _session_token(guest, connection, there, signs_in)


async def _there_awake(guest: Guest, wanted: Wanted, signs_in: bool) -> tuple[Superuser, str] | None:
    """None where PocketBase did not make it."""

    def look() -> tuple[Superuser | None, str]:
        """The superuser with a token of its own; without one, a token to make it with."""
        with superusers.awake(guest) as connection:
            there = superusers.find(connection, wanted.record_id, wanted.email)
            if there is not None:
                return there, _session_token(guest, connection, there, signs_in)
            return None, superusers.errand_token(guest, connection) or ""

    if wanted.ours and not wanted.made and not await _readdressed_awake(guest, wanted):
        return None
    there, token = await asyncio.to_thread(look)
    if there is None and token:
        password = superusers.new_password()
        await superuser_api.create(guest, token, wanted.record_id, wanted.email, password)
        there, token = await asyncio.to_thread(look)
    return (there, token) if there is not None else None


async def _readdressed_awake(guest: Guest, wanted: Wanted) -> bool:
    """Whether theirs has their present address, or is yet to be made."""

    def look() -> str | None:
        """A token to change its address with, where it has another one."""
        with superusers.awake(guest) as connection:
            there = superusers.find(connection, wanted.record_id, wanted.email)
            if there is None or there.record_id != wanted.record_id or there.email.lower() == wanted.email:
                return None
            return superusers.errand_token(guest, connection) or ""

    token = await asyncio.to_thread(look)
    return token is None or await superuser_api.readdress(guest, token, wanted.record_id, wanted.email)


def _gone_at_rest(guest: Guest, lost: Wanted) -> Removal:
    with superusers.at_rest(guest) as connection:
        if lost.ours:
            return superusers.remove(connection, lost.record_id)
        if lost.record_id not in superusers.ids(connection):
            return Removal.ABSENT
        if lost.opened:
            superusers.sign_out(connection, lost.record_id)
        return Removal.LOCKED


async def _gone_awake(guest: Guest, lost: Wanted) -> Removal | None:
    """None where it takes a rest: the last superuser, one that is not ours, or PocketBase refused."""

    def look() -> tuple[set[str], str]:
        with superusers.awake(guest) as connection:
            there = superusers.ids(connection)
            token = superusers.errand_token(guest, connection, but=lost.record_id) if lost.record_id in there else ""
            return there, token or ""

    try:
        there, token = await asyncio.to_thread(look)
        if lost.record_id not in there:
            return Removal.ABSENT
        if not lost.ours:
            return None if lost.opened else Removal.LOCKED
        if token and await superuser_api.delete(guest, token, lost.record_id):
            there, _ = await asyncio.to_thread(look)
            return Removal.GONE if lost.record_id not in there else None
    except PocketfleetError as error:
        log.info("not taken away while awake: %s", error.detail, extra={"instance": guest.instance_id})
    return None
