"""HAProxy's files and life: prepare, the command that runs it, reload."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.errors import AddressTaken, NotAnswering, WrongConfiguration
from pocketfleet.routing import haproxy, rendering
from pocketfleet.routing.master import EdgeAway, Master

_log = logging.getLogger(__name__)
#: Seconds in which the workers of a HAProxy that was killed give the port back.
_PORT_PATIENCE = 1.5
#: Seconds that a reload may take, with a map of 100,000 hosts to read.
_RELOAD_TIMEOUT = 60.0


def prepare(config: Config) -> list[str]:
    """Write and check everything that HAProxy reads; the command that runs it in the foreground.

    The command needs no privileges besides those for the port. It is a master with one worker; a second HAProxy on
    the same home must be ruled out by the caller. Raises WrongConfiguration, AddressTaken.
    """
    command = _write(config)
    for host, port in rendering.addresses(config):
        _check_free(host, port)
    return command


async def reload(config: Config) -> None:
    """Write and check anew, then have HAProxy load it; returns when the new worker accepts connections.

    The old worker ends with its last connection. Raises WrongConfiguration, or NotAnswering if HAProxy is away.
    """
    await asyncio.to_thread(_write, config)
    try:
        answer = await Master(config.master_socket).ask("reload", timeout=_RELOAD_TIMEOUT)
    except EdgeAway as error:
        raise NotAnswering("HAProxy is not running; `pocketfleet serve` starts it.") from error
    if "Success=1" not in answer:
        raise WrongConfiguration(f"HAProxy did not take its configuration: {answer.strip()}")


def _write(config: Config) -> list[str]:
    """1. Render into a folder beside, 2. have HAProxy check that, 3. rename each file to its place."""
    program = haproxy.executable(config.haproxy)
    connections = rendering.connections_that_fit(config.edge_connections, rendering.descriptor_limit())
    if connections < config.edge_connections:
        _log.warning("the limit of open files (ulimit -Hn) leaves room for %d connections at once", connections)
    texts = rendering.files(config, connections)
    config.edge.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.edge.chmod(0o700)
    for name in rendering.MAPS:
        (config.edge / name).touch(mode=0o600)
    draft = config.edge / "draft"
    _fill_draft(draft, texts)
    _check(program, draft)
    for name in texts:
        (draft / name).replace(config.edge / name)
    shutil.rmtree(draft)
    master = f"{config.master_socket},mode,600"
    return [str(program), "-W", "-db", "-q", "-S", master, "-f", str(config.edge / "haproxy.cfg")]


def _fill_draft(draft: Path, texts: dict[str, str]) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    for name, text in texts.items():
        (draft / name).write_text(text)
    for name in rendering.MAPS:
        (draft / name).symlink_to(Path("..") / name)


def _check(program: Path, draft: Path) -> None:
    command = [str(program), "-c", "-f", str(draft / "haproxy.cfg")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise WrongConfiguration(
            "HAProxy did not check its configuration within 60 s; is this machine busy?"
        ) from error
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "[ALERT]" in line] or [done.stderr.strip()]
        raise WrongConfiguration("HAProxy does not take the configuration made for it: " + "\n".join(complaints))


def _check_free(host: str, port: int) -> None:
    give_up = time.monotonic() + _PORT_PATIENCE
    while error := _bind_error(host, port):
        if error.errno == errno.EADDRINUSE and time.monotonic() < give_up:
            time.sleep(0.05)
        else:
            raise _explained(error, host, port)


def _bind_error(host: str, port: int) -> OSError | None:
    """What a bind says. Needed because HAProxy's own (SO_REUSEPORT) succeeds beside another HAProxy of this user."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error
    return None


def _explained(error: OSError, host: str, port: int) -> AddressTaken | WrongConfiguration:
    where = f"port {port} at {host}"
    if error.errno == errno.EADDRINUSE:
        return AddressTaken(
            f"Another program listens on {where}. Stop it, or choose another port, for example POCKETFLEET_PORT="
            f"{port + 1 if port < 65535 else 8080}.",
            host=host,
            port=port,
        )
    if error.errno == errno.EACCES:
        return WrongConfiguration(
            f"This user may not listen on {where}. Choose a port above 1023 with POCKETFLEET_PORT, or allow it: "
            f"`sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`."
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return WrongConfiguration(f"POCKETFLEET_BIND: cannot listen on {where}: {reason}. Name an address of this machine.")
