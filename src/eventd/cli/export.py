"""`eventd export`: the journal as a recording."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import click

from eventd import app, history, recording
from eventd.cli.lines import say
from eventd.cli.options import Moment
from eventd.config import Environment
from eventd.errors import StoreError

WHEN = 'a time, or how long before the last row, such as "7d"'


@click.command()
@click.option("--state", type=click.Path(path_type=Path), help="State directory.")
@click.option("--since", type=Moment(), help=f"Rows from then on: {WHEN}.")
@click.option("--until", type=Moment(), help=f"Rows before then: {WHEN}.")
@click.option("--out", type=click.File("wb"), default="-", help="File to write; - is stdout.")
def export(
    state: Path | None,
    since: datetime | timedelta | None,
    until: datetime | timedelta | None,
    out: BinaryIO,
) -> None:
    """Write what came in as JSON lines that `eventd replay` reads; works beside a live daemon.

    An export of all there is replays to the same incidents. One that starts later
    starts from nothing known.
    """
    folder = state or Environment.read().default_state()
    try:
        first, last = (
            history.moment(folder, one) if isinstance(one, timedelta) else one
            for one in (since, until)
        )
        for row in app.journal(folder):
            if (first and row.now < first) or (last and row.now >= last):
                continue
            out.writelines(recording.line_of(row.now, row.delivery, row.inputs))
    except StoreError as error:
        say(f"eventd export: {error}", err=True)
        sys.exit(2)
