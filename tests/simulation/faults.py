"""What breaks: drawn per seed, few kinds at a time, and how each is done to a machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import NamedTuple

from tests.simulation.inventories import INVENTORIES
from tests.simulation.machine import RULES, Machine

Size = float | None


class Fault(NamedTuple):
    """One fault, due at a step."""

    step: int
    kind: str
    size: Size


# Kind, how often a seed has it, and of what size: drawn from these.
ONCE: tuple[tuple[str, tuple[int, ...], tuple[Size, ...]], ...] = (
    ("kill", (0, 1, 1, 2, 5), (None,)),
    ("power_cut", (0, 0, 1, 2), (None,)),
    ("terminate", (0, 0, 0, 0, 1), (None,)),
    ("damage", (0, 0, 0, 0, 0, 1), (None,)),
    ("sync_fails", (0, 0, 0, 1, 2), (None,)),
    ("stall", (0, 0, 0, 0, 1), (2.0, 15.0, 70.0)),
    ("skew", (0, 0, 1, 3), (-3_600.0, -5.0, 0.5, 20.0, 3_600.0)),
    ("reload", (0, 0, 1, 3), (0, 1, 2, 0, 1, 2, 3)),
    ("take_stock", (0, 1, 2, 4), (0, 1, 2, 3, 1, 2, 3, 4)),
    ("broker_save", (0, 1, 3), (None,)),
    ("broker_crash", (0, 0, 1, 2), (0.1, 10.0)),
    ("broker_overtakes", (0, 1, 2, 3), (60,)),
    ("broker_cut", (0, 0, 1, 3), (None,)),
)
# Kind, share of seeds that have it for a while, and of what size.
SPELLS: tuple[tuple[str, float, tuple[Size, ...]], ...] = (
    ("dying", 0.3, (0.02,)),
    ("slow", 0.4, (1,)),
    ("full", 0.3, (1,)),
    ("lossy", 0.6, (0.1, 0.4)),
    ("torn", 0.15, (0.2,)),
)
SPELL_STEPS = (5, 150)


def drawn(chance: Random, steps: int) -> list[Fault]:
    """The faults of a seed that lasts so many steps, in order."""
    return sorted(_drawn(chance, steps), key=lambda one: one.step)


def _drawn(chance: Random, steps: int) -> Iterator[Fault]:
    for kind, counts, sizes in ONCE:
        for _ in range(chance.choice(counts)):
            yield Fault(chance.randrange(steps), kind, chance.choice(sizes))
    for kind, share, sizes in SPELLS:
        if chance.random() < share:
            start = chance.randrange(steps)
            yield Fault(start, kind, chance.choice(sizes))
            yield Fault(start + chance.randrange(*SPELL_STEPS), kind, 0)
    yield Fault(0, "window", chance.choice((1, 3, 20)))


class Faults:
    """Does them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._overtaking: Size = None  # for so many steps, once something is in flight
        self._calm_at = 0  # step

    def do(self, fault: Fault) -> None:
        """Now."""
        world = self.machine.world
        if world.trace is not None:
            world.trace(f"** {fault.kind} {fault.size}")
        getattr(self, fault.kind)(fault.size)

    def watch(self) -> None:
        """Before every step."""
        if self._overtaking is not None:
            daemon = self.machine.daemon
            waiting = daemon is not None and daemon._runtime.waiting
            if waiting and len(self.machine.broker.session.flying) > 1:
                self._overtake(int(self._overtaking))
        elif self._calm_at and self.machine.world.steps >= self._calm_at:
            self._calm()

    def end(self) -> None:
        """Nothing breaks any more, and what is broken works again."""
        for kind, *_ in SPELLS:
            getattr(self, kind)(0)
        self._overtaking = None
        self._calm()
        if self.machine.rules is RULES[-1]:
            self.reload(0)
        if self.machine.inventory is INVENTORIES[-1]:
            self.take_stock(0)
        self.machine.disk.fail_next_sync = False
        self.machine.broker.start()

    # -- the process ------------------------------------------------------------------------------

    def kill(self, _size: Size) -> None:
        """Kill -9 between two steps."""
        if self.machine.loop is not None:
            self.machine.kill()

    def power_cut(self, _size: Size) -> None:
        """What is not durable may be gone too."""
        if self.machine.loop is not None:
            self.machine.kill(power_cut=True)

    def terminate(self, _size: Size) -> None:
        """SIGTERM."""
        if self.machine.daemon is not None:
            self.machine.daemon._stop.set()

    def reload(self, size: Size) -> None:
        """SIGHUP, with these rules on disk."""
        self.machine.rules = RULES[int(size or 0)]
        if self.machine.daemon is not None:
            self.machine.daemon._reload.set()

    def take_stock(self, size: Size) -> None:
        """The same with another inventory."""
        self.machine.inventory = INVENTORIES[int(size or 0)]
        if self.machine.daemon is not None:
            self.machine.daemon._reload.set()

    def stall(self, seconds: Size) -> None:
        """Nothing runs for a while, as between SIGSTOP and SIGCONT."""
        self.machine.world.now += seconds or 0.0

    def skew(self, seconds: Size) -> None:
        """Somebody sets the clock."""
        self.machine.skew += timedelta(seconds=seconds or 0.0)

    # -- the disk ---------------------------------------------------------------------------------

    def dying(self, share: Size) -> None:
        """The process dies at one of its system calls."""
        self.machine.disk.dies_within = share or 0.0

    def slow(self, on: Size) -> None:
        """Seconds a write."""
        self.machine.disk.slow = bool(on)

    def full(self, on: Size) -> None:
        """No space left."""
        self.machine.disk.full = bool(on)

    def sync_fails(self, _size: Size) -> None:
        """EIO at the next fsync."""
        self.machine.disk.fail_next_sync = True

    def damage(self, _size: Size) -> None:
        """The newest snapshot rots while the process is down."""
        if self.machine.loop is not None:
            self.machine.kill()
            if name := self.machine.disk.damage():
                self.machine.oracle.damaged += (name,)

    # -- the network and the broker ---------------------------------------------------------------

    def lossy(self, share: Size) -> None:
        """Requests and answers get lost, or come twice."""
        self.machine.door.lossy = self.machine.door.doubling = share or 0.0

    def torn(self, share: Size) -> None:
        """The kernel takes a part of what is written to the broker."""
        self.machine.broker.torn = share or 0.0

    def broker_cut(self, _size: Size) -> None:
        """Its connection breaks."""
        self.machine.broker.cut()

    def broker_save(self, _size: Size) -> None:
        """It writes down what it has."""
        self.machine.broker.save()

    def broker_crash(self, within: Size) -> None:
        """It dies, and is back some time later as it was when it last saved."""
        machine = self.machine
        machine.broker.crash()
        machine.outside.call_later(machine.world.random.random() * (within or 0), self.broker_start)

    def broker_overtakes(self, steps: Size) -> None:
        """It is back with other packet ids before the disk has written what it sent."""
        self._overtaking = steps
        self.machine.disk.slow = True
        self.machine.pace = 0.1

    def _overtake(self, steps: int) -> None:
        self._overtaking, self._calm_at = None, self.machine.world.steps + steps
        self.machine.broker.save()
        self.broker_crash(0.1)
        self.machine.broker.number_anew()

    def _calm(self) -> None:
        self._calm_at = 0
        self.machine.disk.slow = False
        self.machine.pace = 1.0

    def broker_start(self) -> None:
        """It is back."""
        self.machine.broker.start()

    def window(self, size: Size) -> None:
        """How much it sends unacknowledged."""
        self.machine.broker.window = int(size or 1)
