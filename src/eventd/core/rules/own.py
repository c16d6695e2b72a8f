"""Events of rules: what a rule says becomes an alert that others are asked about like any."""

from __future__ import annotations

from datetime import datetime

from msgspec.json import encode

from eventd.core.labels import delivery_key, fingerprint_of
from eventd.core.model import Event, Severity, Status
from eventd.core.rules.rule import OWN_SOURCE, Rule


def own_fingerprint(rule: Rule, group: dict[str, str]) -> str:
    """Of the alert that the rule fires for a group."""
    labels = {label: value for label, value in group.items() if label not in {"ci", "service"}}
    ci, service = group.get("ci", ""), group.get("service", "")
    return fingerprint_of(OWN_SOURCE, rule.name, ci, service, labels)


def own_event(
    rule: Rule, group: dict[str, str], name: str, severity: Severity, status: Status, now: datetime
) -> Event:
    """What the rule says of a group: one alert each, with the group's labels."""
    labels = {label: value for label, value in group.items() if label not in {"ci", "service"}}
    ci, service = group.get("ci", ""), group.get("service", "")
    key = encode(tuple(group.values())).decode()
    return Event(
        source=OWN_SOURCE,
        fingerprint=own_fingerprint(rule, group),
        key=delivery_key(rule.name, key, status.value, now.isoformat()),
        strong=False,
        status=status,
        severity=severity,
        name=name,
        ci=ci,
        service=service,
        summary=rule.description,
        labels=labels,
        volatile=(),
    )
