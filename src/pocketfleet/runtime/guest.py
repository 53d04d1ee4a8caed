"""What a runner needs to start one PocketBase, and the command and environment that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pocketfleet.domain.addresses import user_of
from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.domain.releases import Version, has_superusers_collection
from pocketfleet.domain.secrets import ENCRYPTION_KEY

#: The folders of an instance, the tenant's own; each is given to PocketBase explicitly.
FOLDERS = ("pb_data", "pb_public", "pb_hooks", "pb_migrations", "pb_admin_ext")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ANY = GuestLimits()


@dataclass(frozen=True, slots=True)
class Guest:
    """One instance's PocketBase as it should run: all paths absolute, `address` without the port."""

    instance_id: str
    release: str
    executable: Path
    folder: Path
    address: str
    port: int
    secrets: Mapping[str, str] = field(repr=False)
    dev: bool
    log_folder: Path
    run_folder: Path
    limits: GuestLimits = _ANY

    @property
    def user(self) -> int:
        """The user id that owns it under the sandbox."""
        return user_of(self.address)

    @property
    def listens_at(self) -> str:
        """`127.x.y.z:port`, `240.x.y.z:port` under the sandbox, as a route takes it."""
        return f"{self.address}:{self.port}"

    @property
    def data_folder(self) -> Path:
        """Where PocketBase keeps its databases and files."""
        return self.folder / "pb_data"

    @property
    def command(self) -> list[str]:
        """`serve` with every directory flag; the flags are the same from 0.22 to 0.40."""
        flags = ["--dev"] if self.dev else []
        return [str(self.executable), "serve", "--http", self.listens_at, *self._directories(), *self.key_flags, *flags]

    @property
    def encryption_env(self) -> str:
        """The variable that holds the key of PocketBase's settings; "" where the owner gave none."""
        return ENCRYPTION_KEY if self.secrets.get(ENCRYPTION_KEY) else ""

    @property
    def key_flags(self) -> list[str]:
        """What tells any of PocketBase's commands where the key of its settings is."""
        return [f"--encryptionEnv={self.encryption_env}"] if self.encryption_env else []

    @property
    def environment(self) -> dict[str, str]:
        """A clean one plus the secrets; nothing of ours leaks into it."""
        # a secret may set the zone or the language; PATH and HOME are refused as names of secrets, and ours here
        return {"LANG": "C.UTF-8", "TZ": "UTC", **self.secrets, "PATH": _PATH, "HOME": str(self.folder)}

    @property
    def has_superusers(self) -> bool:
        """Whether its superusers are a collection (0.23 and later) and its log is `auxiliary.db`."""
        return has_superusers_collection(Version.parse(self.release))

    def _directories(self) -> list[str]:
        named = {"dir": "pb_data", "publicDir": "pb_public", "hooksDir": "pb_hooks", "migrationsDir": "pb_migrations"}
        return [f"--{flag}={self.folder / name}" for flag, name in named.items()]


def make_folders(folder: Path) -> None:
    """The instance's folder and the five within it, mode 0700; those that are there stay as they are."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in FOLDERS:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
