"""Lists as tables: fitted to a terminal, and as wide as they are where there is none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from eventd.core.sentences import inert

WIDE = 120  # columns from which there is room for all
UNFOLDED = 10_000  # columns, which no row needs

Item = dict[str, Any]


def print_table(
    found: Iterable[Item],
    columns: Mapping[str, Callable[[Item], str]],
    *,
    folds: Collection[str],
    wide: Collection[str] = (),
    times: Collection[str] = (),
) -> None:
    """A row for each; columns by name: those that fold, those that need room, those of times."""
    console = Console(markup=False, emoji=False, highlight=False)
    short = console.is_terminal
    if not short:
        console.width = UNFOLDED
    heads = [head for head in columns if console.width >= WIDE or head not in wide]
    shown = (Column(head, no_wrap=head not in folds, overflow="fold") for head in heads)
    table = Table(*shown, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for one in found:
        cells = ((head, columns[head](one)) for head in heads)
        table.add_row(
            *(inert(_minute(cell) if short and head in times else cell) for head, cell in cells)
        )
    console.print(table)


def _minute(at: str) -> str:
    """Month to minute of a time in RFC 3339."""
    return at[5:16].replace("T", " ")
