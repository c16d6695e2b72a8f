"""How strongly an alert and a cluster belong together, and why."""

from __future__ import annotations

from itertools import islice
from math import exp, log

from msgspec import Struct

from eventd.core.correlation import parameters as p
from eventd.core.correlation.cluster import Cluster
from eventd.core.correlation.table import Table, newest
from eventd.core.inventory import HARD, Reach
from eventd.core.labels import shape, stem
from eventd.core.model import Tie


class Link(Struct, frozen=True, gc=False):
    """What ties an alert to a cluster."""

    score: float
    tie: Tie
    via: str = ""
    hops: int = 0


Links = dict[int, Link]  # the strongest of each cluster


def links(
    table: Table, ci: str, name: str, t: float, *, changed: float | None, apart: int = 0
) -> Links:
    """The clusters an alert on `ci` that began at `t` may belong to.

    `changed`: when the CI was changed, if that was a moment ago. `apart`: a cluster left out. The
    cost is that of what the CI depends on, and of at most SCAN clusters each; the number of
    clusters is no factor.
    """
    found: Links = {}
    reaches = table.inventory.ancestors(ci)
    _same(table, ci, name, t, apart, found)
    _root(table, ci, t, apart, found, changed)
    upstream = False
    on, under = table.on, table.under
    for c, reach in reaches.items():
        if c in on:
            upstream = _depends(table, c, reach, t, apart, found, changed) or upstream
        if c in under:
            _common(table, c, reach, t, apart, found)
    _alike(table, ci, name, t, apart, found, upstream=upstream)
    if not reaches and not table.inventory.weight_below(ci):
        _island(table, t, apart, found)
    return found


def _take(found: Links, number: int, score: float, tie: Tie, via: str = "", hops: int = 0) -> None:
    known = found.get(number)
    if known is None or score > known.score:
        found[number] = Link(score, tie, via, hops)


def _same(table: Table, ci: str, name: str, t: float, apart: int, found: Links) -> None:
    for number, span in newest(table.on, ci):
        if number != apart:
            if not span.firing:
                fades = p.SAME_CLEARED
            elif f"{ci}\x1f{name}" in table.clusters[number].pairs:
                fades = p.SAME_FIRING
            else:
                fades = p.SAME_OTHER
            score = p.SAME * exp(-abs(span.distance(t)) / fades)
            _take(found, number, score, Tie.SAME, ci)


def explained(table: Table, cluster: Cluster, ci: str) -> list[str]:
    """What the CI depends on strongly and alerts in the cluster, not in a circle."""
    ancestors = table.inventory.ancestors
    return [
        c
        for c, reach in ancestors(ci).items()
        if reach.strength >= p.TIED and c in cluster.cis and ci not in ancestors(c)
    ]


def _root(table: Table, ci: str, t: float, apart: int, found: Links, changed: float | None) -> None:
    for number, below in newest(table.under, ci):
        cluster = table.clusters[number]
        if number != apart and ci not in cluster.cis:
            late = max(below.first - t, t - below.last, 0.0)
            share = below.count / len(cluster.cis)
            score = below.most * (p.UP_LEAST + p.UP_SHARE * share) * exp(-late / p.UP)
            if changed is not None and below.first < changed:  # they do not follow from that
                score *= p.SUSPECT
            _take(found, number, score, Tie.ROOT, ci)


def _depends(
    table: Table,
    c: str,
    reach: Reach,
    t: float,
    apart: int,
    found: Links,
    changed: float | None,
) -> bool:
    """Whether `c` fires anywhere."""
    fires = False
    for number, span in newest(table.on, c):
        fires = fires or span.firing > 0
        if number == apart:
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
            if between not in table.clusters[number].cis:
                score *= p.SILENT_STEP
        if changed is not None:
            score *= p.SUSPECT
        _take(found, number, score, Tie.DEPENDS, c, reach.hops)
    return fires


def _common(table: Table, c: str, reach: Reach, t: float, apart: int, found: Links) -> None:
    # s; whatever else there is, too little is left after them: so it is with nearly all
    far = p.COMMON * log(reach.strength * HARD / p.ABSORB_ROOT)
    if far < 0:
        return
    warm, weight = -1.0, 1.0
    for number, below in newest(table.under, c):
        late = max(below.first - t, t - below.last, 0.0)
        if late > far or number == apart or c in table.clusters[number].cis:
            continue
        strength = reach.strength * below.most
        fades = exp(-late / p.COMMON)
        most, known = strength * fades, found.get(number)
        if most < p.ABSORB_ROOT or (known is not None and known.score >= most):
            continue
        if warm < 0:
            warm, weight = table.warmth(c, t), table.inventory.weight_below(c)
        cover = p.COVER * max(below.total, warm) / weight
        score = strength * min(1.0, cover) * fades
        _take(found, number, score, Tie.COMMON, c, reach.hops)


def _alike(
    table: Table, ci: str, name: str, t: float, apart: int, found: Links, *, upstream: bool
) -> None:
    kind, root = shape(ci), "" if upstream else stem(ci)
    key = f"{name}\x1f{root}"
    for number, seen in newest(table.named, name):
        many = seen.firing >= p.ALIKE_NAMES
        if number == apart or not (many or root):
            continue
        cluster = table.clusters[number]
        if many and cluster.shapes.get(kind, 0) >= p.ALIKE_SHAPES:
            score = p.ALIKE_STORM * exp(-abs(seen.distance(t)) / p.ALIKE_STORM_FADES)
            _take(found, number, score, Tie.ALIKE, name)
        if root and (last := cluster.stems.get(key)) is not None:
            score = p.ALIKE * exp(-abs(t - last) / p.ALIKE_FADES)
            _take(found, number, score, Tie.ALIKE, name)


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
        _take(found, cluster.id, score, Tie.ISLAND)
