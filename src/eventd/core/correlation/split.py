"""Which parts of a cluster have a root of their own."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest
from math import exp

from eventd.core.correlation import parameters as p
from eventd.core.correlation.cluster import Cluster, Member, Span
from eventd.core.correlation.table import Table


def parts(cluster: Cluster, table: Table) -> list[list[Member]]:
    """The members to leave, by root; none where the cluster is of one piece."""
    leaving = roots_apart(cluster.cis, table)
    found: dict[str, list[Member]] = {top: [] for top in leaving.values()}
    for member in cluster.members.values():
        if member.ci in leaving and not member.claimed:
            found[leaving[member.ci]].append(member)
    return [members for members in found.values() if members]


def roots_apart(cis: Mapping[str, Span], table: Table) -> dict[str, str]:
    """CIs that have a root of their own, and which; none where all are of one piece."""
    if not 2 * p.SPLIT_LEAST <= len(cis) <= p.SPLIT_CIS:
        return {}
    ancestors = table.inventory.ancestors
    tops = [
        ci
        for ci in cis
        if not any(reach.strength >= p.TIED and c in cis for c, reach in ancestors(ci).items())
    ]
    below: dict[str, list[str]] = {top: [] for top in tops}
    for ci, span in cis.items():
        if ci in below:
            below[ci].append(ci)
            continue
        reaches = ancestors(ci)
        fits = [
            (reaches[top].strength * exp(-abs(cis[top].distance(span.first)) / p.DOWN), top)
            for top in tops
            if top in reaches
        ]
        for _, best in nlargest(1, fits):
            below[best].append(ci)
    biggest = max(tops, key=lambda top: (len(below[top]), top), default="")
    apart = [
        top
        for top in tops
        if top != biggest and len(below[top]) >= p.SPLIT_LEAST and _apart(table, top, biggest)
    ]
    return {ci: top for top in apart for ci in below[top]}


def _apart(table: Table, one: str, other: str) -> bool:
    """Whether the two depend on nothing in common, and not on each other."""
    here = dict(table.inventory.ancestors(one).items())
    there = table.inventory.ancestors(other)
    return not (one in there or other in here) and not any(
        reach.strength > p.SPLIT_APART and c in there and there[c].strength > p.SPLIT_APART
        for c, reach in here.items()
    )
