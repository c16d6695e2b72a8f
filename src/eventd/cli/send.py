"""`eventd send`: events to a daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

import click

from eventd.cli.client import client_of, connected, show
from eventd.cli.lines import say


@click.command()
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--name", help="What was seen; needed without FILE.")
@click.option("--severity", help="ok, info, warning, minor, major or critical.")
@click.option("--status", help="firing, cleared, info, heartbeat or change.")
@click.option("--ci", help="The thing it was seen on.")
@click.option("--service", help="The service it belongs to.")
@click.option("--summary", help="One line for people.")
@click.option("--id", "own", help="The sender's own id: the same one again is a duplicate.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as JSON.")
@connected
def send(
    file: BinaryIO | None,
    name: str | None,
    severity: str | None,
    status: str | None,
    ci: str | None,
    service: str | None,
    summary: str | None,
    own: str | None,
    labels: tuple[str, ...],
    url: str,
    token_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Send one event made of the options, or all of FILE (- is stdin).

    A file holds native events: an object, an array, or one a line.
    """
    if file is not None:
        body = file.read()
    else:
        if not name:
            raise click.UsageError("give --name, or a FILE of events")
        event: dict[str, object] = {
            key: value
            for key, value in (
                ("name", name), ("severity", severity), ("status", status), ("ci", ci),
                ("service", service), ("summary", summary), ("id", own),
            )
            if value
        }  # fmt: skip
        if labels:
            pairs = [label.partition("=") for label in labels]
            if not all(mark for _, mark, _ in pairs):
                raise click.UsageError("--label is NAME=VALUE")
            event["labels"] = {key: value for key, _, value in pairs}
        body = json.dumps(event).encode()
    answer = client_of(url, token_file).call("POST", "/v1/events", raw=body)
    if as_json:
        show(answer)
        return
    say(f"accepted {answer['accepted']}, of them duplicates {answer['duplicates']}")
    for one in answer["rejected"]:
        say(f"rejected event {one['index']}: {one['error']}", err=True)
