"""What the edges meet: real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from tests.broker import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto in a hurry: not for killing."""
    with Mosquitto(tmp_path, durable=False).running() as mosquitto:
        yield mosquitto


@pytest.fixture
def durable_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto with the shipped profile."""
    with Mosquitto(tmp_path).running() as mosquitto:
        yield mosquitto


@pytest.fixture
def huge_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running mosquitto that lets messages through which eventd does not take."""
    with Mosquitto(tmp_path, "message_size_limit 0", durable=False).running() as mosquitto:
        yield mosquitto


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "loops: runs on uvloop, as the daemon does, and on asyncio")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What sits close to the loop is marked `loops` and tried on both."""
    own: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop, **own} if "loops" in item.keywords else own
