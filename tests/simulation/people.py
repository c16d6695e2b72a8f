"""Who speaks to the daemon: HTTP senders that repeat until answered, devices, agents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any, Protocol

from tests.simulation.broker import Message
from tests.simulation.door import Answer, Lost
from tests.simulation.inventories import ALIASES, CIS
from tests.simulation.machine import Machine
from tests.simulation.oracle import POISON, START, tokens
from tests.simulation.shadow import CROOKED

SERVICES = ("shop", "bank", "", "", "")
SEVERITIES = ("info", "warning", "minor", "major", "critical")
NAMING = ("name", "ci", "service", "labels")  # what an alert is told by
CLEARS_AT_ONCE = 16
PATIENCE = (1.0, 5.0, 30.0)  # s a client waits for an answer; drawn from


class Person(Protocol):
    """Speaks until it is told to stop, finishes, and is done."""

    stopping: bool
    done: bool

    async def run(self) -> None:
        """Its whole life."""
        ...


class Teller(Person, Protocol):
    """Speaks of alerts."""

    wanted: list[str]  # tokens of its last words: these must come in


class Events:
    """Makes events of a few alerts; each has a token of its own."""

    def __init__(self, machine: Machine, prefix: str, *, trouble: float) -> None:
        """`trouble`: share of events that are poisonous, crooked or unreadable."""
        self._machine, self._prefix, self._trouble = machine, prefix, trouble
        self._number = 0
        self._known: dict[str, dict[str, Any]] = {}  # what may fire, to be cleared at the end
        chance = machine.world.random
        self._names = chance.choice((1, 3))
        self._news = chance.choice((0.2, 0.6, 0.9))  # share that may speak of what nobody knows yet
        self._clears = chance.choice((0.1, 0.4, 0.5))

    def some(self) -> list[dict[str, Any]]:
        chance = self._machine.world.random
        return [self.one() for _ in range(chance.choice((1, 1, 2, 3, 5)))]

    def one(self) -> dict[str, Any]:
        chance = self._machine.world.random
        token = self._token()
        if chance.random() < self._trouble:
            return self._bad(chance, token)
        if chance.random() < 0.08:
            return self._planned(chance, token)
        if self._known and chance.random() > self._news:
            event = {**chance.choice(list(self._known.values()))}
        else:
            event = self._alert(chance)
        event |= {"summary": token, "severity": chance.choice(SEVERITIES)}
        if event["name"].startswith("keyed"):
            event["id"] = token
        if chance.random() < self._clears:
            event["status"] = "cleared"
        elif chance.random() < 0.03:
            event["status"] = "info"
        if chance.random() < 0.2:
            said = self._machine.wall() - timedelta(seconds=chance.choice((0, 1, 30, 4_000)))
            event["occurred_at"] = said.isoformat()
        if chance.random() < 0.05:
            until = self._machine.wall() + timedelta(seconds=chance.choice((5, 60)))
            event["expires_at"] = until.isoformat()
        return event

    def _token(self) -> str:
        self._number += 1
        return f"{self._prefix}{self._number}"

    def _alert(self, chance: Random) -> dict[str, Any]:
        """One that comes with keys of its own, or one on a CI that has other names too."""
        keyed = chance.random() < 0.5
        alert: dict[str, Any] = {
            "name": f"{'keyed' if keyed else 'plain'}-{chance.randrange(self._names)}",
            "ci": chance.choice(CIS if keyed else (*CIS, *ALIASES)),
            "service": chance.choice(SERVICES),
        }
        self._remember(alert)
        return alert

    def _planned(self, chance: Random, token: str) -> dict[str, Any]:
        """A change of a CI, or the announcement of a window for changes."""
        ci = chance.choice(CIS)
        event: dict[str, Any] = {
            "name": f"CHG-{ci}",
            "status": "change",
            "summary": token,
            "ci": ci,
        }
        if chance.random() < 0.5:
            start = self._machine.wall() + timedelta(seconds=chance.choice((-5, 0, 3)))
            ends = start + timedelta(seconds=chance.choice((2, 6, 30)))
            window: dict[str, Any] = {
                "starts_at": start.isoformat(),
                "ends_at": ends.isoformat(),
                **chance.choice(({"services": ["shop"]}, {"cis": [ci]})),
            }
            event["window"] = window
        return event

    def _bad(self, chance: Random, token: str) -> dict[str, Any]:
        event: dict[str, Any] = {"name": POISON, "summary": token, "ci": "x"}
        kind = chance.randrange(4)
        if kind == 0:
            event["name"] = CROOKED
            self._remember(event)
        elif kind == 1:
            event["bad"] = 1
        elif kind == 2:
            event["id"] = token
        return event

    def _remember(self, event: dict[str, Any]) -> None:
        alert = {name: value for name, value in event.items() if name in NAMING}
        self._known[json.dumps(alert)] = alert

    def clears(self) -> Iterator[list[dict[str, Any]]]:
        """The end of all that may fire, some at a time."""
        alerts = list(self._known.values())
        for start in range(0, len(alerts), CLEARS_AT_ONCE):
            some = []
            for alert in alerts[start : start + CLEARS_AT_ONCE]:
                token = self._token()
                some.append({**alert, "status": "cleared", "summary": token, "id": token})
            yield some


class HttpSender:
    """Repeats a delivery, byte by byte, until it is answered."""

    def __init__(self, machine: Machine, number: int, *, trouble: float, pause: float) -> None:
        self.machine = machine
        self.events = Events(machine, f"h{number}.", trouble=trouble)
        self._pause = pause
        self._patience = machine.world.random.choice(PATIENCE)
        self.stopping = False
        self.done = False
        self.sent = 0
        self.wanted: list[str] = []

    async def run(self) -> None:
        while not self.stopping:
            await pause(self.machine, self._pause)
            await self._deliver(self.events.some())
        for clears in self.events.clears():
            await self._deliver(clears)
            self.wanted += tokens(_json(clears))
        self.done = True

    async def _deliver(self, events: list[dict[str, Any]]) -> None:
        self.sent += 1
        chance = self.machine.world.random
        headers = {"content-type": "application/json"}
        if chance.random() < 0.4:
            headers["idempotency-key"] = events[0]["summary"]
        body = json.dumps(events if len(events) > 1 else events[0]).encode()
        while True:
            answer = await ask(
                self.machine, "POST", "/v1/events", headers, body, patience=self._patience
            )
            if answer is not None and answer.status < 500:
                return
            await asyncio.sleep(chance.random() * 2)


async def pause(machine: Machine, mean: float) -> None:
    """Until something happens to be said next."""
    await asyncio.sleep(machine.world.random.expovariate(1 / mean) * machine.pace)


async def ask(
    machine: Machine,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    *,
    patience: float = PATIENCE[-1],
) -> Answer | None:
    """An answer, or None where the connection broke or nothing came."""
    try:
        async with asyncio.timeout(patience):
            return await machine.door.send(method, path, headers, body)
    except (TimeoutError, Lost):
        return None


class Alertmanager:
    """Groups a few alerts, and tells of each state again and again."""

    def __init__(self, machine: Machine, *, pause: float) -> None:
        self.machine, self._pause = machine, pause
        self.stopping = self.done = False
        self.wanted: list[str] = []
        self._number = 0
        self._alerts: list[dict[str, Any]] = [
            {"labels": {"alertname": f"keyed-am{n}", "instance": ci, "severity": "critical"}}
            for n, ci in enumerate(CIS[:3])
        ]
        for alert in self._alerts:
            self._turn(alert, "resolved")

    async def run(self) -> None:
        chance = self.machine.world.random
        while not self.stopping:
            await pause(self.machine, self._pause)
            for alert in self._alerts:
                if chance.random() < 0.3:
                    self._turn(alert, "firing" if alert["status"] == "resolved" else "resolved")
            await self._notify(chance)
        for alert in self._alerts:
            self._turn(alert, "resolved")
        self.wanted = await self._notify(chance)
        self.done = True

    def _turn(self, alert: dict[str, Any], status: str) -> None:
        if alert.get("status") == status:
            return
        now = (START + timedelta(seconds=self.machine.world.now)).isoformat()
        alert["status"] = status
        alert["endsAt" if status == "resolved" else "startsAt"] = now
        if status == "firing":
            alert["endsAt"] = "0001-01-01T00:00:00Z"

    async def _notify(self, chance: Random) -> list[str]:
        for alert in self._alerts:
            self._number += 1
            alert["annotations"] = {"summary": f"am.{self._number}"}
        body = json.dumps({"version": "4", "status": "firing", "alerts": self._alerts}).encode()
        while True:
            path = "/v1/webhooks/alertmanager"
            answer = await ask(self.machine, "POST", path, {}, body)
            if answer is not None and answer.status < 500:
                return tokens(body)
            await asyncio.sleep(chance.random() * 2)


class Agent:
    """Beats regularly for two CIs, of which one falls silent for a while."""

    def __init__(self, machine: Machine, *, pause: float) -> None:
        self.machine, self._pause = machine, pause
        self.stopping = self.done = False
        self.wanted: list[str] = []
        self._number = 0

    async def run(self) -> None:
        chance = self.machine.world.random
        silent = chance.randint(4, 10)
        while not self.stopping:
            await asyncio.sleep(self._pause)
            self._number += 1
            back = silent + 12
            await self._beat(CIS[:1] if silent <= self._number < back else CIS[:2])
        await self._beat(CIS[:2])
        self.done = True

    async def _beat(self, cis: Sequence[str]) -> None:
        beat = {"name": "alive", "status": "heartbeat", "summary": f"b.{self._number}"}
        await post(self.machine, [{**beat, "ci": ci} for ci in cis])


class Logger:
    """Tells of occurrences and never clears one, until the end."""

    def __init__(self, machine: Machine, *, pause: float) -> None:
        self.machine, self._pause = machine, pause
        self.stopping = self.done = False
        self.wanted: list[str] = []
        self._number = 0

    async def run(self) -> None:
        chance = self.machine.world.random
        while not self.stopping:
            await pause(self.machine, self._pause)
            await post(self.machine, [self._line(chance.choice(CIS[:3]))])
        ends = [{**self._line(ci), "status": "cleared"} for ci in CIS[:3]]
        await post(self.machine, ends)
        self.wanted = tokens(_json(ends))
        self.done = True

    def _line(self, ci: str) -> dict[str, Any]:
        self._number += 1
        labels = {"namespace": "log"}
        return {
            "name": "line",
            "ci": ci,
            "severity": "major",
            "labels": labels,
            "summary": f"l.{self._number}",
        }


async def post(machine: Machine, events: list[dict[str, Any]]) -> None:
    """Until it is answered."""
    while True:
        headers = {"content-type": "application/json"}
        answer = await ask(machine, "POST", "/v1/events", headers, _json(events))
        if answer is not None and answer.status < 500:
            return
        await asyncio.sleep(machine.world.random.random() * 2)


class Device:
    """Publishes at the broker; a state topic is retained."""

    def __init__(self, machine: Machine, number: int, *, trouble: float, pause: float) -> None:
        self.machine = machine
        self.events = Events(machine, f"m{number}.", trouble=trouble)
        self._number, self._pause = number, pause
        self.stopping = self.done = False
        self.wanted: list[str] = []

    async def run(self) -> None:
        chance = self.machine.world.random
        while not self.stopping:
            await pause(self.machine, self._pause)
            if chance.random() < 0.1:
                await self._state(chance.choice(("firing", "cleared")))
                continue
            events = self.events.some()
            qos = 1 if chance.random() < 0.9 else 0
            await self._publish(Message(f"events/{self._number}", _json(events), qos))
        while not self.machine.broker.session.filters:  # nobody has asked for anything yet
            await asyncio.sleep(1.0)
        await self._state("cleared")
        for clears in self.events.clears():
            await self._publish(Message(f"events/{self._number}", _json(clears), 1))
            self.wanted += tokens(_json(clears))
        self.done = True

    async def _state(self, status: str) -> None:
        state = {"name": "state", "ci": f"plc{self._number}", "status": status, "severity": "minor"}
        await self._publish(Message(f"state/{self._number}", _json([state]), 1), keep=True)

    async def _publish(self, message: Message, *, keep: bool = False) -> None:
        chance = self.machine.world.random
        while not self.machine.broker.publish(message, keep=keep):
            await asyncio.sleep(chance.random() * 3)
        while chance.random() < 0.1:  # the broker's answer was lost
            self.machine.broker.publish(message, keep=keep)


def _json(value: object) -> bytes:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return json.dumps(value).encode()
