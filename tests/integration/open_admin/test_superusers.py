"""Tickets burnt by node, superusers made and taken away, in real PocketBase of every age, asleep and awake."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import httpx
import pytest

from pocketfleet.actions import copies, members
from pocketfleet.actions import superusers as records
from pocketfleet.actions.admin_tickets import burn_ticket, make_ticket
from pocketfleet.actions.instances import change_secrets, change_settings, set_power
from pocketfleet.actions.upgrades import rollback_instance, set_hold
from pocketfleet.domain.admin_pages import AdminSession
from pocketfleet.errors import TicketUnusable, Unavailable
from pocketfleet.models import Audit, Event, Instance, MadeSuperuser, User
from pocketfleet.operations.superusers import Superusers
from tests.integration.copies_operations.yard import EMAIL, Visitor, Yard
from tests.pocketbases import JOURNEY_VERSIONS, NEWEST

ANA = "ana@example.org"
REFUSING = """
onRecordCreateRequest((e) => { throw new BadRequestError("no") }, "_superusers")
onRecordDeleteRequest((e) => { throw new BadRequestError("no") }, "_superusers")
"""


class Desk:
    """What the dashboard and the entrance do, without either."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.superusers = Superusers(yard.workshop.tools, yard.workshop.gate.ask)

    async def person(self, email: str = ANA) -> User:
        def make() -> User:
            return User.objects.get_or_create(username=email.partition("@")[0], defaults={"email": email})[0]

        return await self.yard.database.call(make)

    async def opens(self, instance: Instance, email: str = ANA) -> AdminSession:
        person = await self.person(email)
        ticket = await self.yard.database.call(make_ticket, instance.id, acting_user=person)
        return await self.superusers.let_in(instance.id, ticket)

    async def rows(self, instance: Instance) -> list[MadeSuperuser]:
        return await self.yard.database.call(lambda: list(MadeSuperuser.objects.filter(instance=instance)))

    async def loses(self, instance: Instance, email: str = ANA) -> None:
        person = await self.person(email)
        await self.yard.ask(records.revoke_superusers, instance.id, [person.pk])
        await self.yard.workshop.fleet.renew([instance.id])
        await self.superusers.settle(instance.id)

    async def moves(self, instance: Instance, to: str, *, awake: bool) -> User:
        """Ana's address is another one now, and node has heard of it."""
        ana = await self.person()
        ana.email = to
        await self.yard.database.call(ana.save)
        await (self.yard.wake(instance) if awake else self.yard.sleep(instance))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "entitled_to", lambda _: [ana])
            await self.yard.ask(records.members_changed, [instance.id])
        await self.yard.workshop.fleet.renew([instance.id])
        await self.superusers.settle(instance.id)
        return ana

    async def asleep(self, instance: Instance) -> bool:
        return instance.id not in self.yard.workshop.supervisor.awake()


@pytest.fixture
def desk(yard: Yard) -> Desk:
    return Desk(yard)


async def status_with(desk: Desk, instance: Instance, session: AdminSession) -> int:
    """Of what superusers alone may read, with the token that the browser got."""
    address = await desk.yard.workshop.supervisor.ensure(instance.id, cause="test")
    async with httpx.AsyncClient(verify=False, base_url=f"http://{address}", trust_env=False) as client:
        headers = {"authorization": session.value["token"]}
        return (await client.get("/api/settings", headers=headers)).status_code


async def people(visitor: Visitor) -> set[str]:
    """Addresses of all superusers, as PocketBase says."""
    path = "/api/admins" if visitor.old else "/api/collections/_superusers/records"
    answer = await visitor.client.get(path, params={"perPage": 100})
    assert answer.status_code == 200, answer.text
    return {item["email"] for item in answer.json()["items"]}


@pytest.mark.parametrize("awake", [False, True], ids=["asleep", "awake"])
@pytest.mark.parametrize("version", JOURNEY_VERSIONS)
async def test_let_in_and_out_again(yard: Yard, desk: Desk, version: str, awake: bool) -> None:
    instance = await yard.create(version=version)
    if awake:
        await yard.wake(instance)
    first = await desk.opens(instance)
    assert await status_with(desk, instance, first) == 200
    again = await desk.opens(instance)
    assert await status_with(desk, instance, again) == 200
    assert await people(await yard.wake(instance)) == {EMAIL, ANA}
    [row] = await desk.rows(instance)
    record = first.value["model" if version.startswith("0.22") else "record"]
    assert (row.ours, row.record_id, row.email) == (True, record["id"], ANA)
    verbs = await yard.database.call(
        lambda: list(Audit.objects.filter(subject=instance.id).values_list("verb", "actor"))
    )
    assert verbs[-4:] == [("make_admin_ticket", "ana"), ("open_admin", "ana")] * 2

    if not awake:
        await yard.sleep(instance)
    await desk.loses(instance)
    assert await desk.asleep(instance) is not awake, "nobody was stopped or woken for that"
    assert await status_with(desk, instance, first) in (401, 403)
    assert await status_with(desk, instance, again) in (401, 403)
    assert await people(await yard.wake(instance)) == {EMAIL}
    assert [row.gone_at is not None for row in await desk.rows(instance)] == [True]

    back = await desk.opens(instance)
    assert await status_with(desk, instance, back) == 200, "who is given access again gets a new one"
    assert await status_with(desk, instance, first) in (401, 403)


@pytest.mark.parametrize("version", ["0.23.12", NEWEST])
async def test_hooks_that_refuse_do_not_keep_anybody_out_or_in(yard: Yard, desk: Desk, version: str) -> None:
    instance = await yard.create(version=version)
    await yard.put_hook(instance, REFUSING)
    await yard.wake(instance)
    session = await desk.opens(instance)
    assert await status_with(desk, instance, session) == 200
    await desk.loses(instance)
    assert await status_with(desk, instance, session) in (401, 403)


async def test_one_that_somebody_else_made_is_used_and_never_taken_away(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    session = await desk.opens(instance, EMAIL)
    assert await status_with(desk, instance, session) == 200
    [row] = await desk.rows(instance)
    assert row.ours is False
    await desk.loses(instance, EMAIL)
    assert await status_with(desk, instance, session) in (401, 403), "what we opened ends"
    assert await people(await yard.wake(instance)) == {EMAIL}
    events = await yard.database.call(lambda: list(Event.objects.values_list("kind", "weight")))
    assert ("superuser_stays", "warning") in events


async def test_two_clicks_at_once_make_one_superuser(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    await desk.person()
    sessions = await asyncio.gather(*(desk.opens(instance) for _ in range(4)))
    for session in sessions:
        assert await status_with(desk, instance, session) == 200
    assert len(await desk.rows(instance)) == 1
    assert await people(await yard.wake(instance)) == {EMAIL, ANA}


async def test_a_ticket_works_once_for_one_instance_and_not_for_long(yard: Yard, desk: Desk) -> None:
    shop, blog = await yard.create("shop"), await yard.create("blog")
    ana = await desk.person()

    async def ticket(**options: Any) -> str:
        return await yard.database.call(make_ticket, shop.id, acting_user=ana, **options)

    async def refused(text: str, instance: Instance = shop) -> str:
        with pytest.raises(TicketUnusable) as caught:
            await desk.superusers.let_in(instance.id, text)
        return str(caught.value.facts["why"])

    used = await ticket()
    await desk.superusers.let_in(shop.id, used)
    assert await refused(used) == "used"
    assert await refused(await ticket(seconds=0)) == "expired"
    stray = await ticket()
    assert await refused(stray, blog) == "elsewhere"
    assert await refused(stray) == "used", "it is burnt by the attempt"
    for forged in ("", "x" * 43, "\0", "ä", "' OR 1=1 --"):
        assert await refused(forged) == "unknown"
    left = await ticket()
    await yard.database.call(lambda: User.objects.filter(pk=ana.pk).update(is_active=False))
    assert await refused(left) == "expired"
    assert await desk.rows(blog) == []


async def test_of_many_who_send_the_same_ticket_one_gets_in(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    ticket = await yard.database.call(make_ticket, instance.id, acting_user=await desk.person())
    tries = await asyncio.gather(
        *(desk.superusers.let_in(instance.id, ticket) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(each, AdminSession) for each in tries) == 1
    assert sum(isinstance(each, TicketUnusable) for each in tries) == 7


async def test_whoever_loses_access_between_click_and_entrance_stays_out(
    yard: Yard, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await yard.create()
    ticket = await yard.database.call(make_ticket, instance.id, acting_user=await desk.person())
    monkeypatch.setattr(records, "members_of", lambda instance: [])
    await yard.ask(records.members_changed, [instance.id])
    with pytest.raises(TicketUnusable):
        await desk.superusers.let_in(instance.id, ticket)
    assert await desk.rows(instance) == []


async def test_a_crash_after_the_ticket_was_burnt_forgets_nothing(yard: Yard, desk: Desk) -> None:
    """What was to be made is known before it is made, and is made, or taken away, later."""
    instance = await yard.create()
    ticket = await yard.database.call(make_ticket, instance.id, acting_user=await desk.person())
    await yard.database.call(burn_ticket, ticket, instance.id)
    assert await yard.database.call(records.unsettled) == [instance.id]
    await Superusers(yard.workshop.tools, yard.workshop.gate.ask).look()
    assert await yard.database.call(records.unsettled) == []
    assert await people(await yard.wake(instance)) == {EMAIL, ANA}
    # and one that was made, but not yet written down as made, is known as ours by its id
    await yard.database.call(lambda: MadeSuperuser.objects.update(made_at=None))
    await desk.loses(instance)
    assert await people(await yard.wake(instance)) == {EMAIL}


class Nobody:
    """No instance is idle: nobody is put to sleep to make room."""

    async def longest_idle(self, among: Collection[str]) -> list[str]:
        return []


async def test_an_honest_answer_where_it_may_not_run(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    await yard.database.call(lambda: Instance.objects.filter(id=instance.id).update(power="off"))
    await yard.workshop.fleet.renew([instance.id])
    from pocketfleet.operations.places import TeamPlaces
    from pocketfleet.operations.resolve import Resolver
    from pocketfleet.operations.wakes import WakeBounds
    from pocketfleet.routing.gate import Gate

    fleet, supervisor = yard.workshop.fleet, yard.workshop.supervisor
    places, wakes = TeamPlaces(fleet, supervisor, Nobody()), WakeBounds(yard.config, supervisor)
    resolver = Resolver(fleet, supervisor, places, wakes)
    desk.superusers = Superusers(yard.workshop.tools, Gate(yard.config.gate_socket, resolver.resolve).ask)
    with pytest.raises(Unavailable, match=r"switched off for maintenance\. Power it on"):
        await desk.opens(instance)
    assert await desk.asleep(instance)
    changed = {"power": "on", "suspended": "It sent mail to strangers."}
    await yard.database.call(lambda: Instance.objects.filter(id=instance.id).update(**changed))
    await yard.workshop.fleet.renew([instance.id])
    with pytest.raises(Unavailable, match="It sent mail to strangers"):
        await desk.opens(instance)


async def test_nothing_is_made_or_taken_away_while_an_operation_holds_it(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    session = await desk.opens(instance)
    await yard.database.call(set_hold, instance.id, "operation000001")
    await desk.loses(instance)
    assert await status_with(desk, instance, session) == 200
    await yard.database.call(set_hold, instance.id, "")
    await yard.workshop.fleet.renew([instance.id])
    await desk.superusers.look()
    assert await status_with(desk, instance, session) in (401, 403)


@pytest.mark.parametrize("awake", [False, True], ids=["asleep", "awake"])
@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
async def test_admin_sync(yard: Yard, desk: Desk, version: str, awake: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = await yard.create(version=version)
    team = [await desk.person(email) for email in (ANA, EMAIL, "Bob@example.org")]
    for module in (members, records):
        monkeypatch.setattr(module, "members_of", lambda instance: list(team))
    if awake:
        await yard.wake(instance)
    await yard.ask(change_settings, instance.id, {"admin_sync": True})
    await desk.superusers.settle(instance.id)
    assert await desk.asleep(instance) is not awake
    assert await people(await yard.wake(instance)) == {EMAIL, ANA, "bob@example.org"}
    team.pop()
    team.append(await desk.person("eve@example.org"))
    await yard.ask(records.members_changed, [instance.id])
    await yard.workshop.fleet.renew([instance.id])
    await desk.superusers.settle(instance.id)
    assert await people(await yard.wake(instance)) == {EMAIL, ANA, "eve@example.org"}
    team.clear()
    await yard.ask(records.members_changed, [instance.id])
    await yard.workshop.fleet.renew([instance.id])
    await desk.superusers.settle(instance.id)
    assert await people(await yard.wake(instance)) == {EMAIL}, "the owner's own is not ours"


async def test_a_member_who_opens_what_is_synced_is_the_same_superuser(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    await yard.database.call(records.want_superuser, instance.id, await desk.person())
    await desk.superusers.settle(instance.id)
    await desk.opens(instance)
    assert len(await desk.rows(instance)) == 1


@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
async def test_a_snapshot_from_before_brings_nobody_back_who_lost_access(yard: Yard, desk: Desk, version: str) -> None:
    instance = await yard.create(version=version)
    session = await desk.opens(instance)
    kept = await desk.opens(instance, "bob@example.org")
    made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await desk.loses(instance)
    restored = await yard.ask(rollback_instance, instance.id, made.result["snapshot"], accept_loss=True)
    await yard.ended(restored)
    assert await status_with(desk, instance, session) in (401, 403)
    assert await status_with(desk, instance, kept) == 200
    assert await people(await yard.wake(instance)) == {EMAIL, "bob@example.org"}
    assert await yard.database.call(records.unsettled) == [instance.id], "what was made is looked at again"


@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
async def test_a_restored_backup_brings_nobody_back_who_lost_access(yard: Yard, desk: Desk, version: str) -> None:
    instance = await yard.create(version=version)
    session = await desk.opens(instance)
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    await desk.loses(instance)
    origin = copies.Origin(backup=made.result["name"])
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin))
    assert await status_with(desk, instance, session) in (401, 403)
    assert await people(await yard.wake(instance)) == {EMAIL}


async def test_superusers_of_ours_are_no_loss_when_going_back(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await desk.opens(instance)
    operation = await yard.ask(rollback_instance, instance.id, made.result["snapshot"], accept_loss=False)
    after = await yard.ended(operation)
    assert after.result["lost"]["records"] == {}


@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
async def test_a_clone_lets_nobody_in_whom_only_its_source_let_in(yard: Yard, desk: Desk, version: str) -> None:
    instance = await yard.create(version=version)
    session = await desk.opens(instance)
    clone, operation = await yard.ask(copies.clone_instance, instance.id, "copy")
    await yard.ended(operation)
    row = await yard.row(clone)
    assert await status_with(desk, row, session) in (401, 403)
    assert await people(await yard.wake(row)) == {EMAIL}
    assert await status_with(desk, instance, session) == 200


def test_who_has_no_address_gets_one_that_leads_nowhere() -> None:
    odd = User(pk=7, username="Ana Ö/../x")
    assert members.address_of(odd) == "ana-x+7@pocketfleet.invalid"
    assert members.address_of(User(pk=8, username="ü")) == "user+8@pocketfleet.invalid"
    assert members.address_of(User(pk=9, username="a", email="Ana@Example.org")) == "ana@example.org"


async def test_one_that_its_owner_gave_another_address_is_still_theirs(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    first = await desk.opens(instance)
    visitor = await yard.wake(instance)
    path = f"/api/collections/_superusers/records/{first.value['record']['id']}"
    assert (await visitor.client.patch(path, json={"email": "other@example.org"})).status_code == 200
    again = await desk.opens(instance)
    assert again.value["record"]["id"] == first.value["record"]["id"]
    await yard.sleep(instance)
    asleep = await desk.opens(instance)
    assert asleep.value["record"]["id"] == first.value["record"]["id"]
    await desk.loses(instance)
    assert await people(await yard.wake(instance)) == {EMAIL}


async def test_one_that_somebody_deleted_is_made_again(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    first = await desk.opens(instance)
    visitor = await yard.wake(instance)
    path = f"/api/collections/_superusers/records/{first.value['record']['id']}"
    assert (await visitor.client.delete(path)).status_code == 204
    assert await status_with(desk, instance, first) in (401, 403)
    again = await desk.opens(instance)
    assert await status_with(desk, instance, again) == 200
    assert await status_with(desk, instance, first) in (401, 403), "the old session does not come back with it"


async def test_encrypted_settings_of_0_22_with_their_key(yard: Yard, desk: Desk) -> None:
    """There, what signs sessions lies in the settings."""
    instance = await yard.create(version="0.22.27")
    await yard.ask(change_secrets, instance.id, {"PB_ENCRYPTION_KEY": "0123456789abcdef0123456789abcdef"})
    await yard.workshop.fleet.renew([instance.id])
    visitor = await yard.wake(instance)
    await visitor.settings(meta={"appName": "Sealed"})
    awake = await desk.opens(instance)
    assert await status_with(desk, instance, awake) == 200
    await yard.sleep(instance)
    asleep = await desk.opens(instance, "bob@example.org")
    assert await status_with(desk, instance, asleep) == 200
    await desk.loses(instance)
    assert await status_with(desk, instance, awake) in (401, 403)


async def test_access_is_lost_where_it_is_switched_off_too(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    session = await desk.opens(instance)
    await yard.ask(set_power, instance.id, "off")
    await yard.workshop.fleet.renew([instance.id])
    await yard.sleep(instance)
    await desk.loses(instance)
    assert await desk.asleep(instance)
    await yard.ask(set_power, instance.id, "on")
    await yard.workshop.fleet.renew([instance.id])
    assert await status_with(desk, instance, session) in (401, 403)


@pytest.mark.parametrize("awake", [False, True], ids=["asleep", "awake"])
@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
async def test_theirs_goes_with_them_to_another_address(yard: Yard, desk: Desk, version: str, awake: bool) -> None:
    instance = await yard.create(version=version)
    first = await desk.opens(instance)
    ana = await desk.moves(instance, "ana@elsewhere.example", awake=awake)
    assert await people(await yard.wake(instance)) == {EMAIL, "ana@elsewhere.example"}
    again = await desk.opens(instance)
    key = "model" if version.startswith("0.22") else "record"
    assert again.value[key]["id"] == first.value[key]["id"]
    await yard.database.call(ana.delete)
    await desk.superusers.look()
    assert await status_with(desk, instance, again) in (401, 403), "whose account is gone has no way in"
    assert await people(await yard.wake(instance)) == {EMAIL}


async def test_to_an_address_that_has_a_superuser_already(yard: Yard, desk: Desk) -> None:
    instance = await yard.create()
    await desk.opens(instance)
    await desk.moves(instance, EMAIL, awake=False)
    assert await people(await yard.wake(instance)) == {EMAIL}
    [row] = await desk.rows(instance)
    assert (row.ours, row.email, row.made_at is not None) == (False, EMAIL, True)
    await desk.moves(instance, ANA, awake=True)
    assert await people(await yard.wake(instance)) == {EMAIL, ANA}, "what others made stays where it is"


@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
async def test_a_session_of_one_that_others_made_does_not_come_back_with_older_data(
    yard: Yard, desk: Desk, version: str
) -> None:
    instance = await yard.create(version=version)
    session = await desk.opens(instance, EMAIL)
    made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await desk.loses(instance, EMAIL)
    assert await status_with(desk, instance, session) in (401, 403)
    restored = await yard.ask(rollback_instance, instance.id, made.result["snapshot"], accept_loss=True)
    await yard.ended(restored)
    assert await status_with(desk, instance, session) in (401, 403)
    assert await people(await yard.wake(instance)) == {EMAIL}
    told = Event.objects.filter(instance=instance, kind="superuser_stays")
    assert await yard.database.call(told.count) == 2, "that it is there again is said again"
