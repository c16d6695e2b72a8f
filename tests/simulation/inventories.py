"""What there is on the plant: one stack of machines, and inventories that know it more or less."""

from __future__ import annotations

from eventd.core.model import Ci, Dependency, LoadInventory, Service
from tests.builders import inventory
from tests.simulation.oracle import POISON

CIS = ("san1", "db1", "db2", "app1", "app2", "web1", "web2", "odd1")
ALIASES = ("10.0.0.1", "10.0.0.2")  # CIs go by them, and not always the same ones
_STACK = (
    Ci("san1", site="ams"),
    Ci("db1", depends_on=("san1",), service="bank", aliases=ALIASES[:1]),
    Ci("db2", depends_on=("san1", "switch"), service="bank", aliases=ALIASES[1:]),
    Ci("app1", depends_on=("db1", Dependency("db2", redundant=True)), service="shop"),
    Ci("app2", depends_on=("db2",)),
    Ci("web1", depends_on=("app1",), site="ams"),
    Ci("web2", depends_on=("app2",), site="ams"),
)
INVENTORIES: tuple[LoadInventory, ...] = (
    LoadInventory(""),
    inventory(Service("bank", owner="core", impact=2), Service("shop"), *_STACK),
    # half of it is gone, and the addresses are others' now
    inventory(
        Service("shop", impact=1),
        Ci("db1", depends_on=("san1",), aliases=ALIASES[1:]),
        Ci("web1", depends_on=("db1",), service="shop", aliases=ALIASES[:1]),
        version="i2",
    ),
    # all depend on one another
    inventory(
        *(Ci(one, depends_on=(other,)) for one, other in zip(CIS, (*CIS[1:], CIS[0]), strict=True)),
        version="i3",
    ),
    LoadInventory(POISON),
)
