"""Absence: what says regularly that it is alive, and no longer does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime

from msgspec import Struct

from eventd.core.labels import delivery_key, fingerprint_of
from eventd.core.model import Event, Severity, Status
from eventd.core.scoring.pulse import TALKS, Pulse
from eventd.core.timers import Timers

GAPS = 20  # whose median is the cadence
GAPS_LEAST = 5  # before it is believed
MISSED = 3.6  # cadences without a beat that are silence
SLACK = 20.0  # s more
MAX_BEATING = 100_000  # the one longest unheard makes room
MAX_SOURCES = 10_000
NEVER = float("inf")
TIMER = "silent"
SILENT = " silent"  # what the name of its alert ends with


class Beat(Struct, gc=False, array_like=True):
    """Something that beats. Times are seconds since 1970."""

    source: str
    name: str
    ci: str
    service: str
    last: float  # NEVER: its cadence is known from elsewhere, no time follows it yet
    gaps: list[float]  # the newest last
    since: float  # from when on its source is listened to
    heard: int  # of its source's heartbeats until then
    silent: bool = False

    def patience(self) -> float | None:
        """Seconds without a beat after which it is silent; None while its cadence is unknown."""
        if len(self.gaps) < GAPS_LEAST:
            return None
        return MISSED * self.cadence() + SLACK

    def cadence(self) -> float:
        """Seconds between two beats, of those that were heard."""
        return sorted(self.gaps)[len(self.gaps) // 2]


class Heartbeats:
    """What beats, when each source was last heard, and who is silent.

    Silent is only what is missing while its source talks: else the source is, or the way to it.
    """

    def __init__(self, timers: Timers[tuple[str, str]], full: list[str]) -> None:
        """`timers` is the engine's, keys are (TIMER, fingerprint of the heartbeat).

        `full` is told when a table makes room.
        """
        self.beats: OrderedDict[str, Beat] = OrderedDict()
        self.pulses: OrderedDict[str, Pulse] = OrderedDict()  # by source
        self._timers, self._full = timers, full

    def beat(self, event: Event, now: float) -> Event | None:
        """Take a heartbeat; where it was silent, the event that clears its alert.

        At the cap another makes room for it, whose alert is over with that.
        """
        heard = self._hear(event.source, now)
        key = event.fingerprint
        beat = self.beats.get(key)
        if beat is None:
            self.beats[key] = Beat(
                event.source, event.name, event.ci, event.service, now, [], now, heard
            )
            if len(self.beats) > MAX_BEATING:
                gone, left = self.beats.popitem(last=False)
                self._timers.cancel((TIMER, gone))
                self._full.append("heartbeats")
                return _event(left, now, Status.CLEARED) if left.silent else None
            return None
        self.beats.move_to_end(key)
        back = _event(beat, now, Status.CLEARED) if beat.silent else None
        if not beat.silent and now > beat.last:
            beat.gaps.append(now - beat.last)
            if len(beat.gaps) > GAPS:
                del beat.gaps[0]
        beat.last = beat.since = now
        beat.heard, beat.silent = heard, False
        patience = beat.patience()
        if patience is not None:
            self._set(key, now + patience)
        return back

    def due(self, key: str, at: float) -> Event | None:
        """Its patience ran out: the event that fires its alert, unless its source is silent too."""
        beat = self.beats[key]
        patience = beat.patience() or SLACK
        if not self._talks(beat, at):
            self._set(key, at + patience / 2)
            return None
        beat.silent = True
        return _event(beat, at, Status.FIRING)

    def excuse(self, until: datetime) -> None:
        """Nothing is silent before then: nobody could listen."""
        for (kind, key), due in list(self._timers.items()):
            if kind == TIMER and due < until:
                self._timers.set((kind, key), until)

    def _hear(self, source: str, now: float) -> int:
        """How many of the source's heartbeats came, with this one."""
        pulse = self.pulses.get(source)
        if pulse is None:
            pulse = self.pulses[source] = Pulse(now, now)
            if len(self.pulses) > MAX_SOURCES:
                self.pulses.popitem(last=False)
                self._full.append("heartbeat_sources")
        else:
            self.pulses.move_to_end(source)
        pulse.hear(now)
        return pulse.count

    def _talks(self, beat: Beat, now: float) -> bool:
        """Whether others of its source came meanwhile; if not, listen to it from now on."""
        pulse = self.pulses.get(beat.source)
        if pulse is None:
            return False
        if pulse.count - beat.heard > TALKS * pulse.expected(beat.since, now):
            return True
        beat.since, beat.heard = now, pulse.count
        return False

    def _set(self, key: str, at: float) -> None:
        self._timers.set((TIMER, key), datetime.fromtimestamp(at, UTC))

    def dump(self) -> list[object]:
        """Sources, then what beats; copies."""
        pulses: list[object] = [(source, copy(one), None) for source, one in self.pulses.items()]
        return pulses + [(key, None, _copied(one)) for key, one in self.beats.items()]

    def cadences(self) -> list[object]:
        """Rows for `load`: how often each beats, as if it had not been heard of yet."""
        return [
            (key, None, Beat(b.source, b.name, b.ci, b.service, NEVER, list(b.gaps), NEVER, 0))
            for key, b in self.beats.items()
        ]

    def load(self, rows: Iterator[tuple[str, Pulse | None, Beat | None]]) -> None:
        """Take up what `dump` gave."""
        for key, pulse, beat in rows:
            if pulse is not None:
                self.pulses[key] = pulse
            if beat is not None:
                self.beats[key] = beat


def _copied(beat: Beat) -> Beat:
    twin = copy(beat)
    twin.gaps = list(beat.gaps)
    return twin


def _event(beat: Beat, at: float, status: Status) -> Event:
    """eventd's own word about it."""
    name = beat.name + SILENT
    every = round(beat.cadence(), 1)
    told = f"nothing heard for {at - beat.last:.0f} s; until then every {every:g} s"
    return Event(
        source=beat.source,
        fingerprint=fingerprint_of(beat.source, name, beat.ci, beat.service, {}),
        key=delivery_key(beat.source, name, beat.ci, beat.service, status.value, repr(at)),
        strong=False,
        status=status,
        severity=Severity.MAJOR,
        name=name,
        ci=beat.ci,
        service=beat.service,
        summary=told if status is Status.FIRING else "",
    )
