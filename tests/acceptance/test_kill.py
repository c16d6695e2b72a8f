"""kill -9 under mixed load, twenty times."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance import kill


def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(tmp_path: Path) -> None:
    report = kill.run(rounds=20, seed=20, folder=tmp_path)

    assert report["missing"] == report["doubled"] == 0
    assert report["least_acknowledged_a_round"] >= kill.EACH_ROUND
    print(report)
