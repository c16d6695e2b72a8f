"""`eventd replay`: recordings through the engine, in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from eventd import app, backtest, recording
from eventd.errors import ConfigError


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rules", type=click.Path(exists=True, path_type=Path), help="Rules to judge by.")
@click.option("--inventory", type=click.Path(exists=True, path_type=Path), help="Services and CIs.")
@click.option("--out", type=click.Path(path_type=Path), help="One JSON line per event, incident.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    files: tuple[Path, ...],
    rules: Path | None,
    inventory: Path | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Play recordings as fast as it goes: no network, no state left behind.

    Without --rules the rules are those of the recording, else the default set; without
    --inventory the inventory is that of the recording, else none.
    """
    try:
        loaded = app.load_rules(rules)
        known = app.load_inventory(inventory) if inventory is not None else None
        run = backtest.Backtest(app.inputs_of_line, loaded, known, forced=rules is not None)
        facts = sum(len(caused) for _, _, caused in run.play(_lines(files)))
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(2)
    if out is not None:
        with out.open("wb") as stream:
            stream.writelines(backtest.write(run))
    incidents = list(run.incidents())
    summary = {
        "events": run.events,
        "facts": facts,
        "alerts": sum(1 for _ in run.engine.alerts()),
        "incidents": len(incidents),
        "open": sum(1 for one in incidents if one.state.value == "open"),
    }
    if as_json:
        click.echo(msgspec.json.encode(summary).decode())
        return
    click.echo("  ".join(f"{name} {count}" for name, count in summary.items()))
    for one in incidents:
        click.echo(
            f"{one.id}  P{one.priority}  {one.state.value:8}  {one.alerts:5} alerts  "
            f"{one.title}  ({one.because})"
        )


def _lines(files: tuple[Path, ...]) -> Iterator[recording.Line]:
    for file in files:
        yield from recording.read(file)
