"""The inventory: names, rows, and the graph of what depends on what."""

from __future__ import annotations

import pytest

from eventd.core import inventory
from eventd.core.inventory import HARD, REDUNDANT, Inventory, Reach
from eventd.core.model import Ci, Dependency, Service


def spare(name: str) -> Dependency:
    return Dependency(name, redundant=True)


BANK = Inventory(
    "v1",
    (Service("Payments", owner="team-pay", impact=1, depends_on=("web1", spare("web2"))),),
    (
        Ci("Web1.bank.example", type="vm", site="dc1", service="payments", depends_on=("esx1",)),
        Ci("web2", service="payments", aliases=("10.0.0.2", "W"), depends_on=("esx1", "10.0.0.9")),
        Ci("esx1", type="esx", depends_on=("san",)),
        Ci("san", aliases=("10.0.0.9",)),
        Ci("lab", service="unwritten"),
    ),
)


def test_a_name_is_canonical_in_any_spelling_and_by_alias() -> None:
    spellings = ("WEB2", "web2.bank.example:9100", "10.0.0.2", "10.0.0.2:22", " web2 ", "w")

    assert {BANK.canonical(one) for one in spellings} == {"web2"}
    assert BANK.canonical("Unknown.example") == "unknown"
    assert BANK.resolve("10.0.0.9") == "san"


def test_rows_are_found_by_canonical_name() -> None:
    assert len(BANK) == 6
    assert BANK.knows("web1")
    assert not BANK.knows("10.0.0.2")
    assert (BANK.type_of("web1"), BANK.site_of("web1")) == ("vm", "dc1")
    assert (BANK.type_of("web2"), BANK.site_of("web2")) == ("", "")
    assert (BANK.type_of("nobody"), BANK.site_of("nobody")) == ("", "")


def test_a_ci_has_the_service_in_the_inventorys_spelling() -> None:
    assert BANK.service_of("web1") == "Payments"
    assert BANK.service_of("payments") == "Payments"
    assert BANK.service_of("lab") == "unwritten"
    assert BANK.service_of("san") == BANK.service_of("nobody") == ""


def test_a_service_is_found_in_any_spelling() -> None:
    found = BANK.service("PAYMENTS")

    assert found is not None
    assert (found.owner, found.impact) == ("team-pay", 1)
    assert BANK.service("web1") is BANK.service("") is BANK.service("nobody") is None


def test_rows_of_one_name_are_one_thing_and_a_shared_alias_is_nobodys() -> None:
    found = Inventory(
        "",
        (Service("b", owner="ann"),),
        (
            Ci("a", type="first", aliases=("10.0.0.1", "b", "10.0.0.2", "10.0.0.2:80")),
            Ci("A.example", type="second", site="dc1", aliases=("10.0.0.3",), depends_on=("c",)),
            Ci("b", aliases=("10.0.0.1",), service="other"),
            Ci("c", aliases=("10.0.0.1",)),
        ),
    )

    assert len(found) == 3
    assert (found.type_of("a"), found.site_of("a")) == ("first", "dc1")
    assert found.depends_on("a") == {"c": HARD}
    assert found.service_of("b") == "b"
    assert found.resolve("10.0.0.1") == "10.0.0.1"
    assert found.resolve("10.0.0.2") == found.resolve("10.0.0.3") == "a"
    assert found.resolve("b") == "b"


def test_dependencies_have_the_strength_of_their_kind() -> None:
    assert BANK.depends_on("payments") == {"web1": HARD, "web2": REDUNDANT}
    assert BANK.depends_on("web2") == {"esx1": HARD, "san": HARD}
    assert BANK.depends_on("nobody") == {}
    assert BANK.dependencies == 6


def test_a_dependency_written_twice_counts_once_and_hard_and_none_on_oneself() -> None:
    found = Inventory("", (), (Ci("a", depends_on=(spare("b"), "b", spare("B"), "A")),))

    assert found.depends_on("a") == {"b": HARD}
    assert found.dependencies == 1
    assert found.weight_below("b") == HARD
    assert not found.knows("b")


def test_ancestors_are_reached_by_the_strongest_path() -> None:
    assert BANK.ancestors("payments") == {
        "web1": Reach(HARD, 1, ()),
        "web2": Reach(REDUNDANT, 1, ()),
        "esx1": Reach(HARD**2, 2, ("web1",)),
        "san": Reach(HARD**3, 3, ("web1", "esx1")),
    }
    assert BANK.ancestors("payments") is BANK.ancestors("payments")
    assert BANK.ancestors("san") == BANK.ancestors("nobody") == {}


def test_a_longer_path_counts_where_it_is_stronger() -> None:
    found = Inventory("", (), (Ci("a", depends_on=(spare("c"), "b")), Ci("b", depends_on=("c",))))

    assert found.ancestors("a")["c"] == Reach(HARD**2, 2, ("b",))


def test_no_ancestor_is_further_than_five_hops_or_weaker_than_the_cut() -> None:
    chain = Inventory("", (), tuple(Ci(f"n{i}", depends_on=(f"n{i + 1}",)) for i in range(9)))
    spared = Inventory(
        "", (), (Ci("a", depends_on=(spare("b"),)), Ci("b", depends_on=(spare("c"),)))
    )

    assert list(chain.ancestors("n0")) == ["n1", "n2", "n3", "n4", "n5"]
    assert list(spared.ancestors("a")) == ["b"]


def test_a_circle_has_no_ancestor_of_itself() -> None:
    found = Inventory("", (), (Ci("a", depends_on=("b",)), Ci("b", depends_on=("a",))))

    assert found.ancestors("a") == {"b": Reach(HARD, 1, ())}


def test_the_weight_below_sums_its_dependants() -> None:
    below = BANK.dependants("san")

    assert below == {
        "web2": Reach(HARD, 1, ()),
        "esx1": Reach(HARD, 1, ()),
        "payments": Reach(HARD**3, 3, ("esx1", "web1")),
        "web1": Reach(HARD**2, 2, ("esx1",)),
    }
    assert BANK.weight_below("san") == sum(one.strength for one in below.values())
    assert BANK.weight_below("san") == BANK.weight_below("san")
    assert BANK.weight_below("payments") == BANK.weight_below("nobody") == 0.0


def test_at_the_cap_the_nearest_ancestors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_ANCESTORS", 2)
    found = Inventory("", (), (Ci("a", depends_on=("b", "c", "d")), Ci("b", depends_on=("e",))))

    assert list(found.ancestors("a")) == ["b", "c"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_REMEMBERED", 5)
    found = Inventory("", (), tuple(Ci(f"n{i}", depends_on=("x", "y")) for i in range(9)))

    once = [found.ancestors(f"n{i}") for i in range(9)]

    assert found._remembered <= 5
    assert [found.ancestors(f"n{i}") for i in range(9)] == once
