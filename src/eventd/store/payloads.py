"""Recently stored payloads: a byte-identical one is not stored again."""

from __future__ import annotations

from collections import OrderedDict

from xxhash import xxh3_128_digest

# Below this a reference saves less than looking it up costs.
MIN_SIZE = 4096
# How many are remembered: about 150 bytes each.
MAX_RECENT = 4096
# Microseconds a payload is referred to. Retention keeps payloads for so much longer.
REUSE_FOR = 3600 * 1_000_000


class RecentPayloads:
    """Where payloads are stored, the longest known out first.

    They are told apart by source and a seeded 128-bit hash: whoever could make two collide would
    mislead only the export of their own raw deliveries.
    """

    def __init__(self, seed: int) -> None:
        """`seed` is unknown to senders."""
        self._seed = seed
        self._known: OrderedDict[tuple[str, bytes], tuple[int, int]] = OrderedDict()
        self._new: dict[tuple[str, bytes], tuple[int, int]] = {}

    def place(self, source: str, payload: bytes, seq: int, now: int) -> int | None:
        """The row that holds the payload already; None: this one shall, if it commits."""
        if len(payload) < MIN_SIZE:
            return None
        key = (source, xxh3_128_digest(payload, self._seed))
        stored = self._known.get(key) or self._new.get(key)
        if stored is not None and now - stored[1] <= REUSE_FOR:
            return stored[0]
        self._new[key] = (seq, now)
        return None

    def committed(self) -> None:
        """What was placed since the last call is durable."""
        known = self._known
        for key, stored in self._new.items():
            known[key] = stored
            known.move_to_end(key)
        self._new.clear()
        while len(known) > MAX_RECENT:
            known.popitem(last=False)

    def rolled_back(self) -> None:
        """What was placed since the last `committed` is not there."""
        self._new.clear()

    def clear(self) -> None:
        """Rows may be gone: know none."""
        self._known.clear()
        self._new.clear()
