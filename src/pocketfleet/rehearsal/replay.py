"""Asking a rehearsed PocketBase, one request after the other, and what is kept of its answers."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pocketfleet.rehearsal.identities import Identity, Minter
from pocketfleet.rehearsal.requests import Ask
from pocketfleet.runtime.errands import Errand

#: Seconds that one answer may take, its body included.
PATIENCE = 5.0
#: Bytes of a body that are kept to be compared; of a longer one the checksum alone.
_MOST_BODY = 4 * 1024**2
#: Bytes after which reading a body is given up.
_LONGEST_BODY = 64 * 1024**2
_PIECE = 64 * 1024
#: Headers that say something about the answer; the rest varies or is the server's own.
_HEADERS = ("content-type", "content-disposition", "location")
#: What may stand in a request line as it is; all else is percent-encoded.
_PLAIN = "/?#[]@!$&'()*+,;=:%-._~"
_LONGEST_SOCKET_PATH = 100
#: Seconds that a file token is used for; PocketBase's last two or three minutes.
_FILE_TOKEN_LIFE = 45.0


#: The trouble of a request that ended PocketBase.
ENDED = "ended"
#: Told how many requests are done.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what `content` unpacks. Status 0 is none: `trouble` then is timeout, hung up, closed or ended."""

    status: int
    took_ms: float
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    sha256: str = ""
    trouble: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_whole(self) -> bool:
        """Whether all of the body was kept."""
        return self.size <= _MOST_BODY

    def content(self) -> Any:
        """The JSON of the body, None for anything else."""
        if not self.body or "json" not in self.content_type:
            return None
        try:
            return json.loads(zlib.decompress(self.body))
        except ValueError:
            return None


class Player:
    """Asks one clone everything, as whoever each request says, with tokens minted from the clone's own data."""

    def __init__(
        self, client: Client, minter: Minter, errand: Errand, has_ended: Callable[[], bool] = lambda: False
    ) -> None:
        """`has_ended`: asked after a request without an answer, whether it ended PocketBase, which is back by then."""
        self._client = client
        self._minter = minter
        self._errand = errand
        self._has_ended = has_ended
        self._file_tokens: dict[Identity, tuple[float, str]] = {}

    def ask(self, ask: Ask, identity: Identity | None = None) -> Answer:
        """The answer to one request, as somebody else if told so."""
        self._errand.check()
        answer = self._ask(ask, identity or ask.identity)
        if answer.trouble and self._has_ended():
            return replace(answer, trouble=ENDED)
        return answer

    def _ask(self, ask: Ask, who: Identity) -> Answer:
        if not ask.file_token:
            return self._client.ask(ask.method, ask.path, token=self._minter.token(who), body=ask.body)
        between = "&" if "?" in ask.path else "?"
        return self._client.ask(ask.method, f"{ask.path}{between}token={self._file_token(who)}")

    def reproduce(
        self, asks: Iterable[Ask], progress: Progress, seconds: float
    ) -> tuple[list[Ask], list[Answer], list[Ask]]:
        """The first round, on the old release: what can be asked from now on, its answers, and what cannot.

        A request of the log is asked as each of its candidates until the status is the one in the log. What takes too
        long or ends PocketBase is left out with all others of its pattern, and so is what comes after so many seconds.
        """
        kept: list[tuple[Ask, Answer]] = []
        lost: list[Ask] = []
        slow: set[str] = set()
        end = time.monotonic() + seconds
        for number, ask in enumerate(asks):
            progress(number)
            found = None if ask.pattern in slow or time.monotonic() > end else self._settled(ask)
            if found is None:
                lost.append(ask)
            elif found[1].trouble in ("timeout", ENDED):
                slow.add(ask.pattern)
                lost.append(ask)
            else:
                kept.append(found)
        lost += [ask for ask, _ in kept if ask.pattern in slow]
        kept = [(ask, answer) for ask, answer in kept if ask.pattern not in slow]
        return [ask for ask, _ in kept], [answer for _, answer in kept], lost

    def play(self, asks: Iterable[Ask], progress: Progress, seconds: float | None = None) -> list[Answer]:
        """Requests in their order; as many as go into so many seconds."""
        answers: list[Answer] = []
        end = time.monotonic() + seconds if seconds is not None else None
        for number, ask in enumerate(asks):
            if end is not None and time.monotonic() > end:
                break
            answers.append(self.ask(ask))
            progress(number + 1)
        return answers

    def _settled(self, ask: Ask) -> tuple[Ask, Answer] | None:
        if not ask.candidates:
            return ask, self.ask(ask)
        for identity in ask.candidates:
            answer = self.ask(ask, identity)
            if answer.status == ask.logged_status:
                return replace(ask, identity=identity), answer
        return None

    def _file_token(self, identity: Identity) -> str:
        made, token = self._file_tokens.get(identity, (0.0, ""))
        if time.monotonic() - made > _FILE_TOKEN_LIFE:
            answer = self._client.ask("POST", "/api/files/token", token=self._minter.token(identity))
            token = str((answer.content() or {}).get("token", ""))
            self._file_tokens[identity] = (time.monotonic(), token)
        return token


class Client:
    """A connection to one clone; blocking, for use in one thread."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, *, token: str = "", body: Any = None) -> Answer:
        """Never raises for what the other side does. Asks again where a connection was closed since its last use."""
        headers = {"Authorization": token} if token else {}
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        begun = time.monotonic()
        reused = self._connection is not None
        answer = self._try(method, path, headers, data, begun)
        if reused and answer.trouble == "hung up":
            answer = self._try(method, path, headers, data, begun)
        return answer

    def close(self) -> None:
        """The next request makes a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, method: str, path: str, headers: dict[str, str], data: bytes | None, begun: float) -> Answer:
        end = begun + self._patience
        try:
            connection = self._connected(end)
            connection.request(method, quote(path, safe=_PLAIN), body=data, headers=headers)
            return self._read(connection, connection.getresponse(), begun, end)
        except TimeoutError:
            trouble = "timeout"
        except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
            trouble = "hung up"
        except (OSError, http.client.HTTPException):
            trouble = "closed"
        self.close()
        return Answer(0, _ms(begun), trouble=trouble)

    def _connected(self, end: float) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1")
            self._connection.sock = _connect(self._path)
        _limit(self._connection, end)
        return self._connection

    def _read(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, begun: float, end: float
    ) -> Answer:
        digest, kept, size = hashlib.sha256(), bytearray(), 0
        while True:
            _limit(connection, end)
            piece = response.read1(_PIECE)
            if not piece:
                break
            size += len(piece)
            digest.update(piece)
            if size <= _MOST_BODY:
                kept += piece
            if size > _LONGEST_BODY:
                self.close()
                break
        if response.will_close:
            self.close()
        # read piece by piece, it does not notice its own end
        response.close()
        headers = {name: response.getheader(name, "") for name in _HEADERS if response.getheader(name)}
        body = zlib.compress(bytes(kept), 1) if size <= _MOST_BODY else b""
        return Answer(response.status, _ms(begun), headers, body, size, digest.hexdigest())


def _limit(connection: http.client.HTTPConnection, end: float) -> None:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _ms(begun: float) -> float:
    return round((time.monotonic() - begun) * 1000, 1)


def _connect(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as short:
            connected.connect(short)
    except OSError:
        connected.close()
        raise
    return connected


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A path that fits into a socket's address."""
    if len(os.fsencode(path)) < _LONGEST_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
