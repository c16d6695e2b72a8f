"""What the correlation decided: the engine carries it out."""

from __future__ import annotations

from msgspec import Struct

from eventd.core.model import Correlated, RootCandidate, Why


class Placed(Struct, frozen=True, gc=False):
    """An episode belongs to the cluster's incident."""

    fingerprint: str
    episode: int
    because: Correlated


class Raise(Struct, frozen=True, gc=False):
    """The cluster becomes an incident. The engine answers with `Correlation.named`."""

    cluster: int
    lead: str  # fingerprint of the alert that speaks for it
    title: str
    placed: tuple[Placed, ...]
    roots: tuple[RootCandidate, ...]
    recurs: str = ""  # the incident this is the recurrence of


class Join(Struct, frozen=True, gc=False):
    """Episodes join the cluster's incident."""

    cluster: int
    incident: str
    placed: tuple[Placed, ...]


class Merge(Struct, frozen=True, gc=False):
    """Two incidents are one: `incident` goes into `into`."""

    incident: str
    into: str
    because: Correlated


class Split(Struct, frozen=True, gc=False):
    """Some of an incident's alerts have another root: the cluster they are becomes its own."""

    incident: str
    raised: Raise


class Detach(Struct, frozen=True, gc=False):
    """An episode does not belong there after all: it cleared at once, as it often does."""

    incident: str
    fingerprint: str
    episode: int


class Over(Struct, frozen=True, gc=False):
    """Nearly nothing of the cluster's incident fires any more."""

    cluster: int
    incident: str


class LetGo(Struct, frozen=True, gc=False):
    """The cluster is forgotten for room: the incident resolves as a rule's does from now on."""

    incident: str


class Rank(Struct, frozen=True, gc=False):
    """The incident's root candidates are others now."""

    incident: str
    roots: tuple[RootCandidate, ...]


class Alone(Struct, frozen=True, gc=False):
    """An episode opens and joins nothing; `near` is what it was nearest to."""

    fingerprint: str
    episode: int
    why: Why
    near: Correlated | None = None
    blips: int = 0  # of its check, where that cries wolf
    reals: int = 0


Verdict = Raise | Join | Merge | Split | Detach | Over | LetGo | Rank | Alone
