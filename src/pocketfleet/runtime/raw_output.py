"""The files that a guest's stdout and stderr go to directly, and reading them on while they are written."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

STREAMS = ("stdout", "stderr")
#: Bytes read from one stream at once, so that a flood of one guest does not keep node from the others.
READ_BYTES = 64 * 1024
#: What has piled up beyond this is left out of the log: nobody can read it, and reading it would cost everybody.
BACKLOG_BYTES = 1024 * 1024
#: A longer line is cut.
LINE_BYTES = 16 * 1024
#: Consumed bytes after which the disk space behind them is given back.
_PUNCH_BYTES = 1024 * 1024
_PUNCH = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, fallocate(2)


def raw_path(log_folder: Path, stream: str) -> Path:
    """Where a guest's stream goes; in the log folder, out of the tenant's reach."""
    return log_folder / f"{stream}.raw"


def open_for_guest(log_folder: Path, stream: str) -> int:
    """A descriptor for the guest, opened for appending. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(raw_path(log_folder, stream), flags, 0o600)
    except FileNotFoundError:
        log_folder.mkdir(mode=0o700, parents=True)
        return os.open(raw_path(log_folder, stream), flags, 0o600)


class RawStream:
    """One stream's file and how far it was read. Holds no descriptor: an awake guest costs one stat a look."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        #: bytes that were taken over, whole lines only
        self.position = position
        self._punched = 0
        self._cutting = False

    def new_lines(self, *, to_the_end: bool = False) -> list[bytes]:
        """What was written since as whole lines, at most READ_BYTES; with `to_the_end` also a last unfinished one."""
        size = self._size()
        if size < self.position:
            self.position = 0  # truncated from outside
        if size == self.position:
            return []
        left_out = self._skip_backlog(size)
        data = self._read(READ_BYTES)
        lines, consumed = self._split(data, at_end=to_the_end and self.position + len(data) >= size)
        self.position += consumed
        self._give_back()
        return [*left_out, *lines]

    def last_bytes(self, count: int) -> bytes:
        """Whole lines of the end, without the zeros of what was given back: redaction does not know half a token."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as opened:
            start = max(0, self._size() - count)
            opened.seek(start)
            data = opened.read(count).lstrip(b"\0")
            return data.partition(b"\n")[2] if start else data
        return b""

    def remove(self) -> None:
        """The guest is gone and everything was read."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.position = self._punched = 0
        self._cutting = False

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self, count: int) -> bytes:
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as opened:
            opened.seek(self.position)
            return opened.read(count)
        return b""

    def _skip_backlog(self, size: int) -> list[bytes]:
        backlog = size - self.position
        if backlog <= BACKLOG_BYTES:
            return []
        self.position = size - READ_BYTES
        self._cutting = True
        return [b"[%d bytes of output left out: more than could be kept up with]" % (backlog - READ_BYTES)]

    def _split(self, data: bytes, *, at_end: bool) -> tuple[list[bytes], int]:
        """The whole lines in the data, and how many of its bytes they are."""
        whole, newline, rest = data.rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        if self._cutting and lines:
            del lines[0]
            self._cutting = False
        if not at_end and len(rest) <= LINE_BYTES:
            return [_cut(line) for line in lines], len(data) - len(rest)
        if rest and not self._cutting:
            lines.append(rest)
        self._cutting = not at_end
        return [_cut(line) for line in lines], len(data)

    def _give_back(self) -> None:
        """Return the space of what was read to the disk; the size as it shows goes on growing."""
        if self.position - self._punched < _PUNCH_BYTES:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _punch_hole(descriptor, self.position):
                    self._punched = self.position
                elif os.fstat(descriptor).st_size == self.position:
                    os.ftruncate(descriptor, 0)  # a disk without holes: all was read, and the guest appends
                    self.position = self._punched = 0
            finally:
                os.close(descriptor)


def _cut(line: bytes) -> bytes:
    return line if len(line) <= LINE_BYTES else line[:LINE_BYTES] + b" [line cut here]"


def _punch_hole(descriptor: int, until: int) -> bool:
    """Whether the bytes before `until` were given back. By ctypes: os.posix_fallocate knows no modes."""
    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or library.fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(function(descriptor, _PUNCH, 0, until) == 0)
