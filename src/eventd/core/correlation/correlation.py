"""The automatic correlation: the last word on alerts that no rule claims."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import inf

import msgspec

from eventd.core.correlation import parameters as p
from eventd.core.correlation.affinity import Link, Links, explained, links
from eventd.core.correlation.cluster import Cluster, Member
from eventd.core.correlation.firing import Firing, Session
from eventd.core.correlation.noise import Noise
from eventd.core.correlation.onset import Onsets
from eventd.core.correlation.roots import rank
from eventd.core.correlation.split import parts, roots_apart
from eventd.core.correlation.table import Table
from eventd.core.correlation.verdicts import (
    Alone,
    Detach,
    Join,
    LetGo,
    Merge,
    Over,
    Placed,
    Raise,
    Rank,
    Split,
    Verdict,
)
from eventd.core.inventory import Inventory
from eventd.core.model import Alert, Correlated, RootCandidate, Severity, Tie, Why
from eventd.core.snapshot import Restored
from eventd.core.timers import Timers

SOON = 1e-3  # s; a timer's time is rounded to microseconds
GUESSED = (Tie.DEPENDS, Tie.COMMON, Tie.ALIKE, Tie.ISLAND)  # from what the CI suffers of
NOTHING = Link(0.0, Tie.OPENS)
TIMER = "cluster"
# In a storm, an alert that follows from one that is known asks for no hub that says nothing: else
# the storm would make every hub of its own an explanation for whatever else goes on.
EXPLAINED = (Tie.SAME, Tie.DEPENDS)


class Correlation:
    """Clusters of alerts, moved by what fires and clears and by their own timers.

    Times are seconds since 1970. Each method returns what it decided, in order.
    """

    def __init__(self, timers: Timers[tuple[str, str]], full: list[str]) -> None:
        """`timers` is the engine's, with keys (TIMER, number); `full` names tables at caps."""
        self.table = Table(Inventory())
        self.noise = Noise(full)
        self.onsets = Onsets(full)
        self.changes: OrderedDict[str, float] = OrderedDict()  # CI → when it was changed last
        self.past: OrderedDict[str, str] = OrderedDict()  # what spoke → for which incident
        self.bursts: dict[str, int] = {}  # CI → cluster
        self.sessions: dict[str, int] = {}  # key → cluster
        self._timers, self._full = timers, full

    # -- what happens -------------------------------------------------------------------------

    def fired(self, firing: Firing) -> list[Verdict]:
        """An alert began to fire."""
        alert, now = firing.alert, firing.now
        if alert.severity <= Severity.INFO and not firing.claimed:
            return [Alone(alert.fingerprint, alert.episode, Why.INFO)]
        said: list[Verdict] = []
        ci, noisy = firing.ci, self._is_noisy(firing)
        found = self._candidates(firing, noisy=noisy)
        cluster, link, because = self._choose(firing, found, noisy=noisy)
        if cluster is None:
            self._make_room(said)
        cluster = self._enter(firing, cluster, because, said, noisy=noisy)
        if not noisy and not (link.tie in EXPLAINED and cluster.id in self.table.storms):
            self.table.heat(ci, firing.onset)
        cluster.resolved_at = cluster.forget_at = None
        self._wane(cluster, now)
        if firing.claimed:
            said += self._claim(cluster, firing.claimed, now)
        elif cluster.incident:
            placed = Placed(alert.fingerprint, alert.episode, because)
            said.append(Join(cluster.id, cluster.incident, (placed,)))
        if not noisy and link is not NOTHING:
            cluster = self._merge_others(cluster, ci, found, link, now, said)
        self._schedule(cluster, now)
        self._arm(cluster)
        return said

    def _is_noisy(self, firing: Firing) -> bool:
        """Whether the alert opens nothing by itself and is evidence of nothing."""
        if firing.strange and not firing.claimed:
            return True  # what it opens, it opens alone
        if firing.claimed or firing.steady or firing.prompt:
            return False
        if firing.burst:
            return True
        if firing.session is not None:
            return False
        return firing.doubted or self.noise.of(firing.alert.name).noisy

    def _candidates(self, firing: Firing, *, noisy: bool) -> Links:
        """The clusters it may belong to."""
        ci = firing.ci
        if firing.trend:
            return {}
        if firing.burst:
            return self._in_burst(ci) if firing.goes_on else {}
        if firing.session is not None:
            return self._in_session(firing.session, firing.onset)
        at_hand = None if noisy else self._at_hand(ci, firing.onset)
        if at_hand is not None:
            return at_hand
        found = self._found(ci, firing.alert.name, firing.onset, firing.now)
        if not firing.strange:
            return found
        since, clusters = firing.onset - p.STRANGE_WITHIN, self.table.clusters
        return {number: link for number, link in found.items() if clusters[number].last > since}

    def _choose(
        self, firing: Firing, found: Links, *, noisy: bool
    ) -> tuple[Cluster | None, Link, Correlated]:
        """The cluster it belongs to, None where it is the first of its own; and why."""
        best, second = _best(found)
        noise = self.noise.of(firing.alert.name).noise if noisy else 0.0
        needed = p.STRANGE if firing.strange else p.JOIN + p.NOISY_MARGIN * noise
        if (home := self._bound(firing.alert.fingerprint)) is not None:
            other = second if best[0] == home.id else best
            link = Link(1.0, Tie.SAME, firing.ci)
            return home, link, self._because(link, needed, other)
        if best[1].score >= needed:
            cluster, link, other = self.table.clusters[best[0]], best[1], second
        else:
            cluster, link, other = None, NOTHING, best
        if firing.claimed:
            return cluster, link, Correlated(Tie.CLAIMED, 1.0, 0.0)
        return cluster, link, self._because(link, needed, other)

    def _enter(
        self,
        firing: Firing,
        cluster: Cluster | None,
        because: Correlated,
        said: list[Verdict],
        *,
        noisy: bool,
    ) -> Cluster:
        """Make it a member, of the cluster or of one of its own.

        Its earlier episodes are kept while nobody was told of them, and no more than some.
        """
        alert, ci = firing.alert, firing.ci
        episodes: dict[int, Correlated] = {}
        known = self._member(alert.fingerprint)
        if known is not None:
            self.table.drop(*known)
            if cluster is not known[0]:
                self._left(known[0], firing.now)
            elif not cluster.incident:
                episodes = known[1].episodes
                if len(episodes) >= p.MAX_EPISODES:
                    oldest = next(iter(episodes))
                    said.append(self._alone(cluster, known[1], oldest, episodes.pop(oldest)))
        if cluster is None:
            cluster = self._open(firing)
        if firing.session is not None:
            told = cluster.surprises.get(ci, 0.0)
            cluster.surprises[ci] = max(told, firing.session.surprise)
        episodes[alert.episode] = because
        member = Member(
            alert.fingerprint,
            ci,
            alert.name,
            alert.severity,
            firing.onset,
            firing.now,
            noisy,
            firing=True,
            episodes=episodes,
            claimed=bool(firing.claimed),
            steady=firing.steady,
            prompt=firing.prompt,
            doubted=firing.doubted,
        )
        self.table.add(cluster, member)
        return cluster

    def _open(self, firing: Firing) -> Cluster:
        cluster = self.table.open(firing.now)
        if firing.burst:
            cluster.bursts = True
            self.bursts[firing.ci] = cluster.id
        if firing.session is not None:
            cluster.session = firing.session.key
            self.sessions[firing.session.key] = cluster.id
        return cluster

    def knows(self, ci: str) -> bool:
        """Whether the inventory does: only then a claimed alert tells anything of others."""
        return self.table.inventory.knows(ci)

    def worsened(self, alert: Alert, claimed: str, now: float) -> list[Verdict]:
        """A firing alert is graver than before: as if it began again where it stands."""
        known = self._member(alert.fingerprint)
        if known is None or not known[1].firing:  # its source called it information so far
            # or it is a storm's, or a rule's on a CI that nobody knows
            return [] if claimed else self.fired(Firing(alert, now, now))
        cluster, member = known
        said: list[Verdict] = []
        self.table.clear(cluster, member)
        member.severity = alert.severity
        self.table.refire(cluster, member, now)
        if not member.noisy:
            self.table.heat(member.ci, now)
            if cluster.resolved_at is None:  # only what fires anew reopens it
                found = self._found(member.ci, member.name, now, now)
                own = Link(1.0, Tie.SAME, member.ci)
                cluster = self._merge_others(cluster, member.ci, found, own, now, said)
        self._wane(cluster, now)
        self._schedule(cluster, now)
        self._arm(cluster)
        return said

    def claimed(self, fingerprints: Iterable[str], incident: str, now: float) -> list[Verdict]:
        """A rule put alerts that fire already into its incident."""
        clusters: dict[int, Cluster] = {}
        for fingerprint in fingerprints:
            known = self._member(fingerprint)
            if known is not None:
                self.table.claim(*known)
                clusters[known[0].id] = known[0]
        said: list[Verdict] = []
        for cluster in clusters.values():
            said += self._claim(cluster, incident, now)
            self._arm(cluster)
        return said

    def waiting(self, number: str) -> list[str]:
        """The firing members of a cluster that is not raised yet."""
        cluster = self.table.clusters.get(int(number))
        if cluster is None or cluster.raised:
            return []
        return [member.fingerprint for member in cluster.members.values() if member.firing]

    def withdrawn(self, fingerprint: str, now: float) -> None:
        """The alert is suppressed by now: it is evidence of nothing."""
        known = self._member(fingerprint)
        if known is not None:
            cluster, member = known
            self.table.drop(cluster, member)
            self._left(cluster, now)

    def forgotten(self, fingerprint: str, now: float) -> None:
        """The alert is remembered no more."""
        known = self._member(fingerprint)
        if known is not None:
            cluster, member = known
            if self.table.forget(cluster, member):
                self._end_burst(cluster, member.ci)
            self._left(cluster, now)

    def cleared(self, fingerprint: str, now: float) -> list[Verdict]:
        """An alert fires no more."""
        known = self._member(fingerprint)
        if known is None or not known[1].firing:
            return []
        cluster, member = known
        said: list[Verdict] = []
        self.table.clear(cluster, member)
        lasted = now - member.since
        lonely = not cluster.raised or len(cluster.cis) <= p.WIDE
        if cluster.bursts or cluster.session or member.prompt:
            pass  # that it is over says nothing of it
        elif lasted < p.BLIP and lonely and not member.steady:
            self.noise.blip(member.name)
        elif lasted >= p.BLIP and cluster.raised and len(cluster.cis) > p.WIDE:
            self.noise.real(member.name)
        stays = member.steady or member.prompt or cluster.bursts
        stays = stays or member.claimed or cluster.held  # a rule or a person has put it there
        if member.noisy and not stays and lasted < p.BLIP:
            self._leave(cluster, member, said)
        self._left(cluster, now)
        return said

    def _left(self, cluster: Cluster, now: float) -> None:
        """Something in it fires no more: where nothing does, it is forgotten some time."""
        if not cluster.firing and (cluster.ruled or not cluster.raised):
            cluster.forget_at = now + p.FORGET_AFTER
        self._wane(cluster, now)
        self._arm(cluster)

    def steady(self, fingerprint: str, now: float, *, steady: bool) -> None:
        """The alert begins or ends to flap: while it does, its clears and its past do not count."""
        known = self._member(fingerprint)
        if known is None or (steady and not known[1].firing):  # by now its source informs only
            return
        cluster, member = known
        if steady and member.noisy:
            self.table.believe(cluster, member)
        self.table.flap(cluster, member, steady=steady)
        self._wane(cluster, now)
        self._schedule(cluster, now)
        self._arm(cluster)

    def changed(self, ci: str, now: float) -> None:
        """The CI was changed."""
        self.changes[ci] = now
        self.changes.move_to_end(ci)
        if len(self.changes) > p.MAX_CHANGES:
            self.changes.popitem(last=False)
            self._full.append("changes")

    def due(self, number: str, at: datetime) -> list[Verdict]:
        """A cluster's timer."""
        cluster = self.table.clusters[int(number)]
        now = at.timestamp()
        said: list[Verdict] = []
        if _is_due(cluster.raise_at, now):
            cluster.raise_at = None
            cluster = self._consider(cluster, now, said)
        if _is_due(cluster.review_at, now):
            cluster = self._review(cluster, now, said)
        if _is_due(cluster.over_at, now):
            cluster.over_at = None
            if cluster.ruled and not self._subsided(cluster):
                cluster.over_at = now + p.OVER_AFTER
            else:
                for part in self._of(cluster.incident):
                    part.resolved_at, part.over_at = now, None
                    part.forget_at = now + p.FORGET_AFTER
                    self._arm(part)
                said.append(Over(cluster.id, cluster.incident))
        if _is_due(cluster.forget_at, now):
            self._forget(cluster, said)
            return said
        self._arm(cluster)
        return said

    def named(self, number: int, incident: str) -> None:
        """The engine's answer to Raise: what the incident is called."""
        self.table.give(self.table.clusters[number], incident)

    def dissolved(self, number: int) -> None:
        """The engine's answer to Raise where all its alerts belong elsewhere by now."""
        self._remove(self.table.clusters[number])

    def goes_on(self, number: int, now: float) -> None:
        """The engine's answer to Over where it is not: what still fires was repeated of late."""
        for part in self._of(self.table.clusters[number].incident):
            part.resolved_at = part.forget_at = None
            part.over_at = now + p.OVER_AFTER
            self._arm(part)

    def closed(self, incident: str) -> None:
        """An incident is closed, which is final: what fires from now on begins anew."""
        for cluster in self._of(incident):
            self._remove(cluster)

    def expired(self, incident: str) -> None:
        """An incident is closed as it did not come back in time: what does now is a recurrence."""
        for cluster in self._of(incident):
            self._remember(cluster)
            self._remove(cluster)

    def resolved(self, incident: str, now: float) -> None:
        """An operator, or the rule it is of, resolved it: only what fires anew reopens it."""
        for cluster in self._of(incident):
            cluster.resolved_at = now
            cluster.over_at = None
            if not cluster.ruled:
                cluster.forget_at = now + p.FORGET_AFTER
                cluster.review_at = None
            self._arm(cluster)

    def overruled(
        self, incident: str, into: str, now: float, alerts: list[str] | None = None
    ) -> None:
        """An operator said where alerts of an incident belong, all or some: `into`, "" nowhere.

        What a person has decided is left alone: what comes later follows, and that is all.
        """
        moved = self._of(incident) if alerts is None else self._taken_out(incident, alerts, now)
        for cluster in moved:
            self.table.give(cluster, into)
            cluster.ruled = cluster.held = True
            cluster.raised_at = cluster.raised_at or now
            cluster.raise_at = cluster.review_at = cluster.over_at = None
            cluster.resolved_at = cluster.forget_at = None
            self._arm(cluster)
            if not into:
                self._remove(cluster)

    def _of(self, incident: str) -> list[Cluster]:
        """The clusters that are the incident's, the oldest first."""
        whole = self.table.raised.get(incident)
        return [self.table.clusters[n] for n in sorted(whole.clusters)] if whole is not None else []

    def _taken_out(self, incident: str, alerts: list[str], now: float) -> list[Cluster]:
        """Those of them that are members there, as a cluster of their own."""
        there: dict[int, list[Member]] = {}
        for alert in alerts:
            known = self._member(alert)
            if known is not None and known[0].incident == incident:
                there.setdefault(known[0].id, []).append(known[1])
        moved: list[Member] = []
        for number, leaving in sorted(there.items()):
            cluster = self.table.clusters[number]
            self.table.take_out(cluster, leaving)
            for member in leaving:
                if member.ci not in cluster.all_cis:
                    self._end_burst(cluster, member.ci)
            self._wane(cluster, now)
            self._arm(cluster)
            moved += leaving
        if not moved:
            return []
        apart = self.table.open(now)
        for member in moved:
            self.table.add(apart, member)
        return [apart]

    def roots_of(self, incident: str) -> tuple[RootCandidate, ...]:
        """The root candidates of the widest of its clusters, as they stand."""
        widest = max(self._of(incident), key=lambda one: len(one.all_cis), default=None)
        return self.roots(widest) if widest is not None else ()

    def dump(self) -> dict[str, Iterable[object]]:
        """Snapshot sections from which `load` makes the same future."""
        return {
            "clusters": self.table.dump(),
            "checks": self.noise.dump(),
            "lags": self.onsets.dump(),
            "changes": list(self.changes.items()),
            "past": list(self.past.items()),
            "sessions": list(self.sessions.items()),
            "bursts": list(self.bursts.items()),
        }

    def load(self, data: Restored) -> None:
        """Take up what `dump` gave."""
        self.table.load(data.read("clusters", tuple[str, str, msgspec.Raw]))
        self.noise.load(data.read("checks", tuple[str, int, int]))
        self.onsets.load(data.read("lags", tuple[str, tuple[float, ...]]))
        self.changes.update(data.read("changes", tuple[str, float]))
        self.past.update(data.read("past", tuple[str, str]))
        self.bursts.update(data.read("bursts", tuple[str, int]))
        self.sessions.update(data.read("sessions", tuple[str, int]))

    # -- parts ----------------------------------------------------------------------------------

    def _found(self, ci: str, name: str, t: float, now: float, apart: int = 0) -> Links:
        at = self.changes.get(ci)
        changed = at if at is not None and 0 <= now - at < p.CHANGE_WITHIN else None
        return links(self.table, ci, name, t, changed=changed, apart=apart)

    def _bound(self, fingerprint: str) -> Cluster | None:
        """Where a rule or a person has put the alert, while that is remembered."""
        known = self._member(fingerprint)
        return known[0] if known is not None and known[0].ruled else None

    def _in_burst(self, ci: str) -> Links:
        """The burst of its CI that goes on."""
        number = self.bursts.get(ci, 0)
        if number not in self.table.clusters:
            return {}
        return {number: Link(p.SAME, Tie.SAME, ci)}

    def _in_session(self, session: Session, t: float) -> Links:
        """The session of its source that goes on, if it has not lasted too long."""
        number = self.sessions.get(session.key, 0)
        cluster = self.table.clusters.get(number)
        if cluster is None or t - cluster.born > session.most:
            return {}
        if not cluster.firing and t - cluster.last > session.gap:
            return {}
        return {number: Link(p.SESSION, Tie.POLLED, session.key)}

    def _at_hand(self, ci: str, t: float) -> Links | None:
        """The one cluster that the CI fires in already, if it began to a moment ago."""
        rows = self.table.on.get(ci)
        if rows is None or len(rows) != 1:
            return None
        number = next(iter(rows))
        cluster = self.table.clusters[number]
        span = cluster.cis[ci]
        if not span.firing or abs(t - span.last) >= p.AT_HAND or cluster.resolved_at is not None:
            return None
        return {number: Link(p.SAME, Tie.SAME, ci)}

    def _member(self, fingerprint: str) -> tuple[Cluster, Member] | None:
        number = self.table.where.get(fingerprint)
        if number is None:
            return None
        cluster = self.table.clusters[number]
        return cluster, cluster.members[fingerprint]

    def _because(self, link: Link, needed: float, other: tuple[int, Link]) -> Correlated:
        incident = self.table.clusters[other[0]].incident if other[0] else ""
        return Correlated(
            link.tie,
            link.score,
            needed,
            link.via,
            link.hops,
            incident,
            other[1].score,
            other_tie=other[1].tie,
            other_via=other[1].via,
            other_hops=other[1].hops,
        )

    def _claim(self, cluster: Cluster, incident: str, now: float) -> list[Verdict]:
        """A rule claimed a member: what else is in the cluster goes where the rule says."""
        if cluster.incident == incident or cluster.ruled:
            return []
        said: list[Verdict] = []
        if cluster.incident:
            said.append(Merge(cluster.incident, incident, Correlated(Tie.CLAIMED, 1.0, 0.0)))
        else:
            placed = tuple(_placed(m for m in cluster.members.values() if not m.claimed))
            if placed:
                said.append(Join(cluster.id, incident, placed))
        self.table.give(cluster, incident)
        cluster.ruled = True
        cluster.raised_at = cluster.raised_at or now
        cluster.raise_at = cluster.review_at = cluster.over_at = None
        return said

    def _merge_others(
        self, cluster: Cluster, ci: str, found: Links, link: Link, now: float, said: list[Verdict]
    ) -> Cluster:
        for number, other_link in found.items():
            if other_link.score < p.MERGE or number == cluster.id:
                continue
            other = self.table.clusters.get(number)
            if other is None:  # it was merged a moment ago
                continue
            far = max(other_link.hops, link.hops) > p.MERGE_HOPS
            # a root may be known for hours before it bites
            young = (
                now - (other.born if other_link.tie is Tie.ROOT else max(cluster.born, other.born))
                < p.MERGE_YOUNG
            )
            apart = other.session or cluster.session or cluster.ruled or other.ruled
            if far or apart or not young or other.resolved_at is not None:
                continue
            if self._has_other_cause(cluster, ci, other_link):
                continue
            cluster = self._pour(other, cluster, now, said, other_link)
        return cluster

    def _has_other_cause(self, cluster: Cluster, ci: str, link: Link) -> bool:
        """Whether what alerts in its cluster explains the CI and has nothing to do with the link.

        A victim of two faults is no proof that they are one, nor that something silent is behind.
        """
        if link.tie not in GUESSED or ci not in cluster.cis:
            return False
        causes = explained(self.table, cluster, ci)
        if link.tie is Tie.DEPENDS:
            return not all(self._tied(c, link.via) for c in causes)
        return bool(causes)

    def _tied(self, one: str, other: str) -> bool:
        """Whether one of two CIs depends on the other: else a shared victim proves nothing."""
        ancestors = self.table.inventory.ancestors
        reaches = (ancestors(one).get(other), ancestors(other).get(one))
        return one == other or any(reach and reach.strength > p.TIED for reach in reaches)

    def _pour(
        self, one: Cluster, other: Cluster, now: float, said: list[Verdict], link: Link
    ) -> Cluster:
        """One cluster of two; the incident raised first stays. The fewer members move."""
        big, small = (one, other) if len(one.members) > len(other.members) else (other, one)
        first, later = (one, other) if _precedes(one, other) else (other, one)
        because = Correlated(link.tie, link.score, p.MERGE, link.via, link.hops)
        if first.incident and later.incident:
            said.append(Merge(later.incident, first.incident, because))
        elif first.incident:
            placed = tuple(_placed(later.members.values()))
            said.append(Join(big.id, first.incident, placed))
        self._timers.cancel((TIMER, str(small.id)))
        incident = first.incident
        identity = (first.ruled, first.held, first.raised_at, first.review_at, first.reviews)
        speaks = first.speaks
        born = min(one.born, other.born)
        raise_at = min((t for t in (one.raise_at, other.raise_at) if t is not None), default=None)
        self._unlist(small)
        self.table.pour(small, big)
        self.table.give(big, incident)
        big.ruled, big.held, big.raised_at, big.review_at, big.reviews = identity
        big.speaks, big.born = speaks, born
        big.raise_at = None if big.raised else raise_at
        big.over_at = big.forget_at = big.resolved_at = None
        self._wane(big, now)
        self._schedule(big, now)
        return big

    def _schedule(self, cluster: Cluster, now: float) -> None:
        """Say when to consider raising it."""
        if cluster.raised:
            grown = len(cluster.all_cis) > p.GROWN * cluster.ranked
            if grown and cluster.review_at is None and not cluster.ruled:
                cluster.review_at = now + p.REVIEWS[0]
            return
        at = self._ripe_at(cluster)
        if at is None:
            return
        at = max(at, now)
        if cluster.raise_at is None or at < cluster.raise_at:
            cluster.raise_at = at

    def _ripe_at(self, cluster: Cluster) -> float | None:
        """When the evidence is enough, as it stands; None: never."""
        if cluster.session:
            told = sum(cluster.surprises.values())
            left = bool(cluster.members)  # not all were silenced meanwhile: what they told stays
            return cluster.born + p.STRONG_AFTER if left and told >= p.SESSION_TELLS else None
        counts = cluster.evidence
        weight = cluster.weight()
        waits: list[float] = []
        if weight >= p.STRONG and len(cluster.cis) >= p.WIDE:
            waits.append(p.STRONG_AFTER)
        if weight >= p.FAIR:
            waits.append(p.FAIR_AFTER)
        if waits:
            return cluster.born + min(waits)
        if cluster.steady or cluster.prompt:
            return cluster.born + p.STRONG_AFTER
        if not any(counts):
            return None
        grave = counts[Severity.MAJOR] + counts[Severity.CRITICAL]
        since = self.table.since(cluster)
        if grave:
            proven = any(self.noise.of(name).proven for name, n in cluster.grave.items() if n)
            return since + (p.PROVEN_AFTER if proven else p.GRAVE_AFTER)
        return since + p.SLIGHT_AFTER

    def _consider(self, cluster: Cluster, now: float, said: list[Verdict]) -> Cluster:
        """Raise it, or let another take it up."""
        ripe = self._ripe_at(cluster)
        if ripe is None:
            return cluster
        if ripe > now + SOON:
            cluster.raise_at = ripe
            return cluster
        if (into := self._absorber(cluster, now, p.ABSORB)) is not None:
            return self._pour(cluster, into[0], now, said, into[1])
        said.append(self._raise(cluster, now))
        return cluster

    def _raise(self, cluster: Cluster, now: float) -> Raise:
        cluster.raised_at = now
        cluster.raise_at = cluster.forget_at = None
        cluster.review_at = now + p.REVIEWS[0]
        self._wane(cluster, now)  # what flaps is raised while it is clear, too
        if len(cluster.cis) > p.WIDE:
            for name in cluster.names:
                self.noise.real(name)
        roots = self.roots(cluster)
        lead = _lead(cluster, roots)
        cluster.speaks = f"{lead.ci}\x1f{lead.name}"
        return Raise(
            cluster.id,
            lead.fingerprint,
            _title(cluster, lead, roots),
            tuple(_placed(cluster.members.values())),
            roots,
            self.past.get(cluster.speaks, ""),
        )

    def roots(self, cluster: Cluster) -> tuple[RootCandidate, ...]:
        """Its root candidates as they stand."""
        cluster.ranked = len(cluster.all_cis)
        return rank(cluster, self.table, self.noise, self.changes.get)

    def _absorber(self, cluster: Cluster, now: float, least: float) -> tuple[Cluster, Link] | None:
        """The cluster that explains this one as a whole, if there is one."""
        if not cluster.cis or len(cluster.cis) > p.ABSORB_CIS or cluster.ruled:
            return None
        if cluster.session or cluster.bursts:
            return None
        totals: dict[int, float] = {}
        strongest: Links = {}
        names = {m.ci: m.name for m in reversed(cluster.members.values())}
        found: dict[str, Links] = {}
        for ci, span in cluster.cis.items():
            found[ci] = self._found(ci, names.get(ci, ""), span.first, now, apart=cluster.id)
            for number, link in found[ci].items():
                totals[number] = totals.get(number, 0.0) + link.score
                if number not in strongest or link.score > strongest[number].score:
                    strongest[number] = link
        means = {number: total / len(cluster.cis) for number, total in totals.items()}
        if max(means.values(), default=0.0) < least:
            return None
        root = self.roots(cluster)[0].ci
        at_root = found.get(root, {})
        best: tuple[float, int] | None = None
        for number, mean in means.items():
            there = at_root.get(number)
            other = self.table.clusters[number]
            lost = root in cluster.cis and (there is None or there.score < p.ABSORB_ROOT)
            lost = lost or self._was_changed(root, cluster, other)
            if lost or other.resolved_at is not None or (cluster.raised and other.ruled):
                continue
            if mean < least or (best is not None and (-mean, number) >= (-best[0], best[1])):
                continue
            if cluster.raised and roots_apart({**other.cis, **cluster.cis}, self.table):
                continue  # a review would split them again, and the next absorb, for ever
            best = (mean, number)
        if best is None:
            return None
        return self.table.clusters[best[1]], strongest[best[1]]

    def _was_changed(self, root: str, cluster: Cluster, other: Cluster) -> bool:
        """Whether the root was, a moment before this began, while the other went on already.

        A change is a cause of its own: what began before it has another.
        """
        at = self.changes.get(root)
        return at is not None and other.born < at <= cluster.born < at + p.CHANGE_WITHIN

    def _review(self, cluster: Cluster, now: float, said: list[Verdict]) -> Cluster:
        """Split what has two roots; else let an older one take it up."""
        cluster.reviews += 1
        cluster.review_at = None
        if cluster.raised_at is not None and cluster.reviews < len(p.REVIEWS):
            cluster.review_at = cluster.raised_at + p.REVIEWS[cluster.reviews]
        if cluster.ruled or cluster.session or cluster.bursts or cluster.resolved_at is not None:
            return cluster
        split = parts(cluster, self.table)
        for part in split:
            apart = self.table.part(cluster, part, now)
            said.append(Split(cluster.incident, self._raise(apart, now)))
            self._arm(apart)
        if not split and (into := self._absorber(cluster, now, p.ABSORB_REVIEW)) is not None:
            return self._pour(cluster, into[0], now, said, into[1])
        said.append(Rank(cluster.incident, self.roots(cluster)))
        self._wane(cluster, now)
        return cluster

    def _leave(self, cluster: Cluster, member: Member, said: list[Verdict]) -> None:
        episode = max(member.episodes)
        because = member.episodes[episode]
        if cluster.incident:
            said.append(Detach(cluster.incident, member.fingerprint, episode))
        said.append(self._alone(cluster, member, episode, because))
        self.table.drop(cluster, member)

    def _alone(self, cluster: Cluster, member: Member, episode: int, because: Correlated) -> Alone:
        """An episode that was not raised with its cluster, and why not."""
        fingerprint = member.fingerprint
        if not member.noisy:
            return Alone(fingerprint, episode, Why.BLIP, because)
        if cluster.bursts:
            return Alone(fingerprint, episode, Why.COMMON, because)
        if member.doubted:
            return Alone(fingerprint, episode, Why.DOUBTED, because)
        check = self.noise.of(member.name)
        return Alone(fingerprint, episode, Why.NOISY, because, check.blips, check.reals)

    def _wane(self, cluster: Cluster, now: float) -> None:
        """Start or stop the wait after which it is over."""
        if not cluster.raised or cluster.held or cluster.resolved_at is not None:
            return
        if not _has_subsided(cluster.firing, len(cluster.members)) or cluster.steady:
            cluster.over_at = None
        elif cluster.over_at is None:
            cluster.over_at = now + p.OVER_AFTER

    def _subsided(self, cluster: Cluster) -> bool:
        """Whether the incident has, a rule's: what it claimed too, by itself, in all clusters."""
        whole = self.table.raised[cluster.incident]
        return (
            not whole.steady
            and _has_subsided(whole.firing, whole.members)
            and _has_subsided(whole.claimed_firing, whole.claimed)
        )

    def _forget(self, cluster: Cluster, said: list[Verdict]) -> None:
        if not cluster.raised:
            for member in cluster.members.values():
                for episode, because in member.episodes.items():
                    said.append(self._alone(cluster, member, episode, because))
        else:
            said.append(Rank(cluster.incident, self.roots(cluster)))
            self._remember(cluster)
        self._remove(cluster)

    def _remember(self, cluster: Cluster) -> None:
        """What speaks as it did is a recurrence from now on."""
        if not cluster.speaks:  # an incident of a rule's
            return
        self.past[cluster.speaks] = cluster.incident
        self.past.move_to_end(cluster.speaks)
        if len(self.past) > p.MAX_PAST:
            self.past.popitem(last=False)
            self._full.append("past")

    def _make_room(self, said: list[Verdict]) -> None:
        """At the cap the cluster that was joined longest ago goes; its incident goes on without."""
        if len(self.table.clusters) < p.MAX_CLUSTERS:
            return
        oldest = next(iter(self.table.clusters.values()))
        self._full.append("clusters")
        if oldest.incident and not oldest.ruled:
            said.append(LetGo(oldest.incident))
        self._forget(oldest, said)

    def _remove(self, cluster: Cluster) -> None:
        self._timers.cancel((TIMER, str(cluster.id)))
        self._unlist(cluster)
        self.table.remove(cluster)

    def _unlist(self, cluster: Cluster) -> None:
        """No session and no burst goes on in it."""
        if self.sessions.get(cluster.session) == cluster.id:
            del self.sessions[cluster.session]
        if cluster.bursts:
            for ci in cluster.all_cis:
                self._end_burst(cluster, ci)

    def _end_burst(self, cluster: Cluster, ci: str) -> None:
        if self.bursts.get(ci) == cluster.id:
            del self.bursts[ci]

    def _arm(self, cluster: Cluster) -> None:
        due = cluster.due()
        key = (TIMER, str(cluster.id))
        if due is None:
            self._timers.cancel(key)
        else:
            self._timers.set(key, datetime.fromtimestamp(due, UTC))


def _has_subsided(firing: int, members: int) -> bool:
    return firing <= p.OVER_SHARE * members


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and at <= now + SOON


def _best(found: Links) -> tuple[tuple[int, Link], tuple[int, Link]]:
    """The strongest and the runner-up; (0, NOTHING) where there is none."""
    nothing = (0, NOTHING)
    if len(found) == 1:  # as nearly always
        return next(iter(found.items())), nothing
    best, second, *_ = *sorted(found.items(), key=_by_score), nothing, nothing
    return best, second


def _by_score(found: tuple[int, Link]) -> tuple[float, int]:
    """Of links equally strong the older cluster's comes first."""
    return -found[1].score, found[0]


def _precedes(one: Cluster, other: Cluster) -> bool:
    """Whether the first gives the incident: a rule's, the one raised first, else the older."""
    return _seniority(one) < _seniority(other)


def _seniority(cluster: Cluster) -> tuple[bool, float, int]:
    raised_at = inf if cluster.raised_at is None else cluster.raised_at
    return not cluster.ruled, raised_at, cluster.id


def _placed(members: Iterable[Member]) -> Iterator[Placed]:
    for member in members:
        for episode, because in member.episodes.items():
            yield Placed(member.fingerprint, episode, because)


def _lead(cluster: Cluster, roots: tuple[RootCandidate, ...]) -> Member:
    """The alert that speaks for it: the root's gravest, else the gravest, else the first."""
    root = roots[0].ci if roots else ""
    return min(
        cluster.members.values(),
        key=lambda m: (m.ci != root, m.noisy, -m.severity, m.onset, m.name, m.fingerprint),
    )


def _title(cluster: Cluster, lead: Member, roots: tuple[RootCandidate, ...]) -> str:
    where = lead.ci or "somewhere"
    others = len(cluster.all_cis) - 1
    if roots and roots[0].silent:
        return f"{roots[0].ci} is silent, {others + 1} CIs depend on it: {lead.name} on {where}"
    more = f" and {others} more CI{'s' if others > 1 else ''}" if others > 0 else ""
    return f"{lead.name} on {where}{more}"
