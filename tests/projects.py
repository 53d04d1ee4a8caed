"""A disk of one's own whose files are counted by project: in a file, mounted at a place. Takes root and loop devices.

XFS knows projects in every kernel; that they are held to limits is a matter of how the kernel was built.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pocketfleet.runtime.sandbox.quotas import Quotas

#: Sparse; XFS takes no less than 300 MB.
_MEGABYTES = 2000
_MAKE = {
    "xfs": ["mkfs.xfs", "-q"],
    "ext4": ["mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"],
}
_OPTIONS = {"xfs": "loop,pquota", "ext4": "loop,prjquota"}
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class CountedDisk:
    """`mount`, then it is at `place`, empty; `why_not` in words where that cannot be done."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.place = folder / f"disk-{kind}"
        self._image = folder / f"image-{kind}"
        self._kind = kind
        self.why_not = ""

    def mount(self, *, held: bool) -> bool:
        """`held`: only if this kernel holds projects to limits there."""
        self.place.mkdir()
        with self._image.open("wb") as made:
            made.truncate(_MEGABYTES * 1024**2)
        options = _OPTIONS[self._kind] if held else "loop"
        mount = ["mount", "-o", options, str(self._image), str(self.place)]
        for command in ([*_MAKE[self._kind], str(self._image)], mount):
            try:
                subprocess.run(command, check=True, capture_output=True, env={"PATH": _PATH})
            except FileNotFoundError:
                self.why_not = f"there is no {command[0]}"
            except subprocess.CalledProcessError as error:
                self.why_not = f"{command[0]} says: {error.stderr.decode(errors='replace').partition(chr(10))[0]}"
            if self.why_not:
                return False
        if held and not self._holds():
            self.unmount()
            self.why_not = "this kernel counts projects there and holds them to nothing"
        return not self.why_not

    def unmount(self) -> None:
        """Whatever is still open below it."""
        subprocess.run(["umount", "-l", str(self.place)], check=True)

    def _holds(self) -> bool:
        quotas = Quotas(self.place)
        works = not quotas.open()
        quotas.close()
        return works
