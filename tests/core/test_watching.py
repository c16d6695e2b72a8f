"""What all rules that watch rates, silences or what is new show of their keys and budget."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.builders import TICK, at, engine_with, event, frames, group_rule, only, rule, run
from tests.core import test_novelty, test_rates, test_silences
from tests.core.test_silences import MONDAY, NOON

from eventd.core.engine import Engine
from eventd.core.model import AlertFired, Status
from eventd.core.rules.budget import Share
from eventd.core.rules.keys import Key
from eventd.core.rules.own import own_fingerprint
from eventd.core.rules.streams import Scored

HOUR = timedelta(hours=1)


def share(engine: Engine) -> Share:
    (state,) = engine.rules.budgeted.values()
    return state.share()


@pytest.mark.parametrize("of", ["rates", "silences", "new"])
def test_what_was_hardly_heard_is_young(of: str) -> None:
    rule: dict[str, object] = {
        "name": "it",
        "anomaly": {"match": 'status="info"', "of": of},
        "by": ["ci"],
    }
    engine = engine_with(rule)

    run(engine, [(at(n), event(ci=f"c{n % 2}", status=Status.INFO)) for n in range(9)])

    assert share(engine)[2:] == (2, 2, 0)


@pytest.mark.parametrize("kind", [test_novelty, test_rates, test_silences])
def test_what_was_heard_for_two_weeks_is_not(kind: object) -> None:
    found = share(kind.two_weeks())  # type: ignore[attr-defined]

    assert found.rate == pytest.approx(2 / (7 * 86_400))
    assert found.young < found.streams


def scored(engine: Engine, key: Key, now: datetime) -> Scored:
    (state,) = engine.rules.budgeted.values()
    before = frames(engine)
    found = state.scored(key, now.timestamp())
    assert frames(engine) == before  # who looks changes nothing
    assert found is not None
    return found


def test_of_a_silence_it_is_told_what_is_usual_and_from_when_on_it_is_one() -> None:
    engine, key = test_silences.two_weeks(), ("web1", "poll")
    last = NOON - test_silences.EVERY

    soon = scored(engine, key, NOON)
    assert (soon.at, soon.since) == (last.timestamp(), (MONDAY + 6 * HOUR).timestamp())
    assert (soon.value, soon.usual, soon.count) == (300.0, 300.0, 14 * 16 * 12 + 6 * 12)
    assert (soon.needed, soon.fires) == (5.0, False)
    assert soon.surprise is not None
    assert soon.surprise < 1.0
    (said,) = soon.said
    assert said == (
        "usual for Monday 11:00 is at most 5 min; silent from 2026-01-19 12:06:00 UTC on, "
        "if its source talks"
    )

    fired = only(AlertFired, test_silences.waits(engine, NOON + HOUR))
    assert f"{fired.at:%T}" in said
    late = scored(engine, key, NOON + HOUR)
    assert late.fires
    assert late.surprise is not None
    assert late.surprise > late.needed - 1.0
    assert late.said[0].startswith(
        "nothing for 65 min; usual for Monday 11:00 is at most 5 min (once"
    )


def test_of_a_rate_it_is_told_what_is_usual_now_and_what_came_in_this_window() -> None:
    engine, key = test_rates.two_weeks(), ("web1", "login")
    window, nine = test_rates.WINDOW, test_rates.NINE

    usual = scored(engine, key, nine)
    run(engine, test_rates.logins(nine, [90]))
    burst = scored(engine, key, nine + window / 2)

    assert (usual.at, usual.value, usual.surprise) == ((nine - window).timestamp(), 0.0, 0.0)
    assert usual.usual == pytest.approx(7.4, abs=1.0)
    assert usual.said == ("0 in 10 min; usual for Monday 09:00 is 1 to 7; the highest seen was 6",)
    assert (burst.at, burst.value, burst.count) == (nine.timestamp(), 90.0, usual.count + 90)
    assert burst.surprise is not None
    assert burst.surprise > burst.needed
    assert not burst.fires
    alert = only(AlertFired, run(engine, [(nine + window, TICK)])).alert
    assert burst.said == (alert.summary,)
    assert scored(engine, key, nine + window).fires
    assert scored(engine, key, nine + window).surprise == 0.0
    assert "usual lately is" in scored(engine, key, nine + window).said[0]


def test_of_what_is_new_it_is_told_how_often_it_was_seen_and_since_when() -> None:
    engine = test_novelty.two_weeks()

    found = scored(engine, ("known-1", "shop"), test_novelty.LATER)

    assert (found.count, found.since) == (67, (MONDAY + HOUR).timestamp())
    assert (found.value, found.usual, found.surprise, found.fires) == (None, None, None, False)
    assert found.said == ("seen 67 times since 2026-01-05 01:00 UTC",)


@pytest.mark.parametrize("of", ["rates", "silences"])
def test_of_what_is_young_nothing_is_said_but_when_it_came(of: str) -> None:
    engine = engine_with({"name": "it", "anomaly": {"match": 'status="info"', "of": of}})
    run(engine, [(at(n), event(status=Status.INFO)) for n in range(3)])

    found = scored(engine, ("db1", "disk"), at(5))

    assert (found.count, found.value) == (3, 3.0)
    assert (found.usual, found.surprise, found.said) == (None, None, ())
    (state,) = engine.rules.budgeted.values()
    assert state.scored(("db2", "disk"), 0.0) is None


@pytest.mark.parametrize("by", [["ci", "name"], ["name", "service"], ["source"], ["template"]])
def test_an_alert_of_what_was_never_seen_leads_to_what_it_tells_of(by: list[str]) -> None:
    engine = engine_with({**test_novelty.RULE, "by": by})
    new = event("raid", service="shop", source="other", summary="disk 7", status=Status.INFO)
    known = [test_novelty.said("known", "job done")] * 200
    run(engine, [(MONDAY + n * HOUR, one) for n, one in enumerate(known)])

    alert = only(AlertFired, run(engine, [(MONDAY + 200 * HOUR, new)])).alert

    (found,) = engine.rules.scores(alert, MONDAY + 200 * HOUR)
    assert (found.count, found.fires) == (1, True)
    values = {"ci": "db1", "name": "raid", "service": "shop", "source": "other"}
    assert found.group == {label: {**values, "template": "disk *"}[label] for label in by}


def test_an_alert_is_scored_by_each_rule_that_listens_to_it() -> None:
    def rule(of: str) -> dict[str, object]:
        return {"name": of, "anomaly": {"match": 'name="disk"', "of": of}, "by": ["ci"]}

    scoring = map(rule, ("silences", "new", "rates", "values"))
    engine = engine_with(*scoring, group_rule(match='name="disk"'))
    fired, other = event("disk", value=3.0), event("disk", ci="")
    run(engine, [(at(0), fired), (at(1), other)])

    found = engine.rules.scores(engine.alert(fired.fingerprint), at(2))

    assert [one.of for one in found] == ["new", "rates", "values", "silences"]
    assert engine.rules.scores(engine.alert(other.fingerprint), at(2)) == []


@pytest.mark.parametrize("label", ["severity", "replica"])
def test_keys_that_differ_in_no_identity_of_others_have_alerts_of_their_own(label: str) -> None:
    own = rule({"name": "it", "anomaly": {"match": ""}, "by": ["service", label]})

    one, other = ({"service": "shop", label: value} for value in ("a", "b"))

    assert own_fingerprint(own, one) != own_fingerprint(own, other)
