"""How far a long run has come."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from eventd.clock import monotonic

PATIENCE = 1.0  # s before there is a bar


class Bar:
    """A bar on standard error, if that is a terminal, once a run takes a while."""

    def __init__(self, what: str, console: Console | None = None) -> None:
        """`what` is done."""
        self._console = console or Console(stderr=True)
        self._what, self._began = what, monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def at(self, share: float) -> None:
        """So much of it is done, of 1."""
        if self._progress is None:
            if not self._console.is_terminal or monotonic() - self._began < PATIENCE:
                return
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
            self._progress = Progress(
                *columns, TimeRemainingColumn(), console=self._console, transient=True
            )
            self._progress.add_task(self._what, total=1.0)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=share)
