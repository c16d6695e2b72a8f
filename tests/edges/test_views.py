"""What facts read like for people."""

from __future__ import annotations

import pytest
from tests.builders import at

from eventd.core.model import Counted, FindingNoted, Stormed
from eventd.web.views import act_view, entry_view, reason_view


def test_a_timeline_says_how_a_storm_goes_on_and_who_talks_most() -> None:
    storm = Stormed("storm", {"source": "zabbix"}, 240, 100, (("ping", 200), ("ssh", 40)), ())

    entry = entry_view(FindingNoted(at(60), "INC-000001", storm), "INC-000001", None)

    assert entry.text == "240 new alerts by now, most of them ping (200), ssh (40)"
    assert (reason_view(storm).above, reason_view(storm).names) == (100, storm.names)


def test_a_timeline_says_which_rule_holds_too() -> None:
    because = Counted("many", {"site": "fra1"}, 5, 3, 60.0)

    entry = entry_view(FindingNoted(at(60), "INC-000001", because), "INC-000001", None)

    assert entry.text == "rule many holds too"


def test_a_fact_that_nobody_caused_is_no_entry_of_an_audit() -> None:
    with pytest.raises(ValueError, match="FindingNoted"):
        act_view(1, FindingNoted(at(60), "INC-000001", Counted("many", {}, 5, 3, 60.0)))
