"""What the numbers say of the correlation."""

from __future__ import annotations

import pytest
from tests.acceptance.daemon import samples
from tests.builders import TICK, at

from eventd.core.model import (
    AlertAlone,
    AlertDetached,
    AlertFlapping,
    AlertRaised,
    AlertSuppressed,
    CapHit,
    Correlated,
    Fact,
    IncidentMerged,
    IncidentRanked,
    IncidentSplit,
    Strange,
    Tie,
    VerdictGiven,
    Why,
)
from eventd.core.rules.budget import Share
from eventd.metrics import MAX_RULES, Meter
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


def test_budgets_are_shown_beside_what_came_of_them_and_gone_rules_are_not() -> None:
    meter, strange = Meter(), Strange("odd", {"ci": "shop"}, 1.0, 9.0, 7.0, ())
    raised = AlertRaised(at(0), "f", 1, "f", "odd", strange, 0, (), begins=True)
    said = VerdictGiven(at(0), "INC-000001", False, "ann", "", (("odd", 2),))
    meter.applied([Step(0, at(0), None, (TICK,), (raised, said))])

    meter.shares({"gone": Share(1.0, 5.0, 1, 0, 0)})
    meter.shares({"odd": Share(0.25, 7.5, 9, 4, 2)})

    page = samples(meter.page())
    assert page['eventd_anomaly_alerts_total{rule="odd"}'] == 1
    assert page['eventd_anomaly_verdicts_total{rule="odd",verdict="false"}'] == 2
    shown = {
        name: value
        for name, value in page.items()
        if "eventd_anomaly_" in name and "_created" not in name
    }
    assert {name: value for name, value in shown.items() if name.endswith('{rule="odd"}')} == {
        'eventd_anomaly_alerts_total{rule="odd"}': 1,
        'eventd_anomaly_budget_alerts_per_second{rule="odd"}': 0.25,
        'eventd_anomaly_needed_surprise{rule="odd"}': 7.5,
        'eventd_anomaly_streams{rule="odd"}': 9,
        'eventd_anomaly_streams_young{rule="odd"}': 4,
        'eventd_anomaly_streams_cried{rule="odd"}': 2,
    }
    assert not [name for name in shown if "gone" in name]


def test_no_more_rules_are_shown_than_can_be() -> None:
    meter = Meter()

    meter.shares({f"r{n}": Share(1.0, 5.0, 1, 0, 0) for n in range(MAX_RULES + 5)})

    shown = [name for name in samples(meter.page()) if name.startswith("eventd_anomaly_streams{")]
    assert len(shown) == MAX_RULES


def test_rules_that_share_a_budget_and_never_fired_take_no_label_from_those_that_do() -> None:
    meter, strange = Meter(), Strange("odd", {"ci": "shop"}, 1.0, 9.0, 7.0, ())
    raised = AlertRaised(at(0), "f", 1, "f", "odd", strange, 0, (), begins=True)

    meter.shares({f"r{n}": Share(1.0, 5.0, 1, 0, 0) for n in range(MAX_RULES)})
    meter.applied([Step(0, at(0), None, (TICK,), (raised,))])

    assert samples(meter.page())['eventd_anomaly_alerts_total{rule="odd"}'] == 1


def test_what_is_learned_is_shown_beside_its_limit() -> None:
    meter, table = Meter(), {"db1": 0}

    meter.watch_learned("clocks", table, 10)
    table["db2"] = 1

    page = samples(meter.page())
    assert page['eventd_learned_rows{kind="clocks"}'] == 2
    assert page['eventd_learned_limit_rows{kind="clocks"}'] == 10
