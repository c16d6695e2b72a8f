"""What the inventory adds to events, alerts, windows and incidents."""

from __future__ import annotations

import pytest
from tests.builders import (
    T0,
    at,
    engine_after,
    engine_with,
    event,
    frames,
    group_rule,
    inventory,
    kind_rule,
    last,
    load,
    maintenance,
    only,
    revived,
    run,
    started,
)

from eventd.core import enrich
from eventd.core.engine import Engine
from eventd.core.labels import fingerprint_of
from eventd.core.model import (
    AlertCleared,
    AlertFired,
    AlertForgotten,
    AlertRepeated,
    AlertSuppressed,
    CapHit,
    Ci,
    IncidentOpened,
    InventoryLoaded,
    LoadInventory,
    Service,
    Status,
)

SHOP = inventory(
    Service("Shop", owner="team-shop", impact=1),
    Service("wiki", impact=3),
    Ci("web1", service="shop", aliases=("10.0.0.1",), depends_on=("db1",)),
    Ci("db1"),
)


def fired(engine: Engine, *rules: dict[str, object]) -> tuple[str, str]:
    """CI and service of the only alert."""
    (alert,) = engine.alerts()
    return alert.ci, alert.service


def test_a_load_says_what_was_loaded() -> None:
    engine = Engine()

    assert engine.step(SHOP, T0) == (InventoryLoaded(T0, "i1", 2, 2, 1),)
    assert engine.inventory.version == "i1"


def test_an_event_belongs_where_its_alias_leads() -> None:
    engine = engine_after([(at(0), SHOP), (at(1), event(ci="10.0.0.1", service=""))])

    assert fired(engine) == ("web1", "Shop")


def test_a_service_keeps_its_own_name_in_the_inventorys_spelling() -> None:
    named = engine_after([(at(0), SHOP), (at(1), event(ci="web1", service="WIKI"))])
    unknown = engine_after([(at(0), SHOP), (at(1), event(ci="web1", service="Other"))])

    assert fired(named) == ("web1", "wiki")
    assert fired(unknown) == ("web1", "Other")


def test_without_an_inventory_nothing_is_added_or_counted() -> None:
    engine = engine_after([(at(0), event(ci="10.0.0.1", service=""))])

    assert fired(engine) == ("10.0.0.1", "")
    assert engine.enrichment.unknown == {}


def test_one_alert_under_two_names_is_one() -> None:
    by_name, by_alias = event(ci="web1", payload="a"), event(ci="10.0.0.1", payload="b")

    facts = last([(at(0), SHOP), (at(1), by_name), (at(2), by_alias)])

    assert facts == [AlertRepeated(at(2), by_name.fingerprint, 1)]


def test_labels_that_do_not_count_do_not_count_under_an_alias() -> None:
    words = {"pid": "17", "mount": "/"}
    engine = Engine()
    run(engine, [(at(0), SHOP)])

    found = engine.identify(event(ci="10.0.0.1", labels=words, volatile=("pid",)))

    assert found == fingerprint_of("zabbix", "disk", "web1", "shop", {"mount": "/"})


def test_an_identity_of_the_senders_own_stays() -> None:
    engine = Engine()
    assert engine.identify(event(ci="10.0.0.1")) == event(ci="10.0.0.1").fingerprint
    run(engine, [(at(0), SHOP)])
    own = event(ci="10.0.0.1", volatile=None)

    assert engine.identify(own) == own.fingerprint


def test_an_alert_that_fires_keeps_its_identity_until_it_clears() -> None:
    firing = event(ci="10.0.0.1", id="1")
    clear = event(ci="10.0.0.1", id="2", status=Status.CLEARED)
    again = event(ci="10.0.0.1", id="3")

    engine = engine_after([(at(0), firing), (at(1), SHOP)])
    cleared = engine.step(clear, at(2))
    (refired,) = engine.step(again, at(3))[:1]

    assert isinstance(cleared[-1], AlertCleared)
    assert cleared[-1].fingerprint == firing.fingerprint
    assert isinstance(refired, AlertFired)
    assert refired.alert.fingerprint == event(ci="web1").fingerprint


def test_a_clear_finds_what_fired_wherever_the_alias_leads_by_then() -> None:
    moved = inventory(Ci("web1"), Ci("web2", aliases=("10.0.0.1",)), version="i2")
    firing = event(ci="10.0.0.1", id="1")
    clear = event(ci="10.0.0.1", id="2", status=Status.CLEARED)
    for another in (moved, LoadInventory("")):
        engine = engine_after([(at(0), SHOP), (at(1), firing), (at(2), another)])
        engine = revived(engine)

        told = engine.identify(clear)
        cleared = engine.step(clear, at(3))

        assert told == event(ci="web1").fingerprint
        assert isinstance(cleared[-1], AlertCleared)
        assert cleared[-1].fingerprint == told


def test_an_episode_that_is_over_binds_no_alias() -> None:
    moved = inventory(Ci("web1"), Ci("web2", aliases=("10.0.0.1",)), version="i2")
    engine = engine_after(
        [
            (at(0), SHOP),
            (at(1), event(ci="10.0.0.1", id="1")),
            (at(2), event(ci="web1", id="2", status=Status.CLEARED)),
            (at(3), event(ci="web1", id="3")),
            (at(4), moved),
        ]
    )

    assert engine.identify(event(ci="10.0.0.1")) == event(ci="web2").fingerprint


def test_at_the_cap_identities_by_alias_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrich, "MAX_KNOWN_AS", 1)
    engine = engine_after([(at(0), SHOP), (at(1), event("disk", ci="10.0.0.1"))])

    facts = [*engine.step(event("cpu", ci="10.0.0.1"), at(2))]

    assert facts[-1] == CapHit(at(2), "known_as")
    assert list(engine.enrichment.known_as) == [event("cpu", ci="10.0.0.1").fingerprint]
    assert CapHit(at(3), "known_as") not in engine.step(event("cpu", ci="10.0.0.1"), at(3))


def test_an_alert_that_a_rule_has_made_room_of_at_the_cap_binds_no_alias() -> None:
    seen = {**kind_rule("group", {"match": 'name="disk"'}, "seen", by=["ci"]), "alert": {}}
    engine = engine_after([(at(0), SHOP), (at(0), started(max_alerts=1))], seen)

    facts = run(engine, [(at(1), event("disk", ci="10.0.0.1"))])

    gone = event("disk", ci="web1").fingerprint
    assert only(AlertForgotten, facts).fingerprint == gone
    assert engine.known_alerts([gone]) == ()
    assert engine.enrichment.known_as == {}


def test_a_new_episode_is_where_the_inventory_has_it_by_then() -> None:
    engine = engine_after(
        [
            (at(0), event(ci="db1", service="", id="1")),
            (at(1), event(ci="db1", service="", id="2", status=Status.CLEARED)),
            (at(2), inventory(Service("shop"), Ci("db1", service="shop"))),
            (at(3), event(ci="db1", service="", id="3")),
        ]
    )

    assert fired(engine) == ("db1", "shop")


def test_a_window_over_an_alias_covers_the_ci() -> None:
    window = maintenance(cis=["10.0.0.1"])
    engine = engine_after([(at(0), SHOP), (at(1), window)], group_rule())

    facts = engine.step(event(ci="web1"), at(2))

    assert [type(fact) for fact in facts] == [AlertFired, AlertSuppressed]
    assert engine.step(maintenance(cis=["web1"], id="2"), at(3))[1:] == ()


def test_a_window_announced_before_the_inventory_covers_by_it() -> None:
    window = maintenance(cis=["10.0.0.1"])
    engine = engine_after([(at(0), window), (at(1), SHOP)], group_rule())

    facts = engine.step(event(ci="web1"), at(2))

    assert [type(fact) for fact in facts] == [AlertFired, AlertSuppressed]
    assert frames(revived(engine)) == frames(engine)


def test_a_window_over_a_service_covers_it_however_it_is_spelled() -> None:
    engine = engine_after([(at(0), SHOP), (at(1), maintenance(services=["SHOP"]))], group_rule())

    facts = engine.step(event(ci="10.0.0.1", service=""), at(2))

    assert [type(fact) for fact in facts] == [AlertFired, AlertSuppressed]


def test_an_incident_has_owner_and_impact_of_its_service() -> None:
    facts = last([(at(0), SHOP), (at(1), event(ci="web1"))], group_rule())

    (opened,) = [fact.incident for fact in facts if isinstance(fact, IncidentOpened)]
    assert (opened.owner, opened.impact) == ("team-shop", 1)
    assert opened.impact_because == "service Shop has impact 1"


def test_an_incident_has_the_impact_of_the_most_important_service_in_it() -> None:
    rule = group_rule(by=["site"])
    site = {"site": "x"}
    engine = engine_after(
        [
            (at(0), SHOP),
            (at(1), event(ci="a", service="wiki", labels=site)),
            (at(2), event(ci="b", service="shop", labels=site)),
        ],
        rule,
    )

    (incident,) = engine.incidents()

    assert (incident.impact, incident.impact_because) == (1, "service Shop has impact 1")
    assert (incident.service, incident.owner) == ("wiki", "team-shop")


def test_many_cis_weigh_more_than_an_unimportant_service() -> None:
    feed = [(at(n), event(ci=f"c{n}", service="wiki")) for n in range(1, 4)]

    (incident,) = engine_after([(at(0), SHOP), *feed], group_rule()).incidents()

    assert (incident.impact, incident.impact_because) == (2, "3 or more CIs affected")


def test_the_rule_has_the_last_word_on_impact() -> None:
    rule = group_rule(impact=2)

    (incident,) = engine_after([(at(0), SHOP), (at(1), event(ci="web1"))], rule).incidents()

    assert (incident.impact, incident.impact_because) == (2, "rule by-service says so")


def test_names_the_inventory_lacks_are_counted_but_not_those_of_duplicates() -> None:
    engine = engine_after(
        [
            (at(0), SHOP),
            (at(1), event(ci="nas7", service="backup", id="1")),
            (at(2), event(ci="nas7", service="", id="2")),
            (at(3), event(ci="nas7", service="", id="2")),
            (at(4), event(ci="", service="", id="3")),
            (at(5), event(ci="web1", service="shop", id="4")),
        ]
    )

    assert engine.enrichment.unknown == {("ci", "nas7"): 2, ("service", "backup"): 1}


def test_what_another_inventory_knows_is_no_longer_unknown() -> None:
    engine = engine_after([(at(0), SHOP), (at(1), event(ci="nas7", service="backup"))])

    engine.step(inventory(Ci("nas7"), version="i2"), at(2))
    assert engine.enrichment.unknown == {("service", "backup"): 1}
    engine.step(LoadInventory(""), at(3))
    assert engine.enrichment.unknown == {}


def test_at_the_cap_the_rarer_half_of_unknown_names_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(enrich, "MAX_UNKNOWN", 4)
    names = ["a", "b", "b", "c", "c", "d", "e"]
    feed = [(at(n), event(ci=name, service="", id=str(n))) for n, name in enumerate(names, 1)]

    engine = engine_with()
    facts = run(engine, [(at(0), SHOP), *feed])

    assert [fact for fact in facts if isinstance(fact, CapHit)] == [CapHit(at(7), "unknown_names")]
    assert engine.enrichment.unknown == {("ci", "b"): 2, ("ci", "c"): 2}


def test_places_are_looked_up_anew_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrich, "MAX_PLACES", 1)
    feed = [
        (at(n), event(ci=ci, service="")) for n, ci in enumerate(["10.0.0.1", "db1", "web1"], 1)
    ]

    engine = engine_after([(at(0), SHOP), *feed])

    assert [(one.ci, one.service) for one in engine.alerts()] == [("web1", "Shop"), ("db1", "")]


def test_inventory_and_unknown_names_outlive_a_restart() -> None:
    engine = engine_after(
        [(at(0), load(group_rule())), (at(1), SHOP), (at(2), event(ci="nas7", service=""))]
    )

    restored = revived(engine)

    assert frames(restored) == frames(engine)
    assert restored.inventory.version == "i1"
    assert restored.step(event(ci="10.0.0.1"), at(3)) == engine.step(event(ci="10.0.0.1"), at(3))
    (incident,) = restored.incidents()
    assert incident.owner == "team-shop"
