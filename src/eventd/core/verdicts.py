"""What operators say of incidents: whether there was something to hear of, and whom it teaches."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from eventd.core.incidents import Rejected
from eventd.core.model import GiveVerdict, IncidentState, VerdictGiven
from eventd.core.state import Judged, State

MAX_JUDGED = 10_000  # closed incidents that can still teach; beyond, the oldest goes


class Verdicts:
    """Has what scores learn from a verdict on an incident that holds alerts of its own.

    A verdict may come long after the incident closed, when the store alone remembers it: of those
    that held such alerts the engine keeps which these were.
    """

    def __init__(self, state: State) -> None:
        """The engine's own."""
        self._rules, self._incidents, self._judged = state.rules, state.incidents, state.judged

    def give(self, order: GiveVerdict, now: datetime) -> VerdictGiven:
        """What an operator said. Raises Rejected, and then nothing changed."""
        record = self._incidents.judged(order.incident, now)
        was, alerts = self._known(order.incident)
        if record is not None:
            was = record.verdict
        if was is order.verdict:
            raise Rejected(missing=False, error=f"{order.incident} has that verdict already")
        if record is not None:
            record.verdict = order.verdict
            if record.state is not IncidentState.CLOSED:
                record.updated_at = now
        elif alerts:
            self._keep(order.incident, (order.verdict, alerts))
        taught: dict[str, int] = {}
        for alert in alerts:
            for rule in self._rules.teach(alert, was, order.verdict):
                taught[rule] = taught.get(rule, 0) + 1
        told = order.incident, order.verdict, order.actor, order.text
        return VerdictGiven(now, *told, tuple(taught.items()))

    def keep(self, incident: str) -> None:
        """The store alone remembers the incident from now on."""
        was, alerts = self._known(incident)
        if alerts:
            self._keep(incident, (was, alerts))

    # -- parts ------------------------------------------------------------------------------------

    def _known(self, incident: str) -> Judged:
        """Its verdict, and its alerts that a verdict can teach; no verdict where there are none."""
        if incident in self._judged:
            return self._judged[incident]
        record = self._incidents.records.get(incident)
        if record is None or record.merged_into:
            return None, []
        alerts = self._scored(record.members)
        return (record.verdict if alerts else None), alerts

    def _scored(self, alerts: Iterable[str]) -> list[str]:
        return [alert for alert in alerts if self._rules.taught_by(alert)]

    def _keep(self, incident: str, judged: Judged) -> None:
        self._judged[incident] = judged
        if len(self._judged) > MAX_JUDGED:
            del self._judged[next(iter(self._judged))]
