"""Operators: they take incidents, talk about them, end and regroup them, and are often wrong."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

from eventd.core.model import IncidentState
from tests.simulation.machine import Machine
from tests.simulation.oracle import POISON
from tests.simulation.people import ask, pause

NOBODY = "INC-999999", "nonsense"
ACTS = ("acknowledge", "comment", "comment", "resolve", "close", "reopen", "reopen", "verdict")
REGROUPINGS = ("merge", "merge", "split", "detach", "detach")


class Operator:
    """Says whatever may be said of the latest incidents, and some of what may not."""

    def __init__(self, machine: Machine, number: int, *, trouble: float, pause: float) -> None:
        """`trouble`: share of comments that are poisonous."""
        self.machine, self._trouble, self._pause = machine, trouble, pause
        self.stopping = self.done = False
        self._name, self._number = f"op{number}.", 0

    async def run(self) -> None:
        """Until it is told to stop."""
        chance = self.machine.world.random
        while not self.stopping:
            await pause(self.machine, self._pause)
            await self._act(chance)
        self.done = True

    async def _act(self, chance: Random) -> None:
        self._number += 1
        kind = chance.random()
        if kind < 0.1:
            said = {"matchers": 'service="shop"', "comment": "known", "for": "20s"}
            if chance.random() < 0.5:
                said |= {"matchers": 'ci=~"db.*"', "for": "2s"}
            await self._say("POST", "/api/v1/silences", said)
        elif kind < 0.15:
            await self._say("DELETE", f"/api/v1/silences/SIL-{chance.randint(1, 4):06d}", {})
        elif kind < 0.5:
            await self._judge(chance, chance.choice(ACTS))
        else:
            await self._regroup(chance, chance.choice(REGROUPINGS))

    async def _judge(self, chance: Random, act: str) -> None:
        said: dict[str, Any] = {"actor": "ann"}
        if act == "comment":
            said["text"] = POISON if chance.random() < self._trouble else "looking"
        elif act == "verdict":
            said["verdict"] = chance.random() < 0.5
        await self._say("POST", f"/api/v1/incidents/{self._incident(chance)}/{act}", said)

    async def _regroup(self, chance: Random, act: str) -> None:
        incident = self._incident(chance)
        said: dict[str, Any] = {"actor": "ann", "text": f"{self._name}{self._number}"}
        if act == "merge":
            into = self._incident(chance)
            # with itself it cannot be: that is tried seldom
            said["into"] = self._incident(chance) if into == incident else into
        elif act == "split":
            said["alerts"] = [self._alert(chance, incident) for _ in range(chance.randint(1, 3))]
        else:
            said["alert"] = self._alert(chance, incident)
        await self._say("POST", f"/api/v1/incidents/{incident}/{act}", said)
        merged = self.machine.oracle.shadow.merged
        if chance.random() < 0.2 and merged:
            await self._ask(chance.choice(list(merged)))

    def _incident(self, chance: Random) -> str:
        """Mostly a large one of those there are; now and then one that is over, or never was."""
        shadow = self.machine.oracle.shadow
        if chance.random() < 0.1:
            return chance.choice((*shadow.beliefs.incidents, *NOBODY))
        live = [one for one in shadow.engine.incidents() if one.state is not IncidentState.CLOSED]
        live.sort(key=lambda one: (-one.alerts, one.id))
        half = live[: (len(live) + 1) // 2]
        return chance.choice([*live, *half, *half]).id if live else "INC-000001"

    def _alert(self, chance: Random, incident: str) -> str:
        """Mostly a member; now and then another alert, or none that is known."""
        beliefs = self.machine.oracle.shadow.beliefs
        found = beliefs.incidents.get(incident)
        members = sorted(found.members) if found is not None else []
        if members and chance.random() < 0.95:
            return chance.choice(members)
        return chance.choice([*beliefs.alerts, "f00d"])

    async def _ask(self, incident: str) -> None:
        """A merged incident answers with where it went, as long as it is kept."""
        answer = await ask(self.machine, "GET", f"/api/v1/incidents/{incident}", {}, b"")
        if answer is not None and answer.status == 200:
            self.machine.oracle.asked(incident, json.loads(answer.body))

    async def _say(self, method: str, path: str, said: dict[str, Any]) -> None:
        """Until it is answered."""
        headers = {"idempotency-key": f"{self._name}{self._number}"}
        body = json.dumps(said or {"actor": "ann"}).encode()
        while True:
            answer = await ask(self.machine, method, path, headers, body)
            if answer is not None and answer.status < 500:
                return
            await asyncio.sleep(self.machine.world.random.random() * 3)
