"""`eventd replay`: recordings through the engine, in virtual time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec

from eventd import backtest, history, recording
from eventd.backtest import Backtest
from eventd.cli import difference, page, report
from eventd.cli.lines import say, say_json
from eventd.cli.options import FILE, Moment, NewFile, Span, spare
from eventd.cli.progress import Bar
from eventd.comparison import Comparison, Sides
from eventd.decoding import inputs_of_line
from eventd.errors import ConfigError, StoreError
from eventd.files import default_rules, load_rules
from eventd.inventory import read_inventory
from eventd.summary import summary

EXISTING = click.Path(exists=True, path_type=Path)
GC_THRESHOLDS = (50_000, 20, 100)  # values are made without cycles: look for some seldom


@click.command()
@click.argument("files", nargs=-1, type=FILE)
@click.option(
    "--journal", "--state", type=EXISTING, help="State directory of a daemon, instead of FILES."
)
@click.option(
    "--since", type=Moment(), help='From when on, or how long before its last entry, such as "7d".'
)
@click.option("--rules", type=EXISTING, help="Rules to judge by.")
@click.option("--inventory", type=EXISTING, help="Services and CIs.")
@click.option("--learn-from", multiple=True, type=FILE, help="A recording to learn from first.")
@click.option("--against", type=EXISTING, help="Other rules: print what they would change.")
@click.option("--warm-up", type=Span(), help="With --against: a time in which nothing is compared.")
@click.option("--out", type=NewFile(), help="One JSON line per event, incident.")
@click.option("--html", type=NewFile(), help="The summary as a page, with a picture of the day.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    files: tuple[Path, ...],
    journal: Path | None,
    since: datetime | timedelta | None,
    rules: Path | None,
    inventory: Path | None,
    learn_from: tuple[Path, ...],
    against: Path | None,
    warm_up: timedelta | None,
    out: Path | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    """Play recordings as fast as it goes: no network, no state left behind.

    Without --rules the rules are those of the recording, else the default set; without
    --inventory the inventory is that of the recording, else none. With --learn-from what earlier
    recordings teach of checks, clocks and heartbeats is known from the start.

    With --journal what is played is what came to a daemon, which may be running; with --since from
    then, or from so long before its last entry on.

    With --against both rule sets judge the same stream, and what the other set would change is
    printed in incidents. Both begin with the last snapshot before --since, else with nothing known.
    With --warm-up what opens in the first part is left out; of a journal that is the part before
    --since.
    """
    _check_usage(files, journal, against, since=since, warm_up=warm_up, written=out or html)
    spare((*files, *learn_from), out, html)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    forced = rules is not None
    try:
        loaded = load_rules(rules or default_rules())
        known = read_inventory(inventory).load if inventory is not None else None
        with Bar("replay") as bar:
            back = _back(journal, since) if journal else None
            lines = history.lines(journal, back, bar.at) if journal else _lines(files, bar)
            if against is not None:
                sides = Sides(inputs_of_line, loaded, load_rules(against), known, forced=forced)
                sides.learn_from(_lines(learn_from))
                warm = warm_up or timedelta()
                if journal is None or back is None:
                    compared = sides.play(lines, warm)
                else:
                    saved = None if learn_from else history.saved(journal, back + warm)
                    if saved is not None:
                        sides.begin_with(saved.frames, saved.now)
                    lines = history.lines(journal, saved or back + warm, bar.at)
                    compared = sides.play(lines, warm, history.moment(journal, back))
                _print_comparison(compared, as_json=as_json)
                return
            run = Backtest(inputs_of_line, loaded, known, forced=forced)
            if learn_from:
                run.learn_from(_lines(learn_from))
            for _ in run.play(lines):
                pass
    except ConfigError as error:
        say(*error.problems, err=True)
        sys.exit(2)
    except StoreError as error:
        say(f"eventd replay: {error}", err=True)
        sys.exit(2)
    if out is not None:
        with out.open("wb") as stream:
            stream.writelines(backtest.write(run))
    found = summary(run)
    if html is not None:
        html.write_text(page.html(found, run), encoding="utf-8")
    if as_json:
        say_json(msgspec.json.encode(found).decode())
    else:
        say(*report.text(found))


def _print_comparison(compared: Comparison, *, as_json: bool) -> None:
    if as_json:
        say_json(msgspec.json.encode(compared).decode())
    else:
        say(*difference.text(compared))


def _check_usage(
    files: tuple[Path, ...],
    journal: Path | None,
    against: Path | None,
    *,
    since: datetime | timedelta | None,
    warm_up: timedelta | None,
    written: Path | None,
) -> None:
    """Raise UsageError where options contradict each other."""
    if bool(files) == (journal is not None):
        raise click.UsageError("give FILES, or --journal")
    if since is not None and journal is None:
        raise click.UsageError("--since goes with --journal")
    if warm_up is not None and against is None:
        raise click.UsageError("--warm-up goes with --against")
    if written is not None and against is not None:
        raise click.UsageError(
            "--against prints a difference; --out and --html are of one rule set"
        )


def _back(journal: Path, since: datetime | timedelta | None) -> timedelta | None:
    """How long before the last entry that is. Raises StoreError."""
    if not isinstance(since, datetime):
        return since
    period = history.period(journal)
    return period.ended - since if period is not None else timedelta()


def _lines(files: tuple[Path, ...], bar: Bar | None = None) -> Iterator[recording.Line]:
    whole = sum(file.stat().st_size for file in files) or 1
    passed = 0

    def told(read: int) -> None:
        if bar is not None:
            bar.at((passed + read) / whole)

    for file in files:
        yield from recording.read(file, told=told)
        passed += file.stat().st_size
