"""A recorded storm: the afternoon on which a storage array took a bank's shop with it.

A cascade over two services, a flapping check, maintenance, a silence, late and doubled
deliveries, operators at work, a restart and a rule change, in 40 minutes.
"""

from __future__ import annotations

from datetime import datetime

from tests.builders import (
    TICK,
    Feed,
    at,
    clear,
    event,
    group_rule,
    load,
    maintenance,
    silence,
    started,
    threshold_rule,
)

from eventd.core.model import (
    Acknowledge,
    Arrival,
    Comment,
    EndSilence,
    Input,
    Refused,
    Reopen,
    Resolve,
    Severity,
    Status,
)

RULES = (
    group_rule("array", 'source="array"', by=["ci"], within="10m", title="Array {ci} in trouble",
               impact=1, urgency=1, assign="storage"),
    threshold_rule("errors", 'name=~"http_5..", severity>=major', count=3, within="2m",
                   title="{service}: requests fail", urgency=1),
    threshold_rule("slow-logins", 'name="login_slow", value>2', count=3, of="events",
                   by=["name"], within="5m"),
    group_rule("by-service", by=["service"]),
)  # fmt: skip
CHANGED_RULES = (*RULES[:3], group_rule("by-service", by=["service"], within="10m"))


def storm() -> Feed:
    """The feed, in order of time."""
    feed: list[tuple[datetime, Input]] = [
        (at(0), started()),
        (at(0), load(*RULES)),
        (at(1), maintenance("CHG-77", ends=1_200, cis=["web9"], id="chg77")),
        (at(2), silence('name="backup_late"', at(600))),
        (at(10), event("backup_late", ci="bk1", service="backup", severity=Severity.WARNING)),
        (at(12), event("http_502", ci="web9", id="w9")),
        (at(60), event("latency_high", source="array", ci="san1", service="storage",
                       repeats_within=300, labels={"pool": "p1", "shelf": "3"})),
        (at(61), Refused("array", "decode", "no JSON", 0)),
    ]  # fmt: skip
    for number in range(12):  # every web server of the shop, twice each, the second a duplicate
        said = event(
            "http_503",
            ci=f"web{number % 9}",
            severity=Severity.MAJOR if number % 3 else Severity.MINOR,
            labels={"path": f"/pay/{number % 2}"},
            id=f"e{number}",
            occurred_at=at(70 + number),
        )
        feed += [(at(75 + 5 * number), said), (at(76 + 5 * number), said)]
    for number in range(6):  # a check that cannot make up its mind
        said = event("ping") if number % 2 == 0 else clear("ping")
        feed.append((at(140 + 20 * number), said))
    feed += [
        (at(262), event("login_slow", ci="", service="login", value=2.5)),
        (at(280), event("login_slow", ci="", service="login", value=1.0)),
        (at(300), event("login_slow", ci="", service="login", value=3.5)),
        (at(320), event("login_slow", ci="", service="login", value=4.5)),
        (at(330), Acknowledge("INC-000001", "ann", b"a" * 16)),
        (at(331), Acknowledge("INC-000001", "bob")),
        (at(340), Comment("INC-000001", "ann", "shelf 3 is resetting")),
        (at(345), clear("gone", occurred_at=at(344))),
        (at(350), event("gone", occurred_at=at(343))),
        (at(355), EndSilence("SIL-000001", "ann")),
        (at(400), started()),
        (at(401), load(*CHANGED_RULES, version="v2")),
        (at(500), event("ping", arrival=Arrival.RETAINED)),
        (at(505), Resolve("INC-000001", "ann", "shelf replaced")),
        (at(900), Reopen("INC-000001", "bob", "again")),
        (at(905), event("latency_high", source="array", ci="san1", service="storage",
                        repeats_within=60, labels={"shelf": "3", "pool": "p1"})),
    ]  # fmt: skip
    feed += [
        (at(950 + number), clear("http_503", ci=f"web{number % 9}", id=f"c{number}",
                                 labels={"path": f"/pay/{number % 2}"}))
        for number in range(12)
    ]  # fmt: skip
    feed += [
        (at(1_000), clear("login_slow", ci="", service="login")),
        (at(1_001), clear("ping")),
        (at(1_300), event("deploy", status=Status.INFO)),
        (at(2_400), TICK),
    ]
    return feed
