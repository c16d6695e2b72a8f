"""What the benchmark measures is there."""

from __future__ import annotations

import pytest
from bench.run import ALL_KINDS, of_kind

from eventd.core.rules import KINDS, parse


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rule_is_measured(kind: str) -> None:
    assert {parse(of_kind(kind, n)).kind for n in range(3)} == {kind}
    assert kind in ALL_KINDS
