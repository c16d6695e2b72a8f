"""`eventd score`: how strange each value of a recorded series is, given those before it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import click
import msgspec

from eventd import plot, series
from eventd.cli.lines import say, say_json
from eventd.cli.options import spare
from eventd.core.scoring.reasons import sentence
from eventd.core.scoring.scorer import Score
from eventd.core.scoring.values import ValueScorer
from eventd.errors import ConfigError
from eventd.plot import Point
from eventd.series import Row

HEADER = "timestamp,value,raw_score,anomaly_score,alarm\n"
Scored = tuple[Row, Score | None]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the scores of FILES.")
@click.option("--explain", type=click.IntRange(min=1), help="Tell of this row; 1 is the first.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw FILE as SVG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def score(
    files: tuple[Path, ...],
    out: Path | None,
    explain: int | None,
    picture: Path | None,
    *,
    as_json: bool,
) -> None:
    """Score the values of CSV FILES with columns timestamp and value, in one pass.

    Each row is judged by those before it alone. `raw_score` says how strange it is with what came
    just before, `anomaly_score` how strange by itself, but 0 while an anomaly that has alarmed may
    last, `alarm` is 1 where that reaches 0.5.
    Scores are 0 where it does not know yet and where nothing was measured.

    Several FILES need --out, where they keep their relative paths.
    """
    if len(files) > 1 and (out is None or explain is not None or picture is not None):
        raise click.UsageError("several FILES need --out; --explain and --plot take one FILE")
    names = _names(files)
    spare(files, *[out / name for name in names if out is not None], picture)
    bad = False
    for file, name in zip(files, names, strict=True):
        try:
            if out is not None:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                with (out / name).open("w", encoding="utf-8") as stream:
                    stream.writelines(chain([HEADER], map(_csv, scored(file))))
            if explain is not None:
                _explain(file, explain, as_json=as_json)
            if picture is not None:
                points = [
                    Point(row.at, row.value, found, found is not None and found.alarm)
                    for row, found in scored(file)
                ]
                picture.write_text(plot.svg(str(file), points), encoding="utf-8")
            if out is None and explain is None and picture is None:
                _print(file, sys.stdout, as_json=as_json)
        except ConfigError as error:
            bad = True
            say(*error.problems, err=True)
        except OSError as error:
            if isinstance(error, BrokenPipeError):  # nobody reads what is printed any more
                raise
            bad = True
            where, why = error.filename or "what is written", error.strerror or error
            say(f"{where}: {why} (choose another place for the scores)", err=True)
    sys.exit(2 if bad else 0)


def scored(file: Path) -> Iterator[Scored]:
    """Its rows, each with what is thought of it when it comes. Raise ConfigError as `read` does."""
    scorer = ValueScorer()
    for row in series.read(file):
        yield row, scorer.score_then_learn(row.at, row.value)


def _names(files: Sequence[Path]) -> list[Path]:
    """Relative paths as given; where one leads elsewhere, all from their common folder."""
    if not any(file.is_absolute() or ".." in file.parts for file in files):
        return list(files)
    whole = [Path(os.path.normpath(file.absolute())) for file in files]
    common = os.path.commonpath([file.parent for file in whole])
    return [file.relative_to(common) for file in whole]


def _csv(one: Scored) -> str:
    row, found = one
    if found is None:
        return f"{_quoted(row.timestamp)},{_quoted(row.written)},0.0,0.0,0\n"
    scores = f"{found.raw_score!r},{found.anomaly_score!r},{found.alarm:d}"
    return f"{_quoted(row.timestamp)},{_quoted(row.written)},{scores}\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


def _told(one: Scored) -> dict[str, object]:
    row, found = one
    told: dict[str, object] = {"timestamp": row.timestamp, "value": row.written}
    if found is not None:
        told |= msgspec.to_builtins(found) | {"alarm": found.alarm}
        told["because"] = [
            msgspec.to_builtins(reason) | {"sentence": sentence(reason)} for reason in found.because
        ]
    return told


def _print(file: Path, stream: TextIO, *, as_json: bool) -> None:
    if as_json:
        stream.writelines(msgspec.json.encode(_told(one)).decode() + "\n" for one in scored(file))
    else:
        stream.writelines(chain([HEADER], map(_csv, scored(file))))


def _explain(file: Path, wanted: int, *, as_json: bool) -> None:
    one = next(islice(scored(file), wanted - 1, None), None)
    if one is None:
        raise ConfigError([f"{file}: has no row {wanted}"])
    if as_json:
        say_json(msgspec.json.encode(_told(one)).decode())
        return
    row, found = one
    say(f"{row.timestamp}  {row.written}")
    if found is None:
        say("no score: not measured, or too few values before it")
        return
    alarm = "alarm" if found.alarm else "no alarm"
    say(f"raw {found.raw_score:.3f}, after the pause {found.anomaly_score:.3f}: {alarm}")
    say(f"usual is {found.low:.6g} to {found.high:.6g}")
    for reason in found.because:
        say(f"- {reason.part}: {sentence(reason)}")
