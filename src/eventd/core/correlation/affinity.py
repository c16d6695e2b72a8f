"""How strongly an alert and a cluster belong together, and why."""

from __future__ import annotations

from itertools import islice
from math import exp

from msgspec import Struct

from eventd.core.correlation import parameters as p
from eventd.core.correlation.cluster import Cluster, shape, stem
from eventd.core.correlation.table import Table
from eventd.core.inventory import HARD, Reach
from eventd.core.model import Tie


class Link(Struct, frozen=True, gc=False):
    """What ties an alert to a cluster."""

    score: float
    tie: Tie
    via: str = ""
    hops: int = 0


Links = dict[int, Link]  # the strongest of each cluster


def links(table: Table, ci: str, name: str, t: float, *, changed: bool, apart: int = 0) -> Links:
    """The clusters an alert on `ci` that began at `t` may belong to.

    `changed`: the CI was changed a moment ago. `apart`: a cluster left out. The cost is that of
    what the CI depends on, and of at most SCAN clusters each; the number of clusters is no factor.
    """
    found: Links = {}
    reaches = table.inventory.ancestors(ci)
    _same(table, ci, name, t, apart, found)
    _root(table, ci, t, apart, found)
    upstream = False
    for c, reach in reaches.items():
        if c in table.on:
            upstream = _depends(table, c, reach, t, apart, found, changed=changed) or upstream
        if c in table.under:
            _common(table, c, reach, t, apart, found)
    _alike(table, ci, name, t, apart, found, upstream=upstream)
    if not reaches and not table.inventory.weight_below(ci):
        _island(table, t, apart, found)
    return found


def _take(
    found: Links, cluster: Cluster, score: float, tie: Tie, via: str = "", hops: int = 0
) -> None:
    known = found.get(cluster.id)
    if known is None or score > known.score:
        found[cluster.id] = Link(score, tie, via, hops)


def _same(table: Table, ci: str, name: str, t: float, apart: int, found: Links) -> None:
    for cluster in table.newest(table.on, ci):
        if cluster.id != apart:
            span = cluster.cis[ci]
            if not span.firing:
                fades = p.SAME_CLEARED
            elif f"{ci}\x1f{name}" in cluster.pairs:
                fades = p.SAME_FIRING
            else:
                fades = p.SAME_OTHER
            score = p.SAME * exp(-abs(span.distance(t)) / fades)
            _take(found, cluster, score, Tie.SAME, ci)


def explained(table: Table, cluster: Cluster, ci: str) -> list[str]:
    """What the CI depends on strongly and alerts in the cluster, not in a circle."""
    ancestors = table.inventory.ancestors
    return [
        c
        for c, reach in ancestors(ci).items()
        if reach.strength >= p.TIED and c in cluster.cis and ci not in ancestors(c)
    ]


def _root(table: Table, ci: str, t: float, apart: int, found: Links) -> None:
    for cluster in table.newest(table.under, ci):
        if cluster.id != apart and ci not in cluster.cis:
            below = cluster.below[ci]
            late = max(below.first - t, t - below.last, 0.0)
            share = below.count / len(cluster.cis)
            score = below.most * (p.UP_LEAST + p.UP_SHARE * share) * exp(-late / p.UP)
            _take(found, cluster, score, Tie.ROOT, ci)


def _depends(
    table: Table,
    c: str,
    reach: Reach,
    t: float,
    apart: int,
    found: Links,
    *,
    changed: bool,
) -> bool:
    """Whether `c` fires anywhere."""
    fires = False
    for cluster in table.newest(table.on, c):
        span = cluster.cis[c]
        fires = fires or span.firing > 0
        if cluster.id == apart:
            continue
        distance = span.distance(t)
        if distance < 0:
            fades = p.DOWN_EARLY
        elif span.firing and reach.hops == 1 and reach.strength >= HARD:
            fades = p.DOWN_CASCADE
        else:
            fades = p.DOWN
        score = reach.strength * exp(-abs(distance) / fades)
        for between in reach.via:
            if between not in cluster.cis:
                score *= p.SILENT_STEP
        if changed:
            score *= p.SUSPECT
        _take(found, cluster, score, Tie.DEPENDS, c, reach.hops)
    return fires


def _common(table: Table, c: str, reach: Reach, t: float, apart: int, found: Links) -> None:
    warm = -1.0
    for cluster in table.newest(table.under, c):
        if cluster.id == apart or c in cluster.cis:
            continue
        below = cluster.below[c]
        strength = reach.strength * below.most
        late = max(below.first - t, t - below.last, 0.0)
        fades = exp(-late / p.COMMON)
        if strength * fades < p.ABSORB_ROOT:
            continue
        if warm < 0:
            warm = table.warmth(c, t)
        cover = p.COVER * max(below.total, warm) / table.inventory.weight_below(c)
        score = strength * min(1.0, cover) * fades
        _take(found, cluster, score, Tie.COMMON, c, reach.hops)


def _alike(
    table: Table, ci: str, name: str, t: float, apart: int, found: Links, *, upstream: bool
) -> None:
    kind, root = shape(ci), "" if upstream else stem(ci)
    key = f"{name}\x1f{root}"
    for cluster in table.newest(table.named, name):
        if cluster.id == apart:
            continue
        seen = cluster.names[name]
        if seen.firing >= p.ALIKE_NAMES and cluster.shapes.get(kind, 0) >= p.ALIKE_SHAPES:
            score = p.ALIKE_STORM * exp(-abs(seen.distance(t)) / p.ALIKE_STORM_FADES)
            _take(found, cluster, score, Tie.ALIKE, name)
        if root and (last := cluster.stems.get(key)) is not None:
            score = p.ALIKE * exp(-abs(t - last) / p.ALIKE_FADES)
            _take(found, cluster, score, Tie.ALIKE, name)


def _island(table: Table, t: float, apart: int, found: Links) -> None:
    if any(t - table.clusters[number].last < p.STORM_FOR for number in table.storms):
        return
    near: list[Cluster] = []
    for cluster in islice(reversed(table.clusters.values()), p.SCAN):
        young = t - cluster.born < p.MERGE_YOUNG
        fresh = abs(t - cluster.last) < 2 * p.ISLAND_FADES
        if cluster.id != apart and cluster.cis and fresh and young:
            near.append(cluster)
            if len(near) > p.ISLAND_CLUSTERS:
                return
    for cluster in near:
        score = p.ISLAND * exp(-abs(t - cluster.last) / p.ISLAND_FADES)
        _take(found, cluster, score, Tie.ISLAND)
