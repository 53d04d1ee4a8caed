"""What an instance was used for, with everything real: counted once over a kill of node, written when it sleeps."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from tests.server import Server, until


def test_requests_are_counted_once_whoever_is_killed(server: Server) -> None:
    server.create("counted")
    sent = 0

    def ask(times: int) -> None:
        nonlocal sent
        with server.client("counted") as client:
            for _ in range(times):
                assert client.get("/api/health").status_code == 200
        sent += times

    def written() -> dict[str, Any]:
        answer: dict[str, Any] = server.api.get("/instances/counted/usage").json()
        return answer

    ask(5)
    server.cli("sleep", "counted")
    until(lambda: written()["last_day"]["requests"] == sent, 20, "the first requests")
    ask(3)
    server.kill("node")
    ask(4)
    server.cli("sleep", "counted")
    until(lambda: written()["last_day"]["requests"] >= sent, 20, "those around the kill")
    found = written()
    assert found["last_day"]["requests"] == found["last_month"]["requests"] == sent == 12
    assert found["last_day"]["bytes_in"] > 12 * 50
    instance = server.api.get("/instances/counted").json()
    assert instance["last_request_at"] is not None
    folder = server.home / "instances" / instance["id"]
    until(lambda: server.api.get("/instances/counted").json()["size"] == size_of(folder), 20, "its size")
    shown = server.cli("show", "counted").stdout
    assert "12 in 24 hours, 12 in 30 days" in shown


def size_of(folder: Path) -> int:
    """What it takes on the disk."""
    found = [path.lstat() for path in (folder, *folder.rglob("*"))]
    return sum(max(each.st_size * stat.S_ISREG(each.st_mode), each.st_blocks * 512) for each in found)
