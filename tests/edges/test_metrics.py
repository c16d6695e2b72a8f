"""What the numbers say of the correlation."""

from __future__ import annotations

import pytest
from tests.acceptance.daemon import samples
from tests.builders import TICK, at

from eventd.core.model import (
    AlertAlone,
    AlertDetached,
    AlertFlapping,
    AlertSuppressed,
    CapHit,
    Correlated,
    Fact,
    IncidentMerged,
    IncidentRanked,
    IncidentSplit,
    Tie,
    Why,
)
from eventd.metrics import Meter
from eventd.runtime import Step

TIED = Correlated(Tie.SAME, 0.9, 0.3)


@pytest.mark.parametrize(
    ("fact", "name"),
    [
        (AlertAlone(at(0), "f", 1, Why.NOISY), 'eventd_alerts_alone_total{reason="noisy"}'),
        (AlertFlapping(at(0), "f", 2, on=True), "eventd_alerts_flapped_total"),
        (
            AlertDetached(at(0), "INC-000001", "f", 1, fires=True),
            'eventd_alert_transitions_total{kind="detached"}',
        ),
        (
            IncidentMerged(at(0), "INC-000002", "INC-000001", TIED),
            'eventd_incident_transitions_total{kind="merged"}',
        ),
        (
            IncidentSplit(at(0), "INC-000001", "INC-000002"),
            'eventd_incident_transitions_total{kind="split"}',
        ),
        (
            IncidentRanked(at(0), "INC-000001", ()),
            'eventd_incident_transitions_total{kind="ranked"}',
        ),
        (CapHit(at(0), "groups", "r"), 'eventd_caps_hit_total{kind="groups"}'),
        (CapHit(at(0), "groups", "r"), 'eventd_rule_caps_hit_total{kind="groups",rule="r"}'),
        (
            AlertSuppressed(at(0), "f", 1, "settle:blips"),
            'eventd_alerts_suppressed_total{kind="settle"}',
        ),
        (
            AlertSuppressed(at(0), "f", 1, "MNT-000001"),
            'eventd_alerts_suppressed_total{kind="maintenance"}',
        ),
        (CapHit(at(0), "heartbeats"), 'eventd_caps_hit_total{kind="heartbeats"}'),
    ],
)
def test_what_the_correlation_decides_is_counted(fact: Fact, name: str) -> None:
    meter = Meter()

    meter.applied([Step(0, at(0), None, (TICK,), (fact,))])

    assert samples(meter.page())[name] == 1


def test_what_is_learned_is_shown_beside_its_limit() -> None:
    meter, table = Meter(), {"db1": 0}

    meter.watch_learned("clocks", table, 10)
    table["db2"] = 1

    page = samples(meter.page())
    assert page['eventd_learned_rows{kind="clocks"}'] == 2
    assert page['eventd_learned_limit_rows{kind="clocks"}'] == 10
