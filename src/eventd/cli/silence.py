"""`eventd silence`: declare alerts known, for a while."""

from __future__ import annotations

from pathlib import Path

import click

from eventd.cli.client import client_of, connected, place, show
from eventd.cli.lines import say
from eventd.cli.options import LIMIT


@click.group()
def silence() -> None:
    """Add, list and end silences."""


@silence.command()
@click.argument("selector")
@click.option("--for", "lasting", required=True, help='How long, such as "2h", at most 366d.')
@click.option("--comment", required=True, help="Why.")
@click.option("--actor", default="cli", show_default=True, help="Who says so.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def add(
    selector: str,
    lasting: str,
    comment: str,
    actor: str,
    url: str,
    token_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Silence what SELECTOR matches, such as 'service="shop", severity<major'."""
    body = {"matchers": selector, "for": lasting, "comment": comment, "actor": actor}
    answer = client_of(url, token_file).call("POST", place("silences"), body)
    made = f"{answer['id']} until {answer['ends_at'][:19]}Z" if answer else "it stands already"
    show(answer) if as_json else say(made)  # no answer: somebody on the way asked twice


@silence.command("list")
@LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def listed(limit: int, url: str, token_file: Path | None, *, as_json: bool) -> None:
    """List silences, newest first."""
    found = list(client_of(url, token_file).every(place("silences"), limit))
    if as_json:
        show({"items": found})
        return
    for one in found:
        what = ", ".join(f'{m["label"]}{m["op"]}"{m["value"]}"' for m in one["matchers"])
        state = "active" if one["active"] else "ended"
        say(f"{one['id']}  {state:6}  until {one['ends_at'][:19]}Z  {what}  {one['comment']}")


@silence.command()
@click.argument("name", metavar="ID")
@click.option("--actor", default="cli", show_default=True, help="Who says so.")
@connected
def end(name: str, actor: str, url: str, token_file: Path | None) -> None:
    """End a silence now."""
    client_of(url, token_file).call("DELETE", place("silences", name), {"actor": actor})
    say(f"{name} ended")
