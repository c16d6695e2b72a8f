"""Titles: `{label}` and nothing else, so that no template can run code."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from eventd.core.model import Alert
from eventd.core.rules.selectors import field_of
from eventd.errors import RuleError

_PLACE = re.compile(r"\{([^{}]*)\}")  # eventd's own pattern
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
MAX_TITLE = 300  # characters
_NOBODY: Mapping[str, Alert] = {}
DEFAULT = "{name} on {ci}"


def check_title(template: str, path: str, names: Collection[str] = ()) -> None:
    """Raise RuleError where the template is not text with `{label}` in it.

    Where alerts of the rule have `names`, `{name.label}` is of one of them.
    """
    for place in _PLACE.findall(template):
        if not _LABEL.fullmatch(place):
            raise RuleError(
                path, f"{{{place}}} is no label", "write {service}; nothing else is evaluated"
            )
        name, dot, label = place.partition(".")
        if names and dot and name not in names:
            parts = " or ".join(f"{{{one}.{label}}}" for one in names)
            raise RuleError(path, f"nothing in the rule is called {name!r}", f"write {parts}")
    if "{" in (rest := _PLACE.sub("", template)) or "}" in rest:
        raise RuleError(path, f"unbalanced braces in {template!r}", "write {service}")


def render(template: str, alert: Alert, named: Mapping[str, Alert] = _NOBODY) -> str:
    """The template with the alert's values; what it lacks reads "?".

    `{name.label}` is the label of an alert in `named`.
    """
    if not template:
        template = DEFAULT if alert.ci else "{name}"

    def fill(place: re.Match[str]) -> str:
        name, _, label = place[1].partition(".")
        if name in named:
            return field_of(named[name], label) or "?"
        return field_of(alert, place[1]) or "?"

    filled = _PLACE.sub(fill, template)
    return filled if len(filled) <= MAX_TITLE else filled[: MAX_TITLE - 1] + "…"
