"""kill -9 at each named place, and in the middle of a migration."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance import crashpoints


def test_a_crash_at_any_named_place_loses_and_doubles_nothing(tmp_path: Path) -> None:
    crashes = crashpoints.crash(tmp_path, rounds=1, seed=7)

    assert crashes.rounds == len(crashpoints.POINTS)
    print(crashes.ledger.total, max(crashes.starts))


def test_a_migration_that_is_killed_is_finished_by_the_next_start(tmp_path: Path) -> None:
    killed = crashpoints.crash_migrations(tmp_path, rounds=4, seed=3)

    assert killed > 0
    print(killed)
