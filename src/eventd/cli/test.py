"""`eventd test`: the tests beside the rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import click
import msgspec

from eventd.cases import Case, read_cases
from eventd.cli.lines import say, say_json
from eventd.cli.options import NewFile
from eventd.clock import monotonic
from eventd.core.sentences import inert
from eventd.errors import ConfigError
from eventd.files import default_rules
from eventd.ruletests import Result, run


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--junit", type=NewFile(), help="Write the results as JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def test(paths: tuple[Path, ...], junit: Path | None, *, as_json: bool) -> None:
    """Run the tests in rules files, or in directories of them; without PATHS the default set's.

    A case is judged by the rules of its own file, in a fresh engine and in a time of its own. One
    line a case; where one fails, `-` is what was wanted and `+` what happened.
    """
    try:
        cases = [case for path in paths or (default_rules(),) for case in read_cases(path)]
    except ConfigError as error:
        say(*error.problems, err=True)
        sys.exit(2)
    if not cases:
        say(f"eventd test: no test stands in {', '.join(map(str, paths))}", err=True)
        sys.exit(2)
    results: list[tuple[Result, float]] = []
    for case in cases:
        began = monotonic()
        result = run(case)
        results.append((result, monotonic() - began))
        if as_json:
            say_json(_as_json(result))
        else:
            say(*_as_text(result))
    failed = sum(not result.good for result, _ in results)
    if not as_json:
        say(f"{len(results) - failed} passed, {failed} failed")
    if junit is not None:
        junit.write_text("\n".join(_as_junit(results)) + "\n", encoding="utf-8")
    sys.exit(1 if failed else 0)


def _place(case: Case) -> str:
    return f"{case.file}:{case.line}"


def _as_text(result: Result) -> Iterator[str]:
    case = result.case
    yield f"{'ok  ' if result.good else 'FAIL'}  {_place(case)}  {case.name}"
    if not result.good:
        for line in result.difference():
            yield f"      {line}"


def _as_json(result: Result) -> str:
    case = result.case
    said = {
        "file": case.file,
        "line": case.line,
        "name": case.name,
        "passed": result.good,
        "missing": [str(row) for row in result.missing],
        "extra": [str(row) for row in result.extra],
    }
    return msgspec.json.encode(said).decode()


def _as_junit(results: Sequence[tuple[Result, float]]) -> Iterator[str]:
    """A suite a file, in order."""
    files: dict[str, list[tuple[Result, float]]] = {}
    for one in results:
        files.setdefault(one[0].case.file, []).append(one)
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield "<testsuites>"
    for file, own in files.items():
        failed = sum(not result.good for result, _ in own)
        took = sum(seconds for _, seconds in own)
        counts = f'tests="{len(own)}" failures="{failed}" time="{took:.3f}"'
        yield f"<testsuite name={quoteattr(file)} {counts}>"
        for result, seconds in own:
            case = result.case
            name = f"name={quoteattr(inert(case.name))} classname={quoteattr(file)}"
            place = f'file={quoteattr(file)} line="{case.line}" time="{seconds:.3f}"'
            if result.good:
                yield f"<testcase {name} {place}/>"
                continue
            told = escape("\n".join(inert(line) for line in result.difference()))
            message = f"{len(result.missing)} missing, {len(result.extra)} unexpected"
            yield f'<testcase {name} {place}><failure message="{message}">{told}</failure>'
            yield "</testcase>"
        yield "</testsuite>"
    yield "</testsuites>"
