"""snapshot, backup, download, restore, clone, create --from, events, and the plans among the settings."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pocketfleet.cli.client import PATIENCE
from pocketfleet.cli.packing import packed
from pocketfleet.cli.plans import parse_backup, parse_retention, show_backup, show_retention
from pocketfleet.errors import WrongSetting, WrongUsage
from tests.unit.cli.conftest import Cli, Double, instance, operation, problem

CONTENT = bytes(range(256)) * 4096
BACKUP = {
    "id": "backup123456789",
    "name": "shop-20261123-080300.zip",
    "purpose": "manual",
    "release": "0.40.6",
    "full": False,
    "size": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "verified_at": None,
    "created_at": "2026-01-02T03:04:05Z",
}
SNAPSHOT = {
    "id": "snapshot1234567",
    "purpose": "manual",
    "release": "0.40.6",
    "size": 12_345_678,
    "note": "before the sale",
    "kept_for": "",
    "records": {},
    "created_at": "2026-01-02T03:04:05Z",
}
ADDRESS = f"GET /instances/shop/backups/{BACKUP['name']}/file"


@pytest.fixture
def shop(double: Double) -> Double:
    """With a snapshot and a backup."""
    double.answers |= {
        "GET /me": {"name": "operator", "operator": True},
        "GET /instances/shop/snapshots": {"items": [SNAPSHOT]},
        "GET /instances/shop/backups": {"items": [BACKUP]},
    }
    return double


def serving(failures: int = 0) -> Callable[[httpx.Request], httpx.Response]:
    """The backup's file, cut short so many times."""
    left = failures

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal left
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        content = CONTENT[start:]
        if left:
            left -= 1
            return httpx.Response(206 if start else 200, stream=Broken(content[: len(content) // 2]))
        return httpx.Response(206 if start else 200, content=content)

    return answer


class Broken(httpx.SyncByteStream):
    """An answer whose connection breaks."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Any:
        yield self._content
        raise httpx.ReadError("broken")


def test_a_snapshot_is_taken(cli: Cli, shop: Double) -> None:
    result = {"snapshot": "snapshot1234567", "bytes": 12_345_678, "files": 9, "release": "0.40.6", "left_out": ["a: b"]}
    shop.answers["POST /instances/shop/snapshots"] = {"operation": operation(result=result)}
    done = cli("snapshot", "shop", "--note", "before the sale")
    assert (done.code, done.out) == (0, "snapshot1234567: 12 MB, 9 files, PocketBase 0.40.6\n")
    assert "left out: a: b" in done.err
    assert shop.bodies("POST") == [{"note": "before the sale"}]
    assert cli("snapshot", "shop", "--json").json["result"] == result


def test_lists(cli: Cli, shop: Double) -> None:
    assert "before the sale" in cli("snapshots", "shop").out
    assert cli("snapshots", "shop", "--json").json == [SNAPSHOT]
    assert "1.0 MB" in cli("backups", "shop").out
    assert cli("backups", "shop", "--json").json == [BACKUP]


def test_removing_and_verifying(cli: Cli, shop: Double) -> None:
    shop.answers |= {
        "DELETE /instances/shop/snapshots/snapshot1234567": {"operation": operation()},
        "DELETE /instances/shop/backups/one.zip": {"operation": operation()},
        "POST /instances/shop/backups/one.zip/verify": {"operation": operation()},
    }
    assert cli("snapshots", "shop", "remove", "snapshot1234567").code == 0
    assert cli("backups", "shop", "remove", "one.zip").code == 0
    assert cli("backups", "shop", "verify", "one.zip").out == "The backup is sound.\n"
    assert cli("backups", "shop", "verify").code == 2
    assert cli("backups", "shop", "verify", "../one").code == 2


def test_a_backup_is_made(cli: Cli, shop: Double) -> None:
    result = {"name": BACKUP["name"], "bytes": 5, "release": "0.40.6"}
    shop.answers["POST /instances/shop/backups"] = {"operation": operation(result=result)}
    done = cli("backup", "shop", "--full")
    assert done.out == f"{BACKUP['name']}: 5 bytes, PocketBase 0.40.6\n"
    assert shop.bodies("POST") == [{"full": True}]
    shop.answers["POST /instances/shop/backups"] = {"operation": operation("failed", error={"detail": "No room."})}
    assert (cli("backup", "shop").code, cli("backup", "shop").err) == (1, "✗ No room.\n")


def test_a_download_is_checked_and_goes_on_where_it_broke_off(cli: Cli, shop: Double, tmp_path: Path) -> None:
    shop.answers[ADDRESS] = serving(failures=2)
    target = tmp_path / "here.zip"
    done = cli("download", "shop", "shop-20261123-080300", str(target))
    assert (done.code, done.out) == (0, f"{target}\n")
    assert target.read_bytes() == CONTENT
    ranges = [request.headers.get("range") for request in shop.requests if request.url.path.endswith("/file")]
    assert ranges == [None, f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) // 4 * 3}-"]
    assert cli("download", "shop", BACKUP["id"], str(target)).code == 2
    target.rename(target.with_name("again.zip.part"))
    with (tmp_path / "again.zip.part").open("r+b") as part:
        part.truncate(1000)
    answer = cli("download", "shop", BACKUP["id"], str(tmp_path / "again.zip"), "--json").json
    assert answer["resumed"] is True
    assert (tmp_path / "again.zip").read_bytes() == CONTENT


def test_a_download_of_something_else_is_thrown_away(cli: Cli, shop: Double, tmp_path: Path) -> None:
    shop.answers[ADDRESS] = httpx.Response(200, content=CONTENT[::-1])
    done = cli("download", "shop", BACKUP["name"], str(tmp_path))
    assert done.code == 1
    assert "SHA-256" in done.err
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]
    assert cli("download", "shop", "other.zip").code == 1


def test_a_download_gives_up_when_nobody_answers(
    cli: Cli, shop: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketfleet.cli.client.PATIENCE", 0.0)
    shop.answers[ADDRESS] = httpx.ConnectError("gone")
    assert PATIENCE > 0
    assert cli("download", "shop", BACKUP["name"], str(tmp_path)).code == 1


@pytest.mark.parametrize(
    "what, body",
    [
        ("snapshot1234567", {"snapshot": "snapshot1234567"}),
        ("backup123456789", {"backup": BACKUP["name"]}),
        (BACKUP["name"], {"backup": BACKUP["name"]}),
        ("shop-20261123-080300", {"backup": BACKUP["name"]}),
    ],
)
def test_what_is_restored(cli: Cli, shop: Double, what: str, body: dict[str, str]) -> None:
    result = {
        "release": "0.22.27",
        "from": "0.40.6",
        "range": "~0.22.27",
        "snapshot": "keptsnapshot123",
        "left_out": [],
    }
    shop.answers["POST /instances/shop/restore"] = {"operation": operation(result=result)}
    done = cli("restore", "shop", what)
    assert done.out == "shop is restored, on PocketBase 0.22.27.\n"
    assert "pocketfleet restore shop keptsnapshot123" in done.err
    assert "~0.22.27" in done.err
    assert shop.bodies("POST") == [body]


def test_a_file_is_uploaded_and_restored(cli: Cli, shop: Double, tmp_path: Path) -> None:
    file = tmp_path / "backup.zip"
    file.write_bytes(CONTENT)
    shop.answers["POST /uploads"] = {"upload": "uploaded1234567", "size": 1, "sha256": BACKUP["sha256"]}
    shop.answers["POST /instances/shop/restore"] = {"operation": operation("rolled_back", error={"detail": "Not it."})}
    assert cli("restore", "shop", str(file)).code == 4
    assert [request.content for request in shop.requests if request.url.path.endswith("/uploads")] == [CONTENT]
    assert cli("restore", "shop", "nothing.zip").code == 2
    shop.answers["POST /uploads"] = {"upload": "uploaded1234567", "size": 1, "sha256": "0" * 64}
    assert cli("restore", "shop", str(file)).code == 1
    shop.answers["GET /me"] = problem(401, "not_signed_in", "No.")
    before = len(shop.requests)
    assert cli("restore", "shop", str(file)).code == 1
    assert not any(request.url.path.endswith("/uploads") for request in shop.requests[before:])


def rehearsed(verdict: str) -> dict[str, Any]:
    """A rehearsal of a restore as the API shows it."""
    counts = {"posts": {"before": 2, "after": None}, "notes": {"before": 3, "after": 3}}
    report = {"kind": "restore", "reasons": [], "sections": {"records": {"facts": {"counts": counts}, "findings": []}}}
    brief = {"id": "rehearsed123456", "from": "0.40.6", "to": "0.40.6", "kind": "restore", "reasons": []}
    return {**brief, "verdict": verdict, "report": report}


@pytest.mark.parametrize(
    "words, state, verdict, code, said",
    [
        (
            [],
            "asking",
            "changed",
            3,
            "Nothing was changed. To go on: pocketfleet restore shop mine.zip --accept-changes",
        ),
        (["--rehearse"], "succeeded", "changed", 0, "To do it: pocketfleet restore shop mine.zip --accept-changes"),
        (["--rehearse"], "succeeded", "safe", 0, "To do it: pocketfleet restore shop mine.zip\n"),
        (["--rehearse"], "succeeded", "broken", 0, "Verdict: broken: it does not work"),
        ([], "failed", "broken", 1, "Mend that, and try again: pocketfleet restore shop mine.zip\n"),
    ],
)
def test_a_rehearsed_restore_names_the_next_step(
    cli: Cli, shop: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], state: str,
    verdict: str, code: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("mine.zip").write_bytes(CONTENT)
    ended = operation(state, kind="restore", verdict=verdict, result={"rehearsal": "rehearsed123456"})
    ended["error"] = {"code": "restore_refused", "detail": "It does not start."} if state == "failed" else {}
    shop.answers |= {
        "POST /uploads": {"upload": "uploaded1234567", "size": 1, "sha256": BACKUP["sha256"]},
        "POST /instances/shop/restore": {"operation": ended},
        "GET /rehearsals/rehearsed123456": rehearsed(verdict),
    }
    done = cli("restore", "shop", "mine.zip", *words)
    assert (done.code, said in done.out) == (code, True), done.out
    assert "posts: 2 now, none afterwards" in done.out
    assert "as many in 1 other collection" in done.out
    assert cli("restore", "shop", "mine.zip", *words, "--json").json["state"] == state


def test_how_a_restore_is_rehearsed_is_passed_on(cli: Cli, shop: Double) -> None:
    result: dict[str, Any] = {"release": "0.40.6", "from": "0.40.6", "range": "0.40.6", "snapshot": None}
    result |= {"left_out": [], "off": True}
    shop.answers["POST /instances/shop/restore"] = {"operation": operation(result=result)}
    for words, wanted in (
        (["--accept-changes"], {"accept_changes": True}),
        (["--report", "rehearsed123456"], {"rehearsal": "rehearsed123456"}),
        (["--no-rehearsal"], {"rehearse": False}),
    ):
        done = cli("restore", "shop", "snapshot1234567", *words)
        assert "pocketfleet power shop on" in done.err
        assert shop.bodies("POST")[-1] == {"snapshot": "snapshot1234567", **wanted}


def test_a_clone(cli: Cli, shop: Double) -> None:
    made = {
        "instance": instance(name="copy", id="copycopycopy123"),
        "operation": operation(result={"switched_off": ["mail", "s3"]}),
    }
    shop.answers |= {
        "POST /instances/shop/clone": made,
        "GET /instances/copycopycopy123": instance(name="copy"),
    }
    done = cli("clone", "shop", "copy", "--from", BACKUP["name"], "--keep-mail")
    assert done.code == 0
    assert "copy is there" in done.out
    assert "S3" in done.err
    assert shop.bodies("POST") == [{"name": "copy", "keep_mail": True, "keep_s3": False, "backup": BACKUP["name"]}]
    assert cli("clone", "shop", "copy", "--from", "nothing").code == 2
    assert cli("clone", "shop", "copy", "--json").json["operation"]["id"] == "operation123456"


def make_pocketbase(folder: Path) -> None:
    """A data folder with what belongs there and what does not."""
    data = folder / "pb_data"
    (data / "storage" / "a").mkdir(parents=True)
    (data / "backups").mkdir()
    (folder / "pb_hooks").mkdir()
    (data / "storage" / "a" / "file.txt").write_text("content")
    (data / "backups" / "old.zip").write_text("old")
    (folder / "pb_hooks" / "main.pb.js").write_text("// hook")
    (folder / "secret").write_text("not ours")
    (data / "link").symlink_to(folder / "secret")
    connection = sqlite3.connect(data / "data.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("live", [True, False])
def test_a_folder_is_packed_as_it_is_now(tmp_path: Path, live: bool) -> None:
    folder = tmp_path / "app"
    make_pocketbase(folder)
    connection = sqlite3.connect(folder / "pb_data" / "data.db")
    if live:
        connection.execute("INSERT INTO t VALUES (2)")
        connection.commit()
    else:
        connection.close()
    before = sorted(path.name for path in (folder / "pb_data").iterdir())
    with packed(folder) as archive, zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == [
            "pb_data/data.db",
            "pb_data/storage/a/file.txt",
            "pb_hooks/main.pb.js",
        ]
        copy = tmp_path / "copy.db"
        copy.write_bytes(opened.read("pb_data/data.db"))
    assert not archive.exists()
    assert sorted(path.name for path in (folder / "pb_data").iterdir()) == before
    connection.close()
    rows = sqlite3.connect(copy)
    assert rows.execute("SELECT a FROM t").fetchall() == ([(1,), (2,)] if live else [(1,)])
    rows.close()
    with packed(folder / "pb_data") as archive, zipfile.ZipFile(archive) as opened:
        assert "pb_hooks/main.pb.js" not in opened.namelist()
    with pytest.raises(WrongUsage, match=r"data\.db"), packed(tmp_path):
        pass


def test_an_instance_is_made_of_a_folder(cli: Cli, shop: Double, tmp_path: Path) -> None:
    make_pocketbase(tmp_path / "app")
    sent = io.BytesIO()

    def upload(request: httpx.Request) -> dict[str, Any]:
        sent.write(request.content)
        return {"upload": "uploaded1234567", "size": 1, "sha256": hashlib.sha256(request.content).hexdigest()}

    there = instance(name="mine", superuser_email="me@example.org")
    shop.answers |= {
        "POST /uploads": upload,
        "POST /imports": {"instance": there, "operation": operation()},
        "GET /instances/abcdefghij12345": there,
    }
    done = cli("create", "mine", "--from", str(tmp_path / "app"), "--version", "~0.40.0")
    assert done.code == 0, done.err
    assert "me@example.org" in done.out
    assert zipfile.ZipFile(sent).testzip() is None
    (asked,) = [request for request in shop.requests if request.url.path.endswith("/imports")]
    assert asked.content == b'{"name":"mine","range":"~0.40.0","upload":"uploaded1234567"}'
    assert cli("create", "mine", "--from", str(tmp_path / "nothing")).code == 2


def test_events(cli: Cli, shop: Double) -> None:
    found = [
        {
            "id": 2,
            "at": "2026-01-02T03:05:05Z",
            "kind": "b",
            "weight": "problem",
            "text": "Second\x1b[31m.",
            "detail": {},
        },
        {"id": 1, "at": "2026-01-02T03:04:05Z", "kind": "a", "weight": "info", "text": "First.", "detail": {}},
    ]
    shop.answers["GET /instances/shop/events"] = [{"items": found}, {"items": found}, {"items": []}]
    assert cli("events", "shop").out == "2026-01-02 03:04   First.\n2026-01-02 03:05 ✗ Second�[31m.\n"
    assert cli("events", "shop", "--json").json == found
    assert "Nothing" in cli("events", "shop").err


@pytest.mark.parametrize(
    "text, plan",
    [
        ("off", {}),
        ("0 3 * * *", {"cron": "0 3 * * *"}),
        (
            "0 3 * * * Europe/Vienna keep=14 full",
            {"cron": "0 3 * * *", "zone": "Europe/Vienna", "keep": 14, "full": True},
        ),
        ("*/5 * * * 1-5 full", {"cron": "*/5 * * * 1-5", "full": True}),
    ],
)
def test_backup_plans_are_understood(cli: Cli, shop: Double, text: str, plan: dict[str, Any]) -> None:
    shop.answers["PATCH /instances/shop"] = instance()
    assert cli("settings", "shop", f"backup={text}").code == 0
    assert shop.bodies("PATCH") == [{"backup_plan": plan}]


@pytest.mark.parametrize("text", ["", "soon", "0 3 * *", "0 3 * * * a b", "0 3 * * * keep=x", "0 3 * * * keep"])
def test_backup_plans_that_are_none(text: str) -> None:
    if text.endswith("keep"):
        assert parse_backup(text)["zone"] == "keep"  # the server knows the zones
        return
    with pytest.raises(WrongSetting):
        parse_backup(text)


def test_plans_are_shown_as_they_are_written(cli: Cli, shop: Double) -> None:
    text = "0 3 * * * UTC keep=7 full"
    assert show_backup(parse_backup(text)) == text
    assert show_backup({}) == "off"
    rule = "last=5 daily=7 weekly=4"
    assert show_retention(parse_retention(rule)) == rule
    assert show_retention(parse_retention("last=2")) == "last=2 daily=0 weekly=0"
    assert parse_retention("default") == {}
    assert show_retention({}) == "default"
    for wrong in ("", "last", "last=-1", "last=1 last=2", "yearly=1"):
        with pytest.raises(WrongSetting):
            parse_retention(wrong)
    plan = {"cron": "0 3 * * *", "zone": "UTC", "keep": 7, "full": True}
    shop.answers["GET /instances/shop"] = instance(backup_plan=plan, retention={"last": 2})
    out = cli("settings", "shop").out
    assert text in out
    assert "last=2 daily=0 weekly=0" in out
