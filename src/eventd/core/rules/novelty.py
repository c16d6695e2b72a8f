"""`anomaly` of what is new: a kind of event, a text, a pair of labels that was never seen.

What is new is told once, within a budget; where much is, as after a change, only the first of it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from math import exp, log10

import msgspec

from eventd.core.rules.keys import Key
from eventd.core.rules.own import NEW
from eventd.core.rules.rule import Answer, Grouping, Limits, Rule, Seen, Wake
from eventd.core.rules.selectors import Labelled
from eventd.core.rules.watching import Look, Watched, Watching
from eventd.core.scoring.reasons import known_since, newly
from eventd.core.scoring.scorer import HALF

TEMPLATE = "template"  # in `by`: the summary without what varies from one to the next
MAX_TEXT, MAX_TEMPLATE = 256, 128  # characters of a summary that are looked at, and of a template
LEARNS = 7 * 86_400.0  # s in which everything is new, and nothing is told: a week has all its jobs
FORGOTTEN = 30 * 86_400.0  # s without it: then it is new again; monthly jobs are not
OFTEN = 7 * 86_400.0  # s over which it is told how often something new comes
LATELY = 3600.0  # s: what is new together is one matter
LASTS = timedelta(hours=1)  # of its alert: then it is no news
# eventd's own pattern: what is quoted, or a word
_WORD = re.compile(r"""(?<!\w)(?:"[^"]*"|'[^']*')|[\w.:/-]+""")
_DIGITS = frozenset("0123456789")


class Known(Watched, kw_only=True):
    """Something that was seen."""

    seen_at: float  # s since 1970
    since: float = 0.0  # s since 1970; the first time
    count: int = 0  # events


class State(Watching[Known]):
    """What was seen, the longest unseen first; how often something new comes."""

    ending = NEW
    watched = Known

    def __init__(self, rule: Rule, limits: Limits) -> None:
        """Nothing seen yet."""
        super().__init__(rule, limits)
        self._grouping = _Texts(rule.by)
        self._since = self._at = 0.0  # s since 1970: the first that was seen, and the last new one
        self._week = self._hour = 0.0  # new things in OFTEN and LATELY until then, faded

    def observe(self, seen: Seen, now: datetime) -> tuple[Answer, ...]:
        """Whether that is new."""
        key, at = self._key(seen), now.timestamp()
        if key is None:
            return ()
        self.budget.give(at)
        self._since = self._since or at
        known = self._watched.hear(key)
        before = known.seen_at if known is not None else 0.0
        over: tuple[Answer, ...] = ()
        if known is None:
            known = Known(seen_at=at, since=at)
            over = self._add(key, known, now)
        known.count += 1
        known.seen_at, known.service = at, seen.alert.service or known.service
        learns = at - self._since < LEARNS
        if known.young and not learns:
            known.young = False
            self._warm += 1
        if at - before <= FORGOTTEN or learns:
            return over
        surprise = HALF - log10(self._often(at))
        needed = self._needed(known, at)
        if surprise < needed or known.fires:
            return over
        passed, text = at - (before or self._since), seen.alert.summary[:MAX_TEXT]
        said = newly(passed, text, again=before > 0)
        fires = self._fire(key, known, now, (passed, surprise, needed, said))
        return (*over, fires, Wake(self._grouping.key(key), now + LASTS))

    def due(self, key: str, now: datetime) -> tuple[Answer, ...]:
        """It is no news any more."""
        values = self._grouping.values(key)
        known = self._watched.get(values)
        return (self._over(values, known, now),) if known is not None and known.fires else ()

    def load(self, data: list[object]) -> None:
        """Take up what `dump` gave."""
        numbers = msgspec.convert(data[0], tuple[float, float, float, float])
        self._since, self._at, self._week, self._hour = numbers
        super().load(data[1:])

    # -- parts ------------------------------------------------------------------------------------

    def _head(self) -> list[object]:
        """How often something new comes first, in one row."""
        return [(self._since, self._at, self._week, self._hour), *super()._head()]

    def _look(self, key: Key, one: Known, needed: float, now: float) -> Look:
        return Look(one.seen_at, one.since, one.count, said=known_since(one.count, one.since))

    def _often(self, at: float) -> float:
        """New things an hour, with this one; or in the last hour, if those were more."""
        passed = max(0.0, at - self._at)
        self._week *= exp(-passed / OFTEN)
        self._hour *= exp(-passed / LATELY)
        often = max((self._week + 1.0) * LATELY / OFTEN, self._hour)
        self._week, self._hour, self._at = self._week + 1.0, self._hour + 1.0, at
        return often


class _Texts(Grouping):
    """What tells groups apart, where TEMPLATE is a label like any."""

    def __init__(self, by: tuple[str, ...]) -> None:
        super().__init__(by)
        readers = zip(by, self._readers, strict=True)
        self._readers = tuple(_template if one == TEMPLATE else read for one, read in readers)


def _template(alert: Labelled) -> str:
    return template_of(alert.summary)


def template_of(text: str) -> str:
    """The text with a star for what is quoted and for each word that has a digit in it."""
    return _WORD.sub(_star, text[:MAX_TEXT])[:MAX_TEMPLATE].strip()


def _star(found: re.Match[str]) -> str:
    word = found[0]
    return "*" if word[0] in "\"'" or not _DIGITS.isdisjoint(word) else word
