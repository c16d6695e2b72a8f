"""Root candidates: the CIs from which a cluster's other alerts may follow, ranked."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest, nsmallest
from math import exp

from msgspec.structs import replace

from eventd.core.correlation import parameters as p
from eventd.core.correlation.cluster import Cluster, Span
from eventd.core.correlation.noise import Noise
from eventd.core.correlation.table import Table
from eventd.core.inventory import Inventory
from eventd.core.model import AT, RootCandidate

Changed = Callable[[str], float | None]  # a CI → when it was changed last


def rank(
    cluster: Cluster, table: Table, noise: Noise, changed: Changed
) -> tuple[RootCandidate, ...]:
    """The best ROOTS, the likeliest first; ties go by name."""
    # where only noisy alerts are, there is no evidence, but no silence either
    noisy = {
        one.ci: Span(one.onset, one.onset)
        for one in reversed(cluster.members.values())
        if one.ci not in cluster.cis
    }
    spans = cluster.cis | noisy
    names = list(spans)
    if len(names) > p.RANKED:
        names = nlargest(p.RANKED_WIDEST, names, key=lambda c: (_explains(cluster, c), c))
    silent = [
        c
        for c, below in cluster.below.items()
        if below.count > 1 and c not in spans and table.inventory.knows(c)
    ]
    silent = nlargest(p.RANKED_WIDEST, silent, key=lambda c: (_explains(cluster, c), c))
    worst = _worst(cluster, noise)
    firsts = nsmallest(2, (span.first for span in spans.values()))
    share = _shares(cluster, table)
    candidates = [
        _judge(c, spans.get(c), cluster, table, worst, firsts, changed, share)
        for c in (*names, *silent)
    ]
    candidates.sort(key=lambda one: (-one.score, one.ci))
    return tuple(
        replace(one, needs=_needs(one.ci, table.inventory)) for one in candidates[: p.ROOTS]
    )


def _shares(cluster: Cluster, table: Table) -> dict[str, float]:
    """How much of the cluster follows from each CI; strengths count as given that both alert.

    A redundant dependency seldom takes anything down with it; where both alert, it probably did.
    """
    if len(cluster.cis) > p.RANKED:
        return {c: below.total for c, below in cluster.below.items()}
    shares: dict[str, float] = {}
    for ci in cluster.cis:
        for c, reach in table.inventory.ancestors(ci).items():
            shares[c] = shares.get(c, 0.0) + reach.strength**p.ROOT_GIVEN
    return shares


def _explains(cluster: Cluster, c: str) -> float:
    below = cluster.below.get(c)
    return below.total if below is not None else 0.0


def _worst(cluster: Cluster, noise: Noise) -> dict[str, float]:
    """Of each CI the weight of its gravest alert, less where its check cries wolf."""
    worst: dict[str, float] = {}
    for member in cluster.members.values():
        weight = member.severity / 5 * (1 - noise.of(member.name).noise)
        if weight > worst.get(member.ci, 0.0):
            worst[member.ci] = weight
    return worst


def _judge(
    c: str,
    span: Span | None,
    cluster: Cluster,
    table: Table,
    worst: dict[str, float],
    firsts: list[float],
    changed: Changed,
    share: dict[str, float],
) -> RootCandidate:
    below = cluster.below.get(c)
    count = max(1, len(cluster.cis))
    explained = share.get(c, 0.0) + (span is not None)
    score = explained / count
    ancestors = table.inventory.ancestors(c).items()
    depends = sum((r.strength**p.ROOT_GIVEN for up, r in ancestors if up in cluster.cis), 0.0)
    score -= p.ROOT_DEPENDS * min(1.0, depends)
    lag: float | None = None
    changed_before: float | None = None
    if span is None:
        score -= p.ROOT_SILENT
    else:
        lag = span.first - (firsts[-1] if span.first == firsts[0] else firsts[0])
        score += p.ROOT_EARLY * exp(-max(0.0, lag) / p.ROOT_FADES)
        score += p.ROOT_SEVERITY * worst.get(c, 0.0)
        at = changed(c)
        if at is not None and 0 <= span.first - at < p.ROOT_CHANGE_WITHIN:
            score += p.ROOT_CHANGED
            changed_before = span.first - at
    return RootCandidate(
        c,
        score,
        (below.count if below is not None else 0) + (span is not None),
        count,
        lag,
        depends,
        changed_before,
        silent=span is None,
    )


def _needs(c: str, inventory: Inventory) -> int | None:
    """How many CIs it depends on; None where nobody knows."""
    if not inventory.knows(c):
        return None
    return sum(not one.startswith(AT) for one in inventory.ancestors(c))
