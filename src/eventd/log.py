"""The log: one line a fact, key-values; JSON when stderr is no terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable

import structlog

from eventd.clock import monotonic
from eventd.core.model import (
    AccessDenied,
    Fact,
    IncidentAcknowledged,
    IncidentClosed,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    IncidentSplit,
    IncidentUpdated,
    InventoryLoaded,
    RulesLoaded,
    RuleSwitchedOff,
    SilenceAdded,
    SilenceEnded,
    TimerFailed,
    VerdictGiven,
)
from eventd.core.sentences import inert, sentence
from eventd.outlet import Outlet

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
QUIET_FOR = 1.0  # s between equal lines of libraries: a full descriptor table repeats itself


def configure(level: str, style: str) -> Outlet:
    """Set up structlog and let the libraries speak through it from WARNING on.

    What it returns is to be closed at the end.
    """
    outlet = Outlet(sys.stderr.fileno(), _dropped)
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if as_json
        else [
            _inert,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=outlet),  # type: ignore[arg-type] # all it asks for
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(outlet)
    handler.addFilter(_Sparse())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    return outlet


def _dropped(records: int) -> None:
    structlog.get_logger().warning("log.dropped", records=records)


def _inert(
    _log: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what would move a terminal's cursor or begin a line of its own.

    JSON escapes it by itself, and a traceback has lines.
    """
    for name, value in event.items():
        if isinstance(value, str) and name != "exception":
            event[name] = inert(value)
    return event


class _Sparse(logging.Filter):
    """Lets one of equal lines through in QUIET_FOR seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.lineno, record.msg)
        now = monotonic()
        if now - self._last.get(key, -QUIET_FOR) < QUIET_FOR:
            return False
        if len(self._last) > 1_000:  # noqa: PLR2004 - places that log are few; formatted texts may not be
            self._last.clear()
        self._last[key] = now
        return True


_NAMES: dict[type[Fact], str] = {
    IncidentResolved: "incident.resolved",
    IncidentReopened: "incident.reopened",
    IncidentClosed: "incident.closed",
}


LOGGED = frozenset(
    {
        AccessDenied,
        IncidentOpened,
        IncidentUpdated,
        IncidentAcknowledged,
        IncidentMerged,
        IncidentSplit,
        VerdictGiven,
        SilenceAdded,
        SilenceEnded,
        RulesLoaded,
        InventoryLoaded,
        RuleSwitchedOff,
        TimerFailed,
        *_NAMES,
    }
)


def log_facts(facts: Iterable[Fact]) -> None:
    """One line for each fact a person acts on; nothing for events."""
    log = structlog.get_logger()
    for fact in facts:
        match fact:
            case IncidentOpened(_, incident):
                log.info(
                    "incident.opened",
                    incident=incident.id,
                    priority=f"P{incident.priority}",
                    rule=incident.rule,
                    title=incident.title,
                    because=incident.because,
                )
            case IncidentUpdated():
                log.info(
                    "incident.updated",
                    incident=fact.incident,
                    priority=f"P{fact.impact + fact.urgency - 1}",
                    because=fact.because,
                )
            case IncidentResolved() | IncidentReopened() | IncidentClosed():
                log.info(
                    _NAMES[type(fact)],
                    incident=fact.incident,
                    reason=fact.reason.value,
                    actor=fact.actor,
                )
            case IncidentAcknowledged():
                log.info("incident.acknowledged", incident=fact.incident, actor=fact.actor)
            case IncidentMerged() | IncidentSplit():
                _log_regrouped(fact)
            case SilenceAdded(_, silence):
                log.info("silence.added", silence=silence.id, actor=silence.actor)
            case SilenceEnded():
                log.info("silence.ended", silence=fact.silence, actor=fact.actor)
            case _:
                _log_other(fact)


def _log_other(fact: Fact) -> None:
    log = structlog.get_logger()
    match fact:
        case RulesLoaded():
            log.info("rules.loaded", version=fact.version, rules=fact.rules, kept=fact.kept)
        case AccessDenied():
            log.warning("access.denied", source=fact.source, peer=fact.peer, count=fact.count)
        case InventoryLoaded():
            log.info(
                "inventory.loaded",
                version=fact.version,
                services=fact.services,
                cis=fact.cis,
                dependencies=fact.dependencies,
            )
        case RuleSwitchedOff():
            log.error("rule.switched_off", rule=fact.rule, error=fact.error)
        case TimerFailed():
            log.error("timer.failed", kind=fact.kind, key=fact.key, error=fact.error)
        case VerdictGiven():
            log.info(
                "verdict.given", incident=fact.incident, verdict=fact.verdict, actor=fact.actor
            )
        case _:
            pass


def _log_regrouped(fact: IncidentMerged | IncidentSplit) -> None:
    log = structlog.get_logger()
    match fact:
        case IncidentMerged():
            why = sentence(fact.because)
            log.info("incident.merged", incident=fact.incident, into=fact.into, because=why)
        case IncidentSplit():
            log.info("incident.split", incident=fact.incident, apart=fact.apart, actor=fact.actor)
