"""The MQTT source against a real mosquitto: what is taken, acknowledged, and sent again."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.acceptance.daemon import free_port
from tests.broker import Mosquitto
from tests.edges.mqtt_desk import (
    COMMITTED,
    PLANT,
    STATUS,
    WITHIN,
    Desk,
    Wire,
    decode,
    words,
    yard,
)

from eventd.core.model import Refused, SourcePolicy
from eventd.errors import Poisoned
from eventd.sources.mqtt import MqttSource

both_versions = pytest.mark.parametrize("version", [5, 4], ids=["v5", "v3.1.1"])


@pytest.mark.loops
@both_versions
async def test_what_was_not_committed_comes_again_and_what_was_does_not(
    broker: Mosquitto, version: int
) -> None:
    desk = Desk()
    async with desk.doomed_source(yard(broker.port, version)):
        broker.publish("events/a", "one", "two", "three")
        taken = await desk.take(3)
        taken[0].done(COMMITTED)
        await asyncio.sleep(0)  # the acknowledgements of a turn leave together at its end

    async with desk.source(yard(broker.port, version)):
        again = await desk.commit(2)
    async with desk.source(yard(broker.port, version)):
        broker.publish("events/a", "four")
        later = await desk.commit(1)

    assert words(again) == ["two", "three"]
    assert [item.delivery.dup for item in again if item.delivery] == [True, True]
    assert words(later) == ["four"]


@both_versions
async def test_a_thousand_messages_come_in_order_and_leave_nothing_behind(
    broker: Mosquitto, version: int
) -> None:
    desk = Desk()
    sent = [str(n) for n in range(1000)]
    async with desk.source(yard(broker.port, version)):
        await asyncio.to_thread(broker.publish, "events/a", *sent)
        taken = await desk.commit(1000)

    async with desk.source(yard(broker.port, version)):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert words(taken) == sent
    assert words(after) == ["marker"]


@pytest.mark.loops
@both_versions
async def test_a_killed_broker_costs_nothing_it_had_acknowledged(
    durable_broker: Mosquitto, version: int
) -> None:
    """D17."""
    broker, desk = durable_broker, Desk()
    sent = [str(n) for n in range(200)]
    async with desk.source(yard(broker.port, version)):
        await asyncio.to_thread(broker.publish, "events/a", *sent)
        before = await desk.commit(50)

        broker.kill()
        await desk.meter.until(downs=1)
        broker.start()
        await desk.meter.until(ups=2)
        seen = set(words(before))
        while not seen.issuperset(sent):
            seen.update(words(await desk.commit(1)))

    assert seen == set(sent)


async def test_a_line_that_is_still_is_given_up_in_time_and_costs_nothing(
    broker: Mosquitto,
) -> None:
    """D21, with a keep-alive of 3 s: nothing fails, nothing comes."""
    desk, wire = Desk(), Wire(broker.port)
    async with wire.laid(), desk.source(yard(wire.port, keepalive=3)):
        broker.publish("events/a", "before")
        seen = words(await desk.commit(1))

        wire.carries.clear()
        async with asyncio.timeout(1.5 * 3 + 1.0):  # and a second for a loaded machine
            await desk.meter.until(downs=1)
        broker.publish("events/a", "meanwhile")
        wire.carries.set()
        seen += words(await desk.commit(1))

    assert seen == ["before", "meanwhile"]


async def test_an_acknowledgement_for_an_earlier_connection_is_dropped(broker: Mosquitto) -> None:
    desk = Desk()
    wire = Wire(broker.port)
    async with wire.laid(), desk.doomed_source(yard(wire.port)):
        broker.publish("events/a", "one")
        [old] = await desk.take(1)

        wire.cut()
        await desk.meter.until(ups=2)
        [new] = await desk.take(1)
        old.done(COMMITTED)
        await asyncio.sleep(0)

    async with desk.source(yard(broker.port)):
        again = await desk.commit(1)
    assert words([old, new, *again]) == ["one", "one", "one"]


async def test_a_message_the_runtime_could_not_process_is_sent_again(broker: Mosquitto) -> None:
    desk = Desk()
    async with desk.source(yard(broker.port)):
        broker.publish("events/a", "one", "two")
        one, two = await desk.take(2)
        one.done(Poisoned("the core raised"))
        two.done(COMMITTED)
        again = await desk.commit(2)

    assert words(again) == ["one", "two"]


async def test_a_source_broken_off_as_it_gives_up_its_connection_does_not_come_back(
    broker: Mosquitto,
) -> None:
    desk = Desk()

    async with desk.doomed_source(yard(broker.port)):
        broker.publish("events/a", "one")
        [one] = await desk.take(1)
        one.done(Poisoned("the core raised"))

    assert (desk.meter.ups, desk.meter.downs) == (1, 1)


async def test_no_puback_goes_out_once_the_store_has_failed(broker: Mosquitto) -> None:
    desk = Desk()
    async with desk.source(yard(broker.port)):
        broker.publish("events/a", "one")
        [one] = await desk.take(1)
        desk.inbox.failed = lambda: True
        one.done(COMMITTED)

    desk.inbox.failed = lambda: False
    async with desk.source(yard(broker.port)):
        again = await desk.commit(1)

    assert words([one, *again]) == ["one", "one"]


async def test_an_unreadable_message_is_refused_and_acknowledged_in_its_turn(
    broker: Mosquitto,
) -> None:
    desk = Desk()
    async with desk.source(yard(broker.port)):
        broker.publish("events/a", "good", "bad", "good no good", "")
        taken = await desk.commit(4)
    async with desk.source(yard(broker.port)):
        broker.publish("events/a", "marker")
        after = await desk.commit(1)

    assert [[type(i).__name__ for i in item.inputs] for item in taken] == [
        ["Event"],
        ["Refused"],
        ["Event", "Event", "Refused"],
        [],
    ]
    assert taken[1].inputs == (Refused("plant", "decode", "expected words, got bad"),)
    assert taken[2].inputs[2] == Refused("plant", "invalid", "expected yes, got no", 1)
    assert words(after) == ["marker"]


async def test_long_junk_is_not_kept(broker: Mosquitto) -> None:
    desk = Desk()
    async with desk.source(yard(broker.port)):
        broker.publish("events/a", "bad", "bad " * 20_000)
        taken = await desk.commit(2)

    assert [len(item.delivery.payload) for item in taken if item.delivery] == [3, 0]
    assert [type(one) for item in taken for one in item.inputs] == [Refused, Refused]


async def test_a_delivery_carries_all_that_the_broker_and_the_operator_said(
    broker: Mosquitto,
) -> None:
    policy = SourcePolicy(
        name="cells", decoder="text", quiet_for=60.0, repeats_every=30.0, volatile=("run",)
    )
    desk = Desk()
    topics = (("cells/+", policy), ("events/#", PLANT))
    broker.publish("cells/1", "old", retain=True)
    async with desk.source(yard(broker.port, topics=topics)):
        broker.publish("events/other", "new", qos=0)
        retained, live = await desk.commit(2)

    assert retained.delivery is not None
    assert live.delivery is not None
    assert (retained.delivery.source, retained.delivery.decoder) == ("cells", "text")
    assert (retained.delivery.topic, retained.delivery.retain) == ("cells/1", True)
    assert retained.delivery.volatile == ("run",)
    assert (retained.delivery.quiet_for, retained.delivery.repeats_every) == (60.0, 30.0)
    assert (live.delivery.source, live.delivery.retain, live.delivery.qos) == ("plant", False, 0)


async def test_user_properties_and_content_type_come_along(broker: Mosquitto) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho's
    properties.UserProperty = [("tenant", "acme"), ("id", "A234")]
    properties.ContentType = "application/cloudevents+json"
    properties.MessageExpiryInterval = 60
    properties.CorrelationData = b"x"
    properties.ResponseTopic = "answers"
    desk = Desk()
    async with (
        desk.source(yard(broker.port)),
        aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as sender,
    ):
        await sender.publish("events/a", "one", 1, properties=properties)
        [taken] = await desk.commit(1)

    assert taken.delivery is not None
    assert taken.delivery.properties == {
        "tenant": "acme",
        "id": "A234",
        "content-type": "application/cloudevents+json",
    }


@both_versions
async def test_members_of_a_shared_subscription_divide_the_messages(
    broker: Mosquitto, version: int
) -> None:
    shared = (("$share/eventd/events/#", PLANT),)
    left, right = Desk(), Desk()
    async with (
        left.source(yard(broker.port, version, client_id="left", topics=shared)),
        right.source(yard(broker.port, version, client_id="right", topics=shared)),
    ):
        broker.publish("events/a", *[str(n) for n in range(20)])
        halves = await asyncio.gather(left.commit(10), right.commit(10))

    assert sorted(map(int, words(halves[0] + halves[1]))) == list(range(20))


async def test_the_broker_announces_our_death_and_we_our_coming_and_going(
    broker: Mosquitto,
) -> None:
    desk, wire = Desk(), Wire(broker.port)
    async with aiomqtt.Client("127.0.0.1", broker.port) as watcher, asyncio.timeout(WITHIN):
        await watcher.subscribe(STATUS, 1)
        async with wire.laid(), desk.source(yard(wire.port)):
            seen = [await anext(watcher.messages)]
            wire.cut()
            seen += [await anext(watcher.messages), await anext(watcher.messages)]
        seen.append(await anext(watcher.messages))
    async with aiomqtt.Client("127.0.0.1", broker.port) as late, asyncio.timeout(WITHIN):
        await late.subscribe(STATUS, 1)
        kept = await anext(late.messages)

    assert [m.payload for m in seen] == [b"online", b"offline", b"online", b"offline"]
    assert (kept.payload, kept.retain) == (b"offline", True)


async def test_our_own_announcement_is_no_event(broker: Mosquitto) -> None:
    desk = Desk()
    everything = (("#", PLANT),)
    async with desk.source(yard(broker.port, topics=everything)):
        broker.publish("a", "one")
        status, one = await desk.commit(2)

    assert status.inputs == ()
    assert words([status, one]) == ["online", "one"]


@pytest.mark.loops
async def test_a_clean_stop_waits_for_what_was_taken_and_keeps_the_session(
    broker: Mosquitto,
) -> None:
    desk = Desk()
    source = MqttSource(yard(broker.port), desk.inbox, decode, desk.meter)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(source.run())
        await desk.meter.until(ups=1)
        broker.publish("events/a", "one")
        [one] = await desk.take(1)

        source.stop()
        await asyncio.sleep(0)
        broker.publish("events/a", "two")
        still_running = not running.done()
        one.done(COMMITTED)

    async with desk.source(yard(broker.port)):
        after = await desk.commit(1)
    assert still_running
    assert words(after) == ["two"]


async def test_a_stop_does_not_wait_for_a_broker_that_is_not_there() -> None:
    desk = Desk()
    source = MqttSource(yard(free_port()), desk.inbox, decode, desk.meter)

    async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
        group.create_task(source.run())
        await asyncio.sleep(0.05)
        source.stop()

    assert not source.connected


async def test_a_stop_does_not_wait_for_a_broker_that_never_answers() -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    desk = Desk()
    broker = yard(server.sockets[0].getsockname()[1])
    source = MqttSource(broker, desk.inbox, decode, desk.meter)
    async with server, asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
        group.create_task(source.run())
        await asked.wait()
        source.stop()

    assert desk.meter.ups == 0
