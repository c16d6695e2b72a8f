"""A bar on a terminal for what takes long, and nothing anywhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from eventd.cli import progress
from eventd.cli.progress import Bar


@pytest.mark.parametrize(
    ("terminal", "patience", "shown"), [(1, 0.0, 1), (1, 60.0, 0), (0, 0.0, 0)]
)
def test_a_bar_is_shown_on_a_terminal_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, terminal: int, patience: float, shown: int
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "PATIENCE", patience)

    with Bar("replay", Console(file=out, force_terminal=bool(terminal))) as bar:
        bar.at(0.25)
        bar.at(0.5)

    assert ("replay" in out.getvalue()) is bool(shown)
