"""What HAProxy reads: its configuration, the Lua and the pages, rendered from templates/."""

from __future__ import annotations

import html
import ipaddress
import json
import os
import re
import resource
import socket
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.domain import admin_pages
from pocketfleet.errors import WrongConfiguration
from pocketfleet.routing import protocol

HOSTS = "hosts.map"
UPSTREAMS = "upstreams.map"
TABLE = "instances"
#: those of them that stay open: event streams and upgraded connections
STREAMS = "streams"
#: Seconds that a counter stays after the last request; reading the counters costs as many as there are.
COUNTER_SECONDS = 900

_UNFIT = re.compile(r"[^\w/.@+=~ -]")
_PLACE = re.compile(r"\{\{(\w+)\}\}")
#: Client-given headers that something behind the edge might believe, besides all that begin with x-forwarded.
_STRIPPED = (
    "forwarded",
    "x-real-ip",
    "x_real_ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-rewrite-url",
    "true-client-ip",
    "cf-connecting-ip",
    "fly-client-ip",
)
_NOT_FOUND = "There is no instance at this address. Check the spelling of its name."
_NOT_ANSWERING = "It does not answer at the moment. Please try again in a few seconds."


def files(config: Config, connections: int) -> dict[str, str]:
    """Text by file name. `connections`: how many clients at once. Raises WrongConfiguration for an unusable home."""
    if unfit := _UNFIT.search(str(config.edge)):
        raise WrongConfiguration(
            f"POCKETFLEET_HOME: HAProxy cannot use a path with {unfit[0]!r} in it ({config.home}); choose another one."
        )
    return {
        "haproxy.cfg": _fill("haproxy.cfg", _configuration(config, connections)),
        "gate.lua": _fill("gate.lua", _lua(config)),
        "404.html": _page(404, "Nothing here.", _NOT_FOUND),
        "404.json": _problem(config, 404, "instance_not_found", "There is no such instance.", _NOT_FOUND),
        "503.html": _page(503, "Not available right now.", _NOT_ANSWERING),
        "503.json": _problem(config, 503, "unavailable", "The instance cannot answer now.", _NOT_ANSWERING),
    }


def connections_that_fit(wanted: int, descriptors: int) -> int:
    """How many clients at once, at most `wanted`: each may take four descriptors (its own, and a stale route's)."""
    return max(20, min(wanted, (descriptors - 600) // 4))


def descriptor_limit() -> int:
    """How many descriptors HAProxy may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard


def addresses(config: Config) -> list[tuple[str, int]]:
    """What the edge listens on, with `*` as every address of this machine."""
    every = "::" if _has_ipv6() else "0.0.0.0"  # noqa: S104 - what `*` means
    return [(every if host == "*" else host.strip("[]"), config.port) for host in config.bind]


def _configuration(config: Config, connections: int) -> dict[str, object]:
    scheme, _, host = config.public_url.partition("://")
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else {"https": "443"}.get(scheme, "80")
    return {
        "threads": config.edge_threads or min(4, os.cpu_count() or 1),
        "connections": connections,
        "connections_all": 2 * connections + 100,
        "binds": "\n".join(f"    bind {_bind(host)}:{port} proto h1" for host, port in addresses(config)),
        "trusted_proxies": "\n".join(_proxy_lines(config, scheme, port)),
        "strip_headers": "\n".join(_strip_lines()),
        "domain": config.domain,
        "scheme": "%[var(txn.scheme)]" if config.trusted_proxies else scheme,
        "public_port": "%[var(txn.port)]" if config.trusted_proxies else port,
        "runtime_socket": _quoted(config.runtime_socket),
        "stale_socket": _quoted(config.edge / "stale.sock"),
        "control_socket": _quoted(config.control_socket),
        "entrance_socket": _quoted(config.entrance_socket),
        "reserved": admin_pages.RESERVED,
        "entrance": admin_pages.ENTRANCE,
        "entrance_seconds": round(protocol.ENTRANCE_TIMEOUT),
        "counter_seconds": COUNTER_SECONDS,
        "head_seconds": round(protocol.HEAD_TIMEOUT),
        "idle_seconds": round(protocol.IDLE_TIMEOUT),
        "client_seconds": round(protocol.CLIENT_TIMEOUT),
        "answer_seconds": round(protocol.ANSWER_TIMEOUT),
        "tunnel_seconds": round(protocol.TUNNEL_TIMEOUT),
    }


def _lua(config: Config) -> dict[str, object]:
    return {
        "version": protocol.VERSION,
        "gate_socket": config.gate_socket,
        "control_socket": config.control_socket,
        "entrance_socket": config.entrance_socket,
        "server_seconds": protocol.SERVER_TIMEOUT,
        "public_url": config.public_url.replace("\\", "").replace('"', ""),
        "ask_again_ms": round(protocol.ASK_AGAIN * 1000),
        "wake_seconds": config.wake_timeout,
        "longest_seconds": config.wake_timeout + protocol.HOLD_TIMEOUT + 5,
        "longest_cause": protocol.LONGEST_CAUSE,
        "notice_seconds": protocol.NOTICE_TIMEOUT,
        "trusted": ", ".join(f'"{network}"' for network in _trusted_networks(config)),
        "page": _template("page.html"),
    }


def _trusted_networks(config: Config) -> list[str]:
    """As HAProxy reads them. One of IPv4 holds the same addresses where `src` has them in IPv6's clothes."""
    return [str(ipaddress.ip_network(proxy)) for proxy in config.trusted_proxies]


def _proxy_lines(config: Config, scheme: str, port: str) -> list[str]:
    """Nothing where nobody is trusted, so that requests cost no more than they must."""
    networks = _trusted_networks(config)
    if not networks:
        return []
    return [
        f"    http-request set-var(txn.scheme) str({scheme})",
        f"    http-request set-var(txn.port) str({port})",
        *(f"    acl from_trusted_proxy src {network}" for network in networks),
        "    http-request lua.believe_proxy if from_trusted_proxy",
        "    http-request set-src var(txn.client) if { var(txn.client) -m found }",
    ]


def _strip_lines() -> list[str]:
    by_prefix = [f"    http-request del-header {prefix} -m beg" for prefix in ("x-forwarded", "x_forwarded")]
    return by_prefix + [f"    http-request del-header {name}" for name in _STRIPPED]


def _bind(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
        return True
    except OSError:
        return False


def _quoted(path: Path) -> str:
    return str(path).replace(" ", "\\ ")


def _page(status: int, title: str, detail: str) -> str:
    return _fill(
        "page.html", {"status": status, "title": html.escape(title), "detail": html.escape(detail), "more": ""}
    )


def _problem(config: Config, status: int, code: str, title: str, detail: str) -> str:
    kind = f"{config.public_url}/docs/errors#{code}"
    return json.dumps({"type": kind, "title": title, "status": status, "code": code, "detail": detail}) + "\n"


def _fill(name: str, values: Mapping[str, object]) -> str:
    return _PLACE.sub(lambda place: str(values[place[1]]), _template(name))


def _template(name: str) -> str:
    return resources.files("pocketfleet.routing").joinpath("templates", name).read_text()
