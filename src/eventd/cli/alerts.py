"""`eventd alerts`: what eventd believes now."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from eventd.cli.client import client_of, connected, place, show
from eventd.cli.options import LIMIT


@click.command()
@click.option("--status", type=click.Choice(["firing", "cleared"]), help="Only these.")
@click.option("--severity", help="ok, info, warning, minor, major or critical.")
@click.option("--service", help="Of this service.")
@click.option("--ci", help="On this thing.")
@click.option("--name", help="Of this name.")
@click.option("--source", help="From this source.")
@click.option("--incident", help="In this incident.")
@LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def alerts(
    limit: int, url: str, token_file: Path | None, *, as_json: bool, **filters: str | None
) -> None:
    """List alerts."""
    found = list(client_of(url, token_file).every(place("alerts", **filters), limit))
    if as_json:
        show({"items": found})
        return
    table = Table("status", "severity", "name", "ci", "service", "count", "last seen", "incident")
    for one in found:
        table.add_row(
            one["status"], one["severity"], one["name"], one["ci"], one["service"],
            str(one["count"]), one["last_seen_at"][:19], one["incident"] or one["suppressed_by"],
        )  # fmt: skip
    Console().print(table)
