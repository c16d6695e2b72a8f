"""What is long or large in the daemon is made short and small, so that seconds meet it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from eventd import inbox, replay, runtime
from eventd.config import Config
from eventd.core import (
    changes,
    dedup,
    enrich,
    explained,
    explaining,
    flapping,
    habits,
    heartbeats,
    incidents,
    inventory,
    labels,
    placement,
    raised,
    raising,
    storms,
    suppress,
    verdicts,
)
from eventd.core.correlation import parameters
from eventd.core.model import Settings
from eventd.core.rules import group, sightings, sliding
from eventd.core.scoring import pulse
from eventd.store import sqlite

StandIn = tuple[object, str, object]  # where, under which name, what

DROP_AFTER = 5.0  # s; shorter than any retention, as it is
# How many times faster than usual the correlation may judge: a seed says all it has to say within
# half a minute, and a single alert is usually waited for for three.
HURRIES = (1.0, 60.0, 200.0, 200.0, 400.0)
# In s; the clock's own error is not among them, as clocks are wrong by as much as ever.
TIMES: tuple[tuple[object, tuple[str, ...]], ...] = (
    (
        parameters,
        (
            *("MERGE_YOUNG", "AT_HAND", "SAME_FIRING", "SAME_OTHER", "SAME_CLEARED"),
            *("DOWN_CASCADE", "DOWN", "DOWN_EARLY", "CHANGE_WITHIN", "UP", "COMMON"),
            *("HUB_FADES", "HUB_FORGOTTEN", "ALIKE_STORM_FADES", "ALIKE_FADES", "ISLAND_FADES"),
            *("STORM_FOR", "STRONG_AFTER", "FAIR_AFTER", "GRAVE_AFTER", "PROVEN_AFTER"),
            *("SLIGHT_AFTER", "OVER_AFTER", "FORGET_AFTER", "BLIP", "ROOT_FADES"),
            "ROOT_CHANGE_WITHIN",
        ),
    ),
    (incidents, ("REOPEN_WITHIN",)),
    (placement, ("OVER_AFTER",)),
    (flapping, ("SLOT",)),
    (heartbeats, ("SLACK",)),
    (pulse, ("USUALLY",)),
    (habits, ("BURST_LEAST", "BURST_MOST", "SESSION_LEAST", "SESSION_MOST")),
)
# What makes room for more, or is not looked at beyond: in half of the seeds it is so few.
CAPS: tuple[tuple[object, str, int], ...] = (
    (inbox, "TURN", 1),
    (sightings, "LEAST_ROWS", 2),
    (sightings, "ROWS_EACH", 1),
    (sliding, "MAX_WAITING", 1),
    (group, "MAX_REASONS", 1),
    (changes, "MAX_ALIKE", 1),
    (changes, "MAX_CHANGES", 2),
    (changes, "MAX_SORTS", 1),
    (suppress, "MAX_OF_A_NAME", 1),
    (dedup, "ELDERS", 2),
    (enrich, "MAX_PLACES", 2),
    (enrich, "MAX_UNKNOWN", 2),
    (explained, "MAX_ROLES", 1),
    (explained, "MAX_LOOKED", 1),
    (explaining, "MAX_TOLD", 1),
    (raising, "MAX_TOLD", 1),
    (raised, "MAX_LINKS", 2),
    (storms, "MAX_TALKERS", 1),
    (verdicts, "MAX_JUDGED", 1),
    (incidents, "MAX_NOTED", 1),
    (incidents, "KEPT", 1),
    (inventory, "MAX_ANCESTORS", 1),
    (inventory, "MAX_REMEMBERED", 2),
    (labels, "MAX_CACHE", 2),
    (labels, "MAX_TEXTS", 2),
    (parameters, "SCAN", 1),
    (parameters, "KEPT", 1),
    (parameters, "MAX_STEMS", 1),
    (parameters, "MAX_PAST", 1),
    (parameters, "MAX_CHECKS", 1),
    (parameters, "MAX_CIS", 1),
    (parameters, "MAX_EPISODES", 1),
    (parameters, "MAX_CHANGES", 1),
    (parameters, "ABSORB_CIS", 2),
    (parameters, "SPLIT_CIS", 4),
)


def sizes(chance: random.Random, hurry: float) -> Iterator[StandIn]:
    """Drawn per seed; `hurry`: so many times faster than usual the correlation judges."""
    every = chance.choice((10, 40, 200))
    yield runtime, "SNAPSHOT_EVERY", every
    yield replay, "SNAPSHOT_EVERY", every
    yield runtime, "SNAPSHOT_FIRED", chance.choice((5, 25_000))
    yield runtime, "LONG_START", chance.choice((5, 10_000))
    yield sqlite, "CHECKPOINT_EVERY", chance.choice((1 << 17, 1 << 20))
    yield sqlite, "BRIEF", 1 << 17
    yield sqlite, "TRIM_EVERY", chance.choice((2, 10)) * 1_000_000
    yield incidents, "DROP_AFTER", DROP_AFTER
    yield from _correlation(chance, hurry)
    for module, name, few in CAPS:
        yield module, name, chance.choice((few, getattr(module, name)))


def _correlation(chance: random.Random, hurry: float) -> Iterator[StandIn]:
    for module, names in TIMES:
        for name in names:
            yield module, name, getattr(module, name) / hurry
    yield parameters, "REVIEWS", tuple(one / hurry for one in parameters.REVIEWS)
    yield parameters, "MAX_CLUSTERS", chance.choice((4, 10_000, 10_000, 10_000))
    yield parameters, "STORM_CIS", chance.choice((4, 100))
    yield parameters, "SPLIT_LEAST", chance.choice((1, 2, 3))
    yield heartbeats, "GAPS_LEAST", 2
    yield habits, "NEVER_EVENTS", 8
    yield habits, "NEVER_FOR", 3.0
    # who speaks for seconds seems to look once a minute, so few may
    yield habits, "LOOK_APART", chance.choice((0.1, 5.0, 5.0))
    few = chance.choice((8, None, None, None)), chance.choice((2, None))
    most = chance.choice((3, None, None, None))
    yield Config, "settings", _settings(Config.settings, hurry, *few, most)


def _settings(
    plain: Callable[[Config], Settings],
    hurry: float,
    alerts: int | None,
    others: int | None,
    most: int | None,
) -> Callable[[Config], Settings]:
    """With so few alerts, keys of a rule, silences and windows, and incidents, where it is said."""

    def settings(config: Config) -> Settings:
        said = plain(config)
        return replace(
            said,
            max_alerts=alerts or said.max_alerts,
            max_groups=others or said.max_groups,
            max_incidents=most or said.max_incidents,
            max_silences=others or said.max_silences,
            max_maintenance=others or said.max_maintenance,
            maintenance_lead=said.maintenance_lead / hurry,
            maintenance_grace=said.maintenance_grace / hurry,
        )

    return settings
