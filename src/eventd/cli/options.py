"""What the options of several commands take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from eventd.core.rules.rule import parse_span

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


LIMIT = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many at most.",
)


class NewFile(click.Path):
    """A file to write: that it cannot be is said before the work, not after it."""

    def __init__(self) -> None:
        """It may be there."""
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Fail where there is no folder for it."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = path.parent
        if not path.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            self.fail(f"{path}: nothing can be written in {folder}", param, ctx)
        return path


class Span(click.ParamType[timedelta]):
    """A duration such as 7d."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Fail with what was expected."""
        try:
            return timedelta(seconds=parse_span(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType["datetime | timedelta"]):
    """A time, of UTC where it has no zone, or how long before the last entry of a journal."""

    name = "time or span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta:
        """Fail with what was expected."""
        try:
            return timedelta(seconds=parse_span(value))
        except ValueError:
            pass
        try:
            at = datetime.fromisoformat(str(value))
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            expected = 'a time such as 2026-03-01T09:00Z, or a duration such as "7d"'
            self.fail(f"expected {expected}, got {value!r}", param, ctx)


def spare(files: Sequence[Path], *places: Path | None) -> None:
    """Raise UsageError where what is to be read would be written over."""
    for place in places:
        if place is not None and place.exists() and any(map(place.samefile, files)):
            raise click.UsageError(f"{place} would be written over: choose another place")
