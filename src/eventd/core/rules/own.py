"""Events of rules: what a rule says becomes an alert that others are asked about like any."""

from __future__ import annotations

from datetime import datetime

from msgspec.json import encode
from msgspec.structs import replace

from eventd.core.labels import NOT_IDENTITY, delivery_key, fingerprint_of
from eventd.core.model import Alert, Event, Severity, Status
from eventd.core.rules.rule import OWN_SOURCE, Rule

# What the names of alerts end with that tell of something unusual: each tells of itself alone.
UNUSUAL, SILENT, OFTEN, NEW = " unusual", " unusually silent", " unusually often", " newly seen"
ENDINGS = (UNUSUAL, SILENT, OFTEN, NEW)


def own_fingerprint(rule: Rule, group: dict[str, str]) -> str:
    """Of the alert that the rule fires for a group."""
    # what is no part of the identity of others tells groups apart here
    labels = {
        f"by {label}" if label in NOT_IDENTITY else label: value
        for label, value in group.items()
        if label not in {"ci", "service"}
    }
    ci, service = group.get("ci", ""), group.get("service", "")
    return fingerprint_of(OWN_SOURCE, rule.name, ci, service, labels)


def own_key(rule: Rule, alert: Alert) -> tuple[str, ...]:
    """Of the group that the rule fired the alert for, which tells of something unusual."""
    known = {"ci": alert.ci, "service": alert.service, **alert.labels}
    for ending in ENDINGS:
        if alert.name.endswith(ending):
            known["name"] = alert.name.removesuffix(ending)
    return tuple([known.get(label, "") for label in rule.by])


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


def strange_event(
    rule: Rule,
    group: dict[str, str],
    ending: str,
    severity: Severity,
    status: Status,
    now: datetime,
) -> Event:
    """The same of something unusual; the alert's name has that of what it tells of already."""
    called = f"{group.get('name', rule.name)}{ending}"
    event = own_event(rule, group, called, severity, status, now)
    labels = {label: said for label, said in event.labels.items() if label != "name"}
    return replace(event, summary="", labels={"rule": rule.name, **labels})
