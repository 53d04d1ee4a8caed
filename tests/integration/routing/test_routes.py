"""Routes in the files and in HAProxy."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pocketfleet.routing.routes import Routes
from tests.integration.routing.fleets import Fleet, eventually


def _lines(fleet: Fleet, name: str) -> list[str]:
    return sorted((fleet.config.edge / name).read_text().splitlines())


async def test_hosts_come_and_go(fleet: Fleet) -> None:
    instance, _ = await fleet.upstream("old")
    async with fleet.client("old") as old, fleet.client("new") as new:
        assert (await old.get("/")).status_code == 200
        assert (await new.get("/")).status_code == 404
        await fleet.routes.change_hosts({"new.localhost": instance}, ["old.localhost"])
        assert (await old.get("/")).status_code == 404
        assert (await new.get("/")).status_code == 200
    assert _lines(fleet, "hosts.map") == sorted([f"{instance}.localhost {instance}", f"new.localhost {instance}"])


async def test_a_host_may_move_to_another_instance(fleet: Fleet) -> None:
    await fleet.upstream("one")
    second, _ = await fleet.upstream("two")
    await fleet.routes.change_hosts({"one.localhost": second})
    async with fleet.client("one") as client:
        assert (await client.get("/")).json()["upstream"] == "two"
    assert f"one.localhost {second}" in _lines(fleet, "hosts.map")
    assert await fleet.routes.check() == 0


async def test_a_withdrawn_route_leads_to_the_gate(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        await client.get("/")
        assert not fleet.asked
        await fleet.routes.withdraw(instance)
        await client.get("/")
        assert [question.stale for question in fleet.asked] == [False]
        await fleet.routes.publish(instance, upstream.address)
        await client.get("/")
        assert len(fleet.asked) == 1


async def test_thousands_of_hosts_are_replaced_at_once(fleet: Fleet) -> None:
    hosts = {f"h{number}.localhost": f"i{number:014d}" for number in range(20_000)}
    await fleet.routes.replace_hosts(hosts)
    assert (await fleet.master.ask("@1 show map hosts.map")).count("localhost") == 20_000
    assert await fleet.routes.check() == 0
    times = []
    for _ in range(5):
        start = time.monotonic()
        await fleet.routes.change_hosts({"one-more.localhost": "i"})
        times.append(time.monotonic() - start)
        await fleet.routes.change_hosts({}, ["one-more.localhost"])
    await fleet.routes.change_hosts({"one-more.localhost": "i"})
    # the quickest: what is slow because of 20,000 hosts is slow each time, what is slow because of others is not
    assert min(times) < 0.1
    assert (fleet.config.edge / "hosts.map").read_text().endswith("one-more.localhost i\n")
    few = {"h1.localhost": "changed", "h2.localhost": hosts["h2.localhost"], "fresh.localhost": "x"}
    await fleet.routes.replace_hosts(few)
    assert await fleet.routes.check() == 0
    there = await fleet.master.ask("@1 show map hosts.map")
    assert sorted(line.split(" ", 1)[1] for line in there.split("\n") if line) == _lines(fleet, "hosts.map")


async def test_what_is_wrong_is_counted_and_repaired(fleet: Fleet) -> None:
    instance, _upstream = await fleet.upstream("shop")
    await fleet.master.ask(f"@1 del map upstreams.map {instance}")
    await fleet.master.ask("@1 add map upstreams.map ghost 127.0.0.1:1")
    await fleet.master.ask(f"@1 set map hosts.map {instance}.localhost wrong")
    (fleet.config.edge / "hosts.map").write_text("half a li")
    assert await fleet.routes.check() == 3 + 2
    assert await fleet.routes.check() == 0
    assert len(_lines(fleet, "hosts.map")) == 2
    async with fleet.client("shop") as client:
        assert (await client.get("/")).status_code == 200
    assert not fleet.asked


async def test_a_glance_sees_what_is_missing_or_too_much_and_repairs(fleet: Fleet) -> None:
    instance, _upstream = await fleet.upstream("shop")
    assert await fleet.routes.glance() == 0
    await fleet.master.ask(f"@1 del map upstreams.map {instance}")
    assert await fleet.routes.glance() == 1
    await fleet.master.ask("@1 add map hosts.map ghost.localhost 127.0.0.1:1")
    assert await fleet.routes.glance() == 1
    assert await fleet.routes.glance() == 0
    async with fleet.client("shop") as client:
        assert (await client.get("/")).status_code == 200
    assert not fleet.asked


async def test_a_glance_at_an_edge_that_is_away_finds_nothing_wrong(home: Path) -> None:
    assert await Fleet(home).routes.glance() == 0


async def test_changes_without_haproxy_are_there_when_it_comes(home: Path) -> None:
    fleet = Fleet(home)
    try:
        await asyncio.to_thread((home / "edge").mkdir)
        start = time.monotonic()
        _, upstream = await fleet.upstream("early")
        assert time.monotonic() - start < 1
        assert await fleet.routes.check() == 0
        await fleet.start()
        async with fleet.client("early") as client:
            assert (await client.get("/")).json()["upstream"] == "early"
        await fleet.kill_haproxy()
        instance, _ = await fleet.upstream("late")
        await fleet.routes.withdraw(instance)
        await fleet.routes.publish(instance, upstream.address)
        assert await fleet.counters.read() == {}
        await fleet.start_haproxy()
        async with fleet.client("late") as client:
            assert (await client.get("/")).json()["upstream"] == "early"
        assert fleet.asked == []
    finally:
        await fleet.stop()


async def test_a_haproxy_that_read_the_file_too_early_is_told_later(fleet: Fleet) -> None:
    """What happens at a start: the worker has read its maps, the master does not listen yet."""
    instance, _ = await fleet.upstream("shop")
    hidden = fleet.config.master_socket.with_name("hidden.sock")
    fleet.config.master_socket.rename(hidden)
    await fleet.routes.change_hosts({"fresh.localhost": instance})
    async with fleet.client("fresh") as client:
        assert (await client.get("/")).status_code == 404
        hidden.rename(fleet.config.master_socket)

        async def known() -> bool:
            return (await client.get("/")).status_code == 200

        await eventually(known)


async def test_a_second_writer_begins_with_what_is_in_the_files(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    second = Routes(fleet.config)
    await second.change_hosts({"more.localhost": instance})
    assert await second.check() == 0
    assert len(_lines(fleet, "hosts.map")) == 3
    assert _lines(fleet, "upstreams.map") == [f"{instance} {upstream.address}"]


@pytest.mark.parametrize("word", ["", "a b", "a\nb", "a;b", "a;show stat", "#a", "a\\", "@1", "a<<", "x" * 300, "ü"])
async def test_words_that_could_be_commands_are_refused(fleet: Fleet, word: str) -> None:
    for change in (
        fleet.routes.change_hosts({word: "x"}),
        fleet.routes.change_hosts({"x": word}),
        fleet.routes.change_hosts({}, [word]),
        fleet.routes.publish(word, "127.0.0.1:1"),
        fleet.routes.publish("x", word),
        fleet.routes.withdraw(word),
        fleet.routes.replace_hosts({word: "x"}),
    ):
        with pytest.raises(ValueError, match="cannot stand in a map"):
            await change
    assert _lines(fleet, "hosts.map") == _lines(fleet, "upstreams.map") == []


async def test_publishing_takes_well_under_a_millisecond(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    times = []
    for _ in range(50):
        await fleet.routes.withdraw(instance)
        start = time.perf_counter()
        await fleet.routes.publish(instance, upstream.address)
        times.append(time.perf_counter() - start)
    # The quickest: a busy machine slows some of them down, a detour of our own all of them.
    assert min(times) < 0.001
