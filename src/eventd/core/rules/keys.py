"""What a rule knows of each key, and how a snapshot gets it without holding up who learns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Generic, TypeVar
from weakref import ref

from eventd.core.labels import brief

Key = tuple[str, ...]
T = TypeVar("T")
MAX_SHOWN = 256  # characters of a key in its name: in a URL up to 2 KiB, of the 8 a line may have


def name_of(key: Key) -> Key:
    """By which a key is asked for: itself, its long parts cut to their beginning and a digest."""
    most = MAX_SHOWN // (len(key) or 1)
    for part in key:
        if len(part) > most:
            return tuple([brief(one, most) for one in key])
    return key


class Keys(Generic[T]):
    """By key, the longest unheard first.

    What is asked for, but by `peek`, is about to change: so it is made plain before that for each
    snapshot which may not have come to it yet.
    """

    def __init__(self) -> None:
        """None."""
        self._known: OrderedDict[Key, T] = OrderedDict()
        self._frozen: list[ref[Frozen[T]]] = []  # those that may still be read

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._known)

    def __getitem__(self, key: Key) -> T:
        """To change it. Raises KeyError."""
        one = self._known[key]
        if self._frozen:
            self._keep(key, one)
        return one

    def get(self, key: Key) -> T | None:
        """To change it; None where there is none."""
        one = self._known.get(key)
        if one is not None and self._frozen:
            self._keep(key, one)
        return one

    def hear(self, key: Key) -> T | None:
        """The same, and it is the one heard last."""
        one = self.get(key)
        if one is not None:
            self._known.move_to_end(key)
        return one

    def peek(self, key: Key) -> T | None:
        """To look at it."""
        return self._known.get(key)

    def named(self, name: Key) -> Key | None:
        """The key of that name, None where there is none."""
        if name_of(name) == name:  # nothing was cut
            return name if name in self._known else None
        first = name[0][: MAX_SHOWN // len(name)]  # spares most their digest
        alike = (key for key in self._known if key and key[0].startswith(first))
        return next((key for key in alike if name_of(key) == name), None)

    def after(self, key: Key | None, limit: int) -> list[Key]:
        """The next keys in order."""
        known = self._known
        return nsmallest(limit, known if key is None else (one for one in known if one > key))

    def add(self, key: Key, one: T) -> None:
        """A new one, heard last."""
        self._known[key] = one

    def pop(self) -> tuple[Key, T]:
        """The one longest unheard goes. Raises StopIteration where there is none."""
        key = next(iter(self._known))
        one = self[key]
        del self._known[key]
        return key, one

    def freeze(self, head: list[object], row: Callable[[Key, T], object]) -> Frozen[T]:
        """All as they are now, `head` before them; `row` makes one plain."""
        frozen = Frozen(head, list(self._known.items()), row)
        self._frozen.append(ref(frozen))
        return frozen

    def _keep(self, key: Key, one: T) -> None:
        read = [(of, frozen) for of in self._frozen if (frozen := of()) is not None]
        self._frozen = [of for of, _ in read]
        for _, frozen in read:
            frozen.keep(key, one)


class Frozen(Generic[T]):
    """Rows of a snapshot, as all was at one moment: each is made plain when it is its turn.

    All at once would take too long. It may be in another thread: what changes meanwhile is in
    `early` as it was before it changes, and what was read of it in between is thrown away.
    """

    def __init__(
        self, head: list[object], known: list[tuple[Key, T]], row: Callable[[Key, T], object]
    ) -> None:
        """`head` is plain already."""
        self._head, self._known, self.row = head, known, row
        self.early: dict[Key, object] = {}

    def keep(self, key: Key, one: T) -> None:
        """It is about to change."""
        if key not in self.early:
            self.early[key] = self.row(key, one)

    def __iter__(self) -> Iterator[object]:
        """In order."""
        yield from self._head
        for key, one in self._known:
            row = None if key in self.early else self.row(key, one)
            yield self.early.get(key, row)
