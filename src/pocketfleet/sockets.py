"""A unix socket to listen at: ours alone, and there in one instant."""

from __future__ import annotations

import socket
from pathlib import Path

#: Connections that may wait to be accepted; of a browser each request is one.
_BACKLOG = 512


def listening_at(path: Path) -> socket.socket:
    """Of mode 0600, in place of a stale one; whoever looks at the path finds one that accepts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(fresh))
    fresh.chmod(0o600)
    server.listen(_BACKLOG)
    fresh.rename(path)
    return server
