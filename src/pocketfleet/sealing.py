"""What nobody may read out of a copy of the database, sealed with keys that lie outside it: a file, one key a line.

The first key seals, every one of them opens: so a key can be changed while what an older one sealed, in older copies of
the database too, can still be read. Sealed is: Fernet (AES-128-CBC, HMAC-SHA256), with our version in front.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pocketfleet.errors import SecretsSealed

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_VERSION = "1:"


class Keyring:
    """The keys of one file, read again whenever it has changed. May be used by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int, int], MultiFernet] | None = None

    def seal(self, text: str) -> str:
        """What is stored. Raises SecretsSealed where there is no key."""
        return _VERSION + self._keys().encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """What was meant. Raises SecretsSealed with the next step where no key here has sealed it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._keys().decrypt(sealed.removeprefix(_VERSION).encode()).decode()
        except (InvalidToken, ValueError):
            raise SecretsSealed(
                f"None of the keys in {self.path} opens what the database holds. Put the key that sealed it back, as "
                "one more line; if it is lost for good, `pocketfleet rekey --lost` forgets what it sealed.",
                path=str(self.path),
            ) from None

    def open_all(self, sealed: Mapping[str, str]) -> dict[str, str]:
        """The same of several, by name."""
        return {name: self.open(value) for name, value in sealed.items()}

    def opens(self, sealed: str) -> bool:
        """Whether a key of ours has sealed it; False of a text in clear."""
        if not sealed.startswith(_VERSION):
            return False
        try:
            self.open(sealed)
        except SecretsSealed:
            return False
        return True

    def _keys(self) -> MultiFernet:
        with self._lock:
            try:
                known = self.path.stat()
                state = (known.st_ino, known.st_mtime_ns, known.st_size)
                if self._read is None or self._read[0] != state:
                    self._read = (state, _fernets(self.path))
            except OSError as error:
                raise SecretsSealed(
                    f"The key {self.path}, with which secrets are sealed, cannot be read: {error.strerror}. Put it "
                    "back from where you keep a copy; if it is lost for good, see `pocketfleet rekey --lost`.",
                    path=str(self.path),
                ) from error
            return self._read[1]


def make(path: Path) -> bool:
    """Write a file with a new key, mode 0600, at one instant, where there is none; whether it was made.

    Raises OSError.
    """
    if path.exists():
        return False
    fresh = _written(path, [_new_key()])
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    _flush(path.parent)
    return True


def add(path: Path) -> None:
    """A new key in front, which seals from now on; those that were there still open. Raises OSError."""
    kept = _lines(path) if path.exists() else []
    _written(path, [_new_key(), *kept]).rename(path)
    _flush(path.parent)


def keep_first(path: Path) -> int:
    """Only the key that seals is kept; answers how many went. Raises OSError."""
    first, *others = _lines(path)
    _written(path, [first]).rename(path)
    _flush(path.parent)
    return len(others)


def only_first(path: Path) -> Path:
    """A file beside it with the key that seals alone, to try whether that one is enough; the caller removes it."""
    return _written(path, _lines(path)[:1])


def _fernets(path: Path) -> MultiFernet:
    # 7 MB, which a process without secrets never needs
    from cryptography.fernet import Fernet, MultiFernet

    try:
        keys = [Fernet(line) for line in _lines(path)]
    except ValueError:
        keys = []
    if not keys:
        raise SecretsSealed(
            f"{path} holds no key, or a line that is none: each is 44 characters of base64. Put it back as it was.",
            path=str(path),
        )
    return MultiFernet(keys)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text("ascii", "replace").splitlines() if line.strip()]


def _new_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def _written(path: Path, lines: Sequence[str]) -> Path:
    """A flushed file beside `path`, mode 0600."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
