"""An instance's log: one file of stamped lines, appended to by node alone, rotated by size, read by control too."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pocketfleet.domain.redaction import redact

FILE_NAME = "instance.log"
#: Stream of what pocketfleet itself has to say; the guest's own are `stdout` and `stderr`.
PLATFORM = "platform"
#: Seconds between two looks of a follower. A look is one stat.
FOLLOW_SECONDS = 0.2

_BLOCK = 64 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: when (UTC, milliseconds), from which stream (`stdout`, `stderr`, `platform`), and the text."""

    at: datetime
    stream: str
    text: str

    def __str__(self) -> str:
        return f"{_stamp(self.at)}\t{self.stream}\t{self.text}"

    @classmethod
    def parse(cls, line: str) -> LogLine:
        """The opposite of `str()`. What is no such line is shown as it stands, with the time of the epoch."""
        at, _, rest = line.partition("\t")
        stream, separator, text = rest.partition("\t")
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            separator = ""
        return cls(moment, stream, text) if separator else cls(datetime.fromtimestamp(0, UTC), PLATFORM, line)


class InstanceLog:
    """`instance.log` in a folder, and `instance.log.1` (newest) to `.N` (oldest): at most N + 1 times `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int, generations: int) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._max_bytes = max_bytes
        self._generations = generations

    def append(self, stream: str, text: str, at: datetime | None = None) -> None:
        """Append one text, a record per line of it, redacted. See `append_lines`."""
        self.append_lines(stream, text.splitlines() or [""], at)

    def append_lines(self, stream: str, lines: Iterable[str], at: datetime | None = None) -> None:
        """Append lines with one stamp, redacted. A disk that refuses loses lines, and never stops the caller."""
        prefix = f"{_stamp(at or datetime.now(UTC))}\t{stream}\t"
        text = redact("\n".join(lines))
        records = [f"{prefix}{line}\n".encode(errors="replace") for line in text.split("\n")]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            while records:
                records = self._write(records)
        except OSError as error:
            _log.warning("log lines lost: %s", error.strerror, extra={"instance": self._folder.name})

    def tail(self, count: int) -> list[LogLine]:
        """The last `count` lines, oldest first, rotated files included."""
        found: list[bytes] = []
        for path in reversed(self._files()):
            if len(found) >= count:
                break
            found = _last_lines(path, count - len(found)) + found
        return [_parse(line) for line in found]

    async def follow(self, tail: int = 0) -> AsyncGenerator[LogLine, None]:
        """The last `tail` lines, then every new one as it comes, across rotation. Ends only when it is closed.

        Between its lines and the new ones nothing is lost or repeated. Works in another process than the writer's.
        """
        reader = _Reader(self._files)
        try:
            for line in reader.start(tail):
                yield _parse(line)
            while True:
                for line in reader.new_lines():
                    yield _parse(line)
                await asyncio.sleep(FOLLOW_SECONDS)
        finally:
            reader.close()

    def _write(self, records: list[bytes]) -> list[bytes]:
        """Write as many as fit into the current file, rotate when it is full, and return what is left."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            room = self._max_bytes - size
            count = _fitting(records, room) or (0 if size else 1)  # one that never fits has a file of its own
            os.write(descriptor, b"".join(records[:count]))
        finally:
            os.close(descriptor)
        if count < len(records) or room <= sum(map(len, records)):
            self._rotate()
        return records[count:]

    def _rotate(self) -> None:
        names = [self._path, *(self._generation(number) for number in range(1, self._generations + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.rename(older)

    def _generation(self, number: int) -> Path:
        return self._folder / f"{FILE_NAME}.{number}"

    def _files(self) -> list[Path]:
        """The files there are, oldest first."""
        names = [*(self._generation(number) for number in range(self._generations, 0, -1)), self._path]
        return [path for path in names if path.exists()]


class _Reader:
    """Reads on from a place in a row of files that are renamed underneath it."""

    def __init__(self, files: Callable[[], list[Path]]) -> None:
        self._files = files
        self._opened: BinaryIO | None = None
        self._partial = b""

    def start(self, count: int) -> list[bytes]:
        """Open the newest file, and return its last lines and those before; goes on right behind them."""
        files = self._files()
        if not files:
            return []
        lines = self._open(files[-1]).read().split(b"\n")
        self._partial = lines.pop()
        for path in reversed(files[:-1]):
            if len(lines) >= count:
                break
            lines = _last_lines(path, count - len(lines)) + lines
        return lines[len(lines) - count :] if count < len(lines) else lines

    def new_lines(self) -> Iterator[bytes]:
        """What was appended since, through every file that came in between."""
        while True:
            yield from self._read_on()
            following = self._following()
            if following is None:
                return
            yield from self._read_on()  # what came in before the file was renamed
            self._open(following)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _open(self, path: Path) -> BinaryIO:
        self.close()
        self._opened = path.open("rb")
        self._partial = b""
        return self._opened

    def _read_on(self) -> Iterator[bytes]:
        while self._opened is not None and (block := self._opened.read(_BLOCK)):
            *lines, self._partial = (self._partial + block).split(b"\n")
            yield from lines

    def _following(self) -> Path | None:
        """The file after the one that is open, or None while that is still the newest."""
        files = self._files()
        if self._opened is None:
            return files[0] if files else None
        inode = os.fstat(self._opened.fileno()).st_ino
        inodes = [_inode(path) for path in files]
        if inode not in inodes:
            return files[0] if files else None
        position = inodes.index(inode) + 1
        return files[position] if position < len(files) else None


def _fitting(records: list[bytes], room: int) -> int:
    total = 0
    for count, record in enumerate(records):
        total += len(record)
        if total > room:
            return count
    return len(records)


def _last_lines(path: Path, count: int) -> list[bytes]:
    """The last whole lines of a file, read from its end."""
    try:
        with path.open("rb") as opened:
            position = opened.seek(0, os.SEEK_END)
            data = b""
            while position > 0 and data.count(b"\n") <= count:
                step = min(_BLOCK, position)
                position = opened.seek(position - step)
                data = opened.read(step) + data
    except FileNotFoundError:
        return []
    return data.split(b"\n")[:-1][-count:] if count else []


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _parse(line: bytes) -> LogLine:
    """Redacted once more: an earlier pocketfleet, which wrote it, may have known less of what to hide."""
    return LogLine.parse(redact(line.decode(errors="replace")))


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
