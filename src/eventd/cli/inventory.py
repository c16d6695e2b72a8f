"""`eventd inventory`: what the inventory lacks."""

from __future__ import annotations

from pathlib import Path

import click

from eventd.cli.client import client_of, connected, place, show
from eventd.cli.options import LIMIT
from eventd.cli.tables import print_table


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
    print_table(
        found,
        {
            "events": lambda one: str(one["count"]),
            "kind": lambda one: one["kind"],
            "name": lambda one: one["name"],
        },
        folds=("name",),
    )
