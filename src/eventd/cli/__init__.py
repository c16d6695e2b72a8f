"""The command line: one module a command, loaded when it is asked for."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import StringIO, TextIOWrapper

import click
from click.exceptions import NoArgsIsHelpError

from eventd import __version__
from eventd.cli.lines import say
from eventd.core.sentences import inert

COMMANDS = (
    "run", "check", "test", "export", "replay", "demo", "send", "incidents", "alerts",
    "silence", "why", "inventory", "score",
)  # fmt: skip


class _Lazy(click.Group):
    """Imports a command's module only to run it or to describe it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"eventd.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. What click says of arguments is inert: so may files be called.

        Where what it writes finds no room, nobody or no memory it ends with a sentence, and 2.
        """
        if sys.stdout is None:  # closed: who prints is told
            sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # whatever the terminal can show
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except NoArgsIsHelpError:  # of lines, our own
            raise
        except click.UsageError as error:
            raise click.UsageError(inert(error.format_message()), error.ctx) from None
        except (OSError, MemoryError) as error:
            sys.stdout = StringIO()  # what is still in it finds no room later either
            if not isinstance(error, BrokenPipeError):  # as of `| head`
                say(f"eventd {ctx.invoked_subcommand}: {_why(error)}", err=True)
            # systemd does not start again what ends with 2
            sys.exit(1 if ctx.invoked_subcommand == "run" else 2)


def _why(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{error.filename or 'what is written'}: {error.strerror or error}"


@click.group(cls=_Lazy)
@click.version_option(__version__, prog_name="eventd")
def main() -> None:
    """eventd reads what monitoring sends and raises incidents."""
