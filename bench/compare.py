"""One checkout against another, turn about: `python -m bench.compare OTHER [FIGURE…]`.

    git worktree add ../before COMMIT && make -C ../before setup
    python -m bench.compare ../before

Both daemons stand side by side and get the same work in small portions, each first in every other
round, so that what else the machine does touches both: the means are comparable to some hundredths
where those of two whole runs, one after the other, differ by a fifth. (Means, as a checkpoint comes
with every other portion or so: medians tell whose came more often among so few.) How a process came
to lie in memory is worth another tenth for as long as it lives, so there are several pairs of them.
A line of JSON for each figure: microseconds of CPU an event, before and now, and commits an event,
the medians of the pairs; their ratio, the median of those of the pairs, which stand behind it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.daemon import Mosquitto, until

from bench import load
from bench.run import ALERTS, Bench, batches

PORTION = 5_000  # events
SETTLES = 0.7  # s after a portion in which its commits and checkpoints end
ROUNDS = 12  # of a pair
PAIRS = 7

Work = Callable[[int], object]  # of the round; one portion


def main() -> None:
    """Compare what is named, or everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="a checkout that has its .venv")
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each pair")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    asked = parser.parse_args()
    python = asked.other / ".venv" / "bin" / "python"
    if not python.exists():
        parser.error(f"{python} is not there: make setup in {asked.other}")
    for figure in asked.figures or FIGURES:
        pairs: list[Pair] = []
        for _ in range(asked.pairs):
            with tempfile.TemporaryDirectory() as folder:
                pairs.append(compared(figure, Path(folder), str(python.absolute()), asked.rounds))
        print(json.dumps(summary(figure, pairs, asked.rounds)), flush=True)


class Pair(NamedTuple):
    """What a daemon of each spent, before and now."""

    spent: tuple[float, float]  # us of CPU an event
    commits: tuple[float, float]  # an event

    @property
    def ratio(self) -> float:
        """More than 1: now takes longer."""
        return self.spent[1] / self.spent[0]


def summary(figure: str, pairs: list[Pair], rounds: int) -> dict[str, object]:
    """The medians of the pairs."""
    before, now = (statistics.median(pair.spent[side] for pair in pairs) for side in (0, 1))
    commits = (statistics.median(pair.commits[side] for pair in pairs) for side in (0, 1))
    return {
        "figure": figure,
        "before_us": round(before, 1),
        "now_us": round(now, 1),
        "ratio": round(statistics.median(pair.ratio for pair in pairs), 3),
        "ratios": sorted(round(pair.ratio, 3) for pair in pairs),
        "commits_event": [round(one, 4) for one in commits],
        "rounds": rounds,
    }


def compared(figure: str, folder: Path, python: str, rounds: int) -> Pair:
    """The means of so many rounds, after one that does not count."""
    with ExitStack() as stack:
        sides = [
            Side(figure, folder / "before", python, stack),
            Side(figure, folder / "now", sys.executable, stack),
        ]
        for number in range(rounds + 1):
            for side in sides[:: 1 if number % 2 else -1]:
                side.turn(number)
    before, now = sides
    return Pair(
        (statistics.fmean(before.spent[1:]), statistics.fmean(now.spent[1:])),
        (statistics.fmean(before.commits[1:]), statistics.fmean(now.commits[1:])),
    )


class Side:
    """A daemon of one of the two."""

    def __init__(self, figure: str, folder: Path, python: str, stack: ExitStack) -> None:
        """Started; stopped with the stack."""
        folder.mkdir()
        broker: Mosquitto | None = None
        if figure == "mqtt":
            broker = Mosquitto(folder / "broker", saves=False)
            broker.start()
            stack.callback(broker.stop)
        self.bench = Bench(folder, mqtt_port=broker.port if broker else None, python=python)
        stack.callback(self.bench.daemon.stop)
        self.spent: list[float] = []  # us of CPU an event
        self.commits: list[float] = []  # an event
        self._work = FIGURES[figure](self.bench, broker)

    def turn(self, number: int) -> None:
        """A portion."""
        pid, commits = self.bench.daemon.pid, self.bench.done()["commits"]
        began = _cpu(pid)
        self._work(number)
        time.sleep(SETTLES)
        self.spent.append((_cpu(pid) - began) / PORTION * 1e6)
        self.commits.append((self.bench.done()["commits"] - commits) / PORTION)


def repeats(bench: Bench, _: Mosquitto | None) -> Work:
    """In batches of a hundred."""
    known = batches("host", ALERTS, 100)
    load.post_all(bench.daemon.port, known, 2)
    return lambda _: load.post_all(bench.daemon.port, known[: PORTION // 100], 4)


def new(bench: Bench, _: Mosquitto | None) -> Work:
    """In batches of a hundred."""
    return lambda number: load.post_all(
        bench.daemon.port, batches(f"new-{number}", PORTION, 100), 4
    )


def single(bench: Bench, _: Mosquitto | None) -> Work:
    """Repeats, one a request, over 32 connections."""
    load.post_all(bench.daemon.port, batches("host", ALERTS, 100), 2)
    posts = batches("host", PORTION, 1)
    return lambda _: load.post_all(bench.daemon.port, posts, 32)


def mqtt(bench: Bench, broker: Mosquitto | None) -> Work:
    """QoS 1, repeats, each with an id."""
    if broker is None:
        raise ValueError("a figure of MQTT takes a broker")
    until(bench.daemon.subscribed, 10.0, "the subscription")
    publisher = load.Publisher(broker.port)

    def work(number: int) -> None:
        wanted = bench.done()["inputs"] + PORTION
        ids = range(number * PORTION, (number + 1) * PORTION)
        payloads = (load.native(k % ALERTS, "mq", id=f"m{k}") for k in ids)
        publisher.publish("events/bench", payloads)
        until(lambda: bench.done()["inputs"] >= wanted, 120.0, "all to be journaled")

    return work


FIGURES: dict[str, Callable[[Bench, Mosquitto | None], Work]] = {
    "repeats": repeats,
    "new": new,
    "single": single,
    "mqtt": mqtt,
}


def _cpu(pid: int) -> float:
    """Seconds all threads of it have used, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


if __name__ == "__main__":
    main()
