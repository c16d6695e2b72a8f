"""The errors of eventd, named by what the caller can do.

EventdError
├── InputError          the sender or operator gave something that cannot be read: tell them
│   ├── DecodeError     a whole delivery is unreadable: answer 400, journal the refusal
│   ├── RuleError       one rule is wrong: path inside the rule and a hint
│   └── ConfigError     files are wrong: every problem with file, line and hint; exit 2
├── Overloaded          no room now: answer 503 with Retry-After, or pause the socket
│   └── OverShare       the same, and others still find room
├── Stopping            the daemon is going down: answer 503, the sender tries again
├── Poisoned            the core raised on this input: it is quarantined, the process restarts
└── StoreError          the state on disk
    ├── StoreFull       no space, or no descriptor: retry the same commit unchanged
    ├── StoreInUse      another instance holds the state directory: exit
    ├── StoreTooNew     written by a newer eventd: exit
    └── StoreBroken     any other doubt, a failed fsync above all: stop, acknowledge nothing
"""

from __future__ import annotations


class EventdError(Exception):
    """Root of all errors raised on purpose."""


class InputError(EventdError):
    """Something from outside cannot be read."""


class DecodeError(InputError):
    """A delivery, or one event of it, cannot be read.

    `field` is the path in the payload ("" for the whole), `value` a short quotation of what
    stood there, `expected` what should have; `offset` is the byte where it stopped being JSON.
    """

    def __init__(self, field: str, value: str, expected: str, offset: int | None = None) -> None:
        """Quote at most 80 characters of the value."""
        self.field, self.value, self.expected = field, value[:80], expected
        self.offset = offset
        where = f"{field}: " if field else ""
        super().__init__(f"{where}expected {expected}, got {self.value}")


class RuleError(InputError):
    """A rule cannot be used. `path` points into the rule, e.g. ``within`` or ``group.match``.

    Without a hint the message is msgspec's: the reader of files puts it into words.
    """

    def __init__(self, path: str, message: str, hint: str = "") -> None:
        """Keep path, message and hint apart: the reader of files adds file and line."""
        self.path, self.message, self.hint = path, message, hint
        super().__init__(f"{path}: {message}" + (f" ({hint})" if hint else ""))


class ConfigError(InputError):
    """Operators' files are wrong; `problems` holds one printable line each."""

    def __init__(self, problems: list[str]) -> None:
        """Keep every problem: an operator mends them in one go."""
        self.problems = problems
        super().__init__("\n".join(problems))


class Overloaded(EventdError):
    """The inbox is full; nothing of the delivery was taken."""

    def __init__(self, message: str = "the inbox is full; try again") -> None:
        """For the sender."""
        super().__init__(message)


class OverShare(Overloaded):
    """A source holds its share of the inbox; nothing of the delivery was taken."""

    def __init__(self, source: str) -> None:
        """Name it."""
        super().__init__(f"{source} has its share of the inbox; try again")


class Stopping(EventdError):
    """The daemon is stopping; nothing of the delivery was taken."""


class Poisoned(EventdError):
    """The core raised on an input; what came before it is committed, it is quarantined."""


class StoreError(EventdError):
    """The state on disk cannot be used."""


class StoreFull(StoreError):
    """No space left, or no descriptor; what was rolled back may be retried unchanged."""


class StoreInUse(StoreError):
    """Another instance holds the state directory."""


class StoreTooNew(StoreError):
    """A newer eventd wrote the state."""


class StoreBroken(StoreError):
    """The state on disk is in doubt: stop, acknowledge nothing, recover from disk."""
