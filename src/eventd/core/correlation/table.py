"""The live clusters, found by what they contain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import exp
from typing import TypeVar

import msgspec

from eventd.core.correlation import parameters as p
from eventd.core.correlation.cluster import Below, Cluster, Member, Pair, Span, Whole, new
from eventd.core.inventory import Inventory
from eventd.core.labels import shape, stem
from eventd.core.model import Severity

_encode = msgspec.msgpack.Encoder().encode

R = TypeVar("R")
Index = dict[str, dict[int, R]]  # key → cluster → its row of that key
# What a cluster keeps of its members.
COUNTED = (
    "members",
    "cis",
    "below",
    "pairs",
    "evidence",
    "names",
    "shapes",
    "stems",
    "firing",
    "all_cis",
    "last",
    "steady",
    "prompt",
    "grave",
)


class Table:
    """Clusters by id, and indexes over them.

    Invariants: an alert is a member of one cluster at most, and `where` says of which; `on`,
    `under` and `named` hold exactly the clusters' own entries of `cis`, `below` and `names`. Rows
    are in the order in which they were made, which is what a scan of the newest goes by. `raised`
    counts exactly the members of an incident's clusters.
    """

    def __init__(self, inventory: Inventory) -> None:
        """None is live."""
        self.inventory = inventory
        self.clusters: dict[int, Cluster] = {}  # least recently joined first
        self.count = 0
        self.where: dict[str, int] = {}  # fingerprint → cluster
        self.on: Index[Span] = {}  # CI → clusters with alerts on it
        self.under: Index[Below] = {}  # CI → clusters with alerts below it
        self.named: Index[Span] = {}  # alert name → clusters
        self.raised: dict[str, Whole] = {}  # incident → its clusters
        self.waits: dict[int, list[tuple[float, str]]] = {}  # cluster → heap of since, fingerprint
        self.hubs: dict[str, tuple[float, float]] = {}  # CI → decayed strengths below it, and when
        self.storms: dict[int, None] = {}

    def open(self, born: float) -> Cluster:
        """An empty cluster."""
        self.count += 1
        cluster = self.clusters[self.count] = new(self.count, born)
        return cluster

    def give(self, cluster: Cluster, incident: str) -> None:
        """The cluster is that incident's from now on, and waits to be raised no more."""
        if cluster.incident == incident:
            return
        self._take_away(cluster)
        self.waits.pop(cluster.id, None)
        cluster.incident = incident
        self._file_raised(cluster)

    def _file_raised(self, cluster: Cluster) -> None:
        if cluster.incident:
            whole = self.raised.setdefault(cluster.incident, Whole())
            whole.clusters[cluster.id] = None
            for member in cluster.members.values():
                whole.count(member, 1)

    def _take_away(self, cluster: Cluster) -> None:
        whole = self.raised.get(cluster.incident)
        if whole is not None:
            for member in cluster.members.values():
                whole.count(member, -1)
            del whole.clusters[cluster.id]
            if not whole.clusters:
                del self.raised[cluster.incident]

    def _tally(self, cluster: Cluster, member: Member, by: int) -> None:
        """The incident has one more like that, or one fewer; where the cluster is of one."""
        if (whole := self.raised.get(cluster.incident)) is not None:
            whole.count(member, by)

    def add(self, cluster: Cluster, member: Member) -> None:
        """A firing or cleared alert that is no member of any."""
        cluster.members[member.fingerprint] = member
        self.where[member.fingerprint] = cluster.id
        cluster.firing += member.firing
        cluster.steady += member.steady
        cluster.prompt += member.prompt
        self._tally(cluster, member, 1)
        self._count(cluster, member)
        _hold(cluster, member, 1)

    def refire(self, cluster: Cluster, member: Member, onset: float) -> None:
        """A member that had cleared fires again, and is counted as `add` would."""
        member.firing = True
        member.onset = onset
        self._count_firing(cluster, member, 1)
        self._count(cluster, member)

    def _count_firing(self, cluster: Cluster, member: Member, by: int) -> None:
        cluster.firing += by
        if (whole := self.raised.get(cluster.incident)) is not None:
            whole.count_firing(member, by)

    def _count(self, cluster: Cluster, member: Member) -> None:
        ci, t = member.ci, member.onset
        cluster.last = max(cluster.last, t)
        self.clusters[cluster.id] = self.clusters.pop(cluster.id)
        cluster.all_cis.setdefault(ci, 0)
        if member.noisy:
            return
        pair = self._file_name(cluster, member)
        span = cluster.cis.get(ci)
        if span is None:
            span = cluster.cis[ci] = Span(t, t)
            self.on.setdefault(ci, {})[cluster.id] = span
            self._rise(cluster, ci, t)
            if len(cluster.cis) == p.STORM_CIS:
                self.storms[cluster.id] = None
        else:
            span.take(t)
            for c in self.inventory.ancestors(ci):
                if (below := cluster.below.get(c)) is not None:
                    below.take(t)
        if member.firing:
            span.firing += 1
            _weigh(cluster, pair, member)
            if (waits := self.waits.get(cluster.id)) is not None:
                heappush(waits, (member.since, member.fingerprint))

    def _rise(self, cluster: Cluster, ci: str, t: float) -> None:
        """The CI is one more that alerts below all that it depends on."""
        for c, reach in self.inventory.ancestors(ci).items():
            strength = reach.strength
            below = cluster.below.get(c)
            if below is None:
                below = cluster.below[c] = Below(strength, strength, 1, t, t)
                self.under.setdefault(c, {})[cluster.id] = below
            else:
                rows = self.under[c]
                rows[cluster.id] = rows.pop(cluster.id)
                below.total += strength
                below.count += 1
                below.most = max(below.most, strength)
                below.take(t)

    def _file_name(self, cluster: Cluster, member: Member) -> Pair:
        name, ci, t = member.name, member.ci, member.onset
        key = f"{ci}\x1f{name}"
        pair = cluster.pairs.get(key)
        if pair is None:
            pair = cluster.pairs[key] = Pair()
            seen = cluster.names.get(name)
            if seen is None:
                seen = cluster.names[name] = Span(t, t)
                self.named.setdefault(name, {})[cluster.id] = seen
            else:
                rows = self.named[name]
                rows[cluster.id] = rows.pop(cluster.id)
            seen.firing += 1
            kind = shape(ci)
            cluster.shapes[kind] = cluster.shapes.get(kind, 0) + 1
        cluster.names[name].take(t)
        if root := stem(ci):
            key = f"{name}\x1f{root}"
            cluster.stems[key] = max(t, cluster.stems.pop(key, t))
            if len(cluster.stems) > p.MAX_STEMS:
                del cluster.stems[next(iter(cluster.stems))]
        return pair

    def clear(self, cluster: Cluster, member: Member) -> None:
        """A firing member fires no more."""
        member.firing = False
        self._count_firing(cluster, member, -1)
        if not member.noisy:
            cluster.cis[member.ci].firing -= 1
            pair = cluster.pairs[f"{member.ci}\x1f{member.name}"]
            pair.firing -= 1
            if not pair.firing:
                cluster.evidence[pair.severity] -= 1
            if member.severity >= Severity.MAJOR:
                cluster.grave[member.name] -= 1

    def believe(self, cluster: Cluster, member: Member) -> None:
        """A noisy member, which fires, is noisy no more."""
        member.noisy = False
        self._count(cluster, member)
        _hold_sound(cluster, member, 1)

    def claim(self, cluster: Cluster, member: Member) -> None:
        """A rule has put the member into its incident."""
        self._tally(cluster, member, -1)
        member.claimed = True
        self._tally(cluster, member, 1)

    def flap(self, cluster: Cluster, member: Member, *, steady: bool) -> None:
        """The member begins or ends to flap."""
        cluster.steady += steady - member.steady
        self._tally(cluster, member, -1)
        member.steady = steady
        self._tally(cluster, member, 1)

    def drop(self, cluster: Cluster, member: Member) -> None:
        """The member leaves as it is; what it said of its CI stays behind."""
        fired = member.firing
        if fired:
            self.clear(cluster, member)
        self._tally(cluster, member, -1)
        _hold(cluster, member, -1)
        member.firing = fired
        cluster.steady -= member.steady
        cluster.prompt -= member.prompt
        del cluster.members[member.fingerprint], self.where[member.fingerprint]

    def forget(self, cluster: Cluster, member: Member) -> bool:
        """The alert is remembered no more; the cluster's CI may go with it, then True.

        Of a cluster of many goes what no other member says: else a storm that goes on would be
        without bounds.
        """
        self.drop(cluster, member)
        if max(len(cluster.pairs), len(cluster.all_cis)) <= p.KEPT:
            return False
        self._unsay(cluster, member)
        self._narrow(cluster)
        if member.ci in cluster.all_cis:
            return False
        cluster.surprises.pop(member.ci, None)
        return True

    def take_out(self, cluster: Cluster, leaving: list[Member]) -> None:
        """Members leave, and with them what no other says; but when, and how strongly at most."""
        for member in leaving:
            self.drop(cluster, member)
            self._unsay(cluster, member)
        self._narrow(cluster)

    def _unsay(self, cluster: Cluster, member: Member) -> None:
        """It has left, and what no other says of its CI goes."""
        ci = member.ci
        pair, span = cluster.pairs.get(f"{ci}\x1f{member.name}"), cluster.cis.get(ci)
        if pair is not None and not pair.members:
            self._unpair(cluster, member)
        if span is not None and not span.members:
            self._fall(cluster, ci)
        if not cluster.all_cis[ci]:
            del cluster.all_cis[ci]

    def _narrow(self, cluster: Cluster) -> None:
        """It is no storm any more where it has few CIs, and below nothing where it has none."""
        if not cluster.cis:
            for c in cluster.below:  # that another inventory counted
                _unfile(self.under, c, cluster.id)
            cluster.below.clear()
        if len(cluster.cis) < p.STORM_CIS:
            self.storms.pop(cluster.id, None)

    def _unpair(self, cluster: Cluster, member: Member) -> None:
        """Nothing of that name is on that CI any more."""
        del cluster.pairs[f"{member.ci}\x1f{member.name}"]
        kind, seen = shape(member.ci), cluster.names[member.name]
        cluster.shapes[kind] -= 1
        if not cluster.shapes[kind]:
            del cluster.shapes[kind]
        seen.firing -= 1
        if not seen.firing:
            del cluster.names[member.name]
            cluster.grave.pop(member.name, None)
            _unfile(self.named, member.name, cluster.id)

    def _fall(self, cluster: Cluster, ci: str) -> None:
        """The CI is one fewer that alerts below all that it depends on."""
        del cluster.cis[ci]
        _unfile(self.on, ci, cluster.id)
        for c, reach in self.inventory.ancestors(ci).items():
            below = cluster.below.get(c)
            if below is None:
                continue  # another inventory counted it
            below.total -= reach.strength
            below.count -= 1
            if not below.count:
                del cluster.below[c]
                _unfile(self.under, c, cluster.id)

    def since(self, cluster: Cluster) -> float:
        """When the first of what fires and is not noisy was received; there must be one.

        What is not so any more leaves the heap when it comes up: so it is no part of a snapshot.
        """
        members = cluster.members
        waits = self.waits.get(cluster.id)
        if waits is None:
            waits = [(m.since, m.fingerprint) for m in members.values() if m.sound]
            heapify(waits)
            self.waits[cluster.id] = waits
        while True:
            since, fingerprint = waits[0]
            member = members.get(fingerprint)
            if member is not None and member.sound and member.since == since:
                return since
            heappop(waits)

    def heat(self, ci: str, t: float) -> None:
        """An alert that is not noisy began: count it below all hubs it depends on."""
        hubs = self.hubs
        if len(hubs) > p.MAX_CIS:
            self.prune(t)
            hubs = self.hubs
        for c, reach in self.inventory.ancestors(ci).items():
            known = hubs.get(c)
            warm = known[0] * exp((known[1] - t) / p.HUB_FADES) if known and known[1] < t else 0.0
            if known and known[1] >= t:
                hubs[c] = (known[0] + reach.strength, known[1])
            else:
                hubs[c] = (warm + reach.strength, t)

    def warmth(self, c: str, t: float) -> float:
        """The strengths of those below `c` that began lately, faded."""
        known = self.hubs.get(c, (0.0, t))
        return known[0] * exp(-max(0.0, t - known[1]) / p.HUB_FADES)

    def remove(self, cluster: Cluster) -> None:
        """It is live no more."""
        number = cluster.id
        del self.clusters[number]
        self.storms.pop(number, None)
        self.waits.pop(number, None)
        self._take_away(cluster)
        for fingerprint in cluster.members:
            del self.where[fingerprint]
        self._unfile(cluster)

    def _unfile(self, cluster: Cluster) -> None:
        for ci in cluster.cis:
            _unfile(self.on, ci, cluster.id)
        for c in cluster.below:
            _unfile(self.under, c, cluster.id)
        for name in cluster.names:
            _unfile(self.named, name, cluster.id)

    def part(self, cluster: Cluster, leaving: list[Member], born: float) -> Cluster:
        """Some members become a cluster of their own; nothing of them stays behind."""
        for member in cluster.members.values():
            self._tally(cluster, member, -1)
        for member in leaving:
            del cluster.members[member.fingerprint]
        rest = list(cluster.members.values())
        self._unfile(cluster)
        self.storms.pop(cluster.id, None)
        self.waits.pop(cluster.id, None)
        empty = new(cluster.id, cluster.born)
        for field in COUNTED:
            setattr(cluster, field, getattr(empty, field))
        for member in rest:
            self.add(cluster, member)
        apart = self.open(born)
        for member in leaving:
            self.add(apart, member)
        return apart

    def pour(self, source: Cluster, into: Cluster) -> None:
        """All members of one become members of the other."""
        self.remove(source)
        for member in source.members.values():
            self.add(into, member)

    def prune(self, t: float) -> None:
        """Forget hubs that have cooled."""
        limit = t - p.HUB_FORGOTTEN
        self.hubs = {c: known for c, known in self.hubs.items() if known[1] > limit}

    def dump(self) -> list[object]:
        """Clusters in order, encoded at once; then shared index rows, and hubs."""
        rows: list[object] = [("count", "", self.count)]
        rows += [("cluster", "", msgspec.Raw(_encode(one))) for one in self.clusters.values()]
        rows += _dumped("on", self.on) + _dumped("under", self.under)
        rows += _dumped("named", self.named)
        rows += [("hub", c, known) for c, known in self.hubs.items()]
        return rows

    def load(self, rows: Iterator[tuple[str, str, msgspec.Raw]]) -> None:
        """Take up what `dump` gave."""
        for kind, key, raw in rows:
            match kind:
                case "count":
                    self.count = msgspec.msgpack.decode(raw, type=int)
                case "cluster":
                    self._restore(msgspec.msgpack.decode(raw, type=Cluster))
                case "hub":
                    self.hubs[key] = msgspec.msgpack.decode(raw, type=tuple[float, float])
                case "on":
                    _reorder(self.on[key], raw)
                case "under":
                    _reorder(self.under[key], raw)
                case _:
                    _reorder(self.named[key], raw)

    def _restore(self, cluster: Cluster) -> None:
        number = cluster.id
        self.clusters[number] = cluster
        if not (cluster.steady or cluster.prompt or cluster.grave):
            _count_members(cluster)
        _count_held(cluster)
        if len(cluster.cis) >= p.STORM_CIS:
            self.storms[number] = None
        self._file_raised(cluster)
        for fingerprint in cluster.members:
            self.where[fingerprint] = number
        for ci, span in cluster.cis.items():
            self.on.setdefault(ci, {})[number] = span
        for c, below in cluster.below.items():
            self.under.setdefault(c, {})[number] = below
        for name, span in cluster.names.items():
            self.named.setdefault(name, {})[number] = span


def newest(index: Index[R], key: str) -> Iterable[tuple[int, R]]:
    """The clusters joined there last, the latest first, and their rows; at most SCAN."""
    rows = index.get(key)
    return islice(reversed(rows.items()), p.SCAN) if rows else ()


def _dumped(kind: str, index: Index[R]) -> list[object]:
    """In which order clusters stand under a key; sorted: the keys' own is not remembered."""
    return [*sorted((kind, key, list(rows)) for key, rows in index.items() if len(rows) > 1)]


def _reorder(rows: dict[int, R], raw: msgspec.Raw) -> None:
    """The other way round."""
    for number in msgspec.msgpack.decode(raw, type=list[int]):
        rows[number] = rows.pop(number)


def _unfile(index: Index[R], key: str, number: int) -> None:
    """The cluster has such an entry no more."""
    rows = index[key]
    del rows[number]
    if not rows:
        del index[key]


def _count_members(cluster: Cluster) -> None:
    """What a snapshot of before these were counted does not hold; in any other it makes nothing."""
    for member in cluster.members.values():
        cluster.steady += member.steady
        cluster.prompt += member.prompt
        if member.sound and member.severity >= Severity.MAJOR:
            cluster.grave[member.name] = cluster.grave.get(member.name, 0) + 1


def _count_held(cluster: Cluster) -> None:
    """The same, of what each CI and pair is said by."""
    if None in cluster.all_cis.values():
        cluster.all_cis = dict.fromkeys(cluster.all_cis, 0)
        for member in cluster.members.values():
            _hold(cluster, member, 1)


def _hold(cluster: Cluster, member: Member, by: int) -> None:
    """One more says what the member does of its CI, or one fewer."""
    cluster.all_cis[member.ci] = (cluster.all_cis[member.ci] or 0) + by
    if not member.noisy:
        _hold_sound(cluster, member, by)


def _hold_sound(cluster: Cluster, member: Member, by: int) -> None:
    cluster.cis[member.ci].members += by
    cluster.pairs[f"{member.ci}\x1f{member.name}"].members += by


def _weigh(cluster: Cluster, pair: Pair, member: Member) -> None:
    """One more of the pair fires."""
    severity = member.severity
    if severity >= Severity.MAJOR:
        cluster.grave[member.name] = cluster.grave.get(member.name, 0) + 1
    if pair.firing and severity > pair.severity:
        cluster.evidence[pair.severity] -= 1
    if not pair.firing or severity > pair.severity:
        pair.severity = severity
        cluster.evidence[severity] += 1
    pair.firing += 1
