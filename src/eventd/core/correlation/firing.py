"""What the correlation is told of an alert that begins to fire."""

from __future__ import annotations

from msgspec import Struct

from eventd.core.model import Alert


class Session(Struct, frozen=True, gc=False):
    """Where an alert of a polled source stands."""

    key: str
    gap: float  # s; without anything that end the session
    most: float  # s it lasts at most
    surprise: float  # how much it tells that this CI alerts


class Firing(Struct, frozen=True, gc=False):
    """The alert, and what is known of it. Times are seconds since 1970."""

    alert: Alert
    onset: float  # when it really began
    now: float
    claimed: str = ""  # the incident a rule put it into
    steady: bool = False  # it flaps: neither its clears nor its past count
    prompt: bool = False  # it was waited for already
    strange: bool = False  # a measurement is: it tells of itself alone
    trend: bool = False  # and has been for an hour, steadily: nothing that alerts explains that
    doubted: bool = False  # whether it still fires is not known
    burst: bool = False  # its source never clears
    goes_on: bool = False  # its CI said something else a moment ago
    session: Session | None = None  # its source looks once a period

    @property
    def ci(self) -> str:
        """What it is about: its service where it names no CI."""
        return self.alert.ci or self.alert.service
