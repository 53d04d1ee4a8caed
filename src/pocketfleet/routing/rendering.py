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
from pocketfleet.domain import admin_pages, traffic
from pocketfleet.domain.traffic import TrafficLimits
from pocketfleet.errors import (
    AddressDenied,
    InstanceNotFound,
    LengthRequired,
    PocketfleetError,
    TooLarge,
    TooManyRequests,
    Unavailable,
    WrongConfiguration,
)
from pocketfleet.routing import protocol

HOSTS = "hosts.map"
UPSTREAMS = "upstreams.map"
LIMITS = "limits.map"
TRUSTED = "trusted.map"
ADDRESSES = "addresses.map"
#: All of them; each is a file that HAProxy reads when it starts or reloads.
MAPS = (HOSTS, UPSTREAMS, LIMITS, TRUSTED, ADDRESSES)
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
    protocol.CLIENT_HEADER,
)
#: Of an answer 429.
_LIMIT_HEADERS = " ".join(
    f"hdr {name} {value}"
    for name, value in {
        "Retry-After": "%[var(txn.reset)]",
        "X-RateLimit-Limit": "%[var(txn.limit)]",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "%[var(txn.reset)]",
        "X-RateLimit-Scope": "%[var(txn.scope)]",
        "Cache-Control": "no-store",
    }.items()
)
_NO_LENGTH = "This server limits bodies, so it must know how long one is: send Content-Length instead of chunks."
_NOT_FOUND = "There is no instance at this address. Check the spelling of its name."
_DENIED = "The operator of this server does not let this address in."
_TOO_MUCH = "This address, or all of them together, asked more of this instance than it may. Please try again later."
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
        "403.html": _page(403, "Not from here.", _DENIED),
        "403.json": _problem(config, AddressDenied, _DENIED),
        "404.html": _page(404, "Nothing here.", _NOT_FOUND),
        "404.json": _problem(config, InstanceNotFound, _NOT_FOUND, "There is no such instance."),
        "411.json": _problem(config, LengthRequired, _NO_LENGTH),
        "413.json": _problem(config, TooLarge, _too_long(config)),
        "429.html": _page(429, "Too many requests.", _TOO_MUCH),
        "429.json": _limit_problem(config),
        "503.html": _page(503, "Not available right now.", _NOT_ANSWERING),
        "503.json": _problem(config, Unavailable, _NOT_ANSWERING),
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
        "connection_rules": "\n".join(_connection_lines(config, connections)),
        "trusted_proxies": "\n".join(_proxy_lines(config, scheme, port)),
        "server_limits": _server_limits(config),
        "body_rules": "\n".join(_body_lines(config)),
        "limit_headers": _LIMIT_HEADERS,
        "window_seconds": traffic.WINDOW,
        "cost": traffic.COST,
        "file_cost": traffic.FILE_COST,
        "at_once_seconds": protocol.AT_ONCE_AGAIN,
        "client_buffer": protocol.CLIENT_BUFFER,
        "server_buffer": protocol.SERVER_BUFFER,
        "refusal_ms": round(protocol.REFUSAL_DELAY * 1000),
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
        "client_header": protocol.CLIENT_HEADER.lower(),
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


def limits_of_server(config: Config) -> TrafficLimits:
    """What counts where neither team nor instance has a number of its own."""
    return TrafficLimits(**{name: getattr(config, name) for name in traffic.NAMES})


def _server_limits(config: Config) -> str:
    """The rest of the look-up: what counts for instances that are not in the map; nothing where nothing does."""
    word = traffic.as_word(limits_of_server(config).for_trusted())
    return f",{word}" if word else ""


def _connection_lines(config: Config, connections: int) -> list[str]:
    """Proxies in front carry everybody's connections, so theirs are not counted."""
    most = config.address_connections or max(1, connections * 3 // 4)
    return [
        *(f"    tcp-request connection accept if {{ src {network} }}" for network in _trusted_networks(config)),
        f"    tcp-request connection accept if {{ src,map_ip({ADDRESSES}) -m str allow }}",
        "    tcp-request connection track-sc4 src,regsub(^::ffff:,),ipmask(32,64) table connections",
        f"    tcp-request connection reject if {{ sc_conn_cur(4) gt {most} }}",
    ]


def _body_lines(config: Config) -> list[str]:
    """Nothing where bodies may have any length. Only one whose length is known beforehand can be refused in time."""
    if not config.body_bytes:
        return []
    answer = "content-type application/problem+json file {}.json hdr Cache-Control no-store"
    too_long, chunks = f"req.body_size gt {config.body_bytes}", "req.fhdr(transfer-encoding) -m found"
    return [
        f"    http-request return status 413 {answer.format(413)} if !base_domain {{ {too_long} }}",
        # a body of which something is unread when HAProxy hangs up takes its answer away from the client
        f"    http-request wait-for-body time 2s if !base_domain {{ {chunks} }}",
        f"    http-request return status 411 {answer.format(411)} if !base_domain {{ {chunks} }}",
    ]


def _too_long(config: Config) -> str:
    return f"The body of a request to an instance may have {config.body_bytes:,} bytes on this server."


def _limit_problem(config: Config) -> str:
    """HAProxy fills in which limit it was, so what stands for itself is escaped."""
    text = _problem(config, TooManyRequests, _TOO_MUCH).replace("%", "%%")
    facts = '"limit": %[var(txn.limit)], "scope": "%[var(txn.scope)]", "retry_after": %[var(txn.reset)]'
    return text.removesuffix("}\n") + f", {facts}}}\n"


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


def _problem(config: Config, kind: type[PocketfleetError], detail: str, title: str = "") -> str:
    facts = {"type": f"{config.public_url}/docs/errors#{kind.code}", "title": title or (kind.__doc__ or "").strip()}
    return json.dumps({**facts, "status": kind.status, "code": kind.code, "detail": detail}) + "\n"


def _fill(name: str, values: Mapping[str, object]) -> str:
    return _PLACE.sub(lambda place: str(values[place[1]]), _template(name))


def _template(name: str) -> str:
    return resources.files("pocketfleet.routing").joinpath("templates", name).read_text()
