"""A disk of one's own whose power can be cut: an ext4 in a file, and what was not flushed is gone.

As the kernel's own tests of file systems do it (`_scratch_shutdown` of xfstests): from one instant on nothing reaches
the disk any more, not even the journal; mounted again, the journal is replayed.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path

#: include/uapi/linux/fs.h and fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN, and not to flush anything.
_SHUTDOWN = 0x8004587D
_FLUSH_NOTHING = struct.pack("I", 2)
_MEGABYTES = 700


class Disk:
    """Mounted at `place`; its content lies in `image`. Takes root and loop devices."""

    def __init__(self, image: Path, place: Path) -> None:
        self._image = image
        self.place = place

    def make(self) -> bool:
        """Empty and mounted; False where that cannot be done here."""
        self.place.mkdir()
        with self._image.open("wb") as made:
            made.truncate(_MEGABYTES * 1024**2)
        done = subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], capture_output=True)
        return done.returncode == 0 and self._mount()

    def flush(self) -> None:
        """All that was written until now is kept."""
        subprocess.run(["sync", "--file-system", str(self.place)], check=True)

    def cut(self) -> None:
        """Now."""
        opened = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(opened, _SHUTDOWN, _FLUSH_NOTHING)
        finally:
            os.close(opened)

    def restore(self) -> None:
        """The power is back.

        On a copy of the image: namespaces of others may go on holding the disk that is dead.
        """
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)
        fresh = self._image.with_name(f"{self._image.name}-again")
        subprocess.run(["cp", "--sparse=always", str(self._image), str(fresh)], check=True)
        fresh.replace(self._image)
        assert self._mount()

    def remove(self) -> None:
        """Whatever state it is in."""
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)
        self._image.unlink()

    def _mount(self) -> bool:
        command = ["mount", "-o", "loop", str(self._image), str(self.place)]
        return subprocess.run(command, capture_output=True).returncode == 0
