"""A guest's command and environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pocketfleet.runtime.guest import FOLDERS, Guest, make_folders


def guest(**changes: Any) -> Guest:
    facts: dict[str, Any] = {
        "instance_id": "abcdefghijklmno",
        "release": "0.40.6",
        "executable": Path("/releases/0.40.6/pocketbase"),
        "folder": Path("/instances/abcdefghijklmno"),
        "address": "127.1.2.3",
        "port": 8090,
        "secrets": {"SMTP_PASSWORD": "hush"},
        "dev": False,
        "log_folder": Path("/logs/abcdefghijklmno"),
        "run_folder": Path("/run"),
    }
    return Guest(**{**facts, **changes})


def test_every_directory_is_given() -> None:
    command = guest().command
    assert command[:4] == ["/releases/0.40.6/pocketbase", "serve", "--http", "127.1.2.3:8090"]
    assert {item.partition("=")[0] for item in command[4:]} == {
        "--dir",
        "--publicDir",
        "--hooksDir",
        "--migrationsDir",
    }
    assert "--dev" in guest(dev=True).command


def test_the_key_of_the_settings_is_named_where_there_is_one() -> None:
    assert not any("encryptionEnv" in word for word in guest().command)
    keyed = guest(secrets={"PB_ENCRYPTION_KEY": "0123456789abcdef" * 2})
    assert "--encryptionEnv=PB_ENCRYPTION_KEY" in keyed.command
    assert not any("0123456789abcdef" in word for word in keyed.command)
    assert guest(secrets={"PB_ENCRYPTION_KEY": ""}).encryption_env == ""


def test_the_environment_is_clean_and_has_the_secrets() -> None:
    environment = guest().environment
    assert environment["SMTP_PASSWORD"] == "hush"
    assert environment["HOME"] == "/instances/abcdefghijklmno"
    assert set(environment) == {"SMTP_PASSWORD", "HOME", "PATH", "LANG", "TZ"}
    assert guest(secrets={"PATH": "/evil"}).environment["PATH"] != "/evil"


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(guest())


def test_superusers_by_release() -> None:
    assert guest().has_superusers
    assert not guest(release="0.22.27").has_superusers


def test_folders_are_made_once_and_private(tmp_path: Path) -> None:
    make_folders(tmp_path / "one")
    (tmp_path / "one" / "pb_data" / "data.db").write_text("x")
    make_folders(tmp_path / "one")
    assert {path.name for path in (tmp_path / "one").iterdir()} == set(FOLDERS)
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (tmp_path / "one").iterdir())
