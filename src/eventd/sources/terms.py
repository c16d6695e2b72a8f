"""What a broker grants of what it was asked for; what it does not is told, once a connection."""

from __future__ import annotations

import structlog
from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

REFUSED = 0x80  # and beyond: MQTT 5.0, 3.9.3

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def granted(broker: str, name: str, code: ReasonCode | int) -> bool:
    """Whether it sends what the filter asks for, if not as well as asked."""
    given = code.value if isinstance(code, ReasonCode) else code
    if given >= REFUSED:
        _log.error(
            "mqtt.subscription_refused",
            broker=broker,
            filter=name,
            why=str(code),
            hint="allow the client to read it in the broker's access list",
        )
    elif not given:
        _log.warning(
            "mqtt.subscription_cut",
            broker=broker,
            filter=name,
            asked="QoS 1",
            given="QoS 0",
            hint="what comes while eventd is away or full is lost: allow QoS 1 in the broker",
        )
    return given < REFUSED


def heed_expiry(library: Client, broker: str, asked: int) -> None:
    """Tell where the broker keeps the session for less than so many seconds.

    It says so as it accepts the connection, which aiomqtt keeps to itself: MQTT 5.0, 3.2.2.3.2.
    """
    accepted = library.on_connect

    def on_connect(
        client: Client,
        userdata: object,
        flags: ConnectFlags,
        code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        given = getattr(properties, "SessionExpiryInterval", None)
        if isinstance(given, int) and given < asked:
            _log.warning(
                "mqtt.session_cut",
                broker=broker,
                asked=asked,
                given=given,
                hint="what comes once eventd is away for longer is lost: raise it in the broker",
            )
        if accepted is not None:
            # paho types it with the callbacks of both its APIs; aiomqtt's is of the second
            accepted(client, userdata, flags, code, properties)  # type: ignore[arg-type,call-arg]

    library.on_connect = on_connect
