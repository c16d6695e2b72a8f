"""Why a rule held for an alert or did not, found by stepping the journal again with a trace.

Nothing of it is written down while a daemon runs. What that does not keep any more, because it
came before the oldest snapshot and row, is not known here either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from eventd import history
from eventd.complaints import likely
from eventd.core.engine import Engine
from eventd.core.model import (
    Alert,
    AlertCleared,
    AlertFired,
    AlertSuppressed,
    Fact,
    Matcher,
    Reason,
)
from eventd.core.rules.rule import Finding, Parts, Rule
from eventd.core.rules.trace import Asked, Condition, Trace, nearest
from eventd.core.sentences import alert_said, called, named, sentence
from eventd.core.snapshot import Restored
from eventd.errors import InputError

MAX_ALERTS = 100  # on one CI
MAX_SEEN = 10  # of a window are shown: the latest
EXPLAINING = ("inhibit", "dependency")
MAX_NEAR = 5  # rules that do not match are told: those that lack least


class Told(Struct, frozen=True):
    """Something that happened to an alert, or that a rule said of it; `rule` is "" for the one."""

    at: datetime
    rule: str
    text: str


class Traced(Struct, frozen=True):
    """One alert: what happened, in order, and why other rules of the set say nothing of it."""

    fingerprint: str
    name: str
    ci: str
    told: tuple[Told, ...]
    others: tuple[Told, ...]  # as the alert stood at last
    left_out: int  # times a rule was asked about it that are not told


class Run(Struct, frozen=True):
    """From when on the journal was stepped again; `whole`: with all that was known then."""

    since: datetime | None
    whole: bool
    alerts: tuple[Traced, ...]


def trace(state: Path, what: str, rule: str, told: Callable[[float], None]) -> Run:
    """The alert of that fingerprint, or those on that CI, in their latest episode.

    With `rule` what that one says alone. Begins with the last snapshot before the episode. Raises
    StoreError, and InputError where no rule is called so.
    """
    span = history.period(state)
    if span is None:
        return Run(None, whole=True, alerts=())
    begun = history.began(state, what)
    saved = history.saved(state, span.ended - begun if begun is not None else timedelta())
    engine = Engine() if saved is None else Engine.restore(Restored(saved.frames))
    notes: dict[str, list[Fact]] = {}
    trace = engine.trace(what)
    for line in history.lines(state, saved, told):
        for fact in engine.step(line.own, line.at) if line.own is not None else ():
            if isinstance(fact, AlertFired):
                if trace.wants(fact.alert):
                    notes[fact.alert.fingerprint] = [fact]
            elif isinstance(fact, Reason | AlertCleared) and fact.fingerprint in notes:
                notes[fact.fingerprint].append(fact)
    names = [one.rule.name for one in engine.rules.states.values()]
    names += [one.rule for times in trace.asked.values() for one in times]
    if rule and rule not in names:
        raise InputError(f"no rule is called {rule!r} ({likely(rule, list(dict.fromkeys(names)))})")
    rules = [one.rule for one in engine.rules.states.values() if rule in {"", one.rule.name}]
    alerts = [alert for alert in engine.alerts() if trace.wants(alert)][:MAX_ALERTS]
    traced = [_traced(engine, one, rules, notes.get(one.fingerprint, []), trace) for one in alerts]
    since = saved.now if saved is not None else span.began
    return Run(since, saved is not None or not history.cut(state), tuple(traced))


def _traced(
    engine: Engine, alert: Alert, rules: list[Rule], facts: list[Fact], trace: Trace
) -> Traced:
    times = trace.asked.get(alert.fingerprint, ())
    asked = [one for one in times if one.alert.episode == alert.episode]
    lines = [Told(fact.at, "", text) for fact, text in _happened(engine, facts)]
    happened = "\n".join(line.text for line in lines)
    wanted = {rule.name for rule in rules}
    for one in asked:
        text = _said(engine, one) if one.rule in wanted else ""
        if text and text not in happened:
            lines.append(Told(one.at, one.rule, text))
    known = {one.rule for one in asked}
    known |= {fact.by.partition(":")[2] for fact in facts if isinstance(fact, AlertSuppressed)}
    others = [rule for rule in rules if rule.name not in known]
    return Traced(
        alert.fingerprint,
        alert.name,
        alert.ci,
        tuple(sorted(lines, key=lambda line: line.at)),
        tuple(_silent(others, asked[-1].alert if asked else alert)),
        trace.left_out.get(alert.fingerprint, 0),
    )


def _happened(engine: Engine, facts: list[Fact]) -> Iterator[tuple[Fact, str]]:
    """Since its episode began."""
    for fact in facts:
        match fact:
            case AlertFired(_, alert):
                yield fact, f"fired: {_fields(alert)}"
            case AlertCleared():
                yield fact, "cleared"
            case AlertSuppressed():
                yield fact, alert_said(fact, _called(engine, fact.source))
            case _ if isinstance(fact, Reason):
                yield fact, alert_said(fact)
            case _:
                pass


def _fields(alert: Alert) -> str:
    """What rules look at."""
    own = {"source": alert.source, "service": alert.service, "severity": alert.severity.name}
    shown = {name: said.lower() for name, said in own.items() if said} | alert.labels
    return ", ".join(f"{name} {said}" for name, said in shown.items())


def _said(engine: Engine, asked: Asked) -> str:
    """What a rule made of the alert; "" where what happened tells it."""
    if not asked.during:
        return f"rule {asked.rule} is not in force at that time"
    if asked.lacks:
        return f"rule {asked.rule} goes by {', '.join(asked.lacks)}, which it lacks"
    for answer in asked.answers:
        if isinstance(answer, Finding):
            return f"{sentence(answer.because)}{_seen(engine, asked)}"
    if asked.window is None:
        return "" if asked.answers else f"rule {asked.rule} matches it, and says nothing"
    lacks = asked.window.lacks or "it holds already"
    return f"rule {asked.rule}, {named(asked.window.group)}: {lacks}{_seen(engine, asked)}"


def _seen(engine: Engine, asked: Asked) -> str:
    """What is in the window."""
    if asked.window is None:
        return ""
    seen = asked.window.seen[-MAX_SEEN:]
    more = len(asked.window.seen) - len(seen)
    shown = [
        f"{at:%H:%M:%S} {_called(engine, fingerprint) or fingerprint}{f' ({what})' if what else ''}"
        for at, what, fingerprint in seen
    ]
    return f"; seen: {f'{more} others, ' if more else ''}{', '.join(shown)}"


def _called(engine: Engine, fingerprint: str) -> str:
    found = next(iter(engine.known_alerts((fingerprint,))), None)
    return called(found.name, found.ci) if found is not None else ""


def _silent(rules: list[Rule], alert: Alert) -> Iterator[Told]:
    """Of rules that were not asked: those that match it, then those that lack least to do so.

    Where there are several, those that have something in common with it.
    """
    failed: list[tuple[Condition, Rule]] = []
    for rule in rules:
        condition = nearest(rule, alert)
        if condition is None:
            yield Told(
                alert.started_at, rule.name, f"rule {rule.name} matches it{_as(rule, alert)}"
            )
        elif condition.held or len(rules) == 1:
            failed.append((condition, rule))
    failed.sort(key=lambda one: (one[0].others, -len(one[0].held)))
    for condition, rule in failed[:MAX_NEAR]:
        text = f"rule {rule.name} does not match it: {_why(condition)}"
        yield Told(alert.started_at, rule.name, text)


def _as(rule: Rule, alert: Alert) -> str:
    """Why one that matches says nothing all the same."""
    if rule.kind == "calendar":
        return ", outside its times"
    if rule.kind not in EXPLAINING:
        return f", and was not asked{': it was held back' if alert.suppressed_by else ''}"
    names = [path for path, _ in rule.spec.written()]
    found = " and ".join(names[part] for part in Parts(rule.parts).of(alert))
    target = found == "target"
    return f" as {found}{', and nothing that fires explains it' if target else ''}"


def _why(condition: Condition) -> str:
    """The first condition that fails, and those that hold."""
    held = " and ".join(map(_written, condition.held))
    before = f"{held} hold{'s' if len(condition.held) == 1 else ''}, " if held else ""
    has = f'it is "{condition.has}"' if condition.has else "it has none"
    more = f", and {condition.others} more fail" if condition.others else ""
    return f"{condition.path}: {before}{_written(condition.failed)} fails: {has}{more}"


def _written(matcher: Matcher) -> str:
    return f'{matcher.label}{matcher.op}"{matcher.value}"'
