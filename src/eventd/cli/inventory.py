"""`eventd inventory`: what the inventory lacks."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from eventd.cli.client import client_of, connected, place, show
from eventd.cli.options import LIMIT


@click.group()
def inventory() -> None:
    """Look at the inventory a daemon goes by; `eventd check FILE` proves one."""


@inventory.command()
@click.option("--kind", type=click.Choice(["ci", "service"]), help="Only these.")
@LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def gaps(kind: str | None, limit: int, url: str, token_file: Path | None, *, as_json: bool) -> None:
    """List names that events had and the inventory lacks, the most frequent first."""
    path = place("inventory", "gaps", kind=kind)
    found = list(client_of(url, token_file).every(path, limit))
    if as_json:
        show({"items": found})
        return
    table = Table("events", "kind", "name")
    for one in found:
        table.add_row(str(one["count"]), one["kind"], one["name"])
    Console().print(table)
