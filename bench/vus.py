"""How well `raw_score` stands out where people say that something is wrong: VUS-PR.

    python -m bench.vus SCORES WINDOWS.json    of a folder that `eventd score --out` wrote
    python -m bench.vus                        of made streams with faults, a line each fault

VUS-PR is the mean area under precision and recall over all thresholds and over labels that fade
out on both sides, the further the larger the buffer (Paparrizos et al., "Volume Under the Surface",
VLDB 2022). Beside it what the value alone scores, and a running z-score.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.scoring import FAULTS, STREAMS, inject, stream
from eventd.core.scoring.scorer import score_of
from eventd.core.scoring.values import ValueScorer

BUFFERS = range(0, 101, 20)  # rows
LEVELS = 250  # thresholds
PROBATION, MOST = 0.15, 750  # rows of a file that are not judged, as NAB does
COUNT, DAILY, SEEDS = 6_500, 288, 2  # of made streams
Floats = NDArray[np.float64]


def vus(labels: Floats, scores: Floats) -> float:
    """Of one series; `labels` are 0 or 1."""
    thresholds = np.sort(scores)[::-1][np.linspace(0, len(scores) - 1, LEVELS).astype(int)]
    return float(np.mean([_area(labels, scores, thresholds, buffer) for buffer in BUFFERS]))


def _area(labels: Floats, scores: Floats, thresholds: Floats, buffer: int) -> float:
    wide = _faded(labels, buffer)
    spans, wanted = _spans(wide > 0), (labels.sum() + wide.sum()) / 2.0
    area = before = 0.0
    for threshold in thresholds:
        told = scores >= threshold
        right = float((wide * told).sum())
        met = np.mean([told[begin:end].any() for begin, end in spans])
        recall = min(right / wanted, 1.0) * float(met)
        area += (recall - before) * right / told.sum()
        before = recall
    return area


def _faded(labels: Floats, buffer: int) -> Floats:
    wide = labels.copy()
    for begin, end in _spans(labels > 0):
        for n in range(1, buffer // 2 + 1):
            for at in (begin - n, end - 1 + n):
                if 0 <= at < len(wide):
                    wide[at] += sqrt(1.0 - n / buffer)
    return np.minimum(wide, 1.0)


def _spans(on: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], on, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def running_z(values: Sequence[float]) -> Floats:
    """Of each value beside all before it."""
    count, mean, squares, found = 0, 0.0, 0.0, [0.0] * len(values)
    for n, value in enumerate(values):
        if not isfinite(value):
            continue
        if count > 1 and squares > 0.0:
            found[n] = abs(value - mean) / sqrt(squares / count)
        count += 1
        off = value - mean
        mean += off / count
        squares += off * (value - mean)
    return np.array(found)


def told(name: str, rows: list[list[float]]) -> None:
    """A line: the means."""
    raw, alone, rival = np.mean(rows, axis=0).round(3).tolist()
    line = {"of": name, "series": len(rows), "raw_score": raw, "value alone": alone, "z": rival}
    print(json.dumps(line), flush=True)


def files(folder: Path, windows: dict[str, list[list[str]]]) -> None:
    """Series whose anomalies are windows of time; those without any have no VUS-PR."""
    rows = []
    for name, spans in windows.items():
        if not spans:
            continue
        lines = list(csv.DictReader((folder / name).open()))
        times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
        inside = [
            any(datetime.fromisoformat(a) <= at <= datetime.fromisoformat(b) for a, b in spans)
            for at in times
        ]
        columns = [
            np.array([float(line[column] or "nan") for line in lines])
            for column in ("raw_score", "anomaly_score")
        ]
        columns.append(running_z([float(line["value"] or "nan") for line in lines]))
        first = min(int(PROBATION * len(lines)), MOST)
        labels = np.array(inside, float)[first:]
        rows.append([vus(labels, column[first:]) for column in columns])
    told("windows (alone: after the pause)", rows)


def made() -> None:
    """Streams of seven kinds with two faults each."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for kind, fault, seed in _all():
        chance = random.Random(f"vus {kind} {fault} {seed}")
        values, unit = stream(kind, chance, COUNT, DAILY)
        labels = np.zeros(COUNT)
        for begin in (1_600, 3_800):
            at = begin + chance.randrange(300)
            labels[at : at + inject(values, fault, at, unit, chance)] = 1.0
        scorer, raw, alone = ValueScorer(), np.zeros(COUNT), np.zeros(COUNT)
        for n, value in enumerate(values):
            score = scorer.score_then_learn(n * 300.0, value)
            if score is not None:
                raw[n], alone[n] = score.raw_score, score_of(score.surprise)
        each: list[Any] = [raw, alone, running_z(values)]
        rows[fault].append([vus(labels[MOST:], column[MOST:]) for column in each])
    for fault, own in rows.items():
        told(fault, own)
    told("all", [one for own in rows.values() for one in own])


def _all() -> Iterator[tuple[str, str, int]]:
    for fault in FAULTS:
        for kind in STREAMS:
            for seed in range(SEEDS):
                yield kind, fault, seed


def main() -> None:
    """Judge what is named, or what is made."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="SCORES WINDOWS.json")
    match parser.parse_args().paths:
        case []:
            made()
        case [folder, windows]:
            files(folder, json.loads(windows.read_text()))
        case _:
            parser.error("expected both paths or none")


if __name__ == "__main__":
    main()
