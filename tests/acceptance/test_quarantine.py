"""A deleted instance's files are kept for a while, and then they are gone for good."""

from __future__ import annotations

from tests.server import Server, until

SETTINGS = {"quarantine": 0}


def test_quarantine_is_emptied_after_its_delay(server: Server) -> None:
    made = server.create("doomed")
    server.cli("power", "doomed", "off")
    server.cli("delete", "doomed", "--yes")
    place = server.home / "quarantine" / made["id"]
    assert place.exists()
    # node looks for what is due when it starts, then every hour
    server.kill("node")
    until(lambda: not place.exists(), 30, "the quarantine to be emptied")
    assert server.api.get(f"/instances/{made['id']}").status_code == 404
