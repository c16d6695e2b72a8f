"""What must hold for every inventory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.builders import at, event, group_rule, load, revived, run
from tests.properties.feeds import Recipe, timed

from eventd.core.engine import Engine
from eventd.core.inventory import HOPS_BELOW, MAX_HOPS, WEAKEST, Inventory, Reach
from eventd.core.model import AlertFired, Ci, Dependency, Event, LoadInventory, Service, Status

pytestmark = pytest.mark.usefixtures("unmeasured")

NAMES = [f"n{n}" for n in range(8)]
OTHERS = dict(zip(NAMES, ["x7", "a", "mm-2", "b1", "zz", "c", "k9", "d"], strict=True))


@st.composite
def cis(draw: st.DrawFn) -> tuple[Ci, ...]:
    """Any graph over few names, an alias each."""
    named = st.builds(Dependency, st.sampled_from(NAMES), st.booleans())
    needs = st.lists(named, max_size=3).map(tuple)
    return tuple(
        Ci(name, aliases=(f"alias-{name}.example",), depends_on=draw(needs))
        for name in draw(st.permutations(NAMES))
    )


def strongest(inventory: Inventory, start: str, hops: int) -> dict[str, float]:
    """By trying every path."""
    found: dict[str, float] = {}

    def walk(name: str, strength: float, left: int) -> None:
        for needed, share in inventory.depends_on(name).items():
            reached = strength * share
            if left and reached >= WEAKEST and needed != start:
                found[needed] = max(reached, found.get(needed, 0.0))
                walk(needed, reached, left - 1)

    walk(start, 1.0, hops)
    return found


def edges(inventory: Inventory, start: str, end: str, reach: Reach) -> Iterator[float]:
    for one, other in zip((start, *reach.via), (*reach.via, end), strict=True):
        yield inventory.depends_on(one)[other]


@given(cis())
def test_a_reach_is_the_strongest_path_and_its_strength_the_product(rows: tuple[Ci, ...]) -> None:
    inventory = Inventory("", (), rows)
    for name in NAMES:
        ancestors = inventory.ancestors(name)

        assert {one: reach.strength for one, reach in ancestors.items()} == pytest.approx(
            strongest(inventory, name, MAX_HOPS)
        )
        for end, reach in ancestors.items():
            product = 1.0
            for share in edges(inventory, name, end, reach):
                product *= share
            assert reach.strength == pytest.approx(product)
            assert reach.hops == len(reach.via) + 1 <= MAX_HOPS


@given(cis())
def test_the_weight_below_is_what_others_reach_it_with(rows: tuple[Ci, ...]) -> None:
    inventory = Inventory("", (), rows)
    for name in NAMES:
        above = [strongest(inventory, other, HOPS_BELOW).get(name, 0.0) for other in NAMES]

        assert inventory.weight_below(name) == pytest.approx(sum(above))


@given(cis())
def test_renaming_everything_changes_nothing_but_names(rows: tuple[Ci, ...]) -> None:
    inventory = Inventory("", (), rows)
    renamed = Inventory("", (), tuple(_renamed(row) for row in rows))

    for name in NAMES:
        other = OTHERS[name]
        assert list(renamed.ancestors(other).items()) == [
            (OTHERS[one], replace(reach, via=tuple(OTHERS[via] for via in reach.via)))
            for one, reach in inventory.ancestors(name).items()
        ]
        assert renamed.weight_below(other) == inventory.weight_below(name)


def _renamed(row: Ci) -> Ci:
    needs = tuple(
        Dependency(OTHERS[one.name], one.redundant)
        for one in row.depends_on
        if isinstance(one, Dependency)
    )
    return Ci(OTHERS[row.name], depends_on=needs)


@given(cis(), st.sampled_from(NAMES), st.data())
def test_every_spelling_leads_to_one_name_and_no_further(
    rows: tuple[Ci, ...], name: str, data: st.DataObject
) -> None:
    inventory = Inventory("", (), rows)
    spelled = data.draw(st.sampled_from([name, f"alias-{name}"]))
    domain = data.draw(st.sampled_from(["", ".example", ".dc1.bank.example"]))
    port = data.draw(st.sampled_from(["", ":80"]))
    spelled = data.draw(st.sampled_from([spelled, spelled.upper()])) + domain + port

    assert inventory.canonical(spelled) == name
    assert inventory.canonical(inventory.canonical(spelled)) == name


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[float, Recipe]]:
    """Events on CIs, some under an alias."""
    recipes: list[tuple[float, Recipe]] = []
    for number in range(draw(st.integers(1, 12))):
        fields = {
            "name": draw(st.sampled_from(["disk", "cpu"])),
            "ci": draw(st.sampled_from(["", "alias-"])) + draw(st.sampled_from(NAMES)),
            "status": draw(st.sampled_from([Status.FIRING, Status.FIRING, Status.CLEARED])),
        }
        recipes.append((draw(st.sampled_from([0, 5, 400])), _recipe(number, fields)))
    return recipes


def _recipe(number: int, fields: Mapping[str, object]) -> Recipe:
    return lambda now: event(**fields, service="", id=str(number))  # type: ignore[arg-type] # as drawn


@given(cis(), happenings(), st.sampled_from(NAMES))
def test_whoever_uses_aliases_has_the_incidents_of_whoever_does_not(
    rows: tuple[Ci, ...], recipes: list[tuple[float, Recipe]], member: str
) -> None:
    service = Service("shop", owner="ann", impact=1, depends_on=(member,))
    stock = LoadInventory("i", (service,), tuple(replace(row, service="shop") for row in rows))
    said = timed([(0, lambda now: load(group_rule())), (0, lambda now: stock), *recipes])
    plain = [(at, _plain(item) if isinstance(item, Event) else item) for at, item in said]
    aliased, named = Engine(), Engine()

    facts = [run(aliased, said), run(named, plain)]

    assert facts[0] == facts[1]
    assert list(aliased.incidents()) == list(named.incidents())
    assert all(one.owner == "ann" and one.impact == 1 for one in aliased.incidents())
    fired = [fact.alert for fact in facts[0] if isinstance(fact, AlertFired)]
    assert all(one.service == "shop" and one.ci in NAMES for one in fired)


def _plain(said: Event) -> Event:
    ci = said.ci.removeprefix("alias-")
    return event(said.name, ci=ci, status=said.status, service="", id=said.id)


@st.composite
def stocks(draw: st.DrawFn) -> LoadInventory:
    """Two aliases, wherever they lead; or nothing."""
    rows = {name: draw(st.sets(st.sampled_from(["x", "y"]))) for name in ("a", "b", "x")}
    known = draw(st.booleans())
    found = tuple(Ci(name, aliases=tuple(sorted(also))) for name, also in rows.items())
    return LoadInventory(str(rows), (), found) if known else LoadInventory("")


@given(
    st.lists(st.one_of(stocks(), st.sampled_from(["a", "b", "x", "y"])), min_size=1, max_size=20),
    st.permutations(["a", "b", "x", "y"]),
)
def test_who_clears_what_they_fired_leaves_nothing_firing(
    happened: list[LoadInventory | str], names: list[str]
) -> None:
    engine = Engine()
    number = 0
    for one in happened:
        number += 1
        engine.step(event(ci=one, id=str(number)) if isinstance(one, str) else one, at(number))
        engine = revived(engine)

    for name in names:
        number += 1
        engine.step(event(ci=name, status=Status.CLEARED, id=str(number)), at(number))

    assert [one.ci for one in engine.alerts() if one.status is Status.FIRING] == []
