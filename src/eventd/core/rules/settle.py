"""`settle`: nothing is raised that clears within so long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from eventd.core.rules.rule import Answer, Forgetful, Hold, Matching, Seen, Transition


class Spec(Matching, frozen=True, forbid_unknown_fields=True):
    """What is waited for whether it clears."""

    keyless: ClassVar[bool] = True


class State(Forgetful):
    """Remembers nothing: the alert knows that it waits, a timer how long."""

    holds = True

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Wait with an alert that begins to fire."""
        if seen.transition is not Transition.FIRED and seen.transition is not Transition.WAITED:
            return ()
        return (Hold(seen.alert.fingerprint, now + timedelta(seconds=self.rule.within)),)
