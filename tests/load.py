"""Steady load from clients that never retry, each with a ledger of its own; for journeys and the soak test."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.server import Server

#: Seconds that a client waits for an answer; longer is a failed request.
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One request and what became of it. `status` 0 with `trouble` when there was no answer."""

    at: float
    client: int
    host: str
    method: str
    path: str
    status: int
    took: float
    trouble: str
    #: when its connection was last seen to be there; `at` for one of its own. A rested one that went with the edge
    #: meanwhile fails at its next request, however long the edge has been back
    seen: float = 0.0

    @property
    def failed(self) -> bool:
        """Everything that these clients ask has the answer 200."""
        return self.status != 200

    def __str__(self) -> str:
        when = time.strftime("%H:%M:%S", time.gmtime(self.at)) + f"{self.at % 1:.3f}"[1:]
        asked = f"{self.method} {self.host}{self.path}"
        return f"{when} client {self.client}: {asked} -> {self.status} in {self.took:.3f} s {self.trouble}".rstrip()


@dataclass(frozen=True, slots=True)
class Write:
    """A note whose write was answered by 200; when it was asked for and answered, in seconds since 1970."""

    text: str
    asked: float
    answered: float


class Client(threading.Thread):
    """Writes, reads back, lists and asks for health, over and over; records every request before the next one."""

    def __init__(self, number: int, port: int, hosts: Sequence[str], pause: float, ledger: Path | None) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.number = number
        self.stopping = threading.Event()
        self.failures: list[Entry] = []
        self.statuses: Counter[int] = Counter()
        self.took = array("f")
        #: by host label
        self.acknowledged: dict[str, list[Write]] = {host: [] for host in hosts}
        self._port = port
        self._hosts = list(hosts)
        self._pause = pause
        self._random = random.Random(number)
        self._written = 0
        self._connection: http.client.HTTPConnection | None = None
        self._seen = 0.0
        self._file: IO[str] | None = ledger.open("w") if ledger else None

    def run(self) -> None:
        """Until `stopping` is set."""
        while not self.stopping.is_set():
            self._round(self._random.choice(self._hosts))
        self._hang_up()
        if self._file:
            self._file.close()

    def _round(self, host: str) -> None:
        records = "/api/collections/notes/records"
        kind = self._random.randrange(4)
        if kind == 0:
            self._ask(host, "GET", "/api/health")
        elif kind == 1:
            self._ask(host, "GET", f"{records}?perPage=5")
        else:
            self._written += 1
            text = f"{self.number}-{self._written}"
            asked = time.time()
            answer = self._ask(host, "POST", records, json.dumps({"text": text}))
            if answer is not None:
                self.acknowledged[host].append(Write(text, asked, time.time()))
                self._ask(host, "GET", f"{records}/{json.loads(answer)['id']}")
        # every other client lets its connection rest, as a page does; the rest open one for each round
        if self.number % 2:
            self._hang_up()
        self.stopping.wait(self._random.uniform(0, 2 * self._pause))

    def _ask(self, host: str, method: str, path: str, body: str | None = None) -> bytes | None:
        """The body of a 200, else None. One try."""
        at, began = time.time(), time.monotonic()
        seen = self._seen if self._connection is not None else at
        status, trouble, content = 0, "", b""
        try:
            status, content = self._exchange(host, method, path, body)
            self._seen = time.time()
            trouble = "" if status == 200 else content[:200].decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            trouble = f"{type(error).__name__}: {error}"
            self._hang_up()
        self._record(Entry(at, self.number, host, method, path, status, time.monotonic() - began, trouble, seen))
        return content if status == 200 else None

    def _exchange(self, host: str, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        headers = {"Host": f"{host}.localhost:{self._port}", "Content-Type": "application/json"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _record(self, entry: Entry) -> None:
        self.statuses[entry.status] += 1
        self.took.append(entry.took)
        if entry.failed:
            self.failures.append(entry)
        if self._file:
            self._file.write(f"{entry}\n")


class Load:
    """Several clients at once, from `with` to its end."""

    def __init__(
        self,
        server: Server,
        hosts: Sequence[str],
        *,
        clients: int = 8,
        pause: float = 0.02,
        folder: Path | None = None,
        first: int = 0,
    ) -> None:
        """`first`: the first client's number; no two of a server may write under the same one."""
        self.server = server
        self.hosts = list(hosts)
        self.clients = [
            Client(number, server.port, hosts, pause, folder / f"client-{number}.ledger" if folder else None)
            for number in range(first, first + clients)
        ]

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(TIMEOUT + 5)

    @property
    def requests(self) -> int:
        """Requests so far."""
        return sum(client.statuses.total() for client in self.clients)

    @property
    def failures(self) -> list[Entry]:
        """The failed requests so far, oldest first."""
        return sorted((entry for client in self.clients for entry in client.failures), key=lambda entry: entry.at)

    def acknowledged(self, host: str) -> list[str]:
        """Texts of the notes that PocketBase said it had written."""
        return [write.text for write in self.writes(host)]

    def writes(self, host: str) -> list[Write]:
        """The same, with their times."""
        return [write for client in self.clients for write in client.acknowledged[host]]

    def require_nothing_failed(self) -> None:
        """Raises AssertionError with the failed requests."""
        failures = self.failures
        shown = "\n".join(str(entry) for entry in failures[:20])
        assert not failures, f"{len(failures)} of {self.requests} requests failed:\n{shown}\n{self.server.diagnosis()}"

    def require_nothing_lost(self) -> None:
        """Raises AssertionError unless each acknowledged write is there exactly once."""
        for host in self.hosts:
            there = Counter(texts(self.server, host))
            wanted = self.acknowledged(host)
            lost = [text for text in wanted if not there[text]]
            twice = [text for text in wanted if there[text] > 1]
            assert not lost, f"{host}: {len(lost)} of {len(wanted)} acknowledged writes are gone: {lost[:10]}"
            assert not twice, f"{host}: written twice: {twice[:10]}"

    def summary(self) -> str:
        """Requests by status, and how long they took."""
        statuses: Counter[int] = sum((client.statuses for client in self.clients), Counter())
        took = sorted(value for client in self.clients for value in client.took)
        if not took:
            return "no request"
        shown = {share: took[min(len(took) - 1, int(len(took) * share))] * 1000 for share in (0.5, 0.99, 0.999)}
        times = ", ".join(f"p{share * 100:g} {value:.0f} ms" for share, value in shown.items())
        writes = sum(len(self.acknowledged(host)) for host in self.hosts)
        return f"{len(took)} requests {dict(statuses)}, {writes} writes; {times}, longest {took[-1] * 1000:.0f} ms"


def texts(server: Server, host: str) -> list[str]:
    """The texts of all notes of an instance, page by page."""
    found: list[str] = []
    with server.client(host) as client:
        for page in range(1, 10_000):
            parameters = {"perPage": "500", "page": str(page), "sort": "id", "skipTotal": "1", "fields": "text"}
            answer = client.get("/api/collections/notes/records", params=parameters)
            assert answer.status_code == 200, answer.text
            items = answer.json()["items"]
            found += [item["text"] for item in items]
            if len(items) < 500:
                break
    return found


@contextlib.contextmanager
def nothing_fails(server: Server, *hosts: str, clients: int = 4) -> Iterator[Load]:
    """Load while the block runs, of which no request may fail and no write be lost."""
    with Load(server, hosts, clients=clients) as load:
        yield load
    load.require_nothing_failed()
    load.require_nothing_lost()
