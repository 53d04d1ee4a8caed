"""Uploads and downloads: streamed, bounded, resumed, and never for strangers."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from django.utils import timezone

from pocketfleet.actions import limits, teams, uploads
from pocketfleet.domain.roles import Role
from pocketfleet.models import Audit, Backup, Membership, Upload
from tests.integration.web.served import OPERATOR_TOKEN, Served, make_instance, make_person

UPLOADS = "/api/v1/uploads"
SIZE = 150_000_000


def test_a_large_file_comes_in_whole_and_is_never_held_in_memory(served: Served) -> None:
    chunk = os.urandom(1_000_000)
    digest = hashlib.sha256()
    process = psutil.Process()
    before, peak = process.memory_info().rss, 0

    def content() -> Iterator[bytes]:
        nonlocal peak
        for _ in range(SIZE // len(chunk)):
            digest.update(chunk)
            peak = max(peak, process.memory_info().rss)
            yield chunk

    answer = served.operator.post(UPLOADS, content=content(), timeout=60)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["size"] == SIZE
    path = served.config.upload(told["upload"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"] == digest.hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600
    assert peak - before < SIZE / 3
    assert Audit.objects.get(verb="upload").subject == told["upload"]


def test_more_than_is_allowed_is_refused_before_and_while_it_comes(served_small: Served) -> None:
    announced = served_small.operator.post(UPLOADS, content=b"x" * 2_000_001)
    assert announced.status_code == 413
    assert announced.json()["limit"] == 2_000_000
    chunked = served_small.operator.post(UPLOADS, content=(b"x" * 100_000 for _ in range(100)))
    assert chunked.status_code == 413
    assert served_small.operator.post(UPLOADS, content=b"x" * 2_000_000).status_code == 201
    assert len(list(served_small.config.incoming.iterdir())) == 1


def test_an_upload_that_breaks_off_leaves_nothing(served: Served) -> None:
    head = (
        f"POST {UPLOADS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATOR_TOKEN}\r\n"
        "Content-Length: 5000000\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served.config.control_socket))
        connection.sendall(head.encode() + b"x" * 3_000_000)
        wait_for(lambda: list(served.config.incoming.glob("*.part")) != [])
    wait_for(lambda: list(served.config.incoming.iterdir()) == [])


def test_strangers_are_refused_before_a_byte_is_taken(served: Served) -> None:
    head = f"POST {UPLOADS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(served.config.control_socket))
        connection.sendall(head.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 401")
    assert not served.config.incoming.exists()


def wait_for(is_so: object) -> None:
    """Some seconds."""
    import time

    deadline = time.monotonic() + 10
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def backup(served: Served) -> tuple[str, bytes]:
    """The address of a backup's file, and what is in it."""
    content = os.urandom(3_000_000)
    shop = make_instance("shop")
    row = Backup.objects.create(
        instance=shop,
        name="shop-20261123-080300.zip",
        purpose="manual",
        release="0.40.6",
        sha256=hashlib.sha256(content).hexdigest(),
    )
    path = served.config.backups / shop.id / row.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return f"/api/v1/instances/shop/backups/{row.name}/file", content


def test_a_backup_is_downloaded(served: Served, backup: tuple[str, bytes]) -> None:
    address, content = backup
    answer = served.operator.get(address)
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-disposition"] == 'attachment; filename="shop-20261123-080300.zip"'
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = served.operator.head(address)
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
    assert Audit.objects.filter(verb="download_backup").count() == 1


@pytest.mark.parametrize(
    "asked, start, end",
    [
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=2999999-", 2999999, 3000000),
        ("bytes=-5", 2999995, 3000000),
        ("bytes=0-99999999", 0, 3000000),
        ("bytes=-99999999", 0, 3000000),
    ],
)
def test_a_part_of_it(served: Served, backup: tuple[str, bytes], asked: str, start: int, end: int) -> None:
    address, content = backup
    answer = served.operator.get(address, headers={"range": asked})
    assert answer.content == content[start:end]
    whole = end - start == len(content)
    assert answer.status_code == (200 if whole else 206)
    assert answer.headers.get("content-range") == (None if whole else f"bytes {start}-{end - 1}/{len(content)}")


def test_a_part_of_another_file_is_all_of_this_one(served: Served, backup: tuple[str, bytes]) -> None:
    address, content = backup
    tag = served.operator.head(address).headers["etag"]
    part = {"range": "bytes=10-19"}
    assert len(served.operator.get(address, headers=part | {"if-range": tag}).content) == 10
    assert served.operator.get(address, headers=part | {"if-range": '"other"'}).content == content


def test_a_part_behind_its_end_is_refused(served: Served, backup: tuple[str, bytes]) -> None:
    answer = served.operator.get(backup[0], headers={"range": "bytes=3000000-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */3000000"
    assert answer.json()["code"] == "range_not_served"


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=5-2"])
def test_what_is_not_understood_is_all_of_it_or_refused(served: Served, backup: tuple[str, bytes], asked: str) -> None:
    answer = served.operator.get(backup[0], headers={"range": asked})
    assert answer.status_code in (200, 416)


def test_one_whose_file_is_gone_says_so(served: Served, backup: tuple[str, bytes]) -> None:
    for path in served.config.backups.rglob("*.zip"):
        path.unlink()
    answer = served.operator.get(backup[0])
    assert (answer.status_code, answer.json()["code"]) == (404, "backup_not_found")
    other = backup[0].replace("shop-2026", "other-2026")
    assert served.operator.get(other).status_code == 404
    assert served.operator.post(backup[0]).status_code == 405
    assert served.operator.get(UPLOADS).headers["allow"] == "POST"


def test_a_client_that_leaves_in_the_middle_harms_nobody(served: Served, backup: tuple[str, bytes]) -> None:
    with served.operator.stream("GET", backup[0]) as answer:
        next(answer.iter_raw(1000))
    assert served.operator.get(backup[0]).content == backup[1]


@pytest.fixture
def served_small(served: Served) -> Iterator[Served]:
    """With a small limit."""
    from dataclasses import replace

    from django.test import override_settings

    with override_settings(CONFIG=replace(served.config, upload_bytes=2_000_000)):
        yield served


def test_paths_that_lead_elsewhere_are_no_transfers(served: Served) -> None:
    for path in ("/api/v1/instances/shop/backups/../file", "/api/v1/instances/shop/backups/a%2f..%2fb/file"):
        answer: httpx.Response = served.operator.get(path)
        assert answer.status_code == 404
    assert not Path("/tmp/file").exists()


# Whose an upload is


def test_an_upload_is_its_teams_alone_and_counts_there_while_it_waits(served: Served) -> None:
    ana, ben, eve = (make_person(name) for name in ("ana", "ben", "eve"))
    team = teams.create_team("Acme", acting_user=ana)
    for person, role in ((ben, Role.MAINTAINER), (eve, Role.VIEWER)):
        Membership.objects.create(team=team, user=person, role=role)
    shop = make_instance("shop", team=team.id)
    client = {person.username: served.bearer(person) for person in (ana, ben, eve)}
    limits.set_limits(team.id, awake=None, storage=1000, acting_user=served.operator_user())
    upload = client["ana"].post(f"{UPLOADS}?instance=shop", content=b"x" * 600).json()["upload"]
    assert limits.team_storage(team.id) == 600
    assert client["ana"].post(f"{UPLOADS}?instance=shop", content=b"x" * 401).json()["code"] == "storage_limit"
    assert client["ana"].post(f"{UPLOADS}?team={team.id}", content=iter([b"x" * 401])).json()["code"] == "storage_limit"
    assert Upload.objects.count() == 1, "what was refused leaves no row"
    assert len(list(served.config.incoming.iterdir())) == 1

    def use(who: httpx.Client) -> int:
        return who.post("/api/v1/imports", json={"name": "fresh", "upload": upload}).status_code

    assert use(client["eve"]) == 404
    assert use(served.bearer(make_person("stranger"))) == 404
    assert client["eve"].post(f"{UPLOADS}?team={team.id}", content=b"x").status_code == 403
    assert served.bearer(make_person("other")).post(f"{UPLOADS}?team={team.id}", content=b"x").status_code == 404
    Membership.objects.filter(user=ana, team=team).delete()
    assert use(client["ana"]) == 404, "whoever is in the team no more uses it no more"
    restored = client["ben"].post(f"/api/v1/instances/{shop.id}/restore", json={"upload": upload})
    assert restored.status_code == 202, "its own bytes do not stand in its way"


def test_a_token_of_one_instance_uploads_for_it_and_uses_that(served: Served) -> None:
    ana = make_person("ana")
    shop = make_instance("shop", team=teams.own_team(ana).id)
    client = served.bearer(ana, instances=[shop], verbs=["view", "operate", "data"])
    upload = client.post(UPLOADS, content=b"x").json()["upload"]
    assert Upload.objects.get().team == teams.own_team(ana)
    other = served.bearer(ana, instances=[shop], verbs=["view", "operate", "data"])
    body = {"upload": upload}
    assert other.post("/api/v1/instances/shop/restore", json=body).status_code == 404
    assert client.post("/api/v1/instances/shop/restore", json=body).status_code == 202


def test_rows_whose_file_never_came_are_forgotten(tables: None) -> None:
    team = teams.own_team(make_person("ana"))
    kept, lost, fresh = (Upload.objects.create(team=team, size=1) for _ in range(3))
    Upload.objects.exclude(pk=fresh.pk).update(created_at=timezone.now() - timedelta(hours=2))
    uploads.forget_uploads_without_files({kept.id}, timedelta(hours=1))
    assert set(Upload.objects.values_list("id", flat=True)) == {kept.id, fresh.id}
    assert lost.id not in Upload.objects.values_list("id", flat=True)
