"""What is known and shall open nothing: silences and maintenance windows, by what they match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from msgspec.structs import replace

from eventd.core.model import Alert, Maintenance, Settings, Silence, Window, seconds
from eventd.core.rules.index import SelectorIndex

MAX_OF_A_NAME = 256  # windows of one CI or service: each alert there looks at all of them
NAMES_A_WINDOW = 10  # on average: a name takes up to 1.5 kB, all there may be 150 MB

_Filed = dict[str, dict[str, None]]  # ids of windows by the name of a CI or service


class Suppressions:
    """Silences and maintenance windows in force or to come.

    Invariant: `holds` names exactly the firing alerts each of them suppresses. An alert is
    suppressed by one at a time: the oldest silence that matches, else the oldest window.
    """

    def __init__(self) -> None:
        """None."""
        self.silences: dict[str, Silence] = {}
        self.windows: dict[str, Maintenance] = {}
        self._announced: dict[str, str] = {}  # fingerprint of the announcement → window id
        self._announcement: dict[str, str] = {}  # the other way round
        self.names = 0  # of CIs and services, in all windows
        self._holds: dict[str, dict[str, None]] = {}
        self._index: SelectorIndex[str] | None = SelectorIndex()
        self._by_ci: _Filed = {}
        self._by_service: _Filed = {}

    def cover(self, alert: Alert, now: datetime, settings: Settings) -> str:
        """The id of what suppresses the alert now, or ""."""
        if self.silences:
            if self._index is None:
                self._index = SelectorIndex((s.id, [s.matchers]) for s in self.silences.values())
            for silence in self._index.matching(alert):
                return silence
        if self.windows:
            lead, grace = seconds(settings.maintenance_lead), seconds(settings.maintenance_grace)
            for found in (self._by_ci.get(alert.ci), self._by_service.get(alert.service)):
                for window in found or ():
                    span = self.windows[window].window
                    if span.starts_at - lead <= now < span.ends_at + grace:
                        return window
        return ""

    def hold(self, by: str, fingerprint: str) -> None:
        """The firing alert is suppressed by this one."""
        self._holds.setdefault(by, {})[fingerprint] = None

    def release(self, by: str, fingerprint: str) -> None:
        """The alert cleared, or is suppressed no more."""
        held = self._holds[by]
        del held[fingerprint]
        if not held:
            del self._holds[by]

    def held(self, prefix: str) -> list[tuple[str, list[str]]]:
        """What suppresses alerts and begins so, and which alerts, sorted."""
        found = ((by, sorted(held)) for by, held in self._holds.items() if by.startswith(prefix))
        return sorted(found)

    def add_silence(self, silence: Silence) -> None:
        """In force from now."""
        self.silences[silence.id] = silence
        self._index = None

    def announced(self, announcement: str) -> Maintenance | None:
        """The window this announcement made, if it is known still."""
        return self.windows.get(self._announced.get(announcement, ""))

    def has_room(self, window: Window, before: Maintenance | None, most: int) -> bool:
        """Whether `most` windows may have this one too, or instead of `before`."""
        more = _names(window) - (_names(before.window) if before is not None else 0)
        full = before is None and len(self.windows) >= most
        if full or (more > 0 and self.names + more > most * NAMES_A_WINDOW):
            return False
        own = before.id if before is not None else ""
        filed = (table.get(name, {}) for table, names in self._filed(window) for name in names)
        return all(len(ids) - (own in ids) < MAX_OF_A_NAME for ids in filed)

    def add_window(self, maintenance: Maintenance, announcement: str) -> None:
        """Known from now, instead of the window the same announcement made before."""
        before = self._announced.get(announcement)
        if before is not None:
            self._unfile(before)
        self._announced[announcement] = maintenance.id
        self._announcement[maintenance.id] = announcement
        self.windows[maintenance.id] = maintenance
        window = maintenance.window
        self.names += _names(window)
        for table, names in self._filed(window):
            for name in filter(None, names):  # "" is what an alert without one has
                table.setdefault(name, {})[maintenance.id] = None

    def rename(self, seen: Callable[[Window], Window]) -> None:
        """CIs and services go by other names from now on: so do those of every window."""
        for one in list(self.windows.values()):
            self.add_window(replace(one, window=seen(one.window)), self._announcement[one.id])

    def end(self, by: str) -> list[str]:
        """End a silence or window. The fingerprints it holds, sorted: to be judged again, each."""
        if self.silences.pop(by, None) is not None:
            self._index = None
        elif by in self.windows:
            self._unfile(by)
        return sorted(self._holds.get(by, ()))

    def _unfile(self, by: str) -> None:
        window = self.windows.pop(by).window
        del self._announced[self._announcement.pop(by)]
        self.names -= _names(window)
        for table, names in self._filed(window):
            for name in names:
                filed = table.get(name, {})
                filed.pop(by, None)
                if not filed:
                    table.pop(name, None)

    def _filed(self, window: Window) -> tuple[tuple[_Filed, tuple[str, ...]], ...]:
        return (self._by_ci, window.cis), (self._by_service, window.services)

    def dump(self) -> list[object]:
        """Announcement (or "") beside each."""
        silences: list[object] = [("", s, None) for s in self.silences.values()]
        return silences + [(self._announcement[w.id], None, w) for w in self.windows.values()]

    def load(self, rows: Iterator[tuple[str, Silence | None, Maintenance | None]]) -> None:
        """Take up what `dump` gave; holds are told again by their owner."""
        for announcement, silence, maintenance in rows:
            if silence is not None:
                self.add_silence(silence)
            if maintenance is not None:
                self.add_window(maintenance, announcement)


def _names(window: Window) -> int:
    return len(window.cis) + len(window.services)
