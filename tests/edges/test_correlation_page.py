"""The page on the automatic correlation has every parameter as the program has it.

After one has changed, `python -m tests.edges.test_correlation_page` prints the tables anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src" / "eventd" / "core"
PAGE = ROOT / "docs" / "correlation.md"
ROW = re.compile(r"^([A-Z][A-Z_, ]*) = (.*?)(?:  # (.*))?$")
IN_SECONDS = re.compile(r"^s\b[;,]? ?(.*)$")


def tables() -> str:
    """Every parameter of `core/correlation/parameters.py`, a table for each part of it."""
    parts = []
    for line in (CORE / "correlation" / "parameters.py").read_text().splitlines():
        if heading := re.match(r"# -- (.*?):? -+$", line):
            parts.append(f"\n**{_capital(heading[1])}**\n\n{HEAD}")
        elif found := ROW.match(line):
            parts.append(_row(*found.groups()))
    return "\n".join(parts) + "\n"


def habits() -> str:
    """Those of flapping, heartbeats and the habits of sources."""
    parts = []
    for name in ("flapping", "heartbeats", "scoring/pulse", "habits"):
        parts.append(f"\n**`core/{name}.py`**\n\n{HEAD}")
        lines = (CORE / f"{name}.py").read_text().splitlines()
        rows = (
            found
            for line in lines
            if (found := ROW.match(line)) and found[3] and '"' not in found[2]
        )
        parts += [_row(*found.groups()) for found in rows]
    return "\n".join(parts) + "\n"


HEAD = "| name | default | unit | what, and why |\n|---|---|---|---|"


def _row(names: str, value: str, comment: str | None) -> str:
    assert comment, f"{names} has no reason"
    unit, reason = "", comment
    if in_seconds := IN_SECONDS.match(comment):
        unit, reason = "s", in_seconds[1]
    assert reason, f"{names} has no reason"
    shown = ", ".join(f"`{name}`" for name in names.split(", "))
    numbers = re.sub(r"\.0\b", "", value.strip("()").replace("_", ","))
    return f"| {shown} | {numbers} | {unit} | {reason} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def every_name() -> Iterator[str]:
    text = (CORE / "correlation" / "parameters.py").read_text()
    for found in re.finditer(r"^([A-Z][A-Z_, ]*) = ", text, re.MULTILINE):
        yield from found[1].split(", ")


def test_the_page_has_every_parameter_with_its_default_unit_and_reason() -> None:
    page = PAGE.read_text()

    assert tables() in page
    assert habits() in page


def test_a_parameter_that_the_text_names_exists() -> None:
    text = PAGE.read_text().partition("## Parameters")[0]

    named = set(re.findall(r"`([A-Z][A-Z_]+)`", text))

    assert len(named) > 10
    assert named <= set(every_name())


if __name__ == "__main__":
    sys.stdout.write(tables() + habits())
