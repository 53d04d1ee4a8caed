"""A shop's data made by real PocketBases: users with roles, relations, rules, files, a view, and a log of requests.

Built once per run and kind, then copied. Nothing in it is random but ids, file names and secrets.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pocketfleet.runtime.guest import make_folders
from tests.pocketbases import executable
from tests.ports import free_port

EMAIL, PASSWORD = "owner@example.com", "correct horse battery"
KEY_NAME, KEY = "SETTINGS_KEY", "0123456789abcdef0123456789abcdef"

OLD_HOOKS = """
routerAdd("GET", "/hello", (c) => c.json(200, {hello: "there", at: new Date().toISOString()}))
routerAdd("GET", "/hello/:name", (c) => c.json(200, {hello: c.pathParam("name")}))
routerAdd("GET", "/mail", (c) => {
  const message = new MailerMessage({
    from: {address: "shop@example.com"}, to: [{address: "someone@example.com"}], subject: "Your order", html: "<p/>",
  })
  $app.newMailClient().send(message)
  return c.json(200, {sent: true})
})
routerAdd("GET", "/web", (c) => {
  try { $http.send({url: "https://payments.example.com/charge?token=abc", timeout: 3}) } catch (error) { }
  return c.json(200, {})
})
onRecordBeforeCreateRequest((e) => { e.record.set("note", "checked") }, "reviews")
cronAdd("nightly", "0 3 * * *", () => console.log("night"))
"""
NEW_HOOKS = """
routerAdd("GET", "/hello", (e) => e.json(200, {hello: "there", at: new Date().toISOString()}))
routerAdd("GET", "/hello/{name}", (e) => e.json(200, {hello: e.request.pathValue("name")}))
routerAdd("GET", "/mail", (e) => {
  const message = new MailerMessage({
    from: {address: "shop@example.com"}, to: [{address: "someone@example.com"}], subject: "Your order", html: "<p/>",
  })
  $app.newMailClient().send(message)
  return e.json(200, {sent: true})
})
routerAdd("GET", "/web", (e) => {
  try { $http.send({url: "https://payments.example.com/charge?token=abc", timeout: 3}) } catch (error) { }
  return e.json(200, {})
})
onRecordCreateRequest((e) => { e.record.set("note", "checked"); e.next() }, "reviews")
cronAdd("nightly", "0 3 * * *", () => console.log("night"))
"""


@dataclass(slots=True)
class Serving:
    """A PocketBase that serves a folder; requests as its superuser unless another token is given."""

    release: str
    folder: Path
    address: str
    token: str = ""
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10, verify=False))

    @property
    def is_old(self) -> bool:
        """Whether it is of the 0.22 line."""
        return self.release.startswith("0.22.")

    def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Any:
        """The JSON of a successful answer."""
        answer = self.get(method, path, token=token, **options)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def get(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        """Whatever answer."""
        headers = {"authorization": self.token if token is None else token}
        return self.client.request(method, f"http://{self.address}{path}", headers=headers, **options)

    def create(self, collection: str, files: Mapping[str, Any] | None = None, **values: Any) -> dict[str, Any]:
        """A record."""
        sent: dict[str, Any] = {"data": values, "files": files} if files else {"json": values}
        return dict(self.ask("POST", f"/api/collections/{collection}/records", **sent))

    def sign_in(self, identity: str, password: str = PASSWORD, collection: str = "users") -> str:
        """A token."""
        path = f"/api/collections/{collection}/auth-with-password"
        if self.is_old and collection == "_superusers":
            path = "/api/admins/auth-with-password"
        return str(self.ask("POST", path, token="", json={"identity": identity, "password": password})["token"])


@contextlib.contextmanager
def serving(folder: Path, release: str, *, key: str = "") -> Iterator[Serving]:
    """Serve a folder that holds pb_data and the others; ended in order, so that its log is written."""
    address = f"127.{random.randint(10, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"
    made = Serving(release, folder, f"{address}:{free_port(address)}")
    names = {"dir": "pb_data", "publicDir": "pb_public", "hooksDir": "pb_hooks", "migrationsDir": "pb_migrations"}
    flags = [f"--{flag}={folder / name}" for flag, name in names.items()]
    environment = {**os.environ, KEY_NAME: key} if key else None
    if key:
        flags.append(f"--encryptionEnv={KEY_NAME}")
    command = [str(executable(release)), "serve", "--http", made.address, *flags, "--hooksWatch=false"]
    process = subprocess.Popen([*command, "--automigrate=false"], stdout=subprocess.DEVNULL, env=environment)
    try:
        while True:
            try:
                made.get("GET", "/api/health")
                break
            except httpx.TransportError:
                assert process.poll() is None, f"PocketBase {release} ended"
                time.sleep(0.01)
        yield made
    finally:
        made.client.close()
        process.terminate()
        process.wait(10)


def superuser(folder: Path, release: str) -> None:
    """Make the superuser before it is ever served."""
    command = [str(executable(release))]
    flags = [f"--dir={folder / 'pb_data'}", "--hooksDir=/nonexistent", "--migrationsDir=/nonexistent"]
    if release.startswith("0.22."):
        subprocess.run([*command, "migrate", "up", *flags], check=True, capture_output=True)
    verb = ["admin", "create"] if release.startswith("0.22.") else ["superuser", "upsert"]
    subprocess.run([*command, *verb, EMAIL, PASSWORD, *flags], check=True, capture_output=True)


def build(folder: Path, release: str, *, hooks: str = "", key: str = "") -> Path:
    """The shop in a fresh folder; hooks are there when its requests are made, if any."""
    make_folders(folder)
    superuser(folder, release)
    with serving(folder, release, key=key) as shop:
        shop.token = shop.sign_in(EMAIL, collection="_superusers")
        _settings(shop)
        _schema(shop)
        _records(shop)
    if hooks:
        (folder / "pb_hooks" / "main.pb.js").write_text(hooks)
    (folder / "pb_public" / "index.html").write_text("<h1>Shop</h1>")
    with serving(folder, release, key=key) as shop:
        shop.token = shop.sign_in(EMAIL, collection="_superusers")
        _traffic(shop)
        if hooks:
            for path in ("/hello", "/hello/you", "/mail", "/web"):
                shop.get("GET", path, token="")
    return folder


def copied(source: Path, target: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(source, target)
    return target


def _settings(shop: Serving) -> None:
    """What must not work in a clone is switched on, the rate limits tightly."""
    changes: dict[str, Any] = {
        "smtp": {"enabled": True, "host": "mail.example.com", "port": 587, "username": "u", "password": "p"},
        "backups": {"cron": "* * * * *", "cronMaxKeep": 3},
    }
    if not shop.is_old:
        changes["rateLimits"] = {
            "enabled": True,
            "rules": [{"label": "/api/collections/", "duration": 60, "maxRequests": 100_000, "audience": ""}],
        }
    shop.ask("PATCH", "/api/settings", json=changes)


def _field(shop: Serving, name: str, kind: str, **options: Any) -> dict[str, Any]:
    base = {"name": name, "type": kind, "required": options.pop("required", False)}
    if not shop.is_old:
        return {**base, **options}
    needed = {"maxSelect": 1, "maxSize": 5_000_000} if kind == "file" else {}
    needed = {"maxSelect": 1} if kind in ("select", "relation") else needed
    needed = {"maxSize": 2_000_000} if kind == "json" else needed
    return {**base, "options": {**needed, **options}}


def _collection(shop: Serving, name: str, fields: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    if not shop.is_old:
        stamps = [
            {"name": "created", "type": "autodate", "onCreate": True},
            {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
        ]
        fields = [*fields, *stamps]
    form = {"schema" if shop.is_old else "fields": fields}
    return dict(shop.ask("POST", "/api/collections", json={"name": name, "type": "base", **form, **more}))


def _schema(shop: Serving) -> None:
    """In the order of their relations."""
    users = shop.ask("GET", "/api/collections/users")
    part = "schema" if shop.is_old else "fields"
    role = _field(shop, "role", "select", values=["customer", "staff"], maxSelect=1)
    fields = [*users[part], role, _field(shop, "newsletter", "bool")]
    shop.ask("PATCH", "/api/collections/users", json={part: fields})
    products = _collection(
        shop,
        "products",
        [
            _field(shop, "name", "text", required=True),
            _field(shop, "price", "number"),
            _field(shop, "tags", "select", values=["new", "sale", "old"], maxSelect=3),
            _field(shop, "photo", "file", maxSelect=1, maxSize=5_000_000),
            _field(shop, "invoice", "file", maxSelect=1, maxSize=5_000_000, protected=True),
            _field(shop, "active", "bool"),
            _field(shop, "about", "json", maxSize=2_000_000),
            _field(shop, "site", "url"),
            _field(shop, "since", "date"),
            _field(shop, "text", "editor"),
        ],
        listRule="active = true",
        viewRule="",
        createRule="@request.auth.role = 'staff'",
        updateRule="@request.auth.role = 'staff'",
        indexes=["CREATE UNIQUE INDEX idx_products_name ON products (name)"],
    )
    to_user = _field(shop, "customer", "relation", collectionId=users["id"], maxSelect=1, cascadeDelete=False)
    to_products = _field(shop, "items", "relation", collectionId=products["id"], maxSelect=9, cascadeDelete=False)
    own = "customer = @request.auth.id || @request.auth.role = 'staff'"
    _collection(
        shop,
        "orders",
        [
            to_user,
            to_products,
            _field(shop, "status", "select", values=["open", "paid"]),
            _field(shop, "total", "number"),
        ],
        listRule=own,
        viewRule=own,
        createRule="@request.auth.id != '' && customer = @request.auth.id",
        updateRule="@request.auth.role = 'staff'",
        indexes=["CREATE INDEX idx_orders_status ON orders (status)"],
    )
    author = _field(shop, "author", "relation", collectionId=users["id"], maxSelect=1, cascadeDelete=True)
    product = _field(shop, "product", "relation", collectionId=products["id"], maxSelect=1, cascadeDelete=True)
    texts = [_field(shop, "text", "text"), _field(shop, "note", "text"), _field(shop, "stars", "number", min=1, max=5)]
    _collection(
        shop,
        "reviews",
        [author, product, *texts],
        listRule="",
        viewRule="",
        createRule="@request.auth.id != '' && author = @request.auth.id",
        updateRule="author = @request.auth.id",
        deleteRule="author = @request.auth.id",
    )
    _collection(shop, "ledger", [_field(shop, "line", "text")])
    query = (
        "SELECT p.id, p.name, p.price, COUNT(r.id) AS reviews FROM products p"
        " LEFT JOIN reviews r ON r.product = p.id GROUP BY p.id"
    )
    view = {"name": "stats", "type": "view", "listRule": "", "viewRule": ""}
    shop.ask(
        "POST",
        "/api/collections",
        json={**view, **({"options": {"query": query}} if shop.is_old else {"viewQuery": query})},
    )


def _records(shop: Serving) -> None:
    chance = random.Random(7)
    users = [_user(shop, number) for number in range(7)]
    products = []
    for number in range(12):
        files = {
            "photo": (f"photo {number}.png", b"\x89PNG" + bytes([number]) * 900, "image/png"),
            "invoice": ("invoice.txt", f"paid {number}".encode(), "text/plain"),
        }
        values = {
            "name": f"product {number}",
            "price": number * 1.5,
            "tags": ["new", "sale"] if number % 3 else [],
            "active": "true" if number % 4 else "false",
            "about": f'{{"weight": {number}}}',
            "site": "https://example.com/",
            "since": "2024-02-03 04:05:06.000Z" if number % 2 else "",
            "text": "<p>Fine</p>",
        }
        products.append(shop.create("products", files, **values))
    for number in range(40):
        items = [product["id"] for product in chance.sample(products, 2)]
        customer = users[number % 6]["id"]
        shop.create("orders", customer=customer, items=items, status="paid" if number % 2 else "open", total=number)
    for number in range(30):
        product = products[number % 11]["id"]
        shop.create(
            "reviews", author=users[number % 4]["id"], product=product, text=f"review {number}", stars=1 + number % 5
        )
    for number in range(5):
        shop.create("ledger", line=f"line {number}")


def _user(shop: Serving, number: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "email": f"user{number}@example.com",
        "emailVisibility": number % 2 == 0,
        "password": PASSWORD,
        "passwordConfirm": PASSWORD,
        "name": f"User {number}",
        "role": "staff" if number == 5 else "customer",
        "newsletter": number % 3 == 0,
        "verified": number != 6,
    }
    if shop.is_old:
        values["username"] = f"user{number}"
    return shop.create("users", None, **values)


def _traffic(shop: Serving) -> None:
    """What clients asked of it."""
    tokens = {number: shop.sign_in(f"user{number}@example.com") for number in (0, 3, 5)}
    orders = shop.ask("GET", "/api/collections/orders/records?perPage=50&expand=customer,items")["items"]
    products = shop.ask("GET", "/api/collections/products/records?sort=name")["items"]
    for token in ["", *tokens.values()]:
        for path in [
            "/api/collections/products/records",
            "/api/collections/products/records?sort=-price&perPage=5&fields=id,name,price",
            "/api/collections/products/records?filter=(price%3E5%26%26active=true)&expand=reviews_via_product",
            "/api/collections/orders/records?sort=-created&expand=customer,items",
            "/api/collections/reviews/records?sort=-stars,id&expand=author",
            "/api/collections/stats/records?sort=-reviews,id",
            f"/api/collections/products/records/{products[3]['id']}",
            "/api/collections/ledger/records",
            f"/api/files/products/{products[3]['id']}/{products[3]['photo']}",
            f"/api/files/products/{products[3]['id']}/{products[3]['invoice']}",
        ]:
            shop.get("GET", path, token=token)
    for number, token in tokens.items():
        mine = [order for order in orders if order["expand"]["customer"]["name"] == f"User {number}"]
        for order in (mine or orders)[:2]:
            shop.get("GET", f"/api/collections/orders/records/{order['id']}?expand=items", token=token)
        shop.get("GET", f"/api/collections/users/records/{orders[0]['customer']}", token=token)
    file_token = shop.ask("POST", "/api/files/token", token=tokens[0])["token"]
    shop.get("GET", f"/api/files/products/{products[3]['id']}/{products[3]['invoice']}?token={file_token}", token="")
    shop.get("GET", "/", token="")
    shop.get("GET", "/api/nothing", token="")
