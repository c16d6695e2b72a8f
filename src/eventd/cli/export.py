"""`eventd export`: the journal as a recording."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from eventd import app, recording
from eventd.config import Environment
from eventd.errors import StoreError


@click.command()
@click.option("--state", type=click.Path(path_type=Path), help="State directory.")
@click.option("--since", type=click.DateTime(), help="UTC; rows from then on.")
@click.option("--until", type=click.DateTime(), help="UTC; rows before then.")
@click.option("--out", type=click.File("wb"), default="-", help="File to write; - is stdout.")
def export(
    state: Path | None, since: datetime | None, until: datetime | None, out: BinaryIO
) -> None:
    """Write what came in as JSON lines that `eventd replay` reads; works beside a live daemon.

    An export of all there is replays to the same incidents. One that starts later
    starts from nothing known.
    """
    first = since.replace(tzinfo=UTC) if since else None
    last = until.replace(tzinfo=UTC) if until else None
    try:
        for row in app.journal(state or Environment.read().default_state()):
            if (first and row.now < first) or (last and row.now >= last):
                continue
            out.writelines(recording.line_of(row.now, row.delivery, row.inputs))
    except StoreError as error:
        click.echo(f"eventd export: {error}", err=True)
        sys.exit(2)
