"""Reasons and what happened, for people: one sentence each."""

from __future__ import annotations

from eventd.core.model import (
    AT,
    Absent,
    AlertAlone,
    AlertDetached,
    AlertFlapping,
    AlertJoined,
    AlertRaised,
    AlertSuppressed,
    AlertUnsuppressed,
    Because,
    Changed,
    Connected,
    Correlated,
    Counted,
    EndReason,
    Fact,
    FindingNoted,
    Gathered,
    Grouped,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentCommented,
    IncidentMerged,
    IncidentOpened,
    IncidentRanked,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentUpdated,
    Inhibited,
    Miss,
    OfRule,
    Ordered,
    Paired,
    Reason,
    RootCandidate,
    RuleMissed,
    Sequenced,
    Stormed,
    Strange,
    Tie,
    VerdictGiven,
    Why,
    sort_of,
)

MINUTES, HOURS = 120.0, 7200.0  # s from which a span is told in them
TIES = 0.05  # strengths below it are told as none

_TIES = {
    Tie.OPENS: "it was the first alert",
    Tie.SAME: "{via} alerted already",
    Tie.DEPENDS: "depends on {via}, which alerts, over {hops}",
    Tie.ROOT: "CIs that depend on {via} alert",
    Tie.COMMON: "depends on {via} over {hops}, as others that alert do",
    Tie.ALIKE: "CIs with names like its own have {via} too",
    Tie.ISLAND: "came at the same time; what its CI depends on is not known",
    Tie.POLLED: "{via} saw it in the same round of looks",
    Tie.CLAIMED: "a rule put it there",
}
_AT_SITE = "is at site {via}, as others that alert are"
_ALONE = {
    Why.INFO: "its source calls it information, which raises nothing",
    Why.NOISY: "its check cries wolf ({blips}, {reals} real), and nothing explains it",
    Why.COMMON: "its source never clears, and what it says is common",
    Why.DOUBTED: "it was held back, and when that ended nothing said that it still fired",
    Why.BLIP: "it cleared before there was enough for an incident",
}
_EXPLAINS = "rule {rule} waits whether something explains it"
_SUPPRESSED = {
    "silence": "{by} silences it",
    "maintenance": "{by} covers it",
    "settle": "rule {rule} waits whether it clears",
    "inhibit": _EXPLAINS,
    "dependency": _EXPLAINS,
    "calendar": "rule {rule} has it as known at this time",
}
_UNEXPLAINED = "nothing explains it that rule {rule} knows"
_FREED = {
    "silence": "{by} is over",
    "maintenance": "{by} is over",
    "settle": "it has not cleared, and rule {rule} waits no longer",
    "inhibit": _UNEXPLAINED,
    "dependency": _UNEXPLAINED,
    "calendar": "rule {rule} has it as known no longer",
}
_ENDS = {
    EndReason.CLEARED: "its alerts cleared and stayed clear",
    EndReason.OPERATOR: "by hand",
    EndReason.FIRED: "an alert of it fires again",
    EndReason.EXPIRED: "nothing fired again in time",
    EndReason.SUBSIDED: "nearly all its alerts have cleared and stayed clear",
    EndReason.MERGED: "another incident has its alerts now",
    EndReason.SUPERSEDED: "another incident took its place",
}


def sentence(because: Because) -> str:
    """The reason."""
    match because:
        case Correlated():
            return tied(because)
        case Stormed():
            most = ", ".join(f"{name} ({count})" for name, count in because.names)
            source = named(because.group)
            return f"more than {because.limit} new alerts a minute from {source}; most are {most}"
        case Ordered():
            return f"{because.actor} put it there{_said(because.text)}"
        case _:
            group = named(because.group) or "all that it matches"
            return f"rule {because.rule}: {_held(because, group)}"


def _held(because: OfRule, group: str) -> str:
    """What holds for the group."""
    match because:
        case Grouped():
            return f"same {group}" if because.group else f"{group} belongs together"
        case Counted():
            return f"{because.count} within {because.within:g} s for {group}"
        case Sequenced():
            steps = ", then ".join(_times(count, step) for step, count in because.parts)
            return f"{steps} within {because.took:g} s for {group}"
        case Gathered():
            parts = ", ".join(_times(count, part) for part, count in because.parts)
            return f"{parts} within {because.within:g} s for {group}"
        case Connected():
            cis = many(because.count, "CI")
            return f"{_link(because)}{cis} tied within {because.within:g} s for {group}"
        case Absent():
            after = f" after {because.after}" if because.after else ""
            return f"no {because.missing} within {because.within:g} s{after} for {group}"
        case Paired():
            return f"nothing has ended it for {group}"
        case Changed() | Inhibited() | Strange():
            return _explains(because, group)


def _explains(because: Changed | Inhibited | Strange, group: str) -> str:
    if isinstance(because, Strange):
        said = "; ".join(because.said)
        return f"{said}; surprise {because.surprise:.1f} of {because.needed:.1f} for {group}"
    if isinstance(because, Inhibited):
        return f"{called(because.name, because.ci)} explains it"
    what = called(because.name, because.ci, because.summary)
    return f"{what} was {span(because.before)} before, for {group}"


def called(name: str, ci: str, summary: str = "") -> str:
    """An alert or a change, by what people call it."""
    return f"{name}{f' on {ci}' if ci else ''}{_said(summary)}"


def _link(because: Connected) -> str:
    """What ties the alert's CI to the others; "" where it was the first."""
    if not because.via:
        return ""
    if not because.hops:
        return f"{because.via} alerted already; "
    hops = many(abs(because.hops), "hop")
    if because.hops > 0:
        return f"depends on {because.via} over {hops}; "
    return f"{because.via} depends on it over {hops}; "


def named(group: dict[str, str]) -> str:
    """What tells the group apart."""
    return ", ".join(f"{label} {value}" for label, value in group.items())


def tied(because: Correlated) -> str:
    """What ties an alert to its incident, how strongly, and how strongly it had to."""
    text = _tie(because.tie, because.via, because.hops)
    if because.tie in {Tie.OPENS, Tie.CLAIMED}:
        return text
    return f"{text} ({because.score:.2f}, needed {because.needed:.2f})"


def runner_up(because: Because) -> str:
    """Where else it might have gone; "" where nowhere."""
    if not isinstance(because, Correlated) or because.tie is Tie.OPENS or because.other_score <= 0:
        return ""
    return f"next was {_other(because)} ({because.other_score:.2f})"


def miss(near: Correlated | None) -> tuple[float, str]:
    """By how much an alert missed what it was nearest to, and that in words.

    (0, "") where nothing was near, or it missed nothing.
    """
    if near is None or near.tie is not Tie.OPENS or near.other_score <= 0:
        return 0.0, ""
    score, needed = near.other_score, near.needed
    short = needed - score
    return short, f"nearest was {_other(near)} ({score:.2f}, {short:.2f} short of {needed:.2f})"


def alone(fact: AlertAlone) -> str:
    """Why the alert stands alone, and what it was nearest to."""
    false = many(fact.blips, "false alarm")
    text = _ALONE[fact.why].format(blips=false, reals=fact.reals or "none")
    near = fact.near
    if near is not None and near.tie is not Tie.OPENS:
        return f"{text}; until then {tied(near)}"
    if fact.why is Why.INFO:
        return text
    _, missed = miss(near)
    return f"{text}; {missed or 'nothing was near'}"


def evidence(root: RootCandidate) -> str:
    """What speaks for a root candidate."""
    if root.rule:
        return f"rule {root.rule} says so"
    parts = [_explained(root)]
    if root.silent:
        parts.append("it says nothing itself")
    elif root.lag is not None and root.of > 1:
        if root.lag < 0:
            parts.append(f"it alerted {span(-root.lag)} before the first of them")
        elif root.lag == 0:
            parts.append("it alerted with the first of them")
        else:
            parts.append(f"it alerted {span(root.lag)} after the first of them")
    parts.append(_needed(root))
    if root.changed is not None:
        parts.append(f"it was changed {span(root.changed)} before")
    return "; ".join(parts)


def _explained(root: RootCandidate) -> str:
    own = not root.silent
    below, others = root.explains - own, root.of - own
    if others <= 0:
        return f"only {root.ci} alerts"
    if below <= 0 and others == 1:
        return f"the other CI does not depend on {root.ci}"
    if below <= 0:
        return f"none of the {others} other CIs depends on {root.ci}"
    return f"{below} of {many(others, 'CI')} depend{'s' * (below == 1)} on {root.ci}"


def _needed(root: RootCandidate) -> str:
    """How what it depends on is."""
    if root.depends >= TIES:
        return "what it depends on alerts too"
    if root.needs is None:
        return "what it depends on is not known"
    return "what it depends on is quiet" if root.needs else "it depends on nothing"


def happened(fact: Fact, incident: str, called: str = "") -> str:
    """What a fact says on the timeline of an incident. Raises ValueError: it stands on none.

    `called`: what people call the alert it is about, if it is about one and they do.
    """
    match fact:
        case IncidentOpened(_, opened):
            again = f"; a recurrence of {opened.recurs}" if opened.recurs else ""
            return f"{opened.title}: {opened.because}{again}"
        case IncidentUpdated():
            return f"P{fact.impact + fact.urgency - 1}: {fact.because}"
        case IncidentAcknowledged():
            return f"{fact.actor} has it"
        case IncidentCommented():
            return fact.text
        case IncidentResolved() | IncidentReopened() | IncidentClosed():
            return fact.text or _ENDS[fact.reason]
        case _:
            return _regrouped(fact, incident, called)


def _regrouped(fact: Fact, incident: str, called: str) -> str:
    match fact:
        case FindingNoted():
            return _noted(fact.because)
        case IncidentRanked():
            if not fact.roots:
                return "no root stands out any more"
            return f"the likeliest root is {fact.roots[0].ci}: {evidence(fact.roots[0])}"
        case IncidentMerged():
            return _merged(fact, incident)
        case IncidentSplit():
            by = f"{fact.actor} split it{_said(fact.text)}" if fact.actor else "it has another root"
            if incident == fact.apart:
                return f"was part of {fact.incident}: {by}"
            return f"{fact.apart} is one of its own: {by}"
        case AlertDetached():
            return _detached(fact, called or fact.fingerprint)
        case VerdictGiven():
            return _judged(fact)
        case _:
            raise ValueError(type(fact).__name__)


def _judged(fact: VerdictGiven) -> str:
    said = "it was right to tell of it" if fact.verdict else "it was a false alarm"
    how = "is trusted more" if fact.verdict else "asks for more"
    taught = [f"{many(streams, 'stream')} of rule {rule} {how}" for rule, streams in fact.taught]
    return "; ".join([f"{fact.actor} says {said}{_said(fact.text)}", *taught])


def _noted(because: Because) -> str:
    if isinstance(because, Changed):
        return sentence(because)
    if not isinstance(because, Stormed):
        return f"rule {because.rule} holds too"
    most = ", ".join(f"{name} ({count})" for name, count in because.names)
    return f"{because.count} new alerts by now, most of them {most}"


def _merged(fact: IncidentMerged, incident: str) -> str:
    if isinstance(fact.because, Ordered):
        why = f"{fact.actor} merged them{_said(fact.because.text)}"
    else:
        why = tied(fact.because)
    if incident == fact.into:
        return f"{fact.incident} is one with it: {why}"
    return f"is one with {fact.into}, which has its alerts from now on: {why}"


def _detached(fact: AlertDetached, alert: str) -> str:
    where = f" and went to {fact.into}" if fact.into else ""
    if fact.actor:
        return f"{fact.actor} took {alert} out{where}{_said(fact.text)}"
    why = "" if fact.into else ": it cleared at once, as it often does"
    return f"{alert} left{where}{why}"


def alert_said(fact: Reason | AlertFlapping, source: str = "") -> str:
    """What a fact says of an alert; `source`: what people call the one that explains it."""
    match fact:
        case AlertJoined(because=Correlated() as because):
            other = runner_up(because) or miss(because)[1]
            return f"in {fact.incident}: {tied(because)}{'; ' if other else ''}{other}"
        case AlertJoined():
            return f"in {fact.incident}: {sentence(fact.because)}"
        case AlertDetached():
            return f"no more in {fact.incident}: {_detached(fact, 'it')}"
        case AlertAlone():
            return f"alone: {alone(fact)}"
        case AlertSuppressed():
            return f"suppressed: {_suppressed(fact, source)}"
        case AlertUnsuppressed():
            text = _FREED[sort_of(fact.by)]
            return f"suppressed no more: {text.format(by=fact.by, rule=fact.by.partition(':')[2])}"
        case AlertRaised() | RuleMissed():
            return raised(fact) if isinstance(fact, AlertRaised) else near_miss(fact)
        case AlertFlapping():
            return "changes state too often to be believed" if fact.on else "is steady again"


def _suppressed(fact: AlertSuppressed, source: str) -> str:
    rule = fact.by.partition(":")[2]
    if fact.source:
        return f"rule {rule}: {source or fact.source} explains it"
    return _SUPPRESSED[sort_of(fact.by)].format(by=fact.by, rule=rule)


def inert(text: str) -> str:
    """The text as it may stand on one line of a terminal."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def many(count: int, thing: str) -> str:
    """So many of it, in words that fit the number."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """So many seconds, roughly."""
    if seconds < 1:
        return "under 1 s"
    if seconds < MINUTES:
        return f"{seconds:.0f} s"
    if seconds < HOURS:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def _tie(tie: Tie, via: str, hops: int) -> str:
    text = _AT_SITE if via.startswith(AT) else _TIES[tie]
    return text.format(via=via.removeprefix(AT), hops=many(hops, "hop"))


def _other(because: Correlated) -> str:
    """What was next, and by what it would have been tied to that."""
    where = because.other or "alerts that were no incident yet"
    if because.other_tie is Tie.OPENS:
        return where
    return f"{where}: {_tie(because.other_tie, because.other_via, because.other_hops)}"


def raised(fact: AlertRaised) -> str:
    """Why a rule fires an alert, or what an alert has to do with that."""
    held = sentence(fact.because)
    if fact.fingerprint != fact.raised:
        return f"behind {fact.name} ({fact.raised}): {held}"
    others = fact.count - len(fact.alerts)
    makers = [f"{name} ({fingerprint})" for fingerprint, name in fact.alerts]
    more = f" and {many(others, 'other')}" if others else ""
    if not makers:
        return f"fired by {held}"
    return f"fired by {held}; made by {', '.join(makers)}{more}"


def near_miss(fact: RuleMissed) -> str:
    """By how much a rule missed."""
    if fact.how is not Miss.PARTS:
        return f"rule {fact.rule} missed {named(fact.group) or 'it'}: {_nearly(fact)}"
    seen = f"{fact.count} of {fact.at_least} within {fact.within:g} s"
    came = f"came {fact.late:g} s after the first" if fact.late else "did not come"
    return f"rule {fact.rule} missed {named(fact.group) or 'it'}: {seen}; {fact.missing} {came}"


def _nearly(fact: RuleMissed) -> str:
    late = span(fact.late)
    match fact.how:
        case Miss.SOURCE:
            waits = f"the rule waits {fact.within:g} s"
            return f"{fact.missing} would explain it, but came {late} after it; {waits}"
        case Miss.EARLY:
            return f"it came {late} before its time"
        case Miss.OVER:
            return f"it came {late} after its time was over"
        case _:
            looks = f"the rule looks {span(fact.within)} back"
            return f"{fact.missing} was {late} before; {looks}"


def _times(count: int, part: str) -> str:
    return part if count == 1 else f"{count} times {part}"


def _said(text: str) -> str:
    return f" ({text})" if text else ""
