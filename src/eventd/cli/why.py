"""`eventd why`: why an alert is in its incident, or in none."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from eventd import tracing
from eventd.cli.client import Client, client_of, connected, place, show
from eventd.cli.incidents import print_one
from eventd.cli.lines import say, say_json
from eventd.cli.progress import Bar
from eventd.core.rules.streams import VALUES
from eventd.errors import InputError, StoreError

EXISTING = click.Path(exists=True, path_type=Path)
SECONDS = "%Y-%m-%dT%H:%M:%S"
FINGERPRINT = re.compile(r"[0-9a-f]{32}")
INCIDENT = re.compile(r"INC-[0-9]+")
_WAITED_FOR = {
    "firing": "not enough speaks for one yet",
    "cleared": "it cleared, and is waited for some minutes whether it comes back",
}
_UNKNOWN = "  no rule matches it"
MAX_RULES = 10  # named of those that match an alert
MAX_ALERTS = 100  # on one CI
MAX_INCIDENTS = 1_000  # whose roots are looked at


@click.command()
@click.argument("what", metavar="FINGERPRINT | CI | INCIDENT")
@click.option(
    "--journal", "--state", type=EXISTING, help="State directory: step its journal again."
)
@click.option("--rule", default="", help="With --journal: what that rule says alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@connected
def why(
    what: str,
    journal: Path | None,
    rule: str,
    url: str,
    token_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say why an alert is in its incident and where else it might be, or why it stands alone.

    Of a CI: that of each of its alerts, and which open incidents may follow from it. Of an
    incident: what speaks for its roots and for each of its alerts.

    With --journal it is found by stepping the journal again from before the alert began, also
    beside the daemon: what each rule had seen when it was asked, what it lacked, and the first
    condition that failed of those that do not match.
    """
    if journal is not None:
        _traced(what, journal, rule, as_json=as_json)
        return
    if rule:
        raise click.UsageError("--rule is for --journal")
    client = client_of(url, token_file)
    if INCIDENT.fullmatch(what):
        answer = client.call("GET", place("incidents", what))
        show(answer) if as_json else print_one(answer, why=True)
        return
    if FINGERPRINT.fullmatch(what):
        fingerprints, roots = [what], []
    else:
        found = client.every(place("alerts", ci=what), MAX_ALERTS)
        fingerprints = [one["fingerprint"] for one in found]
        roots = _roots(client, what)
        if not fingerprints and not roots:
            say(f"eventd: no alert is known on {what}", err=True)
            sys.exit(1)
    alerts = [client.call("GET", place("alerts", one)) for one in fingerprints]
    if as_json:
        show({"alerts": alerts, "roots": roots})
        return
    for alert in alerts:
        _alert(alert)
    for root in roots:
        say(f"{root['ci']} is root {root['rank']} of {root['incident']}: {root['text']}")


def _traced(what: str, journal: Path, rule: str, *, as_json: bool) -> None:
    try:
        with Bar("why") as bar:
            run = tracing.trace(journal, what, rule, bar.at)
    except (StoreError, InputError) as error:
        say(f"eventd why: {error}", err=True)
        sys.exit(2)
    if as_json:
        say_json(msgspec.json.encode(run).decode())
    elif run.since is not None and not run.whole:
        say(f"The journal begins at {run.since:{SECONDS}}Z: what rules saw before is gone.")
    if not run.alerts:
        say(f"eventd: no alert is known of {what!r} in {journal}", err=True)
        sys.exit(1)
    for alert in () if as_json else run.alerts:
        where = f" on {alert.ci}" if alert.ci else ""
        say(f"{alert.name}{where}  {alert.fingerprint}")
        if alert.left_out:
            say(f"  rules were asked {alert.left_out} times before")
        for told in alert.told:
            say(f"  {told.at:{SECONDS}}  {told.text}")
        for told in alert.others:
            say(f"  {told.text}")


def _roots(client: Client, ci: str) -> list[dict[str, Any]]:
    """The CI as a root candidate of open incidents: the likeliest, or one that explains others."""
    return [
        {"incident": one["id"], "rank": rank, **root}
        for one in client.every(place("incidents", state="open"), MAX_INCIDENTS)
        for rank, root in enumerate(one["roots"], 1)
        if root["ci"] == ci and (rank == 1 or root["explains"] > 1)
    ]


def _alert(alert: dict[str, Any]) -> None:
    where = f" on {alert['ci']}" if alert["ci"] else ""
    flaps = ", flapping" if alert["flapping"] else ""
    since, until = alert["started_at"][:19], (alert["cleared_at"] or "")[:19]
    status = f"fired {since}Z, cleared {until}Z" if until else f"firing since {since}Z"
    say(f"{alert['name']}{where}  {alert['severity']}{flaps}, {status}  {alert['fingerprint']}")
    if alert["summary"]:
        say(f"  {alert['summary']}")
    for reason in alert["reasons"]:
        say(f"  {reason['at'][:19]}  {reason['text']}")
    for one in alert["scores"]:
        say(f"  rule {one['rule']} scores it: {_score(one)}")
    _standing(alert)
    if alert["rules"] is not None:
        rules = ", ".join(alert["rules"][:MAX_RULES])
        more = len(alert["rules"]) - MAX_RULES
        others = f" and {more} more" if more > 0 else ""
        say(f"  rules that match it: {rules}{others}" if rules else _UNKNOWN)


def _score(one: dict[str, Any]) -> str:
    """How a stream stands, how strange that is and how strange an alert has to be."""
    group = ", ".join(f"{label} {value}" for label, value in one["group"].items())
    if one["of"] != VALUES:
        known = one["text"] or f"what is usual at this hour is not known; {one['values']} were seen"
        takes = f"an alert takes {one['needed']:.1f}"
        said = takes if one["score"] is None else f"surprise {one['surprise']:.1f}, {takes}"
        return f"{one['of']} of {group}: {known} ({said})"
    if one["score"] is None:
        return f"{one['value']:g} of {group}; {one['values']} values are too few"
    said = f"surprise {one['surprise']:.1f}, an alert takes {one['needed']:.1f}"
    why = f": {one['text']}" if one["text"] else ""
    return f"{one['value']:g} of {group} scores {one['score']:.2f} ({said}){why}"


def _standing(alert: dict[str, Any]) -> None:
    """Where it is now, as far as the reasons do not say it."""
    kinds = [reason["kind"] for reason in alert["reasons"] if reason["kind"] != "missed"]
    if alert["suppressed_by"]:
        source = f", as {alert['explained_by']} explains it" if alert["explained_by"] else ""
        cover = f": {alert['covered_by']}" if alert["covered_by"] else ""
        say(f"  suppressed by {alert['suppressed_by']}{source or cover}")
    elif alert["cleared_at"] and kinds[-1:] == ["suppressed"]:
        say("  in no incident: it cleared while it was suppressed")
    elif not {"joined", "detached", "alone"} & {*kinds}:
        say(f"  in no incident: {_WAITED_FOR[alert['status']]}")
