"""A client that never stops asking, one request after the other: what it noticed is the figure."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

from bench.client import request, status

#: Seconds between two requests, so that the client itself weighs nothing.
PAUSE = 0.002


class Asker:
    """Asks on a new connection each time, no retries. A failed request counts as status 0."""

    def __init__(self, address: tuple[str, int], host: str, path: str, body: str = "") -> None:
        self._address = address
        self._request = request(host, path, body=body)
        self._ended = threading.Event()
        #: milliseconds of each request, in order
        self.took: list[float] = []
        self.statuses: Counter[int] = Counter()

    @property
    def longest(self) -> float:
        """Milliseconds of the longest request."""
        return max(self.took)

    @property
    def failed(self) -> int:
        """How many were not answered with 200."""
        return self.statuses.total() - self.statuses[200]

    @contextlib.contextmanager
    def asking(self) -> Iterator[Asker]:
        """Asks from another thread, until the block is over and the last request is answered."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield self
            # the one that was held ends after the operation does
            time.sleep(0.1)
        finally:
            self._ended.set()
            thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            began = time.perf_counter()
            self.statuses[self._one()] += 1
            self.took.append((time.perf_counter() - began) * 1000)
            time.sleep(PAUSE)

    def _one(self) -> int:
        received = b""
        with contextlib.suppress(OSError), socket.create_connection(self._address, 120) as connection:
            connection.sendall(self._request)
            while piece := connection.recv(65536):
                received += piece
        return status(received)
