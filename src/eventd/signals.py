"""What an operator asks of the process by signals."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress


class Signals:
    """Notes them from `listen` on, whatever becomes of the loop.

    uvloop's own handlers outlive their loop, and what comes then until another has its own is lost.
    """

    def __init__(self) -> None:
        self.stop = False  # and that is never taken back
        self.reload = False  # until it is begun
        self._wake: Callable[[], object] = lambda: None

    def listen(self) -> None:
        """In the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
            signal.siginterrupt(number, False)  # a call of the store's is not to fail for it

    def tell(self, wake: Callable[[], object]) -> None:
        """Call `wake` when there is something new, at once where there already is."""
        self._wake = wake
        if self.stop or self.reload:
            wake()

    def _note(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
        with suppress(RuntimeError):  # that loop has ended, the next one will ask
            self._wake()
