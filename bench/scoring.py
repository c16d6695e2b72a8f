"""What each part of the value scorer is worth: one left out at a time.

python -m bench.scoring DATA OUT     a folder of scores a part in OUT, for NAB's scorer
python -m bench.scoring              false alarms and injected faults found, one line a part,
                                     and beside them a running z-score
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path

from eventd.cli.score import HEADER, _csv
from eventd.core.scoring.scorer import Reason, Score
from eventd.core.scoring.values import PARTS, PAUSE, Telling, Told, ValueScorer
from eventd.series import read

COUNT, FIRST = 4_500, 1_500  # values of a stream; those before are not judged
FAULTS = ("spike", "dip", "shift", "drift", "leak", "stuck", "noise")
STREAMS = ("gauss", "season", "lognormal", "wander", "spiky", "integer", "rare")
OUT_OF = 10_000
SEEDS = 2
NAMES = ("nothing", *PARTS)  # left out
FADE = 1.0 - 0.5 ** (1.0 / 200.0)  # of a running z-score, the rival
LIMITS = (3.0, 4.0, 5.0, 6.0, 8.0)  # of its


class Without(ValueScorer):
    """The scorer without one part: of what is learned nothing depends on what is left out."""

    __slots__ = ("part",)

    part: int

    def judge(self, told: Told, rows: float) -> Score | None:
        self._rows = rows
        return self._score([one for one in told if one[1] != self.part], 0.0, 0.0, 0.0)

    def _reason(self, told: Telling, at: float) -> Reason:
        found, part, observed, usual, until = told
        return Reason(PARTS[part], found, observed, usual, until)


class Ablated(ValueScorer):
    """Scores with every part in turn left out; with all of them in the first place."""

    __slots__ = ("heads", "scores")

    heads: list[Without]
    scores: list[Score | None]

    def _score(self, told: Told, low: float, high: float, at: float) -> Score | None:
        self.scores = [head.judge(told, self._rows) for head in self.heads]
        return self.scores[0]

    def each(self, at: float, value: float) -> list[Score | None]:
        self.scores = [None] * len(self.heads)
        self.score_then_learn(at, value)
        return self.scores


def ablated() -> Ablated:
    made = Ablated()
    made.heads = [Without() for _ in NAMES]
    for part, head in enumerate(made.heads, -1):
        head.part = part
    return made


def stream(
    kind: str, chance: random.Random, count: int = COUNT, daily: int = 288
) -> tuple[list[float], float]:
    """Its values, so many a day, and its usual deviation."""
    day = [math.sin(2 * math.pi * n / daily) for n in range(count)]
    noise = [chance.gauss(0, 1) for _ in range(count)]
    if kind == "gauss":
        return [50 + 3 * z for z in noise], 3.0
    if kind == "season":
        return [100 + 30 * d + 4 * z for d, z in zip(day, noise, strict=True)], 4.0
    if kind == "lognormal":
        return [20 * math.exp(z / 2) for z in noise], 12.0
    if kind == "wander":
        level, values = 30.0, []
        for z in noise:
            level = 30 + 0.95 * (level - 30) + z
            values.append(level)
        return values, 3.2
    if kind == "spiky":
        far = [chance.expovariate(1 / 60) if chance.random() < 0.01 else 0.0 for _ in noise]
        return [abs(10 + z + more) for z, more in zip(noise, far, strict=True)], 3.0
    if kind == "integer":
        return [float(round(30 + 2 * d + z)) for d, z in zip(day, noise, strict=True)], 1.5
    return [float(chance.randint(1, 4)) if chance.random() < 0.02 else 0.0 for _ in noise], 1.0


def inject(values: list[float], fault: str, at: int, unit: float, chance: random.Random) -> int:
    """Change `values` from `at` on; how long."""
    lasts = {"spike": 2, "dip": 2, "drift": 200, "leak": 600, "stuck": 100}.get(fault, 60)
    for n in range(lasts):
        values[at + n] = {
            "spike": values[at + n] + 10 * unit,
            "dip": values[at + n] - 10 * unit,
            "shift": values[at + n] + 6 * unit,
            "drift": values[at + n] + 10 * unit * n / lasts,
            "leak": values[at + n] + 6 * unit * n / lasts,
            "stuck": values[at],
            "noise": values[at + n] + 5 * unit * chance.gauss(0, 1),
        }[fault]
    return lasts


def alarms(values: list[float]) -> list[list[int]]:
    """For each part left out, where it alarms."""
    made = ablated()
    found: list[list[int]] = [[] for _ in NAMES]
    for n, value in enumerate(values):
        for own, one in zip(found, made.each(1.4e9 + 300.0 * n, value), strict=True):
            if n >= FIRST and one is not None and one.alarm:
                own.append(n)
    return found


def rival(values: list[float]) -> list[list[int]]:
    """For each of LIMITS, where a running z-score alarms; it pauses as long as the scorer does."""
    mean = values[0]
    square = 0.0
    found: list[list[int]] = [[] for _ in LIMITS]
    for n, value in enumerate(values):
        off = value - mean
        z = abs(off) / math.sqrt(square) if square else 0.0
        for limit, own in zip(LIMITS, found, strict=True):
            if n >= FIRST and z >= limit and (not own or n >= own[-1] + PAUSE):
                own.append(n)
        mean += FADE * off
        square += FADE * (off * off - square)
    return found


def injected() -> None:
    """False alarms in 10,000 values, the share of each fault found, and F1 of both together."""
    names = [*(f"without {name}" for name in NAMES), *(f"z-score of {z:g}" for z in LIMITS)]
    false = [0] * len(names)
    found = [dict.fromkeys(FAULTS, 0) for _ in names]
    for kind in STREAMS:
        for seed in range(SEEDS):
            clean = stream(kind, random.Random(f"{kind} {seed}"))[0]
            for row, own in enumerate(alarms(clean) + rival(clean)):
                false[row] += len(own)
            for fault in FAULTS:
                chance = random.Random(f"{kind} {fault} {seed}")
                values, unit = stream(kind, chance)
                at = 3_000 + chance.randrange(600)
                until = at + inject(values, fault, at, unit, chance) + 5
                for row, own in enumerate(alarms(values) + rival(values)):
                    found[row][fault] += any(at <= n < until for n in own)
    streams = len(STREAMS) * SEEDS
    for name, wrong, hits in zip(names, false, found, strict=True):
        rate = wrong / streams / (COUNT - FIRST) * OUT_OF
        shares = " ".join(f"{fault} {count / streams:.2f}" for fault, count in hits.items())
        right, there = sum(hits.values()), streams * len(FAULTS)
        # a stream with a fault, one in 3,000 values, has as many false alarms as the one without
        f1 = 2 * right / (right + there + wrong * len(FAULTS))
        whole = right / there
        print(f"{name}: false {rate:.1f}, found {whole:.2f}, F1 {f1:.2f}: {shares}", flush=True)


def nab(data: Path, out: Path) -> None:
    for file in sorted(data.glob("*/*.csv")):
        made = ablated()
        lines = [[HEADER] for _ in NAMES]
        for row in read(file):
            for own, one in zip(lines, made.each(row.at, row.value), strict=True):
                own.append(_csv((row, one)))
        for name, own in zip(NAMES, lines, strict=True):
            target = out / name.replace(" ", "-") / file.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(own), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="DATA OUT")
    match parser.parse_args().folders:
        case []:
            injected()
        case [data, out]:
            nab(data, out)
        case _:
            parser.error("expected both folders or none")
