"""A daemon, and a broker with the shipped profile, for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.daemon import Daemon, Mosquitto, until


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto) -> Iterator[Daemon]:
    config = {"incidents": {"resolve_after": "1s"}, "limits": {"max_body": "64KiB"}}
    folder = tmp_path_factory.mktemp("daemon")
    running = Daemon(folder, mqtt_port=broker.port, config=config, measured=True)
    running.start()
    until(running.subscribed, what="the subscription")
    yield running
    assert running.stop() == 0
