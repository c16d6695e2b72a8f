"""What has come over HTTP and is not decoded yet: bounded, and decoded in turn."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from eventd.errors import Overloaded, OverShare

LARGE = 16 << 10  # bytes that take about a millisecond to decode


class Lobby:
    """Bodies being read, and those that wait to be decoded, bounded in bytes.

    As in the inbox a source finds room while it holds no more than is still free. Of each source
    one large body is decoded in a round of the loop: a hundred that have come together hold up
    those of others no longer than one.
    """

    def __init__(self, max_bytes: int) -> None:
        """Of all bodies together."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: Counter[str] = Counter()  # bytes by source
        # By source that had its turn in this round: who comes next.
        self._next: dict[str, deque[asyncio.Future[None]]] = {}

    def take(self, source: str, size: int) -> None:
        """Make room for so many bytes more. Raise Overloaded where there is none."""
        used = self._bytes + size
        if self._held[source] + used > self._max_bytes:
            raise Overloaded if used > self._max_bytes else OverShare(source)
        self._bytes = used
        self._held[source] += size

    def give_back(self, source: str, size: int) -> None:
        """What was taken."""
        self._bytes -= size
        self._held[source] -= size

    async def turn(self, source: str) -> None:
        """Return when it may decode a large one."""
        loop = asyncio.get_running_loop()
        waiting = self._next.get(source)
        if waiting is None:
            self._next[source] = deque()
            loop.call_soon(self._pass_on, source)
            return
        future: asyncio.Future[None] = loop.create_future()
        waiting.append(future)
        await future

    def _pass_on(self, source: str) -> None:
        waiting = self._next[source]
        while waiting:
            future = waiting.popleft()
            if not future.done():  # its sender may have gone
                future.set_result(None)
                asyncio.get_running_loop().call_soon(self._pass_on, source)
                return
        del self._next[source]


class Guest:
    """What one request holds in the lobby."""

    __slots__ = ("_lobby", "_size", "_source")

    def __init__(self, lobby: Lobby, source: str) -> None:
        """Nothing yet."""
        self._lobby, self._source, self._size = lobby, source, 0

    def take(self, size: int) -> None:
        """So many bytes more. Raises Overloaded."""
        self._lobby.take(self._source, size)
        self._size += size

    def leave(self) -> None:
        """Hold nothing any more; more than once is no harm."""
        if self._size:
            self._lobby.give_back(self._source, self._size)
            self._size = 0
