"""`eventd run`: the daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from eventd import app, log
from eventd.cli.lines import say
from eventd.config import Environment, load
from eventd.core.sentences import inert
from eventd.errors import ConfigError, StoreError

STDERR = 2
NO_MEMORY = (
    "out of memory; what was not acknowledged comes again (allow it more, as by MemoryMax= of the "
    "unit)"
)


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--listen", default="", metavar="HOST:PORT", help="Where to listen.")
@click.option("--state", type=click.Path(path_type=Path), help="State directory.")
@click.option("--rules", type=click.Path(path_type=Path), help="Rules file or directory.")
@click.option("--inventory", type=click.Path(path_type=Path), help="Services and CIs.")
def run(
    config: Path | None,
    listen: str,
    state: Path | None,
    rules: Path | None,
    inventory: Path | None,
) -> None:
    """Take events in, correlate them, raise incidents; until SIGTERM or Ctrl-C."""
    _stand_in()
    environment = Environment.read()
    try:
        loaded = load(
            config, environment, listen=listen, state=state, rules=rules, inventory=inventory
        )
        app.load_rules(loaded.rules)
        app.load_inventory(loaded.inventory)
    except ConfigError as error:
        for problem in error.problems:
            say(f"eventd: {problem}", err=True)
        sys.exit(2)
    os.umask(0o077)  # whatever it makes is for nobody else
    code = 0
    # who reads the log may sleep: what it has to say at the end goes the same way
    with closing(log.configure(loaded.file.log.level, loaded.file.log.format)) as outlet:
        try:
            app.run(loaded, environment)
        except* ConfigError as group:  # of files that have changed since
            code = 2
            for problem in (line for one in flat(group) for line in str(one).splitlines()):
                outlet.write(f"eventd: {inert(problem)}\n")
        except* (StoreError, OSError) as group:
            code = 1
            for one in flat(group):
                outlet.write(f"eventd: {inert(str(one))}\n")
        except* MemoryError:
            code = 1
            outlet.write(f"eventd: {NO_MEMORY}\n")
    sys.exit(code)  # not in the clause above: it would wrap the exit in a group with a traceback


def _stand_in() -> None:
    """Have what was closed of stdin, stdout and stderr lead nowhere.

    The loop would get such a descriptor, and libuv aborts where it has to close one.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(free)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STDERR, "w")


def flat(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors of a group and of groups inside it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from flat(error)
        else:
            yield error
