"""What each idea of the correlation is worth: replays with one of them off at a time.

`python -m bench.ablation STREAM… --out DIR`: a stream is a folder with `events.jsonl.gz`, as
`eventd replay` reads it, and `inventory.yaml`. Writes `DIR/IDEA/STREAM.jsonl`, as `eventd replay
--out` does, for whoever knows the truth to score; `all` has every idea on.
"""

from __future__ import annotations

import argparse
import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from eventd import app, backtest, recording
from eventd.core import flapping, habits, heartbeats, inventory
from eventd.core.correlation import correlation, parameters
from eventd.core.model import LoadRules
from eventd.decoding import inputs_of_line

Off = tuple[ModuleType, str, object]
NEVER = 10**9

IDEAS: dict[str, tuple[Off, ...]] = {
    "all": (),
    "noise": ((parameters, "BLIPS", NEVER),),
    "hold": tuple(
        (parameters, name, 0.0)
        for name in ("STRONG_AFTER", "FAIR_AFTER", "GRAVE_AFTER", "PROVEN_AFTER", "SLIGHT_AFTER")
    ),
    "time decay": tuple(
        (parameters, name, math.inf)
        for name in ("SAME_CLEARED", "DOWN", "DOWN_EARLY", "UP", "COMMON", "SAME_OTHER")
    ),
    "absence": ((heartbeats, "GAPS_LEAST", NEVER),),
    "flapping": ((flapping, "BEGINS", 2.0),),
    "redundancy": ((inventory, "REDUNDANT", inventory.HARD),),
    "hub penalty": ((parameters, "COVER", 1e9),),
    "silent common cause": ((parameters, "COVER", 0.0),),
    "site": ((inventory, "TOGETHER", 1e-9),),
    "heat of what is unexplained only": ((correlation, "EXPLAINED", ()),),
    "lateness": ((parameters, "LATE_MOST", 0.0),),
    "likeness": ((parameters, "ALIKE", 0.0), (parameters, "ALIKE_STORM", 0.0)),
    "islands": ((parameters, "ISLAND", 0.0),),
    "merge": (
        (parameters, "MERGE", 2.0),
        (parameters, "ABSORB", 2.0),
        (parameters, "ABSORB_REVIEW", 2.0),
    ),
    "split": ((parameters, "SPLIT_LEAST", NEVER),),
    "change": ((parameters, "SUSPECT", 1.0), (parameters, "ROOT_CHANGED", 0.0)),
    "lost clears": ((parameters, "OVER_SHARE", 0.0),),
    "bursts": ((habits, "NEVER_EVENTS", NEVER),),
    "sessions": ((habits, "LOOKS", NEVER),),
    "topology": (),  # no inventory at all
}


@contextmanager
def without(idea: str) -> Iterator[None]:
    """The idea is off inside."""
    before = [(module, name, getattr(module, name)) for module, name, _ in IDEAS[idea]]
    for module, name, value in IDEAS[idea]:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def replay(stream: Path, out: Path, *, topology: bool) -> None:
    """One stream, with no rules."""
    known = app.load_inventory(stream / "inventory.yaml") if topology else None
    run = backtest.Backtest(inputs_of_line, LoadRules("none", ()), known, forced=True)
    for _ in run.play(recording.read(stream / "events.jsonl.gz")):
        pass
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as lines:
        lines.writelines(backtest.write(run))


def main() -> None:
    """Every idea, every stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ideas", nargs="*", choices=list(IDEAS), default=list(IDEAS))
    told = parser.parse_args()
    for idea in told.ideas:
        for stream in told.streams:
            with without(idea):
                out = told.out / idea.replace(" ", "-") / f"{stream.name}.jsonl"
                replay(stream, out, topology=idea != "topology")
            gc.collect()


if __name__ == "__main__":
    main()
