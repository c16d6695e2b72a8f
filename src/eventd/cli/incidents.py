"""`eventd incidents`: list them, show one, act on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eventd.cli.client import client_of, connected, place, show
from eventd.cli.lines import say
from eventd.cli.options import LIMIT
from eventd.cli.tables import print_table
from eventd.complaints import likely
from eventd.core.model import IncidentState

ACTIONS = {
    "ack": "acknowledge",
    "comment": "comment",
    "resolve": "resolve",
    "close": "close",
    "reopen": "reopen",
}
REGROUPS = {
    "merge": "eventd incidents merge ID INTO",
    "split": "eventd incidents split ID FINGERPRINT…",
    "detach": "eventd incidents detach ID FINGERPRINT",
}
VERDICT = "eventd incidents verdict ID false|true"
STATES = [state.value for state in IncidentState]
WORDS = ["show", *ACTIONS, *REGROUPS, "verdict"]


@click.command()
@click.argument("what", required=False, metavar=f"[ID | {'|'.join(WORDS)}]")
@click.argument("names", nargs=-1, metavar="[ID] [INTO | FINGERPRINT… | false | true]")
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.option("--priority", help="P1 to P5.")
@click.option("--service", help="Of this service.")
@LIMIT
@click.option("--actor", default="cli", show_default=True, help="Who acts.")
@click.option("--text", default="", help="What to write down.")
@click.option("--why", is_flag=True, help="Show one with what speaks for its roots and members.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def incidents(
    what: str | None,
    names: tuple[str, ...],
    state: str | None,
    priority: str | None,
    service: str | None,
    limit: int,
    actor: str,
    text: str,
    url: str,
    token_file: Path | None,
    *,
    why: bool,
    as_json: bool,
) -> None:
    """List incidents, newest first; with an ID show one; with an action and an ID act on it.

    A list on less than 120 columns is without why, root and the number of alerts.

    Merge an incident into another, split alerts off as an incident of their own, or detach an alert
    that has nothing to do with it. A verdict says whether there was something to hear of: what
    scores measurements learns from it.
    """
    client = client_of(url, token_file)
    said: dict[str, object] = {"actor": actor, "text": text} if text else {"actor": actor}
    if what in ACTIONS:
        if len(names) != 1:
            raise click.UsageError(f"eventd incidents {what} ID")
        answer = client.call("POST", place("incidents", names[0], ACTIONS[what]), said)
        show(answer) if as_json else say(line(answer))
    elif what in REGROUPS or what == "verdict":
        said = {**_said(what, names), **said}
        answer = client.call("POST", place("incidents", names[0], what), said)
        show(answer) if as_json else say(line(answer))
    elif what:
        if names and what != "show":
            short = {long: action for action, long in ACTIONS.items()}.get(what, what)
            raise click.UsageError(f"no action is called {what!r} ({likely(short, WORDS)})")
        if (what == "show") != (len(names) == 1):
            raise click.UsageError("eventd incidents show ID")
        answer = client.call("GET", place("incidents", names[0] if names else what))
        show(answer) if as_json else print_one(answer, why=why)
    else:
        path = place("incidents", state=state, priority=priority, service=service)
        found = list(client.every(path, limit))
        show({"items": found}) if as_json else _table(found)


def _said(what: str, names: tuple[str, ...]) -> dict[str, object]:
    """What the body of a request says beside who and why. Raises UsageError."""
    match what, names:
        case "merge", (_, into):
            return {"into": into}
        case "split", (_, _, *_):
            return {"alerts": names[1:]}
        case "detach", (_, fingerprint):
            return {"alert": fingerprint}
        case "verdict", (_, "false" | "true" as verdict):
            return {"verdict": verdict == "true"}
        case _:
            raise click.UsageError(REGROUPS.get(what, VERDICT))


def line(one: dict[str, Any]) -> str:
    """An incident in one line: what, since when, how bad, why, who has it."""
    if "state" not in one:  # of one that retention has taken only the verdict is known
        return f"{one['id']}  verdict {'true' if one['verdict'] else 'false'}; it is kept no more"
    owner = f", {one['acknowledged_by']} has it" if one["acknowledged_by"] else ""
    merged = f"; merged into {one['merged_into']}" if one["merged_into"] else ""
    count = one["alert_count"]
    return (
        f"{one['id']}  {one['priority']}  {one['state']:8}  {one['title']}  "
        f"({count} alert{'' if count == 1 else 's'} since {one['opened_at'][:19]}Z; "
        f"{one['because']}{owner}{merged})"
    )


def _table(found: list[dict[str, Any]]) -> None:
    print_table(
        found,
        {
            "id": lambda one: one["id"],
            "priority": lambda one: one["priority"],
            "state": lambda one: one["state"],
            "since": lambda one: f"{one['opened_at'][:19]}Z",
            "alerts": lambda one: str(one["alert_count"]),
            "firing": lambda one: str(one["firing_count"]),
            "root": lambda one: one["roots"][0]["ci"] if one["roots"] else "",
            "title": lambda one: one["title"],
            "why": lambda one: one["because"],
        },
        folds=("root", "title", "why"),
        wide=("alerts", "root", "why"),
        times=("since",),
    )


def print_one(one: dict[str, Any], *, why: bool) -> None:
    """An incident with its timeline and its alerts; `why`: with all that speaks for them."""
    say(line(one))
    say(f"  impact {one['impact']}: {one['impact_because']}")
    say(f"  urgency {one['urgency']}: {one['urgency_because']}")
    if one["owner"]:
        say(f"  owner: {one['owner']}")
    if one["workaround"]:
        say(f"  workaround: {one['workaround']}")
    if one["verdict"] is not None:
        say(f"  verdict: {'true' if one['verdict'] else 'false'}")
    if one["recurs"]:
        say(f"  recurrence of {one['recurs']}")
    for n, root in enumerate(one["roots"] if why else one["roots"][:1], 1):
        say(f"  root {n}: {root['ci']} ({root['score']:.2f}): {root['text']}")
    for n, entry in enumerate(one["timeline"]):
        if n == 1 and one["timeline_left_out"]:
            say(f"  … {one['timeline_left_out']} more, too many to show …")
        say(f"  {entry['at'][:19]}  {entry['kind']:13} {entry['text']}")
    if one["alerts_left_out"]:
        listed = f"eventd alerts --incident {one['id']}"
        say(f"    … {one['alerts_left_out']} joined before, too many to show: {listed}")
    for member in one["alerts"]:
        alert = member["alert"] or {"name": member["fingerprint"], "ci": "", "status": "forgotten"}
        because = member["because"]
        called = f"{alert['name']} on {alert['ci']}" if alert["ci"] else alert["name"]
        say(f"    {alert['status']:9} {called}: {because['text']}")
        if why:
            other = member["runner_up"]
            say(f"              {member['fingerprint']}{f'; {other}' if other else ''}")
