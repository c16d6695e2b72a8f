"""Load for benchmarks: requests built before the clock starts, raw sockets, closed loop."""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
SITES = ["fra1", "ams2", "lon3", "nyc1", "sin2"]
TEAMS = ["platform", "network", "storage", "web", "data"]
JOBS = ["node", "snmp", "blackbox", "kube-state"]
SERVICES = ["checkout", "search", "payments", "identity", "catalog", "mail", "dns", "storage"]


def alert(k: int, prefix: str) -> dict[str, object]:
    """Alert number k of an Alertmanager webhook: 20 names, 10 clusters, about 600 bytes."""
    name, host = f"Check{k % 20:02d}", f"{prefix}-{k:07d}.{SITES[k % 5]}.example.net:9100"
    labels = {
        "alertname": name,
        "instance": host,
        "job": JOBS[k % 4],
        "severity": ["warning", "warning", "critical", "minor", "major"][k // 3 % 5],
        "service": SERVICES[k // 7 % 8],
        "site": SITES[k % 5],
        "cluster": f"cluster-{k // 20 % 10:02d}",
        "team": TEAMS[k // 11 % 5],
    }
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {
            "summary": f"{name} on {host} ({labels['service']})",
            "description": f"{name} has held for 5m on {host}; value {k % 97}, threshold 90.00",
        },
        "startsAt": "2026-11-24T06:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": f"http://prometheus.{labels['site']}.example.net:9090/graph?g0.expr={name}",
        "fingerprint": hashlib.md5(f"{prefix}/{k}".encode()).hexdigest()[:16],
    }


def webhook(alerts: list[dict[str, object]]) -> bytes:
    """The body Alertmanager posts."""
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "status": "firing",
        "receiver": "bench",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.net:9093",
        "truncatedAlerts": 0,
        "alerts": alerts,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def native(k: int, prefix: str, **more: object) -> bytes:
    """A native event as an MQTT payload."""
    one = {
        "name": f"Check{k % 20:02d}",
        "ci": f"{prefix}-{k:07d}",
        "severity": "major",
        "service": SERVICES[k // 7 % 8],
        "labels": {
            "cluster": f"cluster-{k // 20 % 10:02d}",
            "site": SITES[k % 5],
            "team": TEAMS[k // 11 % 5],
        },
        **more,
    }
    return json.dumps(one, separators=(",", ":")).encode()


def request(path: str, body: bytes) -> bytes:
    """An HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def post_all(port: int, requests: list[bytes], connections: int) -> float:
    """Send every request over keep-alive connections, one in flight each; seconds it took.

    Raises RuntimeError at the first answer that is not 202.
    """
    chooser = selectors.DefaultSelector()
    sockets: dict[int, socket.socket] = {}
    waiting = iter(requests)
    left = len(requests)
    began = time.perf_counter()
    for _ in range(min(connections, len(requests))):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chooser.register(sock, selectors.EVENT_READ, bytearray())
        sockets[sock.fileno()] = sock
        sock.sendall(next(waiting))
    while left:
        for key, _ in chooser.select(30.0):
            seen: bytearray = key.data
            sock = sockets[key.fd]
            seen += sock.recv(65536)
            if not _whole(seen):
                continue
            if not seen.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(bytes(seen[:300]))
            seen.clear()
            left -= 1
            following = next(waiting, None)
            if following is not None:
                sock.sendall(following)
    took = time.perf_counter() - began
    for sock in sockets.values():
        sock.close()
    return took


def _whole(answer: bytearray) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(answer[:end]).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return len(answer) >= end + 4 + length


class Publisher:
    """A bare MQTT 3.1.1 publisher at QoS 1 with a window of messages in flight."""

    def __init__(self, port: int, window: int = 100) -> None:
        """Connect."""
        self.window = window
        self.sock = socket.create_connection(("127.0.0.1", port))
        name = b"bench-publisher"
        body = b"\x00\x04MQTT\x04\x02\x00\x3c" + struct.pack("!H", len(name)) + name
        self.sock.sendall(b"\x10" + bytes([len(body)]) + body)
        self.sock.recv(4)

    def publish(self, topic: str, payloads: Iterable[bytes]) -> int:
        """Publish all; returns when the broker has acknowledged all. How many."""
        sent = acknowledged = 0
        name = topic.encode()
        rest = b""
        out = bytearray()
        for payload in payloads:
            sent += 1
            body = struct.pack("!H", len(name)) + name + struct.pack("!H", sent % 65535 + 1)
            body += payload
            out += b"\x32" + _varint(len(body)) + body
            if sent - acknowledged >= self.window:
                self.sock.sendall(out)
                out.clear()
                while sent - acknowledged >= self.window // 2:
                    rest, got = self._acks(rest)
                    acknowledged += got
        self.sock.sendall(out)
        while acknowledged < sent:
            rest, got = self._acks(rest)
            acknowledged += got
        return sent

    def _acks(self, rest: bytes) -> tuple[bytes, int]:
        rest += self.sock.recv(65536)
        whole = len(rest) // 4
        return rest[whole * 4 :], whole


def _varint(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | 0x80 if n else low)
        if not n:
            return bytes(out)


def cpu(pid: int) -> float:
    """User and system seconds the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss(pid: int) -> int:
    """Resident bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(pid)


def quiet(pid: int, least: float = 3.0, longest: float = 30.0) -> None:
    """Wait until the process has nothing left to do."""
    end, calm, last = time.monotonic() + longest, 0, cpu(pid)
    began = time.monotonic()
    while time.monotonic() < end and (calm < 2 or time.monotonic() - began < least):
        time.sleep(0.5)
        now = cpu(pid)
        calm = calm + 1 if now - last < 0.015 else 0
        last = now
