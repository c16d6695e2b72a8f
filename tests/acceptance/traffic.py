"""Mixed traffic for hours, that the store can be held to at the end.

Events carry ids and name one of `ALERTS` alerts that never clear, of HTTP and of MQTT each: at
the end the counts of those are the number of events. Besides, alerts of some services come and
go, deliveries are sent twice or are no good, and operators read and act.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

ALERTS = 40  # that never clear, of each transport
HTTP, MQTT = "keyed", "queued"  # what they are called
SERVICES = 200  # whose alerts come and go, and as many alerts without a service
TOPIC = "events/soak"
BAD = (b"", b"{", b"[1]", b'{"name": 1}', b'{"name":"x","value":NaN}', b"[" * 100_000, b"\xff")
COME_AND_GO, TWICE, NO_GOOD = 0.03, 0.05, 0.05  # shares of the deliveries over HTTP
CATCH_UP = 1.0  # s of its schedule that a sender makes up for; what it misses beyond is not sent


class Sent(NamedTuple):
    """A delivery that was acknowledged: its first event's number, how many, seconds since 1970."""

    first: int
    size: int
    at: float


class Books:
    """What senders were told. Acknowledged ids are remembered for a while, counts for ever."""

    def __init__(self, remembered_for: float) -> None:
        """Seconds."""
        self._lock = threading.Lock()
        self._remembered_for = remembered_for
        self._sent: deque[Sent] = deque()
        # events that carry an id, sent until they are acknowledged, by what their alerts are called
        self.numbered = {HTTP: 0, MQTT: 0}
        self.deliveries = self.acknowledged = self.refused = self.no_good = 0
        self.wrong: list[str] = []  # answers that no sender should have got

    def draw(self, kind: str, count: int) -> int:
        """The number of the first of so many events."""
        with self._lock:
            first = self.numbered[kind]
            self.numbered[kind] += count
        return first

    def queued(self) -> None:
        """A broker has acknowledged an event: it will come, and is not in the store yet."""
        with self._lock:
            self.deliveries += 1
            self.acknowledged += 1

    def took(self, sent: Sent) -> None:
        """It was acknowledged by eventd."""
        with self._lock:
            self.deliveries += 1
            self.acknowledged += sent.size
            self._sent.append(sent)
            while self._sent[0].at < sent.at - self._remembered_for:
                self._sent.popleft()

    def told(self, status: int, *, good: bool, what: str) -> None:
        """It was answered, not taken up in `took`."""
        with self._lock:
            if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                self.refused += 1
            elif status == (202 if good else 400):
                self.deliveries += 1
                self.no_good += not good
            else:
                self.wrong.append(f"{status} to {what}")

    def ids(self, since: float) -> list[str]:
        """Acknowledged by eventd, sent at `since` or later."""
        with self._lock:
            kept = list(self._sent)
        return [
            f"{HTTP}-{n}" for one in kept if one.at >= since for n in numbers(one.first, one.size)
        ]

    def expected(self, kind: str) -> dict[str, int]:
        """How often each alert was seen once all senders have ended."""
        return {f"{kind}-{k}": len(range(k, self.numbered[kind], ALERTS)) for k in range(ALERTS)}


def numbers(first: int, count: int) -> range:
    """Of the events of a delivery."""
    return range(first, first + count)


def event(kind: str, n: int) -> dict[str, Any]:
    """The nth of its kind that carries an id."""
    k = n % ALERTS
    return {"id": f"{kind}-{n}", "name": f"{kind}-{k}", "ci": f"host-{k}", "value": n}


class Sender(threading.Thread):
    """Something done again and again, `every` so many seconds; 0 is as fast as it goes."""

    def __init__(self, books: Books, seed: int) -> None:
        super().__init__(daemon=True)
        self.books, self.chance = books, random.Random(seed)
        self.every = 0.0
        self.ending = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self.ending.is_set():
            self.turn()
            due = max(due + self.every, time.monotonic() - CATCH_UP)
            self.ending.wait(max(0.0, due - time.monotonic()))
        self.close()

    def turn(self) -> None:
        """Once."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what it holds."""


class Http(Sender):
    """Deliveries over one connection that is made anew when it breaks."""

    def __init__(self, books: Books, seed: int, port: int) -> None:
        super().__init__(books, seed)
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._last = b"[]"
        self._firing: dict[int, bool] = {}

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body; 0 where no answer came."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, b""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def turn(self) -> None:
        dice = self.chance.random()
        if dice < COME_AND_GO:
            self._once(self._news(), good=True)
        elif dice < COME_AND_GO + TWICE:
            self._once(self._last, good=True)
        elif dice < COME_AND_GO + TWICE + NO_GOOD:
            self._once(self.chance.choice(BAD), good=False)
        else:
            self.numbered(self.chance.choice((1, 1, 2, 10)))

    def numbered(self, count: int) -> None:
        """Events with ids, sent until they are acknowledged."""
        first = self.books.draw(HTTP, count)
        body = json.dumps([event(HTTP, n) for n in numbers(first, count)]).encode()
        for at in self._tries():
            status, _ = self.ask("POST", "/v1/events", body)
            if status == http.HTTPStatus.ACCEPTED:
                self.books.took(Sent(first, count, at))
                self._last = body
                return
            if status:
                self.books.told(status, good=True, what=f"{HTTP}-{first}")

    def _tries(self) -> Iterator[float]:
        """When each begins, seconds since 1970."""
        while True:
            yield time.time()
            time.sleep(0.2)

    def _once(self, body: bytes, *, good: bool) -> None:
        status, _ = self.ask("POST", "/v1/events", body)
        if status:
            self.books.told(status, good=good, what=body[:40].decode("latin-1"))

    def _news(self) -> bytes:
        """Of a service, which a rule claims, or of a thing that is left to the correlation."""
        k = self.chance.randrange(2 * SERVICES)
        self._firing[k] = not self._firing.get(k, False)
        of = {"service": f"service-{k}"} if k < SERVICES else {"ci": f"app-{k % 20}"}
        news = {
            "name": "comes-and-goes" if k < SERVICES else f"comes-and-goes-{k % 50}",
            **of,
            "severity": "major",
            "status": "firing" if self._firing[k] else "cleared",
            "value": self.chance.random(),
        }
        return json.dumps(news).encode()


class Operator(Http):
    """Reads what there is, and acts on it."""

    def turn(self) -> None:
        self._do("GET", self.chance.choice(("/metrics", "/api/v1/alerts?limit=100")))
        service = f"service-{self.chance.randrange(SERVICES)}"
        page = self._do("GET", f"/api/v1/incidents?state=open&service={service}")
        for incident in page.get("items", ()):
            action = self.chance.choice(("acknowledge", "comment", "resolve", "close"))
            act = {"actor": "soak", "text": "seen"}
            self._do("POST", f"/api/v1/incidents/{incident['id']}/{action}", act)
        silence = {"matchers": f'service="{service}"', "for": "10s", "comment": "soak"}
        self._do("POST", "/api/v1/silences", silence | {"actor": "soak"})

    def _do(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer; empty where there is none to read."""
        given = None if body is None else json.dumps(body).encode()
        status, text = self.ask(method, path, given)
        if status >= 500 and status != http.HTTPStatus.SERVICE_UNAVAILABLE:
            self.books.wrong.append(f"{status} to {method} {path}")
        return json.loads(text) if status == http.HTTPStatus.OK and text[:1] == b"{" else {}


class Mqtt(Sender):
    """One event a message at QoS 1, published until the broker has it."""

    def __init__(self, books: Books, seed: int, port: int) -> None:
        super().__init__(books, seed)
        self._published = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="soak")
        self._client.on_publish = lambda *_: self._published.set()
        self._client.reconnect_delay_set(1, 2)
        self._client.connect("127.0.0.1", port, keepalive=5)
        self._client.loop_start()

    def turn(self) -> None:
        n = self.books.draw(MQTT, 1)
        self._published.clear()
        # where there is no connection, or it breaks, the client sends it on the next
        self._client.publish(TOPIC, json.dumps(event(MQTT, n)), qos=1)
        self._published.wait()
        self.books.queued()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
