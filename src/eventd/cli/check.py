"""`eventd check`: whether files, and a store, are good."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from eventd import app, history, lint
from eventd.cases import read_cases
from eventd.cli.lines import say, say_json
from eventd.cli.options import FILE
from eventd.cli.progress import Bar
from eventd.config import Environment, load
from eventd.core.sentences import many
from eventd.errors import ConfigError, StoreError
from eventd.inventory import examine, is_inventory, read_inventory
from eventd.usage import Usage


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--store", "--state", type=click.Path(path_type=Path), help="State directory to verify."
)
@click.option("--strict", is_flag=True, help="Warnings count as bad.")
@click.option("--acked", type=FILE, help="Event ids, one a line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def check(
    files: tuple[Path, ...],
    store: Path | None,
    acked: Path | None,
    *,
    strict: bool,
    as_json: bool,
) -> None:
    """Check configuration, rules and inventory FILES, or what a store promises.

    A file with a top-level `rules` is a rules file, so is a directory; one that begins with
    `services` or `cis` is an inventory; any other is a configuration, read
    with the rules and the inventory it names. What is doubtful in an
    inventory counts as bad, though the daemon takes it.

    What is doubtful in rules is a warning: rules that cannot match, that another leaves nothing to
    or overlaps with; with --store also what its journal says of them: labels that nothing had,
    rules that never end, that have no end of keys. With --strict warnings count as bad.

    With --store and no FILES the older snapshot is restored, the journal is stepped again and the
    result compared with the tables; --acked names events that must be there.
    """
    if store is None and not files:
        raise click.UsageError("give FILES, or --store")
    if store is None or files:
        try:
            sys.exit(0 if _files(files, store, strict=strict) else 1)
        except StoreError as error:
            say(f"eventd check: {error}", err=True)
            sys.exit(2)
    ids = acked.read_text("utf-8", "replace").split() if acked else []
    try:
        found = app.verdicts(store, ids)
    except StoreError as error:
        say(f"eventd check: {error}", err=True)
        sys.exit(2)
    for one in found:
        if as_json:
            say_json(msgspec.json.encode(one).decode())
        else:
            say(f"{'good' if one.ok else 'BAD '}  {one.invariant:4} {one.says}: {one.detail}")
    sys.exit(0 if all(one.ok for one in found) else 1)


def _files(files: tuple[Path, ...], store: Path | None, *, strict: bool) -> bool:
    problems: list[str] = []
    doubtful = False
    for file in files:
        try:
            if is_inventory(file):
                problems += _inventory(file)
            elif file.is_dir() or app.is_rules_file(file):
                rules = app.load_rules(file)
                tests = sum(1 for _ in read_cases(file))
                told = f"{many(len(rules.rules), 'rule')}, {many(tests, 'test')}"
                say(f"{file}: {told}, version {rules.version}")
                warnings = list(_doubts(file, store))
                for one in warnings:
                    say(f"warning: {one}", err=strict)
                doubtful = doubtful or bool(warnings)
            else:
                config = load(file, Environment.read())
                app.load_rules(config.rules)
                app.load_inventory(config.inventory)
                say(f"{file}: good")
        except ConfigError as error:
            problems += error.problems
    say(*problems, err=True)
    return not problems and not (strict and doubtful)


def _doubts(file: Path, store: Path | None) -> Iterator[str]:
    """What is doubtful in rules that can be loaded. Raises StoreError."""
    rules = lint.rules_of(file)
    yield from lint.examine(rules)
    if store is None:
        return
    period = history.period(store)
    if period is None:
        return
    usage = Usage(rules, period.began + (period.ended - period.began) / 2)
    with Bar("journal") as bar:
        usage.see(history.lines(store, None, bar.at))
    yield from usage.warnings()


def _inventory(file: Path) -> list[str]:
    """What is doubtful in it; what may well be meant so is printed and no problem."""
    written = read_inventory(file)
    found = written.load
    say(
        f"{file}: {many(len(found.services), 'service')}, {many(len(found.cis), 'CI')}, "
        f"version {found.version}"
    )
    findings = list(examine(written))
    for one in findings:
        if not one.fault:
            say(one.line)
    return [one.line for one in findings if one.fault]
