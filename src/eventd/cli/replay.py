"""`eventd replay`: recordings through the engine, in virtual time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from eventd import backtest, recording
from eventd.cli import page, report
from eventd.decoding import inputs_of_line
from eventd.errors import ConfigError
from eventd.files import default_rules, load_rules
from eventd.inventory import read_inventory
from eventd.summary import summary

EXISTING = click.Path(exists=True, path_type=Path)
NEW = click.Path(path_type=Path)
GC_THRESHOLDS = (50_000, 20, 100)  # values are made without cycles: look for some seldom


@click.command()
@click.argument("files", nargs=-1, required=True, type=EXISTING)
@click.option("--rules", type=EXISTING, help="Rules to judge by.")
@click.option("--inventory", type=EXISTING, help="Services and CIs.")
@click.option("--learn-from", multiple=True, type=EXISTING, help="A recording to learn from first.")
@click.option("--out", type=NEW, help="One JSON line per event, incident.")
@click.option("--html", type=NEW, help="The summary as a page, with a picture of the day.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    files: tuple[Path, ...],
    rules: Path | None,
    inventory: Path | None,
    learn_from: tuple[Path, ...],
    out: Path | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    """Play recordings as fast as it goes: no network, no state left behind.

    Without --rules the rules are those of the recording, else the default set; without
    --inventory the inventory is that of the recording, else none. With --learn-from what earlier
    recordings teach of checks, clocks and heartbeats is known from the start.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        loaded = load_rules(rules or default_rules())
        known = read_inventory(inventory).load if inventory is not None else None
        run = backtest.Backtest(inputs_of_line, loaded, known, forced=rules is not None)
        if learn_from:
            run.learn_from(_lines(learn_from))
        for _ in run.play(_lines(files)):
            pass
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(2)
    if out is not None:
        with out.open("wb") as stream:
            stream.writelines(backtest.write(run))
    found = summary(run)
    if html is not None:
        html.write_text(page.html(found, run), encoding="utf-8")
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        click.echo("\n".join(report.text(found)))


def _lines(files: tuple[Path, ...]) -> Iterator[recording.Line]:
    for file in files:
        yield from recording.read(file)
