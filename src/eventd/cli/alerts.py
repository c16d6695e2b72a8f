"""`eventd alerts`: what eventd believes now."""

from __future__ import annotations

from pathlib import Path

import click

from eventd.cli.client import client_of, connected, place, show
from eventd.cli.options import LIMIT
from eventd.cli.tables import print_table


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
    """List alerts; on less than 120 columns without service, count and fingerprint.

    An empty filter, such as --ci "", is for those without one.
    """
    found = list(client_of(url, token_file).every(place("alerts", **filters), limit))
    if as_json:
        show({"items": found})
        return
    print_table(
        found,
        {
            "status": lambda one: one["status"],
            "severity": lambda one: one["severity"],
            "name": lambda one: one["name"],
            "ci": lambda one: one["ci"],
            "service": lambda one: one["service"],
            "count": lambda one: str(one["count"]),
            "last seen": lambda one: f"{one['last_seen_at'][:19]}Z",
            "incident": lambda one: one["incident"] or one["suppressed_by"] or "",
            "fingerprint": lambda one: one["fingerprint"],
        },
        folds=("name", "ci", "service", "incident"),
        wide=("service", "count", "fingerprint"),
        times=("last seen",),
    )
