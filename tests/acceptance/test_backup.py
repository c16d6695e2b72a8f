"""A backup made under load, with SQLite's own means, is a store like any other (D15)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from eventd.store.database import DATABASE
from tests.acceptance.daemon import Daemon, until
from tests.acceptance.faults import Sender, check


def test_a_backup_made_under_load_is_whole_up_to_its_moment(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "live")
    daemon.start()
    sender = Sender(daemon.port, "load")
    sender.start()
    until(lambda: len(sender.answers) >= 200, 30.0, "load")
    restored = Daemon(tmp_path / "restored")
    restored.state.mkdir(mode=0o700)

    before = [one.id for one in sender.answers]
    with (
        closing(sqlite3.connect(f"file:{daemon.state / DATABASE}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(restored.state / DATABASE)) as copy,
    ):
        live.backup(copy, pages=64)  # in steps: events come in meanwhile
    until(lambda: len(sender.answers) >= 2 * len(before), 30.0, "more load")
    sender.stopping.set()
    sender.join(30)

    check(restored, before)
    restored.start()
    assert len(restored.api("alerts")["items"]) == 20
    assert restored.stop() == 0
    check(restored, before)
    assert daemon.stop() == 0
    check(daemon, [one.id for one in sender.answers])
