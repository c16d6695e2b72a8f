"""`eventd score`: rows in, rows out, what is told of one, the picture, and what cannot be read."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from eventd.cli import main
from eventd.core.scoring.values import ValueScorer

HEAD = "timestamp,value\n"
SPIKE = 700


def outcome(*args: object) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, args)])


def series(folder: Path, name: str = "load.csv", rows: int = 1_000) -> Path:
    """Noise every five minutes, one spike in it, and a gap."""
    chance = random.Random(1)
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    values = [f"{chance.gauss(50, 2):.3f}" for _ in range(rows)]
    if rows > SPIKE:
        values[SPIKE], values[300] = "400.0", "nan"
    lines = [
        f"2026-01-{5 + n // 288:02} {n // 12 % 24:02}:{n % 12 * 5:02}:00,{value}\n"
        for n, value in enumerate(values)
    ]
    file.write_text(HEAD + "".join(lines))
    return file


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_every_row_gets_its_scores_and_the_spike_alarms(tmp_path: Path) -> None:
    file = series(tmp_path)

    done = outcome(file)

    assert done.exit_code == 0
    found = rows(done.output)
    given = rows(file.read_text())
    assert [{"timestamp": r["timestamp"], "value": r["value"]} for r in found] == given
    assert {*found[0]} == {"timestamp", "value", "raw_score", "anomaly_score", "alarm"}
    assert found[SPIKE]["alarm"] == "1"
    assert 0.5 <= float(found[SPIKE]["anomaly_score"]) <= float(found[SPIKE]["raw_score"])
    assert float(found[SPIKE + 1]["anomaly_score"]) == 0.0 < float(found[SPIKE + 1]["raw_score"])
    assert found[0]["raw_score"] == "0.0"
    assert float(found[300]["raw_score"]) < 0.1
    alarms = [n for n, row in enumerate(found) if row["alarm"] == "1"]
    assert SPIKE in alarms
    assert all((row["alarm"] == "1") == (float(row["anomaly_score"]) >= 0.5) for row in found)


def test_a_row_is_judged_by_those_before_it(tmp_path: Path) -> None:
    whole = outcome(series(tmp_path)).output.splitlines()
    part = tmp_path / "part.csv"
    part.write_text("\n".join(series(tmp_path).read_text().splitlines()[: SPIKE + 2]))

    assert outcome(part).output.splitlines() == whole[: SPIKE + 2]


def test_several_files_keep_their_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = series(tmp_path, "a/load.csv", 20), series(tmp_path, "b/load.csv", 30)

    assert outcome(one, two, "--out", tmp_path / "absolute").exit_code == 0
    monkeypatch.chdir(tmp_path / "a")
    assert outcome("load.csv", "../b/load.csv", "--out", tmp_path / "above").exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert outcome("a/load.csv", "--out", tmp_path / "relative").exit_code == 0

    for out in ("absolute", "above"):
        assert len(rows((tmp_path / out / "a/load.csv").read_text())) == 20
        assert len(rows((tmp_path / out / "b/load.csv").read_text())) == 30
    assert len(rows((tmp_path / "relative/a/load.csv").read_text())) == 20


def test_a_row_is_explained_in_words(tmp_path: Path) -> None:
    file = series(tmp_path)

    told = outcome(file, "--explain", SPIKE + 1)
    as_data = json.loads(outcome(file, "--explain", SPIKE + 1, "--json").output)

    assert told.exit_code == 0
    assert ": alarm\n" in told.output
    assert "400; usual for" in told.output
    assert as_data["alarm"] is True
    assert [reason["sentence"] in told.output for reason in as_data["because"]] == [True, True]
    assert "no score" in outcome(file, "--explain", 1).output
    beyond = outcome(file, "--explain", 5_000)
    assert beyond.exit_code == 2
    assert "has no row 5000" in beyond.stderr


def test_rows_as_json_lines(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in outcome(series(tmp_path), "--json").output.splitlines()]

    assert lines[0] == {"timestamp": "2026-01-05 00:00:00", "value": lines[0]["value"]}
    assert lines[SPIKE]["raw_score"] >= 0.5


def test_the_picture_has_values_band_scores_and_alarms(tmp_path: Path) -> None:
    picture = tmp_path / "load.svg"

    assert outcome(series(tmp_path), "--plot", picture).exit_code == 0

    root = ET.parse(picture).getroot()
    marks = [element.get("class") for element in root.iter()]
    assert {"b", "v", "s", "a", "g"} <= set(marks)
    assert any("400; usual for" in (t.text or "") for t in root.iter() if t.tag.endswith("title"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-05,nan\n",
        "1,1e308\n2,-1e308\n",
        "1,1.1111111111111112e300\n",
        "1,2e300\n",
        "1e300,1\ninf,2\n",
        "5,7\n" * 300,
    ],
)
def test_whatever_is_in_a_series_there_is_a_picture(tmp_path: Path, text: str) -> None:
    file = tmp_path / "<odd>\x1b.csv"
    file.write_text(HEAD + text)

    assert outcome(file, "--plot", tmp_path / "odd.svg").exit_code == 0

    ET.parse(tmp_path / "odd.svg")


def test_times_with_zones_and_epochs_other_columns_and_quotes(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_text(
        "\ufeffid,value, timestamp\n7,1,2026-01-05T00:00:00+01:00\n8,,1767571200\n\n"
        '9,inf,"2026-01-05 00:00"\n'
    )

    done = outcome(file)

    assert done.exit_code == 0
    assert [row["value"] for row in rows(done.output)] == ["1", "", "inf"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ":1: expected a header with timestamp and value, got ''"),
        ("time,value\n", ":1: expected a header with timestamp and value, got 'time,value'"),
        (HEAD + "2026-01-05,1\n2026-01-06\n", ":3: expected 2 columns, got '2026-01-06'"),
        (HEAD + "2026-01-05,1\nyesterday,1\n", ":3: expected timestamp: a time such as"),
        (HEAD + "2026-01-05,1\n2026-01-06,warm\n", ":3: expected value: a number, got 'warm'"),
        (HEAD + '2026-01-05,"1"x\n', ":2: no CSV: "),
        (HEAD + "2026-01-05,\xff\n", ": expected UTF-8, got 0xff"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_line(
    tmp_path: Path, text: str, told: str
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_bytes(text.encode("latin-1"))
    good = series(tmp_path, rows=10)

    done = outcome(bad, good, "--out", tmp_path / "out")

    assert done.exit_code == 2
    assert f"{bad}{told}" in done.stderr
    assert len(rows((tmp_path / "out" / "load.csv").read_text())) == 10


def test_a_folder_is_no_series(tmp_path: Path) -> None:
    done = outcome(tmp_path)

    assert done.exit_code == 2
    assert f"{tmp_path}: Is a directory" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, option: str) -> None:
    place = tmp_path / "place"
    if option == "--out":
        place.write_text("a file")
    else:
        place.mkdir()

    done = outcome(series(tmp_path, rows=5), option, place)

    assert done.exit_code == 2
    assert done.stderr.startswith(f"{place}: ")
    assert done.stderr.endswith("(choose another place for the scores)\n")


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_what_is_read_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    file = series(tmp_path, rows=5)
    said = file.read_text()
    monkeypatch.chdir(tmp_path)

    done = outcome(file.name, option, "." if option == "--out" else file)

    assert done.exit_code == 2
    assert "load.csv would be written over: choose another place" in done.stderr
    assert file.read_text() == said


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    done = outcome(series(tmp_path, rows=5), "--plot", "/dev/full")

    assert done.exit_code == 2
    assert "No space left on device (choose another place for the scores)" in done.stderr


def test_several_files_without_a_place_to_go_are_refused(tmp_path: Path) -> None:
    file = series(tmp_path, rows=5)

    for options in (["--out", tmp_path / "o", "--explain", 1], ["--plot", tmp_path / "p.svg"], []):
        assert outcome(file, file, *options).exit_code == 2


def test_the_command_and_the_scorer_load_no_river() -> None:
    code = (
        "import sys; import eventd.cli.score, eventd.cli.run\n"
        "sys.exit(any(name.split('.')[0] in ('river', 'numpy') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_says_what_the_scorer_says(tmp_path: Path) -> None:
    file = series(tmp_path, rows=400)
    scorer = ValueScorer()
    given = rows(file.read_text())

    found = rows(outcome(file).output)

    for n, (row, scored) in enumerate(zip(given, found, strict=True)):
        one = scorer.score_then_learn(1_767_571_200.0 + 300 * n, float(row["value"]))
        assert float(scored["raw_score"]) == (one.raw_score if one else 0.0)
