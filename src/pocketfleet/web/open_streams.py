"""The event streams that one process carries, and whose they are: nobody takes all of them."""

from __future__ import annotations

from collections import Counter

from pocketfleet.errors import TooManyOwnStreams, TooManyStreams

#: Streams that one process carries; each costs a thread that sleeps, and a descriptor.
STREAMS = 500
#: Of those, what one person has at most, and one session or token of theirs.
PER_PERSON = 100
PER_WAY_IN = 40
#: Seconds after which a client had better ask again.
_AGAIN = 10


class OpenStreams:
    """Counts those that are open, by person and by way in (a session, a token)."""

    def __init__(self) -> None:
        self._people: Counter[str] = Counter()
        self._ways: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return self._people.total()

    def enter(self, person: str, way_in: str) -> Seat:
        """A place for one more. Raises TooManyStreams, TooManyOwnStreams."""
        if self.count >= STREAMS:
            text = "Too many event streams are open on this server; try again later."
            raise TooManyStreams(text, retry_after=_AGAIN)
        for taken, most in ((self._ways[way_in], PER_WAY_IN), (self._people[person], PER_PERSON)):
            if taken >= most:
                text = f"You have {taken} live pages or event streams open already, and that is the limit. Close some."
                raise TooManyOwnStreams(text, limit=most, retry_after=_AGAIN)
        self._people[person] += 1
        self._ways[way_in] += 1
        return Seat(self, person, way_in)

    def leave(self, person: str, way_in: str) -> None:
        """For a Seat."""
        for counter, key in ((self._people, person), (self._ways, way_in)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]


class Seat:
    """One stream's place."""

    def __init__(self, streams: OpenStreams, person: str, way_in: str) -> None:
        self._streams: OpenStreams | None = streams
        self._person = person
        self._way_in = way_in

    def leave(self) -> None:
        """Somebody else may have it; nothing where it was left already."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.leave(self._person, self._way_in)
