"""How many alerts are wanted of things that nobody calls alerts, and what one takes by that."""

from __future__ import annotations

from copy import copy
from math import log10
from typing import NamedTuple

from msgspec import Struct

from eventd.core.scoring.scorer import HALF
from eventd.errors import RuleError

STEP = 1.0  # decades of surprise that an alert asks more of the next one
FEW = 10  # streams, of which all that is strange may well be told
BEGINS = 2  # steps above the least at first, when habits are not known yet
MOST_ALERTS = 10_000  # of a budget
FORGIVES = 7 * 86_400.0  # s in which half of what a stream cried is forgotten
FADES = 13 * FORGIVES  # the same of verdicts: what a person says is worth a quarter of a year
PLAIN = 9.0  # surprise; beyond, tails are guessed, and what is a decade rarer counts a little more
RAREST = 9.0  # decades beyond that are told apart
MOST_DOUBT, MOST_TRUST = 4.0, 2.0  # verdicts that count, false ones and true ones
_UNITS = {"day": 86_400.0, "week": 7 * 86_400.0, "month": 30 * 86_400.0}


def rate_of(budget: str) -> float:
    """Alerts a second, of such as "2 per week". Raises RuleError."""
    count, _, unit = budget.partition(" per ")
    if not count.isdecimal() or not 1 <= int(count) <= MOST_ALERTS or unit not in _UNITS:
        hint = "such as '2 per week': day, week or month"
        raise RuleError("budget", f"expected so many alerts in some time, got {budget!r}", hint)
    return int(count) / _UNITS[unit]


def tempered(surprise: float) -> float:
    """The same up to PLAIN, and beyond it in the same order, but never much more.

    Else a stream that hardly ever moves would surprise by 79 decades, and spend the budget of all.
    """
    return surprise if surprise <= PLAIN else PLAIN + log10(surprise - PLAIN + 1.0)


def raw(tempered: float) -> float:
    """The other way round."""
    return tempered if tempered <= PLAIN else PLAIN - 1.0 + 10.0 ** min(tempered - PLAIN, RAREST)


class Share(NamedTuple):
    """A budget, and who shares it."""

    rate: float  # alerts a second
    needed: float  # surprise
    streams: int
    young: int  # of them; too young for a score
    criers: int  # of them; that ever cried


class Trust(Struct, gc=False):
    """How much more surprise a stream has to show than the others that share its budget.

    Each of what it has cried, and each doubt, asks STEP more.
    """

    cried: float = 0.0  # alerts, half of them forgotten each week
    doubt: float = 0.0  # verdicts, false ones less true ones, half forgotten in FADES

    def forget(self, passed: float) -> None:
        """What is long ago weighs less: so many seconds went by."""
        self.cried *= 0.5 ** (passed / FORGIVES)
        self.doubt *= 0.5 ** (passed / FADES)

    def learn(self, doubt: int) -> None:
        """So many verdicts more that it was wrong."""
        self.doubt = min(max(self.doubt + doubt, -MOST_TRUST), MOST_DOUBT)


class Budget(Struct):
    """How much surprise an alert takes.

    What is needed sinks as the budget is given and rises by STEP with each alert, but never below
    HALF: so over any time no more alerts come than the budget and (needed - HALF) / STEP further
    ones.
    """

    rate: float  # alerts a second
    needed: float = HALF + BEGINS * STEP
    given_at: float = 0.0  # s since 1970; until then it was given
    criers: dict[str, Trust] = {}  # streams that ever cried, by their alert's fingerprint

    def give(self, now: float) -> None:
        """The budget of the time that passed."""
        if self.given_at:
            passed = max(0.0, now - self.given_at)
            self.needed = max(HALF, self.needed - STEP * self.rate * passed)
        self.given_at = max(self.given_at, now)

    def share(self, streams: int) -> None:
        """One more stream can fire, `streams` in all: ten times as many ask a decade more.

        Beyond FEW. As many more false alarms would come else until each had been paid for.
        """
        if streams > FEW:
            self.needed += log10(streams / (streams - 1.0))

    def of(self, trust: Trust | None) -> float:
        """What is needed of a stream that has proved so trustworthy; None: it has proved nothing.

        Trust is worth something while others cry; below HALF nothing is an alert.
        """
        if trust is None:
            return self.needed
        return max(HALF, self.needed + STEP * (trust.cried + trust.doubt))

    def spend(self, alert: str, trust: Trust | None) -> Trust:
        """An alert of a stream is made; what that stream has proved from now on."""
        self.needed += STEP
        trust = self.criers[alert] = trust or Trust()
        trust.cried += 1.0
        return trust

    def trusts(self) -> dict[int, Trust]:
        """What streams have proved, copied, by the id of what they share with it."""
        return {id(one): copy(one) for one in self.criers.values()}

    def judge(self, alert: str, was: bool | None, verdict: bool) -> bool:
        """A person says whether the alert was right, and said so before. False: nobody made it.

        What is said anew takes back what was said. An alert that was right is none of those that
        are budgeted for.
        """
        trust = self.criers.get(alert)
        if trust is None:
            return False
        doubt = -1 if verdict else 1
        trust.learn(doubt if was is None else 2 * doubt)
        if verdict:
            self.needed = max(HALF, self.needed - STEP)
        elif was:
            self.needed += STEP
        return True
