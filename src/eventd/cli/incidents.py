"""`eventd incidents`: list them, show one, act on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from eventd.cli.client import client_of, connected, show

ACTIONS = {
    "ack": "acknowledge",
    "comment": "comment",
    "resolve": "resolve",
    "close": "close",
    "reopen": "reopen",
}


@click.command()
@click.argument("what", required=False, metavar="[ID | ack|comment|resolve|close|reopen]")
@click.argument("incident", required=False, metavar="[ID]")
@click.option("--state", help="open, resolved or closed.")
@click.option("--priority", help="P1 to P5.")
@click.option("--service", help="Of this service.")
@click.option("--limit", default=50, show_default=True, help="How many at most.")
@click.option("--actor", default="cli", show_default=True, help="Who acts.")
@click.option("--text", default="", help="What to write down.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def incidents(
    what: str | None,
    incident: str | None,
    state: str | None,
    priority: str | None,
    service: str | None,
    limit: int,
    actor: str,
    text: str,
    url: str,
    token_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """List incidents, newest first; with an ID show one; with an action and an ID act on it."""
    client = client_of(url, token_file)
    base = "/api/v1/incidents"
    if what in ACTIONS:
        if not incident:
            raise click.UsageError(f"eventd incidents {what} ID")
        answer = client.call(
            "POST", f"{base}/{incident}/{ACTIONS[what]}", {"actor": actor, "text": text}
        )
        show(answer) if as_json else click.echo(line(answer))
    elif what:
        answer = client.call("GET", f"{base}/{what}")
        show(answer) if as_json else _one(answer)
    else:
        filters = [("state", state), ("priority", priority), ("service", service)]
        query = "&".join(f"{name}={value}" for name, value in filters if value)
        found = list(client.every(f"{base}?{query}" if query else base, limit))
        show({"items": found}) if as_json else _table(found)


def line(one: dict[str, Any]) -> str:
    """An incident in one line: what, since when, how bad, why, who has it."""
    owner = f", {one['acknowledged_by']} has it" if one["acknowledged_by"] else ""
    return (
        f"{one['id']}  {one['priority']}  {one['state']:8}  {one['title']}  "
        f"({one['alert_count']} alerts since {one['opened_at'][:19]}Z; {one['because']}{owner})"
    )


def _table(found: list[dict[str, Any]]) -> None:
    table = Table("id", "priority", "state", "since", "alerts", "firing", "title", "why")
    for one in found:
        table.add_row(
            one["id"], one["priority"], one["state"], one["opened_at"][:19],
            str(one["alert_count"]), str(one["firing_count"]), one["title"], one["because"],
        )  # fmt: skip
    Console().print(table)


def _one(answer: dict[str, Any]) -> None:
    click.echo(line(answer))
    one = answer
    click.echo(f"  impact {one['impact']}: {one['impact_because']}")
    click.echo(f"  urgency {one['urgency']}: {one['urgency_because']}")
    if one["owner"]:
        click.echo(f"  owner: {one['owner']}")
    if one["workaround"]:
        click.echo(f"  workaround: {one['workaround']}")
    for entry in answer["timeline"]:
        click.echo(f"  {entry['at'][:19]}  {entry['kind']:13} {entry['text']}")
    for member in answer["alerts"]:
        alert = member["alert"] or {"name": member["fingerprint"], "ci": "", "status": "forgotten"}
        why = ", ".join(f"{k} {v}" for k, v in member["because"]["group"].items())
        click.echo(f"    {alert['status']:8} {alert['name']} {alert['ci']}  (same {why})")
