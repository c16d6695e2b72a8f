"""Who may hold a connection, and for how long."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from tests.acceptance.daemon import free_port, samples
from tests.certificates import certificate

from eventd.answers import Problem, problem
from eventd.intake import body_of
from eventd.metrics import Meter
from eventd.web import door as doors
from eventd.web import handshake
from eventd.web.door import Bounds, Door

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
WITHIN = 30.0  # s; a loaded CI machine
HELD = 15.0  # s; B11


class Hall:
    """A door with a quick handler, one that takes its time, a large answer, and one that fails."""

    def __init__(self, connections: int = 16, per_peer: int = 16) -> None:
        self.meter, self.port = Meter(), free_port()
        self.bounds = Bounds(connections, per_peer)
        self.tls: ssl.SSLContext | None = None
        self.go_on = asyncio.Event()
        self.under_way = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Door]:
        app = web.Application()
        app.add_routes(
            [
                web.get("/quick", self.quick),
                web.get("/slow", self.slow),
                web.get("/large", self.large),
                web.get("/narrow", self.narrow),
                web.get("/bad", self.bad),
                web.post("/body", self.body),
            ]
        )
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        door = Door(runner, self.bounds, self.meter)
        await door.listen("127.0.0.1", self.port, self.tls)
        try:
            yield door
        finally:
            self.go_on.set()
            await door.close()

    async def quick(self, _: web.Request) -> web.Response:
        return web.Response(text="quick")

    async def slow(self, _: web.Request) -> web.Response:
        self.under_way.set()
        await self.go_on.wait()
        return web.Response(text="slow")

    async def large(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(32 << 20))

    async def narrow(self, request: web.Request) -> web.Response:
        """Of which the system takes a part alone."""
        assert request.transport is not None
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return web.Response(body=bytes(48 << 10))

    async def bad(self, _: web.Request) -> web.Response:
        raise ZeroDivisionError

    async def body(self, request: web.Request) -> web.Response:
        try:
            return web.Response(text=str(len(await body_of(request, 1_000))))
        except Problem as no:
            return problem(no.status, no.reason, no.detail)

    async def come(self, says: bytes = b"", tls: ssl.SSLContext | None = None) -> Pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        writer.write(says)
        await writer.drain()
        return reader, writer

    def cut(self, reason: str) -> float:
        found = samples(self.meter.page())
        return found.get(f'eventd_http_connections_cut_total{{reason="{reason}"}}', 0.0)


async def ended(pair: Pair) -> bytes:
    """Everything that comes until the other side closes, or resets what it was not told."""
    said = b""
    async with asyncio.timeout(WITHIN):
        with suppress(ConnectionError):
            while some := await pair[0].read(1 << 20):
                said += some
    pair[1].close()
    return said


async def answered(pair: Pair) -> bytes:
    async with asyncio.timeout(WITHIN):
        return await pair[0].readuntil(b"quick")


@pytest.mark.loops
@pytest.mark.parametrize(("connections", "per_peer"), [(4, 16), (16, 4)])
async def test_half_open_connections_give_way_and_those_in_use_do_not(
    connections: int, per_peer: int
) -> None:
    """D32."""
    hall = Hall(connections, per_peer)
    async with hall.open() as door:
        used = await hall.come(GET)
        await answered(used)
        silent = [await hall.come(), await hall.come(b"GET /quick HTTP/1.1\r\nHo")]
        busy = await hall.come(SLOW)
        await hall.under_way.wait()

        new = [await hall.come(GET) for _ in range(2)]
        await answered(new[0])
        gone = [await ended(one) for one in silent]
        used[1].write(GET)
        await answered(used)

        assert gone == [b"", b""]
        assert len(door) == 4
        hall.go_on.set()
        assert b"slow" in await busy[0].readuntil(b"slow")
        for pair in (used, busy, *new):
            pair[1].close()
    assert hall.cut("crowded") == 2


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The door's side, and a client's."""
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    return ours, ssl.create_default_context(cafile=cert)


@pytest.mark.loops
@pytest.mark.parametrize(("connections", "per_peer"), [(4, 16), (16, 4)])
async def test_handshakes_that_do_not_come_give_way_and_end_in_time(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    connections: int,
    per_peer: int,
) -> None:
    """D32, over TLS."""
    monkeypatch.setattr(handshake, "HANDSHAKE_WITHIN", 0.5)
    hall = Hall(connections, per_peer)
    hall.tls, client = tls
    async with hall.open() as door:
        used = await hall.come(GET, client)
        await answered(used)
        silent = [await hall.come(begun) for begun in (b"", b"\x16\x03\x01", b"", b"", b"")]
        async with asyncio.timeout(WITHIN):
            while not hall.cut("crowded"):
                await asyncio.sleep(0.01)
        assert len(door) == 4

        new = await hall.come(GET, client)
        await answered(new)
        used[1].write(GET)
        await answered(used)
        gone = [await ended(one) for one in silent]

        assert gone == [b""] * 5
        assert len(door) == 2
        assert hall.cut("crowded") == 3
        for pair in (used, new):
            pair[1].close()


@pytest.mark.loops
async def test_where_all_are_busy_a_new_one_is_told_503_and_when_to_come_again() -> None:
    hall = Hall(connections=2)
    async with hall.open() as door:
        busy = [await hall.come(SLOW) for _ in range(2)]
        while len(door) < 2 or any(one.waits for one in door._all):
            await asyncio.sleep(0.01)

        said = await ended(await hall.come(GET))

        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in said
        for pair in busy:
            pair[1].close()
    assert hall.cut("refused") == 1


@pytest.mark.parametrize(("connections", "per_peer"), [(2, 16), (16, 2)])
async def test_those_of_whom_none_gave_way_are_not_looked_through_for_each_who_comes(
    monkeypatch: pytest.MonkeyPatch, connections: int, per_peer: int
) -> None:
    clock, looks = [100.0], list[doors.Connection]()
    monkeypatch.setattr(doors, "monotonic", lambda: clock[0])
    monkeypatch.setattr(doors.Connection, "unused", property(looks.append))  # none is
    looked = []
    hall = Hall(connections, per_peer)
    async with hall.open() as door:
        busy = [await hall.come(SLOW) for _ in range(2)]
        while len(door) < 2 or any(one.waits for one in door._all):
            await asyncio.sleep(0.01)

        for _ in range(2):
            for _ in range(3):
                assert (await ended(await hall.come(GET))).startswith(b"HTTP/1.1 503 ")
            looked.append(len(looks))
            clock[0] += doors.LOOK_AGAIN
        hall.go_on.set()
        for pair in busy:
            await pair[0].readuntil(b"slow")
        while not all(one.waits for one in door._all):
            await asyncio.sleep(0.01)
        new = await hall.come(GET)
        await answered(new)
        for pair in (*busy, new):
            pair[1].close()

    assert looked == [2, 4]
    assert hall.cut("crowded") == 1


@pytest.mark.loops
async def test_a_header_that_does_not_come_or_drips_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D32: also the second request's, and that of a connection that came and went idle."""
    monkeypatch.setattr(doors, "HEADER_WITHIN", 0.5)
    hall = Hall()
    loop = asyncio.get_running_loop()
    async with hall.open() as door:
        began = loop.time()
        pairs = [await hall.come(), await hall.come(b"GET /qui"), await hall.come(GET)]
        pairs += [await hall.come(GET + b"GET /quick HTTP/1.1\r\n")]
        dripping = pairs[1][1]

        async def drip() -> None:
            while not dripping.is_closing():
                dripping.write(b"x")
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            tap = group.create_task(drip())
            for pair in pairs:
                await ended(pair)
            tap.cancel()

        assert loop.time() - began > 0.4
        assert len(door) == 0


@pytest.mark.loops
async def test_a_connection_ends_in_time_also_where_its_peer_says_no_farewell(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """D32, over TLS: idle from the start, idle after an answer, and closed after one."""
    monkeypatch.setattr(doors, "HEADER_WITHIN", 0.5)
    hall = Hall()
    hall.tls, client = tls
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with hall.open() as door:
        deaf = [await asyncio.to_thread(_say, hall.port, client, one) for one in (b"", GET, last)]

        async with asyncio.timeout(HELD):
            while len(door):
                await asyncio.sleep(0.05)

        for sock in deaf:
            sock.close()


def _say(port: int, client: ssl.SSLContext, what: bytes) -> ssl.SSLSocket:
    """A connection that has said so, and does and hears nothing any more."""
    sock = client.wrap_socket(
        socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1"
    )
    sock.sendall(what)
    return sock


@pytest.mark.loops
async def test_a_client_that_is_slow_to_take_its_last_answer_gets_all_of_it(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "FAREWELL_WITHIN", 0.2)
    hall = Hall()
    hall.tls, client = tls

    def take() -> int:
        taken = 0
        with _say(hall.port, client, LAST_LARGE) as sock:
            while some := sock.recv(1 << 16):
                taken += len(some)
                if taken < 1 << 20:
                    time.sleep(0.05)
        return taken

    async with hall.open():
        taken = await asyncio.to_thread(take)

    assert taken > 32 << 20


FIELDS = b"".join(b"X%d: " % n + b"a" * 8_000 + b"\r\n" for n in range(120))


@pytest.mark.loops
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "later"])
async def test_a_header_without_an_end_is_refused_in_its_turn(before: bytes) -> None:
    """D36."""
    hall = Hall()
    async with hall.open():
        said = await ended(await hall.come(before + GET[:-2] + FIELDS[:70_000]))

    assert re.findall(rb"HTTP/1\.[01] (\d+)", said) == [b"200"] * bool(before) + [b"431"]
    counted = samples(hall.meter.page())
    assert counted['eventd_deliveries_refused_total{reason="malformed",source="other"}'] == 1


@pytest.mark.loops
async def test_nor_is_what_follows_a_body_without_an_end_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D36: a trailer."""
    read, sizes = web.RequestHandler.data_received, list[int]()

    def weigh(self: web.RequestHandler, data: bytes) -> None:
        sizes.append(len(data))
        read(self, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", weigh)
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    hall = Hall()
    async with hall.open():
        said = await ended(await hall.come(head + b"1\r\n{\r\n0\r\n" + FIELDS))

    assert re.findall(rb"HTTP/1\.[01] (\d+)", said) == [b"431"]
    assert sum(sizes) <= 3 * doors.MAX_HEADER


@pytest.mark.loops
@pytest.mark.parametrize("wrong", [b"zz\r\n", b"-1\r\n", b"2\r\nabc\r\n", b"0 \n\r\n"])
async def test_a_body_that_turns_out_malformed_is_refused_at_once_and_but_once(
    wrong: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """D49: its beginning was well, and is being read."""
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    hall = Hall()
    async with hall.open():
        pair = await hall.come(head + b"1\r\n{\r\n")
        await asyncio.sleep(0.05)
        pair[1].write(wrong + GET)
        said = await ended(pair)

    assert re.findall(rb"HTTP/1\.[01] (\d+)", said) == [b"400"]
    assert b"this is no HTTP" in said
    assert caplog.records == []


@pytest.mark.loops
async def test_one_that_turns_out_malformed_behind_its_answer_is_dropped_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doors, "LINGER", 0.2)
    head = b"POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    hall = Hall()
    async with hall.open():
        pair = await hall.come(head + b"1\r\n{\r\n")
        first = await pair[0].readuntil(b"}")
        pair[1].write(b"zz\r\n" + GET)
        rest = await ended(pair)

    assert (first[9:12], rest, caplog.records) == (b"405", b"", [])


@pytest.mark.loops
async def test_one_in_the_queue_that_turns_out_malformed_is_refused_in_its_turn() -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    hall = Hall()
    async with hall.open():
        pair = await hall.come(SLOW + head + b"1\r\n{\r\n")
        await hall.under_way.wait()
        pair[1].write(b"zz\r\n" + GET)
        await asyncio.sleep(0.05)
        hall.go_on.set()
        said = await ended(pair)

    assert re.findall(rb"HTTP/1\.[01] (\d+)", said) == [b"200", b"400"]


@pytest.mark.loops
async def test_requests_and_bodies_are_no_header_however_they_come() -> None:
    """D49: a hundred in one, a large one byte for byte, and the rest of one that was refused."""
    hall = Hall()
    post = b"POST /body HTTP/1.1\r\nHost: x\r\n"
    long = GET[:-2] + FIELDS[: 3 * 8_006] + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 900 + b"0\r\n\r\n"
    async with hall.open():
        reader, writer = await hall.come(GET * 1_000 + long * 40)
        writer.write(post + b"Content-Length: 300000\r\n\r\n" + bytes(300_000) + GET)
        for begin in range(0, len(post + chunked), 7):
            writer.write((post + chunked)[begin : begin + 7])
            await asyncio.sleep(0)
        writer.write(long.replace(b"Host", b"Connection: close\r\nHost"))
        said = await ended((reader, writer))

    statuses = [b"200"] * 1_040 + [b"413"] + [b"200"] * 3
    assert re.findall(rb"HTTP/1\.[01] (\d+)", said) == statuses


@pytest.mark.loops
async def test_a_body_that_drips_is_answered_408_and_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D32: a slow body."""
    monkeypatch.setattr("eventd.intake.BODY_WITHIN", 0.3)
    monkeypatch.setattr(doors, "LINGER", 0.2)
    hall = Hall()
    loop = asyncio.get_running_loop()
    head = b"POST /body HTTP/1.1\r\nHost: x\r\n"
    async with hall.open():
        began = loop.time()
        pairs = [
            await hall.come(head + b"Content-Length: 500\r\n\r\n{"),
            await hall.come(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
        ]

        async def drip() -> None:
            while True:
                for (_, writer), some in zip(pairs, (b"x", b"1\r\nx\r\n"), strict=True):
                    if not writer.is_closing():
                        writer.write(some)
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            tap = group.create_task(drip())
            ends = [group.create_task(ended(pair)) for pair in pairs]
            said = [await one for one in ends]
            tap.cancel()

        assert loop.time() - began > 0.2
        assert [one[9:12] for one in said] == [b"408"] * 2


@pytest.mark.loops
@pytest.mark.parametrize("size", ["large", "narrow"])
async def test_a_client_that_does_not_read_its_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setattr(doors, "READ_WITHIN", 0.2)
    hall = Hall()
    async with hall.open() as door:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.connect(("127.0.0.1", hall.port))
        sock.sendall(GET.replace(b"quick", size.encode()))
        async with asyncio.timeout(WITHIN):
            while not hall.cut("unread") or len(door):
                await asyncio.sleep(0.02)
        sock.close()


@pytest.mark.loops
async def test_a_client_that_takes_a_large_answer_gets_all_of_it() -> None:
    hall = Hall()
    async with hall.open():
        said = await ended(await hall.come(LAST_LARGE))

    assert len(said) > 32 << 20
    assert hall.cut("unread") == 0


async def test_what_is_wrong_with_us_is_logged_and_what_is_wrong_with_them_is_not(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hall = Hall()
    async with hall.open():
        ours = await ended(await hall.come(b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n"))
        before = capsys.readouterr().out
        theirs = await ended(await hall.come(b"\x00\r\n\r\n"))
        nothing = await ended(
            await hall.come(b"PUT /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        )

    assert b" 500 " in ours
    assert b"ZeroDivision" not in ours
    assert "ZeroDivisionError" in before
    assert b" 400 " in theirs
    assert b" 405 " in nothing
    assert b"Allow: GET,HEAD" in nothing
    assert capsys.readouterr().out == ""
    assert [one for one in caplog.records if one.exc_info] == []
    counted = samples(hall.meter.page())
    assert counted['eventd_deliveries_refused_total{reason="malformed",source="other"}'] == 1
