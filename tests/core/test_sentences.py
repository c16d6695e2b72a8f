"""What reasons and facts read like for people."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.builders import at, event, facts_of, group_rule, only

from eventd.core.model import (
    AT,
    Absent,
    AlertAlone,
    AlertDetached,
    AlertFlapping,
    AlertJoined,
    AlertSuppressed,
    AlertUnsuppressed,
    Because,
    Correlated,
    EndReason,
    Fact,
    FindingNoted,
    Gathered,
    Grouped,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentMerged,
    IncidentOpened,
    IncidentRanked,
    IncidentResolved,
    IncidentSplit,
    IncidentUpdated,
    Ordered,
    Paired,
    Reason,
    RootCandidate,
    RuleMissed,
    Sequenced,
    SilenceEnded,
    Stormed,
    Tie,
    Why,
)
from eventd.core.sentences import alert_said, evidence, happened, miss, sentence

OPENS = Correlated(Tie.OPENS, 0.0, 0.3)
DEPENDS = Correlated(Tie.DEPENDS, 0.612, 0.3, "san-dc1-2", 2)
NEAR = Correlated(
    Tie.OPENS, 0.0, 0.3, other="INC-000003", other_score=0.21,
    other_tie=Tie.DEPENDS, other_via="db1", other_hops=1,
)  # fmt: skip
STORM = Stormed("storm", {"source": "zabbix"}, 240, 100, (("ping", 200),), ())
SAN = RootCandidate("san-dc1-2", 1.2, 13, 15, -40.0, needs=2)


@pytest.mark.parametrize(
    ("because", "text"),
    [
        (DEPENDS, "depends on san-dc1-2, which alerts, over 2 hops (0.61, needed 0.30)"),
        (OPENS, "it was the first alert"),
        (
            Correlated(Tie.COMMON, 0.41, 0.3, "sw-1", 2),
            "depends on sw-1 over 2 hops, as others that alert do (0.41, needed 0.30)",
        ),
        (
            Correlated(Tie.COMMON, 0.41, 0.3, f"{AT}north", 1),
            "is at site north, as others that alert are (0.41, needed 0.30)",
        ),
        (Correlated(Tie.CLAIMED, 1.0, 0.0), "a rule put it there"),
        (
            Sequenced("r", {"site": "fra"}, (("a", 1), ("b", 2)), 9.5, 60.0),
            "rule r: a, then 2 times b within 9.5 s for site fra",
        ),
        (
            Gathered("r", {"site": "fra"}, (("a", 1), ("b", 2)), 60.0),
            "rule r: a, 2 times b within 60 s for site fra",
        ),
        (Paired("r", {"ci": "sw1"}), "rule r: nothing has ended it for ci sw1"),
        (
            Absent("r", {"ci": "db1"}, "backup", "", 60.0),
            "rule r: no backup within 60 s for ci db1",
        ),
        (
            Absent("r", {"ci": "db1"}, "backup", "deploy", 60.0),
            "rule r: no backup within 60 s after deploy for ci db1",
        ),
        (Ordered("ann"), "ann put it there"),
        (Ordered("ann", "same switch"), "ann put it there (same switch)"),
    ],
)
def test_a_reason_says_what_put_the_alert_there(because: Because, text: str) -> None:
    assert sentence(because) == text


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (
            SAN,
            "12 of 14 CIs depend on san-dc1-2; it alerted 40 s before the first of them; "
            "what it depends on is quiet",
        ),
        (
            RootCandidate("sw", 1.0, 2, 2, 300.0, depends=0.9, changed=9000.0),
            "1 of 1 CI depends on sw; it alerted 5 min after the first of them; "
            "what it depends on alerts too; it was changed 2 h before",
        ),
        (RootCandidate("db", 1.0, 1, 1, rule="full-disk"), "rule full-disk says so"),
        (
            RootCandidate("fw", 1.0, 3, 3, silent=True, needs=0),
            "3 of 3 CIs depend on fw; it says nothing itself; it depends on nothing",
        ),
        (
            RootCandidate("db", 1.0, 1, 3, 0.0),
            "none of the 2 other CIs depends on db; it alerted with the first of them; "
            "what it depends on is not known",
        ),
        (
            RootCandidate("db", 1.0, 1, 2, 0.0),
            "the other CI does not depend on db; it alerted with the first of them; "
            "what it depends on is not known",
        ),
        (
            RootCandidate("db", 1.0, 1, 1, 0.0),
            "only db alerts; what it depends on is not known",
        ),
    ],
)
def test_a_root_candidate_says_what_speaks_for_it(root: RootCandidate, text: str) -> None:
    assert evidence(root) == text


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (
            AlertJoined(at(0), "INC-000001", "f", 1, NEAR),
            "in INC-000001: it was the first alert; nearest was INC-000003: depends on db1, "
            "which alerts, over 1 hop (0.21, 0.09 short of 0.30)",
        ),
        (
            AlertJoined(at(0), "INC-000001", "f", 1, Grouped("by-ci", {"ci": "db1"})),
            "in INC-000001: rule by-ci: same ci db1",
        ),
        (
            AlertJoined(
                at(0), "INC-000001", "f", 1, Correlated(Tie.SAME, 0.9, 0.3, "db1", 0, "", 0.4)
            ),
            "in INC-000001: db1 alerted already (0.90, needed 0.30); "
            "next was alerts that were no incident yet (0.40)",
        ),
        (
            AlertAlone(at(0), "f", 1, Why.BLIP, NEAR),
            "alone: it cleared before there was enough for an incident; nearest was INC-000003: "
            "depends on db1, which alerts, over 1 hop (0.21, 0.09 short of 0.30)",
        ),
        (
            AlertAlone(at(0), "f", 1, Why.NOISY, DEPENDS, 5, 1),
            "alone: its check cries wolf (5 false alarms, 1 real), and nothing explains it; "
            "until then depends on san-dc1-2, which alerts, over 2 hops (0.61, needed 0.30)",
        ),
        (
            AlertAlone(at(0), "f", 1, Why.NOISY, OPENS, 3),
            "alone: its check cries wolf (3 false alarms, none real), and nothing explains it; "
            "nothing was near",
        ),
        (
            AlertAlone(at(0), "f", 1, Why.INFO),
            "alone: its source calls it information, which raises nothing",
        ),
        (
            AlertAlone(at(0), "f", 1, Why.BLIP, OPENS),
            "alone: it cleared before there was enough for an incident; nothing was near",
        ),
        (
            AlertDetached(at(0), "INC-000001", "f", 1, fires=True),
            "no more in INC-000001: it left: it cleared at once, as it often does",
        ),
        (
            AlertDetached(at(0), "INC-000001", "f", 1, fires=True, into="INC-000002"),
            "no more in INC-000001: it left and went to INC-000002",
        ),
        (
            AlertDetached(at(0), "INC-000001", "f", 1, fires=True, actor="ann", text="a test"),
            "no more in INC-000001: ann took it out (a test)",
        ),
        (AlertFlapping(at(0), "f", 3, on=True), "changes state too often to be believed"),
        (AlertFlapping(at(0), "f", 3, on=False), "is steady again"),
        (
            RuleMissed(at(0), "f", 1, "r", {"site": "fra"}, "probe", 2, 3, 60.0, 71.0),
            "rule r missed site fra: 2 of 3 within 60 s; probe came 71 s after the first",
        ),
        (
            RuleMissed(at(0), "f", 1, "r", {"site": "fra"}, "probe", 2, 3, 60.0),
            "rule r missed site fra: 2 of 3 within 60 s; probe did not come",
        ),
        *(
            (AlertSuppressed(at(0), "f", 1, by), f"suppressed: {text}")
            for by, text in [
                ("SIL-000001", "SIL-000001 silences it"),
                ("MNT-000001", "MNT-000001 covers it"),
                ("settle:r", "rule r waits whether it clears"),
                ("inhibit:r", "rule r waits whether something explains it"),
                ("dependency:r", "rule r waits whether something explains it"),
                ("calendar:r", "rule r has it as known at this time"),
            ]
        ),
        (
            AlertSuppressed(at(0), "f", 1, "inhibit:r", "source"),
            "suppressed: rule r: source explains it",
        ),
        *(
            (AlertUnsuppressed(at(0), "f", 1, by), f"suppressed no more: {text}")
            for by, text in [
                ("SIL-000001", "SIL-000001 is over"),
                ("MNT-000001", "MNT-000001 is over"),
                ("settle:r", "it has not cleared, and rule r waits no longer"),
                ("inhibit:r", "nothing explains it that rule r knows"),
                ("dependency:r", "nothing explains it that rule r knows"),
                ("calendar:r", "rule r has it as known no longer"),
            ]
        ),
    ],
)
def test_a_fact_says_where_an_alert_belongs(fact: Reason | AlertFlapping, text: str) -> None:
    assert alert_said(fact) == text


@pytest.mark.parametrize(
    ("fact", "incident", "text"),
    [
        (
            IncidentMerged(at(0), "INC-000002", "INC-000001", DEPENDS),
            "INC-000001",
            "INC-000002 is one with it: depends on san-dc1-2, which alerts, over 2 hops "
            "(0.61, needed 0.30)",
        ),
        (
            IncidentMerged(at(0), "INC-000002", "INC-000001", Ordered("ann", "one outage"), "ann"),
            "INC-000002",
            "is one with INC-000001, which has its alerts from now on: "
            "ann merged them (one outage)",
        ),
        (
            IncidentSplit(at(0), "INC-000001", "INC-000002"),
            "INC-000001",
            "INC-000002 is one of its own: it has another root",
        ),
        (
            IncidentSplit(at(0), "INC-000001", "INC-000002", "ann"),
            "INC-000002",
            "was part of INC-000001: ann split it",
        ),
        (
            IncidentRanked(at(0), "INC-000001", (SAN,)),
            "INC-000001",
            "the likeliest root is san-dc1-2: 12 of 14 CIs depend on san-dc1-2; it alerted 40 s "
            "before the first of them; what it depends on is quiet",
        ),
        (
            IncidentRanked(at(0), "INC-000001", ()),
            "INC-000001",
            "no root stands out any more",
        ),
        (
            AlertDetached(at(0), "INC-000001", "f", 1, fires=True, actor="ann"),
            "INC-000001",
            "ann took f out",
        ),
        (
            IncidentUpdated(at(0), "INC-000001", 1, 2, "db1 is wide"),
            "INC-000001",
            "P2: db1 is wide",
        ),
        (IncidentAcknowledged(at(0), "INC-000001", "ann"), "INC-000001", "ann has it"),
        (IncidentCommented(at(0), "INC-000001", "ann", "looking"), "INC-000001", "looking"),
        (
            FindingNoted(at(0), "INC-000001", Grouped("by-ci", {"ci": "db1"})),
            "INC-000001",
            "rule by-ci holds too",
        ),
        (
            FindingNoted(at(0), "INC-000001", STORM),
            "INC-000001",
            "240 new alerts by now, most of them ping (200)",
        ),
        (
            IncidentResolved(at(0), "INC-000001", EndReason.SUBSIDED),
            "INC-000001",
            "nearly all its alerts have cleared and stayed clear",
        ),
        (
            IncidentClosed(at(0), "INC-000001", EndReason.OPERATOR, "ann", "a drill"),
            "INC-000001",
            "a drill",
        ),
    ],
)
def test_a_fact_says_what_happened_to_an_incident(fact: Fact, incident: str, text: str) -> None:
    assert happened(fact, incident) == text


def test_what_concerns_no_incident_stands_on_no_timeline() -> None:
    with pytest.raises(ValueError, match="SilenceEnded"):
        happened(SilenceEnded(at(0), "SIL-000001"), "INC-000001")


def test_nothing_was_missed_where_nothing_was_near() -> None:
    assert miss(None) == miss(OPENS) == miss(DEPENDS) == (0.0, "")


def test_an_incident_that_opens_says_what_it_is_a_recurrence_of() -> None:
    opened = only(IncidentOpened, facts_of([(at(0), event())], group_rule()))
    again = replace(opened.incident, recurs="INC-000007")

    said = [happened(IncidentOpened(at(0), one, OPENS), one.id) for one in (opened.incident, again)]

    assert said == [
        "disk on db1: rule by-service: same service shop",
        "disk on db1: rule by-service: same service shop; a recurrence of INC-000007",
    ]
