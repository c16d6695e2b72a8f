"""Who speaks to the daemon: HTTP senders that repeat until answered, devices, operators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any, Protocol

from tests.simulation.broker import Message
from tests.simulation.door import Answer, Lost
from tests.simulation.machine import CROOKED, Machine
from tests.simulation.oracle import POISON, START, tokens

CIS = ("db1", "db2", "web1")
SERVICES = ("shop", "bank", "")
SEVERITIES = ("info", "warning", "minor", "major", "critical")
NAMING = ("name", "ci", "service")  # what an alert is told by
CLEARS_AT_ONCE = 8
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

    def some(self) -> list[dict[str, Any]]:
        chance = self._machine.world.random
        return [self.one() for _ in range(chance.choice((1, 1, 1, 2, 3, 5)))]

    def one(self) -> dict[str, Any]:
        chance = self._machine.world.random
        self._number += 1
        token = f"{self._prefix}{self._number}"
        if chance.random() < self._trouble:
            return self._bad(chance, token)
        keyed = chance.random() < 0.5
        event: dict[str, Any] = {
            "name": f"{'keyed' if keyed else 'plain'}-{chance.randrange(3)}",
            "summary": token,
            "ci": chance.choice(CIS),
            "service": chance.choice(SERVICES),
            "severity": chance.choice(SEVERITIES),
        }
        self._remember(event)
        if keyed:
            event["id"] = token
        if chance.random() < 0.35:
            event["status"] = "cleared"
        elif chance.random() < 0.06:
            event["status"] = chance.choice(("info", "heartbeat"))
        if chance.random() < 0.2:
            said = self._machine.wall() - timedelta(seconds=chance.choice((0, 1, 30, 4_000)))
            event["occurred_at"] = said.isoformat()
        if chance.random() < 0.05:
            until = self._machine.wall() + timedelta(seconds=chance.choice((5, 60)))
            event["expires_at"] = until.isoformat()
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
        elif kind == 3 and chance.random() < 0.5:
            start = self._machine.wall()
            window = {
                "starts_at": start.isoformat(),
                "ends_at": (start + timedelta(seconds=30)).isoformat(),
                "services": ["shop"],
            }
            event |= {"name": "CHG1", "status": "change", "window": window}
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
                self._number += 1
                token = f"{self._prefix}{self._number}"
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
            for n, ci in enumerate(CIS)
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


class Operator:
    """Takes incidents, talks about them, ends them; silences what is known."""

    def __init__(self, machine: Machine, *, trouble: float, pause: float) -> None:
        self.machine, self._trouble, self._pause = machine, trouble, pause
        self.stopping = self.done = False
        self._number = 0

    async def run(self) -> None:
        chance = self.machine.world.random
        while not self.stopping:
            await pause(self.machine, self._pause)
            await self._act(chance)
        self.done = True

    async def _act(self, chance: Random) -> None:
        self._number += 1
        incidents = list(self.machine.oracle.incidents)[-4:] or ["INC-000001"]
        incident = chance.choice(incidents)
        kind = chance.randrange(8)
        method, body = "POST", b'{"actor": "ann"}'
        if kind == 0:
            path = "/api/v1/silences"
            body = _json({"matchers": 'service="shop"', "comment": "known", "for": "20s"})
        elif kind == 1:
            method, path = "DELETE", f"/api/v1/silences/SIL-{chance.randint(1, 4):06d}"
        else:
            act = ("acknowledge", "comment", "resolve", "close", "reopen", "comment")[kind - 2]
            path = f"/api/v1/incidents/{incident}/{act}"
            if act == "comment":
                text = POISON if chance.random() < self._trouble else "looking"
                body = _json({"actor": "ann", "text": text})
        headers = {"idempotency-key": f"op{self._number}"}
        while True:
            answer = await ask(self.machine, method, path, headers, body)
            if answer is not None and answer.status < 500:
                return
            await asyncio.sleep(chance.random() * 3)


def _json(value: object) -> bytes:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return json.dumps(value).encode()
