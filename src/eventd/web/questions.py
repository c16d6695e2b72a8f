"""What the API asks of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from eventd.core.model import (
    Alert,
    AlertJoined,
    Fact,
    Incident,
    Maintenance,
    Reason,
    Silence,
)
from eventd.core.rules.streams import Hearing
from eventd.plot import Point

T = TypeVar("T")


class State(Protocol):
    """One state of the tables. What is an iterator may be much, and is read as it is iterated."""

    def incidents(
        self, filters: Mapping[str, object], after: str, limit: int
    ) -> Iterator[tuple[Incident, bool | None]]:
        """Newest first, with the verdict on each."""
        ...

    def incident(self, incident: str) -> tuple[Incident, bool | None] | None:
        """One, or None."""
        ...

    def verdict(self, incident: str) -> bool | None:
        """What an operator said of it last, also where it is gone."""
        ...

    def timeline(self, incident: str) -> Iterator[tuple[int, Fact]]:
        """What happened to it, the newest first, numbered from 1."""
        ...

    def opening(self, incident: str) -> Fact:
        """What happened to it first."""
        ...

    def joined(self, incident: str) -> Iterator[AlertJoined]:
        """Why each alert is in it, the newest first."""
        ...

    def alerts(self, filters: Mapping[str, object], after: str, limit: int) -> Iterator[Alert]:
        """By fingerprint."""
        ...

    def alert(self, fingerprint: str) -> Alert | None:
        """One, or None."""
        ...

    def called(self, fingerprint: str) -> tuple[str, str] | None:
        """Its name and CI, or None."""
        ...

    def reasons(self, alert: Alert) -> list[Reason]:
        """Why its present or last episode is where it is, in order."""
        ...

    def silences(self, after: str, limit: int) -> Iterator[tuple[Silence, bool]]:
        """Newest first."""
        ...

    def maintenance(self, after: str, limit: int) -> Iterator[tuple[Maintenance, bool]]:
        """Newest first."""
        ...

    def audit(self, before: int, limit: int) -> Iterator[tuple[int, Fact]]:
        """Newest first."""
        ...


class Reader(Protocol):
    """Who is asked."""

    async def look(self, made: Callable[[State], T]) -> T:
        """What is `made`, off the loop, of one state of the tables."""
        ...

    async def lately(self, hearing: Hearing) -> list[Point]:
        """The latest values of a stream, in order, scored."""
        ...
