"""For every test: hypothesis plays the same examples on every machine; a disk that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.measuring import paused

settings.register_profile("eventd", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("eventd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that at the end nobody waits for one of them."""
    items.sort(key=lambda item: item.path.parent.name not in {"acceptance", "simulation"})


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """For modules that take long and reach nothing that others do not."""
    with paused():
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "eventd", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # where a test failed it is in use
