"""A realistic little shop in a real PocketBase of any age, and copies of it after a start under another release."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.pocketbases import executable
from tests.ports import free_port

EMAIL, PASSWORD = "owner@example.com", "correct horse battery"
FOLDERS = {"dir": "pb_data", "publicDir": "pb_public", "hooksDir": "pb_hooks", "migrationsDir": "pb_migrations"}
ADDRESS = f"127.{os.getpid() % 250 + 1}.77.1"


class Running:
    """A PocketBase that answers, and what it prints."""

    def __init__(self, release: str, address: str, printed: Path) -> None:
        self.release = release
        self.old = release.startswith("0.22.")
        self.address = address
        self.printed = printed
        self.token = ""

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises AssertionError with the answer where it is not 2xx."""
        status, answer = self.ask(method, path, body)
        assert 200 <= status < 300, (method, path, status, answer)
        return answer

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON (or text) of any answer."""
        request = urllib.request.Request(f"http://{self.address}{path}", method=method)
        request.add_header("Authorization", self.token)
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as error:
            return error.code, _read(error)

    def sign_in(self) -> None:
        """As the superuser."""
        who = "admins" if self.old else "collections/_superusers"
        answer = self.request("POST", f"/api/{who}/auth-with-password", {"identity": EMAIL, "password": PASSWORD})
        self.token = answer["token"]


def _read(answer: Any) -> Any:
    text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextlib.contextmanager
def running(folder: Path, release: str, *, flags: tuple[str, ...] = (), seconds: float = 10) -> Iterator[Running]:
    """Start the release on the folder's five directories; killed orderly at the end. Fails where it does not answer."""
    process, address, printed = start(folder, release, flags=flags)
    try:
        deadline = time.monotonic() + seconds
        while not _accepts(address):
            assert process.poll() is None, printed.read_text()
            assert time.monotonic() < deadline, printed.read_text()
            time.sleep(0.01)
        yield Running(release, address, printed)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def start(folder: Path, release: str, *, flags: tuple[str, ...] = ()) -> tuple[subprocess.Popen[bytes], str, Path]:
    """The process, where it will listen, and the file that both its streams go to."""
    address = f"{ADDRESS}:{free_port(ADDRESS)}"
    printed = folder / "printed.txt"
    places = [f"--{flag}={folder / name}" for flag, name in FOLDERS.items()]
    command = [str(executable(release)), "serve", "--http", address, *places, *flags]
    with printed.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT), address, printed


def _accepts(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def clone(folder: Path, target: Path) -> Path:
    """A copy of a folder that nothing runs on."""
    shutil.copytree(folder, target)
    return target


def build(folder: Path, release: str) -> Path:
    """A shop made by this release through its API: users, relations, rules, indexes, a view, files' fields, records."""
    for name in FOLDERS.values():
        (folder / name).mkdir(parents=True)
    verb = ("admin", "create") if release.startswith("0.22.") else ("superuser", "upsert")
    for words in (("migrate", "up"), (*verb, EMAIL, PASSWORD)):
        command = [str(executable(release)), *words, f"--dir={folder / 'pb_data'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    with running(folder, release) as shop:
        shop.sign_in()
        _collections(shop)
        _records(shop)
        _settings(shop)
    return folder


def _field(shop: Running, name: str, kind: str, **options: Any) -> dict[str, Any]:
    required = options.pop("required", False)
    if shop.old:
        return {"name": name, "type": kind, "required": required, "options": options}
    return {"name": name, "type": kind, "required": required, **options}


def _collection(shop: Running, name: str, kind: str, fields: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    options = more.pop("options", {})
    key = "schema" if shop.old else "fields"
    body = {"name": name, "type": kind, key: fields, **more}
    made: dict[str, Any] = shop.request(
        "POST", "/api/collections", body | ({"options": options} if shop.old else options)
    )
    return made


def _rules(list_rule: str | None, write_rule: str | None) -> dict[str, str | None]:
    write = dict.fromkeys(("createRule", "updateRule", "deleteRule"), write_rule)
    return {"listRule": list_rule, "viewRule": list_rule, **write}


def _stamps(shop: Running) -> list[dict[str, Any]]:
    if shop.old:
        return []
    return [
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ]


def _collections(shop: Running) -> None:
    data = "@request.data" if shop.old else "@request.body"
    if shop.old:
        people_options: dict[str, Any] = {
            "allowEmailAuth": True, "allowUsernameAuth": True, "allowOAuth2Auth": True, "requireEmail": True,
            "minPasswordLength": 8, "exceptEmailDomains": None, "onlyEmailDomains": None,
            "manageRule": "@request.auth.role = 'staff'", "onlyVerified": False,
        }  # fmt: skip
    else:
        people_options = {"manageRule": "@request.auth.role = 'staff'"}
    role = _field(shop, "role", "select", values=["staff", "customer"], maxSelect=1)
    name = _field(shop, "name", "text")
    avatar = _field(
        shop,
        "avatar",
        "file",
        maxSelect=1,
        maxSize=5242880,
        mimeTypes=["image/png"],
        thumbs=["100x100"],
        protected=True,
    )
    people = _collection(
        shop, "people", "auth", [name, role, avatar, *_stamps(shop)],
        options=people_options, **_rules("id = @request.auth.id", "id = @request.auth.id"),
    )  # fmt: skip
    products = _collection(
        shop, "products", "base",
        [
            _field(shop, "title", "text", required=True, min=1, max=200, pattern=""),
            _field(shop, "price", "number", min=0, max=None, **{"noDecimal" if shop.old else "onlyInt": True}),
            _field(shop, "active", "bool"),
            _field(shop, "about", "editor", **{"convertUrls" if shop.old else "convertURLs": False}),
            _field(shop, "page", "url", exceptDomains=[], onlyDomains=[]),
            _field(shop, "contact", "email", exceptDomains=["spam.example"], onlyDomains=None),
            _field(shop, "released", "date", min="", max=""),
            _field(shop, "extra", "json", maxSize=20000),
            _field(shop, "tags", "select", values=["new", "sale", "last"], maxSelect=3),
            _field(shop, "pictures", "file", maxSelect=4, maxSize=1000000, mimeTypes=[], thumbs=[], protected=False),
            *_stamps(shop),
        ],
        indexes=[
            "CREATE UNIQUE INDEX idx_title ON products (title)",
            "CREATE INDEX `idx_active` ON `products` (`active`, `price` DESC) WHERE `price` > 10",
        ],
        **_rules("active = true || @request.auth.role = 'staff'", "@request.auth.role = 'staff'"),
    )  # fmt: skip
    _collection(
        shop, "orders", "base",
        [
            _field(
                shop, "customer", "relation", required=True, collectionId=people["id"], maxSelect=1, cascadeDelete=True
            ),
            _field(shop, "items", "relation", collectionId=products["id"], maxSelect=99, cascadeDelete=False),
            _field(shop, "note", "text"),
            *_stamps(shop),
        ],
        listRule="customer = @request.auth.id", viewRule="customer = @request.auth.id",
        createRule=f"{data}.customer = @request.auth.id && {data}.note:isset = true", updateRule=None, deleteRule=None,
    )  # fmt: skip
    query = {"query": "SELECT id, title, price FROM products WHERE active = true"}
    if not shop.old:
        query = {"viewQuery": query["query"]}
    _collection(shop, "prices", "view", [], options=query, listRule="", viewRule="")


def _records(shop: Running) -> None:
    def add(collection: str, **fields: Any) -> str:
        identity: str = shop.request("POST", f"/api/collections/{collection}/records", fields)["id"]
        return identity

    people = []
    for number, role in enumerate(["staff", "customer", "customer", ""]):
        name = {"username": f"person{number}"} if shop.old else {}
        identity = add(
            "people", email=f"person{number}@example.com", password="long enough!", passwordConfirm="long enough!",
            name=f"Person {number}", role=role, verified=number < 2, emailVisibility=number == 0, **name,
        )  # fmt: skip
        people.append(identity)
    products = []
    for number in range(12):
        tags = ["new", "sale"][: number % 3]
        identity = add(
            "products", title=f"Thing {number}", price=number * 5, active=number % 2 == 0, about="<p>ä</p>",
            page="https://example.com/a", contact="a@example.com", released="2024-05-06 07:08:09.123Z",
            extra={"n": number, "list": [1, "two", None]}, tags=tags,
        )  # fmt: skip
        products.append(identity)
    for number in range(8):
        add("orders", customer=people[number % 3], items=products[number : number + 3], note=f"note {number}")


def _settings(shop: Running) -> None:
    body: dict[str, Any] = {
        "meta": {"appName": "Shop", "senderName": "Shop", "senderAddress": "shop@example.com"},
        "smtp": {"enabled": True, "host": "mail.example.com", "port": 587, "username": "u", "password": "p"},
        "backups": {"cron": "0 3 * * *", "cronMaxKeep": 5},
        "logs": {"maxDays": 7},
    }
    if shop.old:
        body["meta"] |= {"appUrl": "https://shop.example.com"}
        body["recordAuthToken"] = {"secret": "s" * 40, "duration": 86400}
        body["googleAuth"] = {"enabled": True, "clientId": "cid", "clientSecret": "csecret"}
    else:
        body["meta"] |= {"appURL": "https://shop.example.com"}
    shop.request("PATCH", "/api/settings", body)
