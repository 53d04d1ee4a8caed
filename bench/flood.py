"""A flood, in its own process: `python -m bench.flood HOST PORT HOSTNAME PATH CONNECTIONS`.

It asks as fast as it is answered, takes any answer, and says a line once it has begun; it ends when terminated."""

from __future__ import annotations

import os
import select
import socket
import sys

from bench.client import request


def main(words: list[str]) -> None:
    """Until terminated. A connection that the edge closes is opened again."""
    host, port, name, path, connections = words
    # it stands for clients elsewhere, who would not take this machine's processors
    os.nice(10)
    message = request(name, path, close=False)
    poll, sockets = select.epoll(), {}

    def ask_anew() -> None:
        opened = socket.create_connection((host, int(port)), 10)
        opened.setblocking(False)
        sockets[opened.fileno()] = opened
        poll.register(opened, select.EPOLLIN)
        opened.send(message)

    for _ in range(int(connections)):
        ask_anew()
    print("begun", flush=True)
    while True:
        for descriptor, _ in poll.poll(1):
            try:
                if sockets[descriptor].recv(65536):
                    sockets[descriptor].send(message)
                    continue
            except OSError:
                pass
            poll.unregister(descriptor)
            sockets.pop(descriptor).close()
            ask_anew()


if __name__ == "__main__":
    main(sys.argv[1:])
