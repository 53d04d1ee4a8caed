"""What is seen in a sandbox besides an instance's own folder: what its executable is linked with, and certificates.

Rehearsals show their clones the same.
"""

from __future__ import annotations

import struct
import subprocess
from functools import lru_cache
from pathlib import Path

#: Read-only where they exist: certificates, time zones, types of files.
READABLE = (
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/etc/mime.types",
)
_SECONDS = 10.0


def linked_with(executable: Path) -> list[str]:
    """The libraries of a dynamic executable (0.22), its loader first; nothing for a static one."""
    known = executable.stat()
    return _linked_with(executable, known.st_ino, known.st_mtime_ns)


@lru_cache(maxsize=64)
def _linked_with(executable: Path, inode: int, changed: int) -> list[str]:
    """Asked once for each: what a release's executable is linked with does not change."""
    loader = _loader(executable)
    if loader is None:
        return []
    done = subprocess.run([loader, "--list", str(executable)], capture_output=True, check=False, timeout=_SECONDS)
    words = done.stdout.decode(errors="replace").split()
    return list(dict.fromkeys([loader, *(word for word in words if word.startswith("/"))]))


def _loader(executable: Path) -> str | None:
    """The ELF program interpreter (PT_INTERP of a 64-bit file), None for a static executable or another format."""
    with executable.open("rb") as opened:
        head = opened.read(64)
        if head[:5] != b"\x7fELF\x02":
            return None
        start, size, count = (*struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54))
        opened.seek(start)
        table = opened.read(size * count)
        for number in range(count):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", table, number * size)
            if kind == 3:
                opened.seek(offset)
                return opened.read(length).rstrip(b"\0").decode()
    return None
