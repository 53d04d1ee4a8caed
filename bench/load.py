"""A load generator, in its own process: keep-alive connections, each sends its next request when it has its answer.

`python -m bench.load HOST PORT HOSTNAME PATH BODY CONNECTIONS SECONDS` prints one JSON line: requests, seconds, p50_ms,
p99_ms, cpu_us (of the generator, per request). Any answer but a whole 200 ends it with an error. One thread of Python
on raw sockets: its own time limits what can be measured, so only compare figures that it made itself.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from array import array
from dataclasses import asdict, dataclass

from bench import PROJECT
from bench.client import request, status, whole_length
from bench.figures import percentile

#: Seconds at the beginning that do not count: connections are opened, processors are warmed.
WARM_UP = 0.3


@dataclass(frozen=True, slots=True)
class Load:
    """What a run found."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    #: microseconds of processor time that the generator itself spent per request
    cpu_us: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def generate(address: tuple[str, int], host: str, path: str, body: str, connections: int, seconds: float) -> Load:
    """Run the generator as a process of its own: GETs, or POSTs of this body. Raises RuntimeError with what it said."""
    words = [*map(str, address), host, path, body, str(connections), str(seconds)]
    done = subprocess.run([sys.executable, "-m", "bench.load", *words], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr.strip().splitlines()[-1:]}")
    return Load(**json.loads(done.stdout))


class Generator:
    """The connections of one run, and how long each answer took."""

    def __init__(self, address: tuple[str, int], message: bytes, connections: int) -> None:
        self.message = message
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.began: dict[int, float] = {}
        self.partial: dict[int, bytes] = {}
        self.took = array("d")
        #: an answer of this length that begins with `head` is a whole 200: all of them are alike
        self.length = 0
        for _ in range(connections):
            opened = socket.create_connection(address, 10)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            self.sockets[opened.fileno()] = opened
            self.poll.register(opened, select.EPOLLIN)
        for descriptor in self.sockets:
            self._ask(descriptor)

    def run(self, seconds: float) -> None:
        """Take answers and ask again until the time is over; what is under way then goes on in the next run."""
        deadline = time.perf_counter() + seconds
        while (now := time.perf_counter()) < deadline:
            for descriptor, _ in self.poll.poll(min(1.0, deadline - now)):
                self._answered(descriptor)

    def _ask(self, descriptor: int) -> None:
        self.began[descriptor] = time.perf_counter()
        self.sockets[descriptor].send(self.message)

    def _answered(self, descriptor: int) -> None:
        received = self.sockets[descriptor].recv(65536)
        usual = len(received) == self.length and received.startswith(b"HTTP/1.1 200 ")
        if not usual and not self._whole(descriptor, received):
            return
        self.took.append(time.perf_counter() - self.began[descriptor])
        self._ask(descriptor)

    def _whole(self, descriptor: int, received: bytes) -> bool:
        if not received:
            raise RuntimeError("a connection was closed")
        answer = self.partial.pop(descriptor, b"") + received
        length = whole_length(answer)
        if length is None or len(answer) < length:
            self.partial[descriptor] = answer
            return False
        if status(answer) != 200 or len(answer) > length:
            raise RuntimeError(f"not a 200: {answer[:100]!r}")
        self.length = length
        return True


def main(words: list[str]) -> None:
    """One run; the result as JSON on stdout."""
    host, port, name, path, body, connections, seconds = words
    generator = Generator((host, int(port)), request(name, path, body=body, close=False), int(connections))
    generator.run(WARM_UP)
    generator.took = array("d")
    spent, began = time.process_time(), time.perf_counter()
    generator.run(float(seconds))
    lasted, spent = time.perf_counter() - began, time.process_time() - spent
    took = list(generator.took)
    p50, p99 = (1000 * percentile(took, share) for share in (0.5, 0.99))
    print(json.dumps(asdict(Load(len(took), lasted, p50, p99, 1e6 * spent / len(took)))))


if __name__ == "__main__":
    main(sys.argv[1:])
