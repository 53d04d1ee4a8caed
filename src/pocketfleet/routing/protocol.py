"""What HAProxy's Lua and the gate say to each other, and every timeout that this conversation depends on.

One question and one answer per connection, each one line of ASCII words between single blanks:

    PF1 ASK <instance id> <fresh|stale> <cause, percent-encoded> END
    PF1 GO <address:port> END
    PF1 REFUSE <status> <code> <retry after in seconds, or -> <reason, percent-encoded> END

And one that is told, when a PocketBase has agreed to restore a backup of its own, before its client hears of it:

    PF1 RESTORES <instance id> END
    PF1 NOTED END

The last word tells a whole line from one that was cut short; whoever gets half an answer asks again. A change of
form takes a new first word: the Lua of an old HAProxy worker may ask a newer gate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

VERSION = "PF1"
ASK, GO, REFUSE, END = "ASK", "GO", "REFUSE", "END"
RESTORES, NOTED = "RESTORES", "NOTED"
FRESH, STALE = "fresh", "stale"

#: Bytes of a question or an answer; longer ones are no question of ours.
LONGEST_LINE = 8192
LONGEST_CAUSE = 200
#: Bytes of a reason, each of which may take three in a line.
LONGEST_REASON = 2400

#: Seconds between two tries of the Lua while nobody answers at the gate.
ASK_AGAIN = 0.1
#: Seconds that an answer of PocketBase waits until the gate knows of its restore, which begins a second later.
NOTICE_TIMEOUT = 0.8
#: Seconds in which a whole question must have arrived.
QUESTION_TIMEOUT = 5.0
#: Seconds that a request waits at most while its instance is held: the budget of a cutover (30 s), the way back in it.
HOLD_TIMEOUT = 40.0
#: Seconds of nothing from a client in the middle of its request or answer, after which it is gone.
CLIENT_TIMEOUT = 120.0
#: Seconds that the head of a request may take to arrive: slow clients make it, a slowloris ends.
HEAD_TIMEOUT = 30.0
#: Seconds that a client's idle connection is kept: longer than the 90 s of Go's client, so that the client ends it.
IDLE_TIMEOUT = 95.0
#: Seconds after which somebody who had too many requests open at once should try again.
AT_ONCE_AGAIN = 1
#: Bytes on their way to a client, which bound how fast one with a long way is served (2 to 5 MB/s at 100 ms; the kernel
#: takes twice as much, if `net.core.wmem_max` lets it), and on their way from a PocketBase, which is near.
CLIENT_BUFFER, SERVER_BUFFER = 256 * 1024, 64 * 1024
#: Seconds until somebody who asks too much is told so.
REFUSAL_DELAY = 0.25
#: By this header those whom a team trusts, and nobody else, say for whom they ask.
CLIENT_HEADER = "X-Pocketfleet-Client-IP"
#: Seconds that PocketBase may take to answer, and that an event stream may be silent.
ANSWER_TIMEOUT = 3600.0
#: Seconds that an upgraded connection (WebSocket) may be silent.
TUNNEL_TIMEOUT = 24 * 3600.0
#: Seconds that requests for the dashboard, or for node's entrance, wait for one that restarts.
SERVER_TIMEOUT = 15.0
#: Seconds that node may take to let somebody into an admin page: a hold and a wake, and the work itself.
ENTRANCE_TIMEOUT = 180.0

_CODE = re.compile(r"[a-z][a-z0-9_]{0,49}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}:\d{1,5}", re.ASCII)


class ProtocolError(ValueError):
    """The line is not of this protocol."""


@dataclass(frozen=True, slots=True)
class Question:
    """Where is this instance? Stale: a connection to the address it was last known at has just been refused."""

    instance_id: str
    stale: bool
    #: what asks, for the log: method and path, at most 200 printable characters
    cause: str


@dataclass(frozen=True, slots=True)
class Go:
    """It accepts connections at this address, `127.x.y.z:port`."""

    address: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot answer: what the client is told. `retry_after` in seconds; None if trying again will not help."""

    status: int
    code: str
    reason: str
    retry_after: int | None


@dataclass(frozen=True, slots=True)
class Restores:
    """This instance's PocketBase is about to restore a backup of its own."""

    instance_id: str


def encode_question(question: Question) -> bytes:
    """The line that asks; the Lua writes the same."""
    freshness = STALE if question.stale else FRESH
    return f"{VERSION} {ASK} {question.instance_id} {freshness} {quote(question.cause, safe='/')} {END}\n".encode()


def decode_question(line: bytes) -> Question:
    """The question in a line. Raises ProtocolError."""
    words = _words(line)
    if len(words) != 6 or words[1] != ASK or words[3] not in (FRESH, STALE) or not _ID.fullmatch(words[2]):
        raise ProtocolError("not a question")
    return Question(words[2], words[3] == STALE, printable(unquote(words[4], errors="replace"), LONGEST_CAUSE))


def decode_told(line: bytes) -> Question | Restores:
    """What is asked or told in a line. Raises ProtocolError."""
    words = _words(line)
    if len(words) == 4 and words[1] == RESTORES and _ID.fullmatch(words[2]):
        return Restores(words[2])
    return decode_question(line)


def encode_noted() -> bytes:
    """The line that says that it was heard."""
    return f"{VERSION} {NOTED} {END}\n".encode()


def encode_answer(answer: Go | Refuse) -> bytes:
    """The line that answers. Raises ProtocolError for an answer that cannot be said."""
    if isinstance(answer, Go):
        if not _ADDRESS.fullmatch(answer.address):
            raise ProtocolError(f"not an address: {answer.address!r}")
        return f"{VERSION} {GO} {answer.address} {END}\n".encode()
    if not 400 <= answer.status <= 599 or not _CODE.fullmatch(answer.code):
        raise ProtocolError(f"not a refusal: {answer.status} {answer.code!r}")
    retry = "-" if answer.retry_after is None else str(max(0, int(answer.retry_after)))
    whole = answer.reason.encode("utf-8", "replace")[:LONGEST_REASON]
    reason = quote(whole.decode("utf-8", "ignore"), safe="")
    return f"{VERSION} {REFUSE} {answer.status} {answer.code} {retry} {reason or '-'} {END}\n".encode()


def decode_answer(line: bytes) -> Go | Refuse:
    """The answer in a line. Raises ProtocolError, also for one that was cut short."""
    words = _words(line)
    if words[1:2] == [GO] and len(words) == 4:
        return Go(words[2])
    if words[1:2] == [REFUSE] and len(words) == 7:
        return Refuse(int(words[2]), words[3], unquote(words[5]), None if words[4] == "-" else int(words[4]))
    raise ProtocolError("not an answer")


def printable(text: str, longest: int) -> str:
    """The text with everything that could forge a line of a log replaced, and cut."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:longest])


def _words(line: bytes) -> list[str]:
    try:
        words = line.decode("ascii").removesuffix("\n").split(" ")
    except UnicodeDecodeError as error:
        raise ProtocolError("not ASCII") from error
    if not line.endswith(b"\n") or words[0] != VERSION or words[-1] != END:
        raise ProtocolError("not a whole line of this protocol")
    return words
