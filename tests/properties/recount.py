"""The table of clusters counted anew from its members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from eventd.core.correlation.cluster import Cluster, Whole
from eventd.core.correlation.table import Index, Table
from eventd.core.engine import Engine
from eventd.core.model import Severity, Status
from eventd.core.rules.inhibit import Role
from eventd.core.snapshot import Restored


def agrees(table: Table) -> None:
    """Assert every invariant that the table and its clusters state."""
    clusters = table.clusters.values()
    pairs = [(fingerprint, one.id) for one in clusters for fingerprint in one.members]
    assert len(pairs) == len(table.where)
    assert dict(pairs) == table.where
    assert plain(table.on) == inverse((one.id, one.cis) for one in clusters)
    assert plain(table.under) == inverse((one.id, one.below) for one in clusters)
    assert plain(table.named) == inverse((one.id, one.names) for one in clusters)
    assert table.raised == _raised(clusters)
    assert not [one.id for one in clusters if one.incident and one.id in table.waits]
    for cluster in clusters:
        _counts(table, cluster)


def agrees_with_alerts(engine: Engine) -> None:
    """Assert that a member fires as its alert does, which nothing suppresses then.

    But what fires anew as mere information is no evidence.
    """
    table = engine.correlation.table
    for fingerprint, number in table.where.items():
        alert, member = engine.alert(fingerprint), table.clusters[number].members[fingerprint]
        fires = alert.status is Status.FIRING and not alert.suppressed_by
        informs = fires and alert.severity <= Severity.INFO
        assert informs or (fingerprint, member.firing) == (fingerprint, fires)


def agrees_with_rules(engine: Engine) -> None:
    """Assert that who is suppressed, or stands in a table of what rules said of it, fires.

    And who fires for the correlation does so, unsuppressed; what a rule has claimed may fire for it
    no more.
    """
    alerts = {alert.fingerprint: alert for alert in engine.alerts()}
    fires = {f for f, alert in alerts.items() if alert.status is Status.FIRING}
    suppressed = {f: alert.suppressed_by for f, alert in alerts.items() if alert.suppressed_by}
    assert suppressed == {f: by for by, held in engine.suppressions.held("") for f in held}
    assert suppressed.keys() <= fires
    state = Restored(engine.snapshot().frames())
    for fingerprint, _, source in state.read("explained", tuple[str, tuple[Role, ...], str]):
        assert {fingerprint, source or fingerprint} <= fires
    for raised, behind in state.read("raised", tuple[str, list[str]]):
        assert {raised, *behind} <= fires
    members = [
        one
        for cluster in engine.correlation.table.clusters.values()
        for one in cluster.members.values()
    ]
    assert {one.fingerprint for one in members if one.firing} <= fires - suppressed.keys()


def agrees_with_graph(table: Table) -> None:
    """Assert that what is below what is as the inventory says; it was the same all along."""
    for cluster in table.clusters.values():
        reaches = [table.inventory.ancestors(ci) for ci in cluster.cis]
        above = {c for found in reaches for c in found}
        assert set(cluster.below) == above
        for c in above:
            strengths = [found[c].strength for found in reaches if c in found]
            row = cluster.below[c]
            assert (row.count, row.most) == (len(strengths), max(strengths))
            assert abs(row.total - sum(strengths)) < 1e-9


def _raised(clusters: Iterable[Cluster]) -> dict[str, Whole]:
    found: dict[str, Whole] = {}
    for cluster in clusters:
        if cluster.incident:
            whole = found.setdefault(cluster.incident, Whole())
            whole.clusters[cluster.id] = None
            for member in cluster.members.values():
                whole.members += 1
                whole.firing += member.firing
                whole.claimed += member.claimed
                whole.claimed_firing += member.claimed and member.firing
                whole.steady += member.steady
    return found


def _counts(table: Table, cluster: Cluster) -> None:
    firing = [member for member in cluster.members.values() if member.firing]
    sound = [member for member in firing if not member.noisy]
    assert cluster.firing == len(firing)
    assert cluster.steady == sum(member.steady for member in cluster.members.values())
    assert cluster.prompt == sum(member.prompt for member in cluster.members.values())
    assert positive(cluster.grave) == Counter(
        member.name for member in sound if member.severity >= Severity.MAJOR
    )
    if sound and not cluster.raised:
        assert table.since(cluster) == min(member.since for member in sound)
    assert positive({ci: span.firing for ci, span in cluster.cis.items()}) == Counter(
        member.ci for member in sound
    )
    assert positive({key: pair.firing for key, pair in cluster.pairs.items()}) == Counter(
        f"{member.ci}\x1f{member.name}" for member in sound
    )
    counted = Counter(pair.severity for pair in cluster.pairs.values() if pair.firing)
    assert cluster.evidence == [counted[severity] for severity in Severity]
    for member in sound:
        assert cluster.pairs[f"{member.ci}\x1f{member.name}"].severity >= member.severity
    assert set(cluster.cis) >= {m.ci for m in cluster.members.values() if not m.noisy}
    there = list(cluster.members.values())
    quiet = [member for member in there if not member.noisy]
    held = {ci: count or 0 for ci, count in cluster.all_cis.items()}
    assert positive(held) == Counter(member.ci for member in there)
    held = {ci: span.members for ci, span in cluster.cis.items()}
    assert positive(held) == Counter(member.ci for member in quiet)
    held = {key: pair.members for key, pair in cluster.pairs.items()}
    assert positive(held) == Counter(f"{member.ci}\x1f{member.name}" for member in quiet)
    for span in cluster.cis.values():
        assert span.first <= span.last <= cluster.last
    names = Counter(key.partition("\x1f")[2] for key in cluster.pairs)
    assert {name: span.firing for name, span in cluster.names.items()} == names


def plain(index: Index) -> dict[str, set[int]]:
    """An index, order left out."""
    return {key: set(rows) for key, rows in index.items()}


def inverse(rows: Iterable[tuple[int, Iterable[str]]]) -> dict[str, set[int]]:
    """The index that these rows make."""
    found: dict[str, set[int]] = {}
    for number, keys in rows:
        for key in keys:
            found.setdefault(key, set()).add(number)
    return found


def positive(counts: dict[str, int]) -> dict[str, int]:
    """What was counted at least once; nothing is counted less than never."""
    assert min(counts.values(), default=0) >= 0
    return {key: count for key, count in counts.items() if count}
