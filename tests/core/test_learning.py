"""What an engine has learned can be given to another, without what happened."""

from __future__ import annotations

from tests.builders import TICK, at, clear, engine_after, engine_with, event, only, run

from eventd.core.engine import Engine
from eventd.core.model import Alert, AlertFired, Event, Severity, Status
from eventd.core.snapshot import Restored

DAY = 86_400


def taught(by: Engine) -> Engine:
    """A new engine that begins with what another has learned."""
    engine = engine_with()
    engine.learn(Restored(by.learned().frames()))
    return engine


def beat(ci: str) -> Event:
    return event("alive", ci=ci, status=Status.HEARTBEAT)


def test_a_check_that_cried_wolf_is_known_to_from_the_first_alert_on() -> None:
    feed = [
        (at(1_000 * n + up), (event if up == 0 else clear)("load", ci=f"vm{n}"))
        for n in range(5)
        for up in (0, 30)
    ]
    engine = taught(engine_after(feed))

    assert engine.correlation.noise.of("load").noisy
    assert list(engine.alerts()) == []


def test_a_wrong_clock_is_known_to_be_wrong_from_the_first_alert_on() -> None:
    late = [(at(100 * n), event(f"n{n}", occurred_at=at(100 * n - 60))) for n in range(1, 5)]
    engine = taught(engine_after(late))

    assert engine.correlation.onsets.of("db1", at(DAY - 60).timestamp(), at(DAY).timestamp()) == (
        at(DAY).timestamp()
    )


def test_what_beat_regularly_is_missed_after_its_first_beat_and_not_before() -> None:
    feed = [(at(60 * n), beat(ci)) for n in range(10) for ci in ("gw1", "gw2")]
    engine = taught(engine_after(feed))

    quiet = run(engine, [(at(DAY), beat("gw1")), (at(DAY + 100), beat("gw2"))])
    again = [(at(DAY + 100 + 60 * n), beat("gw2")) for n in range(1, 5)]
    facts = run(engine, [*again, (at(DAY + 400), TICK)])

    assert not [fact for fact in quiet if isinstance(fact, AlertFired)]
    assert silent(only(AlertFired, facts).alert) == ("alive silent", "gw1", Severity.MAJOR)


def test_what_is_learned_is_a_copy_that_later_steps_do_not_reach() -> None:
    teacher = engine_after([(at(60 * n), beat("gw1")) for n in range(10)])

    before = list(teacher.learned().frames())
    kept = teacher.learned()
    run(teacher, [(at(700), beat("gw1"))])

    assert list(kept.frames()) == before


def silent(alert: Alert) -> tuple[str, str, Severity]:
    return alert.name, alert.ci, alert.severity
