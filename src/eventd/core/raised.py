"""Which alerts are behind those that rules fire."""

from __future__ import annotations

from collections.abc import Iterable, KeysView

MAX_LINKS = 100_000  # alerts behind alerts; beyond that no more are linked
_NOBODY: dict[str, None] = {}


class Raised:
    """Alerts of rules, and who is behind each.

    Invariants: who is linked fires; an alert is known while somebody is behind it.
    """

    def __init__(self, full: list[str]) -> None:
        """None; `full` is told when there is no room."""
        self._full = full
        self._behind: dict[str, dict[str, None]] = {}
        self._of: dict[str, dict[str, None]] = {}  # the other way round
        self._links = 0

    def behind(self, raised: str) -> KeysView[str]:
        """Who is behind the alert, the longest first."""
        return self._behind.get(raised, _NOBODY).keys()

    def link(self, raised: str, alerts: Iterable[str]) -> list[str]:
        """They are behind the alert from now on. Those that were not before."""
        behind = self._behind.setdefault(raised, {})
        new = [alert for alert in alerts if alert not in behind]
        room = MAX_LINKS - self._links
        if len(new) > room:
            self._full.append("raised")
            new = new[:room]
        for alert in new:
            behind[alert] = None
            self._of.setdefault(alert, {})[raised] = None
        self._links += len(new)
        if not behind:
            del self._behind[raised]
        return new

    def cleared(self, fingerprint: str) -> list[str]:
        """It fires no more. The alerts that nobody is behind with that."""
        self.drop(fingerprint)
        over: list[str] = []
        for raised in self._of.pop(fingerprint, ()):
            behind = self._behind[raised]
            del behind[fingerprint]
            self._links -= 1
            if not behind:
                del self._behind[raised]
                over.append(raised)
        return over

    def drop(self, raised: str) -> None:
        """Nobody is behind the alert any more."""
        for alert in self._behind.pop(raised, ()):
            self._links -= 1
            of = self._of[alert]
            del of[raised]
            if not of:
                del self._of[alert]

    def dump(self) -> list[object]:
        """Each alert, and who is behind it, in order."""
        return [(raised, list(behind)) for raised, behind in self._behind.items()]

    def load(self, rows: Iterable[tuple[str, list[str]]]) -> None:
        """Take up what `dump` gave."""
        for raised, alerts in rows:
            self.link(raised, alerts)
