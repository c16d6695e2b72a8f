"""`calendar`: what comes at given times is known; `during`: when a rule holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import (
    T0,
    TICK,
    Feed,
    at,
    calendar_rule,
    clear,
    engine_after,
    event,
    facts_of,
    frames,
    group_rule,
    kind_rule,
    load,
    only,
    revived,
    run,
    silence,
    started,
    threshold_rule,
)

from eventd.core.engine import Engine
from eventd.core.model import (
    AlertCleared,
    AlertJoined,
    AlertSuppressed,
    AlertUnsuppressed,
    Fact,
    IncidentOpened,
    RuleMissed,
    Severity,
    Status,
)
from eventd.core.rules import parse
from eventd.core.rules.recurrence import UTC_SHIFTS, Calendar, parse_cron
from eventd.core.sentences import near_miss
from eventd.errors import RuleError
from eventd.zones import shifts_of

DISK = event().fingerprint
HOUR = 3_600
# T0 is a Monday, at nine in UTC and ten in Berlin
KNOWN = calendar_rule()
BY = "calendar:known"


def opened(facts: list[Fact]) -> list[float]:
    """When incidents were opened, in seconds."""
    return [(fact.at - T0).total_seconds() for fact in facts if isinstance(fact, IncidentOpened)]


def test_what_fires_in_its_time_is_known_and_judged_again_after_it() -> None:
    seen: Feed = [(at(600), event()), (at(1_199), TICK), (at(1_300), TICK)]

    facts = facts_of(seen, KNOWN, group_rule())

    assert [fact for fact in facts if isinstance(fact, AlertSuppressed)] == [
        AlertSuppressed(at(600), DISK, 1, BY)
    ]
    assert only(AlertUnsuppressed, facts).at == at(1_200)
    assert opened(facts) == [1_200]


def test_outside_its_time_it_is_no_business_of_the_calendar() -> None:
    for second in (599, 1_200):
        assert opened(facts_of([(at(second), event())], KNOWN, group_rule())) == [second]
    utc = calendar_rule(zone="UTC")
    assert opened(facts_of([(at(600), event())], utc, group_rule())) == [600]
    assert opened(facts_of([(at(600), event("cpu"))], KNOWN, group_rule())) == [600]


def test_what_clears_in_its_time_was_nothing() -> None:
    seen: Feed = [(at(600), event()), (at(700), clear()), (at(9_000), TICK)]

    assert opened(facts_of(seen, KNOWN, group_rule())) == []


def test_times_that_overlap_are_one() -> None:
    rule = calendar_rule("", "*/5 9 * * *", "7m", "UTC")
    seen: Feed = [(at(60), event()), (at(9 * HOUR), TICK)]

    assert opened(facts_of(seen, rule, group_rule())) == [55 * 60 + 420]


def test_a_silence_comes_first_and_the_calendar_after_it() -> None:
    seen: Feed = [(at(0), silence("", at(700))), (at(650), event()), (at(700), TICK)]

    assert [fact.by for fact in facts_of(seen, KNOWN) if isinstance(fact, AlertSuppressed)] == [
        "SIL-000001",
        BY,
    ]


def test_what_waits_for_the_correlation_is_known_when_the_time_has_begun() -> None:
    seen: Feed = [(at(500), event(severity=Severity.CRITICAL)), (at(800), TICK)]

    assert opened(facts_of(seen)) == [700]
    assert only(AlertSuppressed, facts_of(seen, KNOWN)).at == at(700)


def test_other_rules_let_go_what_they_do_not_cover() -> None:
    other = event("disk", service="bank")
    engine = engine_after([(at(600), event()), (at(601), other)], KNOWN, group_rule())
    fewer = calendar_rule('service="bank"')

    facts = run(engine, [(at(602), load(fewer, group_rule(), version="v2")), (at(603), TICK)])
    assert only(AlertUnsuppressed, facts).fingerprint == DISK
    facts = run(engine, [(at(1_300), TICK)])
    assert only(AlertUnsuppressed, facts).at == at(1_200)


def test_rules_without_the_calendar_let_all_go() -> None:
    engine = engine_after([(at(600), event())], KNOWN)

    facts = run(engine, [(at(602), load(group_rule(), version="v2")), (at(1_300), TICK)])

    assert opened(facts) == [602]
    assert [kind for (kind, _), _ in engine.timers.items() if kind == "calendar"] == []


def test_two_calendars_end_each_at_its_own_time() -> None:
    longer = calendar_rule('name="cpu"', "5 9 * * *", "1h", "UTC", "known-longer")
    seen: Feed = [(at(600), event()), (at(601), event("cpu")), (at(9_000), TICK)]

    facts = facts_of(seen, KNOWN, longer)

    assert [fact.at for fact in facts if isinstance(fact, AlertUnsuppressed)] == [
        at(1_200),
        at(65 * 60),
    ]


def test_it_survives_a_snapshot_and_the_tables_alone() -> None:
    engine = engine_after([(at(600), event())], KNOWN, group_rule())
    rest: Feed = [(at(700), started()), (at(1_300), TICK)]
    rebuilt = Engine.rebuild(engine.alerts(), (), (), (), ())

    assert frames(revived(engine)) == frames(engine)
    assert opened(run(revived(engine), rest)) == [1_200]
    assert opened(run(rebuilt, [(at(650), load(KNOWN, group_rule())), *rest])) == [1_200]


DURING = {"starts": "10 10 * * *", "lasts": "10m", "zone": "Europe/Berlin"}


def test_a_rule_is_asked_only_about_what_happened_in_its_time() -> None:
    rule = {**threshold_rule(count=2, within="1h"), "during": DURING}
    info = Severity.INFO
    seen: Feed = [(at(n), event(f"a{n}", severity=info)) for n in (500, 600, 1_199, 1_200)]
    late = event("late", severity=info, occurred_at=at(1_199))

    facts = facts_of([*seen, (at(1_210), late)], rule)

    assert opened(facts) == [1_199]
    assert len([fact for fact in facts if isinstance(fact, AlertJoined)]) == 3


def test_what_should_have_come_at_another_time_is_not_missed() -> None:
    beat = event("beat", status=Status.INFO, severity=Severity.INFO, ci="")
    rule = {
        **kind_rule("absence", {"match": 'name="beat", status="info"'}, within="5m"),
        "during": DURING,
    }

    assert opened(facts_of([(at(610), beat), (at(9_000), TICK)], rule)) == [970]
    assert opened(facts_of([(at(910), beat), (at(9_000), TICK)], rule)) == []


@pytest.mark.parametrize(
    ("starts", "problem"),
    [
        ("* * * *", "expected five fields, got 4 in '* * * *'"),
        ("60 * * * *", "'60' is no minute from 0 to 59"),
        ("* 24 * * *", "'24' is no hour from 0 to 23"),
        ("* * 0 * *", "'0' is no day from 1 to 31"),
        ("* * * foo *", "'foo' is no month from 1 to 12"),
        ("* * * * fri-mon", "'fri-mon' is no weekday"),
        ("* * * * mon#6", "'mon#6' is no weekday"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("*-5 * * * *", "'*-5' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("0 0 30 2 *", "no such day ever comes: '0 0 30 2 *'"),
        ("0 0 31 4,6 *", "no such day ever comes: '0 0 31 4,6 *'"),
    ],
)
def test_a_mistake_in_a_time_is_answered_with_its_path(starts: str, problem: str) -> None:
    hint = '(minute hour day month weekday, such as "30 2 * * mon-fri")'
    with pytest.raises(RuleError) as raised:
        parse(calendar_rule(starts=starts))
    assert str(raised.value) == f"calendar.starts: {problem} {hint}"

    with pytest.raises(RuleError) as raised:
        parse({**group_rule(), "during": {"starts": starts, "lasts": "1h"}})
    assert str(raised.value) == f"during.starts: {problem} {hint}"


def test_a_calendar_has_neither_a_window_nor_times_beside_its_own() -> None:
    for key, value in (("within", "5m"), ("during", DURING), ("by", ["ci"])):
        with pytest.raises(RuleError, match=f"unknown field `{key}`"):
            parse({**KNOWN, key: value})


@pytest.mark.parametrize(
    ("starts", "day", "on"),
    [
        ("0 0 29 2 *", (2028, 2, 29), True),
        ("0 0 l * *", (2027, 2, 28), True),
        ("0 0 l * *", (2028, 2, 28), False),
        ("0 0 l,1 * *", (2028, 3, 1), True),
        ("0 0 * * mon#1", (2026, 3, 2), True),
        ("0 0 * * mon#1", (2026, 3, 9), False),
        ("0 0 * * mon#1,tue", (2026, 3, 3), True),
        ("0 0 * * 0", (2026, 3, 1), True),
        ("0 0 * * sun-7", (2026, 3, 1), True),
        ("0 0 * * 5-7", (2026, 3, 1), True),
        ("0 0 13 * fri", (2026, 3, 6), True),  # as cron has it: either
        ("0 0 13 * fri", (2026, 3, 13), True),
        ("0 0 13 * fri", (2026, 3, 12), False),
        ("0 0 * jan-mar/2 *", (2026, 3, 12), True),
        ("0 0 * jan-mar/2 *", (2026, 2, 12), False),
        ("0 0 5/10 * *", (2026, 2, 25), True),
    ],
)
def test_a_day_is_one_of_its_days_or_not(starts: str, day: tuple[int, int, int], on: bool) -> None:
    assert parse_cron(starts, "").on(datetime(*day, tzinfo=UTC).date()) is on


def test_what_comes_once_in_a_leap_year_is_found_when_it_comes() -> None:
    calendar = Calendar("0 0 29 2 *", 60.0, UTC_SHIFTS)
    leap = datetime(2028, 2, 29, tzinfo=UTC)

    days = [leap - timedelta(days=n) for n in (700, 40, 1)]
    assert [calendar.covers(day) for day in days] == [False] * 3
    assert calendar.covers(leap)
    assert calendar.until(leap) == leap + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ],
)
def test_a_time_that_clocks_leave_out_or_show_twice(begins: datetime, ends: datetime) -> None:
    calendar = Calendar("30 2 * * *", 1_800.0, shifts_of("Europe/Berlin", ""))
    minutes = [begins.replace(hour=0, minute=0) + timedelta(minutes=n) for n in range(240)]

    assert [one for one in minutes if calendar.covers(one)] == [
        one for one in minutes if begins <= one < ends
    ]


@given(
    st.sampled_from(("0 2 * * *", "*/5 * * * *", "0 0 * * mon", "7 3,4 1 * *")),
    st.sampled_from((60.0, 5 * 60.0, 2.5 * HOUR, 30.0 * HOUR)),
    st.lists(st.integers(0, 40 * 24 * 60), min_size=2, max_size=12),
)
def test_what_it_says_does_not_depend_on_what_it_was_asked_before(
    starts: str, lasts: float, minutes: list[int]
) -> None:
    asked = Calendar(starts, lasts, UTC_SHIFTS)

    for minute in minutes:
        now, new = T0 + timedelta(minutes=minute), Calendar(starts, lasts, UTC_SHIFTS)
        covers = asked.covers(now)
        assert covers is new.covers(now)
        if covers:
            assert asked.until(now) == new.until(now)


CLOCKS = st.sampled_from(
    (
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 7, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 3, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 3, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC)),  # which left out a day
        ("Africa/Casablanca", datetime(2026, 2, 14, 12, tzinfo=UTC)),
        ("UTC", datetime(2026, 7, 1, tzinfo=UTC)),
    )
)


@settings(max_examples=40)  # each of which looks at some thousand minutes
@given(
    CLOCKS,
    st.sampled_from(("*", "0", "30", "*/20", "7-9")),
    st.sampled_from(("*", "2", "0", "1-3", "23")),
    st.sampled_from((1, 5, 90, 26 * 60)),
    st.integers(0, 2_000),
)
def test_times_are_those_that_the_clocks_show(
    clock: tuple[str, datetime], minute: str, hour: str, minutes: int, begin: int
) -> None:
    name, start = clock
    cron = parse_cron(f"{minute} {hour} * * *", "")
    calendar = Calendar(
        f"{minute} {hour} * * *", minutes * 60, shifts_of(name, "") if name != "UTC" else UTC_SHIFTS
    )
    begins = _shown(cron.minutes, ZoneInfo(name), start, begin + 120)
    moment = start + timedelta(minutes=begin)
    for later in range(120):
        now = moment + timedelta(minutes=later)
        wanted = any(one <= now < one + timedelta(minutes=minutes) for one in begins)
        assert calendar.covers(now) is wanted, now


def _shown(minutes: tuple[int, ...], zone: ZoneInfo, start: datetime, until: int) -> list[datetime]:
    """When its clock first shows one of these times, or leaves it out: looked at by the minute."""
    found: list[datetime] = []
    before = (start - timedelta(days=3)).astimezone(zone).replace(tzinfo=None)
    seen: set[datetime] = set()
    now = start - timedelta(days=3)
    while now <= start + timedelta(minutes=until):
        shown = now.astimezone(zone).replace(tzinfo=None)
        passed = before + timedelta(minutes=1)
        while passed <= shown:
            if passed not in seen and passed.hour * 60 + passed.minute in minutes:
                found.append(now)
            seen.add(passed)
            passed += timedelta(minutes=1)
        if shown not in seen:
            seen.add(shown)
        before, now = max(before, shown), now + timedelta(minutes=1)
    return found


def test_what_begins_a_little_before_or_after_its_time_is_a_near_miss() -> None:
    def missed(second: float, rule: dict[str, object] = KNOWN) -> list[str]:
        facts = facts_of([(at(second), event())], rule, group_rule())
        return [near_miss(fact) for fact in facts if isinstance(fact, RuleMissed)]

    # from 600 s to 1,200 s: a quarter of that is near
    assert missed(540) == ["rule known missed it: it came 60 s before its time"]
    assert missed(1_290) == ["rule known missed it: it came 90 s after its time was over"]
    assert missed(1_200) == ["rule known missed it: it came under 1 s after its time was over"]
    assert missed(450) == missed(1_350) == missed(900) == []
    gaps = calendar_rule("", "*/10 * * * *", "8m", "UTC")
    assert missed(590, gaps)[0].endswith("10 s before its time")
    assert missed(500, gaps)[0].endswith("20 s after its time was over")


def test_what_joins_none_has_missed_no_calendar() -> None:
    facts = facts_of([(at(540), event(severity=Severity.INFO))], KNOWN)

    assert [fact for fact in facts if isinstance(fact, RuleMissed)] == []


def test_what_ends_something_is_heard_at_any_time() -> None:
    pair = {**kind_rule("pair", {"opens": 'name="a"', "closes": 'name="b"'}), "during": DURING}
    feed: Feed = [
        (at(599), event("a", ci="early")),
        (at(600), event("a")),
        (at(1_300), event("b")),
    ]

    facts = facts_of(feed, pair)

    over = [fact.fingerprint for fact in facts if isinstance(fact, AlertCleared)]
    assert over == [event("a").fingerprint, event("b").fingerprint]


def test_an_absence_ends_with_what_comes_at_any_time() -> None:
    beat = event("beat", status=Status.INFO, severity=Severity.INFO, ci="")
    rule = {**kind_rule("absence", {"match": 'name="beat", status="info"'}), "during": DURING}
    rule["within"] = "5m"
    feed: Feed = [(at(590), beat), (at(1_300), beat), (at(9_000), TICK)]

    facts = facts_of(feed, rule)

    assert opened(facts) == [950]
    assert only(AlertCleared, facts).at == at(1_300)
