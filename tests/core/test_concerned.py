"""Which incidents a fact concerns."""

from __future__ import annotations

import pytest
from tests.builders import at, event, facts_of, group_rule, only

from eventd.core.concerned import incidents_of
from eventd.core.model import (
    AlertDetached,
    Fact,
    IncidentMerged,
    IncidentOpened,
    IncidentSplit,
    Ordered,
    SilenceEnded,
)


@pytest.mark.parametrize(
    ("fact", "incidents"),
    [
        (IncidentMerged(at(0), "INC-2", "INC-1", Ordered("ann")), ["INC-2", "INC-1"]),
        (IncidentSplit(at(0), "INC-1", "INC-2"), ["INC-1", "INC-2"]),
        (AlertDetached(at(0), "INC-1", "f", 1, fires=True), ["INC-1"]),
        (SilenceEnded(at(0), "SIL-1"), []),
    ],
)
def test_a_fact_names_the_incidents_it_is_about(fact: Fact, incidents: list[str]) -> None:
    assert incidents_of(fact) == incidents


def test_an_incident_that_opens_is_named_by_its_value() -> None:
    opened = only(IncidentOpened, facts_of([(at(0), event())], group_rule()))

    assert incidents_of(opened) == ["INC-000001"]
