"""A wall clock that jumps, for the processes of one server alone.

The machine's clock belongs to everybody, and a time namespace shifts only the clocks that count from the boot. So a
few lines of C, compiled here, stand between libc and edge, node and control (Python, SQLite and HAProxy ask libc).
libfaketime does that, too, but PyPI has it as source only, which would make `make setup` need a compiler. PocketBase is
written in Go, which asks the kernel itself: its clock stays. The clock of ours is therefore never behind the machine's,
else a token that we sign would be over for PocketBase before it is used, which one and the same clock cannot do.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """How far a server's wall clock is ahead of the machine's; 0 at first."""

    def __init__(self, folder: Path) -> None:
        """Raises LookupError where there is no compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise LookupError("there is no C compiler here")
        self._library, self._file = folder / "clock.so", folder / "clock"
        build = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(self._library), str(_SOURCE)]
        subprocess.run(build, check=True, capture_output=True)
        self._file.write_bytes(struct.pack("q", 0))
        with self._file.open("r+b") as opened:
            self._mapped = mmap.mmap(opened.fileno(), 8)

    @property
    def environment(self) -> dict[str, str]:
        """What puts a process under this clock."""
        return {"LD_PRELOAD": str(self._library), "SOAK_CLOCK": str(self._file)}

    def jump(self, ahead: int) -> None:
        """From now on it is so many seconds ahead of the machine's. A forward jump is one to more than before."""
        if ahead < 0:
            raise ValueError("PocketBase's clock cannot follow into the past")
        self._mapped[:8] = struct.pack("q", ahead)
