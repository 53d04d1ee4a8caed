"""The gate: answers HAProxy's question where an instance is, and keeps the questions of held ones waiting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from pocketfleet.errors import PocketfleetError
from pocketfleet.routing import protocol
from pocketfleet.routing.protocol import Go, Question, Refuse, Restores

__all__ = ["Gate", "Go", "Question", "Refuse"]

_log = logging.getLogger(__name__)
#: Connections that may wait to be accepted: a burst on many instances at once.
_BACKLOG = 4096

Resolve = Callable[[Question], Awaitable[Go | Refuse]]


class Gate:
    """A unix socket server. A question waits while its instance is held, then `resolve` answers it.

    `resolve` is cancelled when whoever asked goes away, so a start that should go on must be shielded in there.
    A question that is open when the gate stops gets no answer: HAProxy asks again until somebody listens.
    """

    def __init__(
        self,
        socket: Path,
        resolve: Resolve,
        *,
        wake_timeout: float = 30.0,
        restoring: Callable[[str], None] = lambda instance_id: None,
    ) -> None:
        """`wake_timeout`: seconds that `resolve` may take, counted anew after a hold. `restoring` is told of instances
        whose PocketBase is about to restore a backup of its own."""
        self._socket = socket
        self._resolve = resolve
        self._wake_timeout = wake_timeout
        self._restoring = restoring
        self._holds: dict[str, asyncio.Event] = {}
        self._parked: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Future[None]] = set()

    def hold(self, instance_id: str) -> None:
        """From now on, questions about this instance wait; those in the middle of a wake too."""
        self._holds.setdefault(instance_id, asyncio.Event())

    def resume(self, instance_id: str) -> None:
        """Let the waiting questions through."""
        if released := self._holds.pop(instance_id, None):
            released.set()

    def holds(self, instance_id: str) -> bool:
        """Whether it is held now."""
        return instance_id in self._holds

    def parked(self, instance_id: str) -> int:
        """How many requests for this instance wait here, or at another door of node's, now."""
        return self._parked[instance_id]

    @contextlib.contextmanager
    def parking(self, instance_id: str) -> Iterator[None]:
        """`with`: one more waits. The edge counts it as open, but no PocketBase has it."""
        self._parked[instance_id] += 1
        try:
            yield
        finally:
            self._forget(instance_id)

    async def start(self) -> None:
        """Listen. Do this last: holds and adopted instances must be known before the first question."""
        _raise_descriptor_limit()
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, self._socket, limit=protocol.LONGEST_LINE, backlog=_BACKLOG
        )
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening and hang up without an answer."""
        if self._server is None:
            return
        self._server.close()
        for conversation in self._open:
            conversation.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.ensure_future(self._converse(reader, writer))
        self._open.add(conversation)
        try:
            await conversation
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(conversation)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await _read_question(reader)
        if isinstance(question, Restores):
            self._restoring(question.instance_id)
            writer.write(protocol.encode_noted())
            await writer.drain()
            return
        if question is None:
            return
        with self.parking(question.instance_id):
            answer = await _unless_gone(self.ask(question), reader)
        if answer is not None:
            writer.write(_encode(answer))
            await writer.drain()

    async def ask(self, question: Question) -> Go | Refuse:
        """What the edge would be told, once no hold is left; given only when none came in between."""
        while True:
            if refusal := await self._wait_while_held(question.instance_id):
                return refusal
            answer = await self._resolve_in_time(question)
            if question.instance_id not in self._holds:
                return answer

    async def _wait_while_held(self, instance_id: str) -> Refuse | None:
        try:
            async with asyncio.timeout(protocol.HOLD_TIMEOUT):
                while released := self._holds.get(instance_id):
                    await released.wait()
        except TimeoutError:
            return Refuse(503, "held", "It is being worked on, and that takes longer than it should.", 5)
        return None

    async def _resolve_in_time(self, question: Question) -> Go | Refuse:
        try:
            async with asyncio.timeout(self._wake_timeout):
                return await self._resolve(question)
        except TimeoutError:
            return Refuse(503, "wake_timeout", "It did not wake in time.", 5)
        except PocketfleetError as error:
            return _refusal(error)
        except Exception:
            _log.exception("no answer for a request", extra={"instance": question.instance_id})
            return Refuse(503, "error", "pocketfleet failed to find it; the server's log has more.", 5)

    def _forget(self, instance_id: str) -> None:
        self._parked[instance_id] -= 1
        if not self._parked[instance_id]:
            del self._parked[instance_id]


async def _read_question(reader: asyncio.StreamReader) -> Question | Restores | None:
    try:
        async with asyncio.timeout(protocol.QUESTION_TIMEOUT):
            line = await reader.readuntil(b"\n")
        return protocol.decode_told(line)
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, protocol.ProtocolError) as error:
        if not isinstance(error, asyncio.IncompleteReadError):
            _log.warning("the gate was asked something it does not understand: %s", error)
        return None


async def _unless_gone(answer: Awaitable[Go | Refuse], reader: asyncio.StreamReader) -> Go | Refuse | None:
    """The answer, or None once the other side has hung up."""
    answering = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        for task in (answering, gone):
            task.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(answering, gone, return_exceptions=True)


def _encode(answer: Go | Refuse) -> bytes:
    try:
        return protocol.encode_answer(answer)
    except protocol.ProtocolError:
        _log.exception("the gate was given an answer that cannot be said")
        return protocol.encode_answer(Refuse(503, "error", "pocketfleet failed to find it.", 5))


def _refusal(error: PocketfleetError) -> Refuse:
    retry_after = error.facts.get("retry_after")
    seconds = max(1, round(retry_after)) if isinstance(retry_after, int | float) else None
    return Refuse(error.status if error.status >= 400 else 503, error.code, error.detail, seconds)


def _raise_descriptor_limit() -> None:
    """A parked request is a descriptor here, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
