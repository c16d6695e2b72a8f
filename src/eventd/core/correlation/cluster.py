"""Clusters: incidents in the making, and what is known of those raised."""

from __future__ import annotations

from msgspec import Struct

from eventd.core.correlation import parameters as p
from eventd.core.model import Correlated, Severity


class Member(Struct, gc=False, array_like=True):
    """An alert in a cluster. Times are seconds since 1970, by eventd's clock."""

    fingerprint: str
    ci: str
    name: str
    severity: Severity
    onset: float  # of the latest episode
    since: float  # when that was received
    noisy: bool
    firing: bool
    episodes: dict[int, Correlated]  # the latest, those nobody was told of; and why each is here
    claimed: bool = False  # by a rule's incident
    steady: bool = False  # flapping: neither its clears nor its past count
    prompt: bool = False  # it was waited for already
    doubted: bool = False  # whether it still fires is not known

    @property
    def sound(self) -> bool:
        """Whether it is evidence."""
        return self.firing and not self.noisy


class Span(Struct, gc=False, array_like=True):
    """When alerts on one CI, or below it, began; and how many of them fire."""

    first: float
    last: float
    firing: int = 0
    members: int = 0  # firing or not, of those that are not noisy; of a CI

    def distance(self, t: float) -> float:
        """Seconds between `t` and the nearer end, negative before it; 0 inside."""
        return t - self.first if t < self.first else t - self.last if t > self.last else 0.0

    def take(self, t: float) -> None:
        """Another began at `t`."""
        if t < self.first:
            self.first = t
        elif t > self.last:
            self.last = t


class Pair(Struct, gc=False, array_like=True):
    """The members of one (CI, name) that fire, as one piece of evidence."""

    firing: int = 0
    severity: Severity = Severity.OK  # the gravest seen since it fires; this is what counts
    members: int = 0  # firing or not, of those that are not noisy


class Below(Struct, gc=False, array_like=True):
    """The members' CIs that depend on one CI: strengths, and when they began."""

    total: float
    most: float
    count: int
    first: float
    last: float

    def take(self, t: float) -> None:
        """Another began at `t`."""
        if t < self.first:
            self.first = t
        elif t > self.last:
            self.last = t


class Cluster(Struct, gc=False, array_like=True):
    """Alerts that belong together.

    `cis` and `below` count only alerts that are not noisy. Invariants: `firing`, `steady` and
    `prompt` members do or are so; `evidence` counts, by severity, the pairs of which any fires.
    """

    id: int
    born: float  # when its first alert was received
    members: dict[str, Member] = {}
    cis: dict[str, Span] = {}
    below: dict[str, Below] = {}
    pairs: dict[str, Pair] = {}  # by "ci\x1fname"
    evidence: list[int] = []
    names: dict[str, Span] = {}  # `firing` counts the CIs
    shapes: dict[str, int] = {}  # CIs
    stems: dict[str, float] = {}  # "name\x1fstem" → the last onset
    firing: int = 0
    all_cis: dict[str, int | None] = {}  # members; None in a snapshot of before they were counted
    last: float = 0.0  # onset
    incident: str = ""
    ruled: bool = False  # the incident is a rule's, or a person's
    raised_at: float | None = None
    resolved_at: float | None = None
    raise_at: float | None = None
    review_at: float | None = None
    reviews: int = 0
    speaks: str = ""  # "ci\x1fname" of the alert that speaks for it, once raised
    session: str = ""  # of a polled source
    surprises: dict[str, float] = {}  # CI → how much that it alerts tells; in a session
    bursts: bool = False  # of a source that never clears
    ranked: int = 0  # CIs when its root candidates were ranked last
    over_at: float | None = None
    forget_at: float | None = None
    steady: int = 0
    prompt: int = 0
    grave: dict[str, int] = {}  # name → members that fire, are not noisy, and major or worse
    held: bool = False  # a person has decided what belongs to it

    @property
    def raised(self) -> bool:
        """Whether it has an incident."""
        return self.raised_at is not None

    def weight(self) -> float:
        """The evidence there is, in alerts that are critical."""
        return sum(map(float.__mul__, p.WEIGHTS, map(float, self.evidence)))

    def due(self) -> float | None:
        """When it wants to be looked at."""
        due = self.raise_at
        for at in (self.review_at, self.over_at, self.forget_at):
            if at is not None and (due is None or at < due):
                due = at
        return due


class Whole(Struct, gc=False):
    """The clusters of one incident, and their members counted together."""

    clusters: dict[int, None] = {}
    members: int = 0
    firing: int = 0
    claimed: int = 0
    claimed_firing: int = 0
    steady: int = 0

    def count(self, member: Member, by: int) -> None:
        """There is one more like that, or one fewer."""
        self.members += by
        self.claimed += by * member.claimed
        self.steady += by * member.steady
        if member.firing:
            self.count_firing(member, by)

    def count_firing(self, member: Member, by: int) -> None:
        """One that is counted fires, or fires no more."""
        self.firing += by
        self.claimed_firing += by * member.claimed


def new(number: int, born: float) -> Cluster:
    """An empty cluster."""
    return Cluster(
        number,
        born,
        members={},
        cis={},
        below={},
        pairs={},
        evidence=[0] * len(Severity),
        names={},
        shapes={},
        stems={},
        all_cis={},
        surprises={},
        grave={},
    )
