"""Random feeds: few fingerprints, many ways to speak of them, time that never goes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import strategies as st
from tests.builders import (
    T0,
    Feed,
    calendar_rule,
    dependency_rule,
    event,
    group_rule,
    inhibit_rule,
    inventory,
    kind_rule,
    load,
    settle_rule,
    silence,
    started,
    threshold_rule,
)

from eventd.core.model import (
    Acknowledge,
    Arrival,
    Ci,
    Close,
    Comment,
    Dependency,
    Detach,
    EndSilence,
    Event,
    GiveVerdict,
    Input,
    LoadInventory,
    Merge,
    Refused,
    Reopen,
    Resolve,
    Service,
    Severity,
    Split,
    Started,
    Status,
    Tick,
    Window,
)

Recipe = Callable[[datetime], Input]  # an input, once its time is known

NETS = {"as": "nets", "match": 'name="net"'}
CHANGED = {"match": 'status="change"'}
KINDS: tuple[tuple[str, object, str], ...] = (
    ("sequence", [{"as": "disks", "match": 'name="disk"', "of": "events"}, NETS], "in-order"),
    ("sequence", [CHANGED, {**NETS, "without": 'name="cpu"'}], "undisturbed"),
    ("absence", {"match": 'name="net"', "after": 'name=~"disk|cpu"'}, "unanswered"),
    ("absence", {"match": 'name="disk"', "severity": "minor"}, "silence"),
    ("pair", {"opens": 'name="cpu"', "closes": 'name="odd"'}, "up-again"),
    ("similar", {"match": "", "count": 2}, "alike"),
    ("topology", {"match": "", "redundant": True, "silent": 0.5}, "tied"),
    ("change", {"match": 'status="change"'}, "changes"),
    ("all", [{**NETS, "of": "events", "count": 2}, {"match": "severity>=major"}], "all"),
)
TIMES = {"starts": "*/2 * * * *", "lasts": "70s", "zone": "Europe/Berlin"}
RULES: tuple[dict[str, object], ...] = (
    group_rule(),
    group_rule("by-ci", by=["ci"], within="20s", reopen_within="1m", impact=2),
    group_rule("worst", "severity>=critical", by=["name"], within="1h", urgency=1),
    threshold_rule(count=2),
    threshold_rule("many-events", 'service="shop"', count=3, of="events", within="90s"),
    threshold_rule("hot", "value>90", count=2, of="events", by=["name"], impact=1),
    {**threshold_rule("names"), "threshold": {"match": "", "count": 2, "distinct": "name"}},
    *(kind_rule(*one) for one in KINDS),
    {
        **kind_rule("group", {"match": "severity>=critical"}, "grave"),
        "alert": {"severity": "minor"},
    },
    {**kind_rule("all", [NETS, {"match": 'name="grave"'}], "both"), "alert": {"name": "cpu"}},
    {"name": "much", "anomaly": {"match": "", "of": "rates", "window": "10s"}, "by": ["name"]},
    {"name": "mute", "anomaly": {"match": "severity>=major", "of": "silences"}},
    {"name": "fresh", "anomaly": {"match": "", "of": "new"}, "by": ["name", "service"]},
    settle_rule('name="cpu", severity<=major', "10s"),
    inhibit_rule('name=~"net|disk"', 'name=~"disk|odd|cpu", severity<=major', ("service",)),
    inhibit_rule('name="odd"', 'name="net"', within="20s", name="backwards"),
    dependency_rule('name=~"disk|net"', target="severity<=major", redundant=True),
    calendar_rule('ci="b"', "*/2 * * * *", "70s"),
    {**group_rule("by-day", 'ci="c"', by=["ci"]), "during": TIMES},
    {**kind_rule("absence", {"match": 'ci="c"'}, "by-day-only"), "during": TIMES},
)
INVENTORIES = (
    LoadInventory(""),
    inventory(Service("bank", owner="ann", impact=2), Ci("a", service="bank", aliases=("b",))),
    inventory(Service("Shop", impact=1), Ci("c", aliases=("a",)), Ci("b", service="shop")),
    inventory(
        Ci("a", depends_on=("b", Dependency("c", redundant=True))), Ci("c", depends_on=("a",))
    ),
)
STEPS = (0, 0, 0, 1, 5, 9, 15, 59, 60, 61, 301, 3_600, 90_000)  # s between two inputs
OFFSETS = (-100_000_000, -1_000, -61, -1, 0, 0, 100, 1_000)  # s a source's clock is off


def maybe(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    """None, mostly."""
    return st.one_of(st.none(), st.none(), values)


ALERTS = (
    ("disk", "a", "shop"),
    ("disk", "b", "shop"),
    ("cpu", "a", "bank"),
    ("net", "c", "bank"),
    ("net", "", "shop"),
    ("odd", "", ""),
)


@st.composite
def events(draw: st.DrawFn, *, strong: bool = False) -> Recipe:
    """About six alerts, all statuses, arrivals and promises."""
    name, ci, service = draw(st.sampled_from(ALERTS))
    status = draw(st.sampled_from([Status.FIRING] * 6 + [Status.CLEARED] * 4 + list(Status)[2:]))
    severity = draw(st.sampled_from(Severity))
    number = draw(st.integers(0, 10_000) if strong else maybe(st.integers(0, 6)))
    occurred = draw(maybe(st.sampled_from(OFFSETS)))
    expires = draw(maybe(st.sampled_from((-10, 0, 50, 400))))
    repeats = draw(st.sampled_from((0, 0, 0, 30, 200)))
    quiet = draw(st.sampled_from((0, 0, 0, 0, 20, 100)))
    value = draw(st.sampled_from((None, 50.0, 95.0)))
    arrival = draw(st.sampled_from([Arrival.LIVE] * 4 + list(Arrival)))
    window = None
    if status is Status.CHANGE:
        window = draw(st.sampled_from(((0, 60), (-50, 100), (30, 400), (-50, -1), (5, 5))))

    def at_time(now: datetime) -> Event:
        def later(seconds: int | None) -> datetime | None:
            return None if seconds is None else now + timedelta(seconds=seconds)

        return event(
            name,
            ci=ci,
            service=service,
            status=status,
            severity=severity,
            id="" if number is None else f"id{number}",
            occurred_at=later(occurred),
            expires_at=later(expires),
            repeats_within=repeats,
            quiet_for=quiet,
            value=value,
            arrival=arrival,
            window=window
            and Window(
                now + timedelta(seconds=window[0]),
                now + timedelta(seconds=window[1]),
                ("a",),
                (service,),
            ),
        )

    return at_time


@st.composite
def commands(draw: st.DrawFn) -> Recipe:
    """What operators do, right or wrong."""
    incident = f"INC-{draw(st.integers(1, 4)):06d}"
    key = draw(st.sampled_from((b"", b"", b"k" * 16, b"l" * 16)))
    kind = draw(st.sampled_from((Acknowledge, Comment, Resolve, Close, Reopen, EndSilence, None)))
    if kind is None:
        selector = draw(st.sampled_from(('name="disk"', 'service="bank"', "severity<=minor", "")))
        lasts = timedelta(seconds=draw(st.sampled_from((-1, 0, 30, 500))))
        return lambda now: silence(selector, now + lasts, key=key)
    if kind is Acknowledge:
        return lambda now: Acknowledge(incident, "ann", key)
    if kind is EndSilence:
        return lambda now: EndSilence(incident.replace("INC", "SIL"), "ann", key)
    assert kind is Comment or kind is Resolve or kind is Close or kind is Reopen
    return lambda now: kind(incident, "ann", "text", key)


@st.composite
def regroupings(draw: st.DrawFn) -> Recipe:
    """What operators say of which alerts belong together, right or wrong."""
    incident, into = (f"INC-{draw(st.integers(1, 4)):06d}" for _ in range(2))
    chosen = draw(st.lists(st.sampled_from(ALERTS), min_size=1, max_size=2))
    alerts = tuple(event(n, ci=ci, service=service).fingerprint for n, ci, service in chosen)
    orders: tuple[Input, ...] = (
        Merge(incident, into, "ann", "text"),
        Split(incident, alerts, "ann", "text"),
        Detach(incident, alerts[0], "ann", "text"),
        GiveVerdict(incident, bool(len(alerts) % 2), "ann", "text"),
    )
    order = draw(st.sampled_from(orders))
    return lambda now: order


@st.composite
def starts(draw: st.DrawFn) -> Recipe:
    """Starts with other settings, small caps among them."""
    settings = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "resolve_after": st.sampled_from((0.0, 10.0)),
                "start_grace": st.sampled_from((0.0, 20.0)),
                "forget_after": st.sampled_from((30.0, 500.0)),
                "strong_key_for": st.sampled_from((60.0, 4_000.0)),
                "max_alerts": st.integers(1, 4),
                "max_keys": st.integers(1, 4),
                "max_groups": st.integers(1, 2),
                "max_silences": st.integers(1, 2),
                "max_maintenance": st.integers(1, 2),
                "max_incidents": st.integers(1, 3),
            },
        )
    )
    return lambda now: started(**settings)


def loads() -> st.SearchStrategy[Recipe]:
    """Rule sets."""
    sets = st.lists(st.sampled_from(RULES), unique_by=lambda data: str(data["name"]))
    return sets.map(lambda rules: lambda now: load(*rules, version=str(len(rules))))


def inventories() -> st.SearchStrategy[Recipe]:
    """Inventories that differ in what an alias leads to."""
    return st.sampled_from(INVENTORIES).map(lambda found: lambda now: found)


def fixed() -> st.SearchStrategy[Recipe]:
    """What says nothing about alerts."""
    return st.sampled_from((lambda now: Tick(), lambda now: Refused("zabbix", "decode", "bad")))


def timed(recipes: list[tuple[float, Recipe]]) -> Feed:
    """A feed from the steps between its inputs."""
    now, feed = T0, []
    for step, recipe in recipes:
        now += timedelta(seconds=step)
        feed.append((now, recipe(now)))
    return feed


def feeds(
    *others: st.SearchStrategy[Recipe], strong: bool = False, steps: tuple[float, ...] = STEPS
) -> st.SearchStrategy[Feed]:
    """Rules loaded, then events, mixed with `others`; everything where none are named."""
    mixed = others or (commands(), regroupings(), starts(), loads(), inventories(), fixed())
    event_ = events(strong=strong)
    inputs = st.one_of(event_, event_, event_, event_, event_, *mixed)
    rest = st.lists(st.tuples(st.sampled_from(steps), inputs), max_size=40)
    rules = st.sampled_from((RULES, RULES, ()))  # without any, the correlation has the word
    return st.tuples(rules, rest).map(
        lambda drawn: timed([(0, lambda now: load(*drawn[0])), *drawn[1]])
    )


def is_start(item: Input) -> bool:
    """Whether eventd was away before it."""
    return isinstance(item, Started)
