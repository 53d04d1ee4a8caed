"""A small disk of one's own that can be full from one moment to the next; mounting it takes root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PAGE = 4096
_MEGABYTE = 1024**2


class SmallDisk:
    """A file system in memory, mounted at `place`. It is full once its size is what it holds: that takes no memory."""

    def __init__(self, place: Path, megabytes: int) -> None:
        self.place = place
        self._size = megabytes * _MEGABYTE

    def mount(self) -> bool:
        """False where that takes rights that we do not have."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size},mode=700", "none", str(self.place)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def unmount(self) -> None:
        """Whatever is still open below it."""
        subprocess.run(["umount", "-l", str(self.place)], check=True)

    def fill(self) -> None:
        """Not a page is left, unless somebody frees one."""
        for _ in range(1000):
            free = self.free
            if free < _PAGE:
                return
            # refused where somebody has just written more
            self._resize(self.used)
        raise AssertionError(f"{self.place} cannot be filled")

    def empty(self) -> None:
        """All its room again."""
        if not self._resize(self._size):
            raise AssertionError(f"{self.place} cannot be enlarged")

    @property
    def used(self) -> int:
        """Bytes that it holds."""
        found = os.statvfs(self.place)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    @property
    def free(self) -> int:
        """Bytes that are left."""
        found = os.statvfs(self.place)
        return found.f_bavail * found.f_frsize

    def _resize(self, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.place)]
        return subprocess.run(command, capture_output=True).returncode == 0
