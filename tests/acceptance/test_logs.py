"""An instance's log: what its PocketBase prints and what befell it, rotated, followed across rotation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import hooks
from tests.server import Server, until

SETTINGS = {"log_bytes": 20_000, "log_generations": 3}


@pytest.fixture(scope="module")
def talker(server: Server) -> str:
    """Id of the instance `talker`, with a route that prints lines."""
    made = server.create("talker")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.SAY)
    return str(made["id"])


def test_it_holds_both_streams_and_our_own_words_with_their_times(server: Server, talker: str) -> None:
    with server.client("talker") as client:
        client.get("/say?from=0&to=3")
    until(lambda: any("line 2 said" in line["text"] for line in server.log("talker")), 10, "the third line")
    log = server.log("talker")
    assert {"stdout", "platform"} <= {line["stream"] for line in log} <= {"stdout", "stderr", "platform"}
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line["at"]) for line in log)
    assert [line["at"] for line in log] == sorted(line["at"] for line in log)
    woken = next(line for line in log if line["stream"] == "platform" and "woken" in line["text"].lower())
    assert "GET /say" in woken["text"], "it does not say by what"


def test_it_is_out_of_the_tenants_reach(server: Server, talker: str) -> None:
    assert list((server.home / "logs" / talker).iterdir())
    assert [path for path in server.folder(talker).rglob("*") if path.name.startswith("instance.log")] == []


def test_its_tail_has_as_many_lines_as_asked_for(server: Server, talker: str) -> None:
    with server.client("talker") as client:
        client.get("/say?from=0&to=50")
    until(lambda: any("line 49 said" in line["text"] for line in server.log("talker")), 10, "line 49")
    assert len(server.log("talker", tail=7)) == 7
    printed = server.cli("logs", "talker", "--tail", "7").stdout.splitlines()
    assert len(printed) == 7
    assert "line 49 said" in printed[-1]


def test_it_is_rotated_by_size_and_followed_across_rotation(server: Server, talker: str, tmp_path: Path) -> None:
    output = tmp_path / "followed"
    with output.open("wb") as file:
        follower = subprocess.Popen(
            [sys.executable, "-m", "pocketfleet", "logs", "talker", "-f", "--json"],
            env=server.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        with server.client("talker") as client:
            client.get("/say?from=100&to=101")
            until(lambda: b"line 100 said" in output.read_bytes(), 20, "the follower to follow")
            # each piece is more than a file holds, and less than all generations do
            for start in range(1000, 4000, 500):
                assert client.get(f"/say?from={start}&to={start + 500}").status_code == 200
                last = f"line {start + 499} said".encode()
                until(lambda last=last: last in output.read_bytes(), 20, f"{last!r} at the follower")  # type: ignore[misc]
        assert follower.poll() is None, output.read_text()
    finally:
        follower.terminate()
        follower.wait(10)
    said = [json.loads(line) for line in output.read_text().splitlines()]
    numbers = [int(found[1]) for line in said if (found := re.search(r"line (\d+) said", line["text"]))]
    assert [number for number in numbers if number >= 1000] == list(range(1000, 4000)), "lines lost or repeated"
    folder = server.home / "logs" / talker
    files = sorted(path for path in folder.iterdir() if path.name.startswith("instance.log"))
    assert len(files) == 4, files
    assert all(path.stat().st_size < 25_000 for path in files), [(path.name, path.stat().st_size) for path in files]


def test_what_is_printed_raw_does_not_grow_for_ever(server: Server, talker: str) -> None:
    """A guest's output goes to a file that only node reads; what was read is given back to the disk."""
    with server.client("talker") as client:
        for start in range(0, 80_000, 10_000):
            assert client.get(f"/say?from={start}&to={start + 10_000}").status_code == 200

    def kept() -> int:
        return sum(path.stat().st_blocks * 512 for path in (server.home / "logs" / talker).rglob("*") if path.is_file())

    raw = server.home / "logs" / talker / "stdout.raw"
    assert raw.stat().st_size > 2_500_000
    until(lambda: kept() < 1_500_000, 20, f"the consumed output to be given back, now {kept()} bytes")


def test_two_instances_do_not_share_a_log(server: Server, talker: str) -> None:
    assert talker
    made = server.create("other-talker")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.SAY.replace("line ", "other "))
    with server.client("talker") as one, server.client("other-talker") as other:
        one.get("/say?from=7000&to=7010")
        other.get("/say?from=7000&to=7010")
    until(lambda: "other 7009" in str(server.log("other-talker")), 10, "the other one's lines")
    assert "other 70" not in str(server.log("talker"))
    assert "line 7000" not in str(server.log("other-talker"))
