"""Lines on a terminal: whoever wrote what is in them, they move no cursor and begin no other."""

from __future__ import annotations

import json

import click

from eventd.core.sentences import inert


def say(*lines: str, err: bool = False) -> None:
    """Lines for people."""
    for line in lines:
        click.echo(inert(line), err=err)  # noqa: TID251 - the place for it


def say_json(text: str) -> None:
    """JSON for programs, in one line: of the same value, as inert; UTF-8, as they expect it."""
    told = text if text.isprintable() else "".join(map(_escaped, text))
    click.echo(told.encode())  # noqa: TID251 - and this


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
