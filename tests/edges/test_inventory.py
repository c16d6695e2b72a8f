"""The inventory's file: what cannot be read, and what is doubtful, is told with line and hint."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from eventd.cli import main
from eventd.core.model import Ci, Dependency, LoadInventory, Service
from eventd.errors import ConfigError
from eventd.inventory import examine, is_inventory, read_inventory

ROOT = Path(__file__).parents[2]

GOOD = """\
services:
  - name: Payments
    owner: team-payments
    impact: 1
    hours: 24x7
    depends_on: [web1, {name: web2, redundant: true}]
cis:
  - {name: web1, type: vm, site: dc1, service: payments, aliases: [10.0.0.1], depends_on: [san]}
  - {name: web2, service: payments, depends_on: [san]}
  - {name: san, type: null}
"""

# What stands in the file, and the whole lines that an operator reads behind the file's name.
WRONG = [
    ("", ["1: expected a mapping, got nothing (services: [...] and cis: [...])"]),
    ("- a", ["1: expected a mapping, got a list (services: [...] and cis: [...])"]),
    (
        "services: []\nhosts: []",
        ["2: hosts: unknown key 'hosts' (known: services, cis)"],
    ),
    ("cis: {a: b}", ["1: cis: expected a list, got a mapping (begin each entry with a dash)"]),
    (
        "cis:\n  - name: a\n    alias: b\n  - nme: c\n  - 5",
        [
            "3: cis[0].alias: unknown key 'alias' (did you mean 'aliases'?)",
            "4: cis[1].nme: unknown key 'nme' (did you mean 'name'?)",
            "5: cis[2]: expected a mapping, got 5 "
            "(keys: name, type, site, service, aliases, depends_on)",
        ],
    ),
    ("cis:\n  - {type: vm}", ["2: cis[0]: the key 'name' is missing (needed: name)"]),
    (
        "cis:\n  - {name: ''}",
        ['2: cis[0].name: expected a text that is not empty, got "" (write it out)'],
    ),
    (
        "cis:\n  - {name: 5}",
        ['2: cis[0].name: expected a text, got 5 (put it in quotes: "5")'],
    ),
    (
        "services:\n  - name: a\n    impact: 4",
        ["3: services[0].impact: expected a whole number of at most 3, got 4 (1 to 3)"],
    ),
    (
        "cis:\n  - name: a\n    depends_on: b",
        ['3: cis[0].depends_on: expected a list, got "b" (write ["b"])'],
    ),
    (
        "cis:\n  - name: a\n    depends_on:\n      - {name: b, redundent: true}",
        ["4: cis[0].depends_on[0].redundent: unknown key 'redundent' (did you mean 'redundant'?)"],
    ),
    (
        "cis:\n  - name: a\n    depends_on: [5]",
        ['3: cis[0].depends_on[0]: expected a text or a mapping, got 5 (put it in quotes: "5")'],
    ),
    ("cis: [", ["2: is no YAML: did not find expected node content (look at what is before it)"]),
]

# The same for what can be loaded and is doubtful.
DOUBTFUL = [
    (
        "services:\n  - name: shop\ncis:\n  - {name: web1, service: shop}\n"
        "  - {name: WEB1.example, service: shop}",
        '5: cis[1].name: "WEB1.example" stands at line 4 already: the two are one '
        "(rename one; case, port and domain make no difference)",
    ),
    (
        "services:\n  - name: shop\n    service: bank",
        '3: services[0].service: a service is part of no other, got "bank" (use depends_on)',
    ),
    (
        "services:\n  - name: shop\n    depends_on: [a, b]\ncis:\n"
        "  - {name: a, aliases: [10.0.0.1]}\n  - {name: b, aliases: [b.example, 10.0.0.1]}",
        '6: cis[1].aliases[1]: "10.0.0.1" means what stands at line 5 (give it to one of them)',
    ),
    (
        "services:\n  - name: shop\n    depends_on: [a, b]\ncis:\n"
        "  - {name: a, aliases: [b]}\n  - {name: b}",
        '5: cis[0].aliases[0]: "b" means what stands at line 6 (give it to one of them)',
    ),
    (
        "services:\n  - name: payments\ncis:\n  - name: web1\n    service: paymnts",
        "5: cis[0].service: no service is called \"paymnts\" (did you mean 'payments'?)",
    ),
    (
        "services:\n  - name: shop\n    depends_on:\n      - web1\n      - {name: wbe2}\n"
        "cis:\n  - {name: web1}\n  - {name: web2, service: shop}",
        "5: services[0].depends_on[1]: nothing is called \"wbe2\" (did you mean 'web2'?)",
    ),
    (
        "services:\n  - name: shop\n    depends_on: [storage]",
        '3: services[0].depends_on[0]: nothing is called "storage" '
        "(write it down, or mend the name)",
    ),
    (
        "services:\n  - name: shop\n    depends_on: [Shop]",
        "3: services[0].depends_on[0]: it depends on itself (leave it out)",
    ),
    (
        "services:\n  - name: shop\n    depends_on: [a]\ncis:\n  - {name: a, depends_on: [b]}\n"
        "  - name: b\n    depends_on:\n      - c\n"
        "  - {name: c, depends_on: [{name: a, redundant: true}, b, d]}\n  - {name: d}",
        "7: cis[1].depends_on: depends on itself: b → c → b (take one out, or mark it redundant)",
    ),
]


def written(folder: Path, text: str) -> Path:
    path = folder / "inventory.yaml"
    path.write_text(text)
    return path


def test_an_inventory_reads_as_its_rows(tmp_path: Path) -> None:
    load = read_inventory(written(tmp_path, GOOD)).load

    assert load == LoadInventory(
        load.version,
        (
            Service(
                "Payments",
                owner="team-payments",
                impact=1,
                hours="24x7",
                depends_on=("web1", Dependency("web2", redundant=True)),
            ),
        ),
        (
            Ci(
                "web1",
                type="vm",
                site="dc1",
                service="payments",
                aliases=("10.0.0.1",),
                depends_on=("san",),
            ),
            Ci("web2", service="payments", depends_on=("san",)),
            Ci("san"),
        ),
    )


def test_the_version_is_of_what_is_said_not_of_how_it_is_written(tmp_path: Path) -> None:
    one = read_inventory(written(tmp_path, "cis:\n  - name: a\n")).load
    same = read_inventory(written(tmp_path, '# a\n{"services": [], "cis": [{"name": "a"}]}')).load
    other = read_inventory(written(tmp_path, "cis:\n  - name: b\n")).load

    assert one == same
    assert one.version != other.version


@pytest.mark.parametrize(("text", "lines"), WRONG)
def test_what_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        read_inventory(path)

    assert caught.value.problems == [f"{path}:{line}" for line in lines]


@pytest.mark.parametrize(("text", "line"), DOUBTFUL)
def test_what_is_doubtful_is_told_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    path = written(tmp_path, text)

    found = list(examine(read_inventory(path)))

    assert [one.line for one in found] == [f"{path}:{line}"]
    assert found[0].fault


def test_every_circle_is_told(tmp_path: Path) -> None:
    text = """\
services:
  - {name: s, depends_on: [a, x]}
cis:
  - {name: a, depends_on: [b]}
  - {name: b, depends_on: [c]}
  - {name: c, depends_on: [b, a]}
  - {name: x, depends_on: [y, b]}
  - {name: y, depends_on: [x]}
"""

    found = [one.line for one in examine(read_inventory(written(tmp_path, text)))]

    ways = [line.partition("itself: ")[2].partition(" (")[0] for line in found]
    assert ways == ["b → c → b", "a → b → c → a", "x → y → x"]


def test_a_ci_that_matters_to_no_service_is_told_and_no_fault(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "  - {name: lab, depends_on: [bench]}\n  - {name: bench}\n")

    found = list(examine(read_inventory(path)))

    hint = "(name its service, if it has one)"
    assert [(one.line, one.fault) for one in found] == [
        (f"{path}:11: cis[3]: lab is of no service, and no service needs it {hint}", False),
        (f"{path}:12: cis[4]: bench is of no service, and no service needs it {hint}", False),
    ]


def test_the_name_that_was_meant_is_looked_for_only_so_often(tmp_path: Path) -> None:
    rows = "\n".join(f"  - {{name: web{n}, depends_on: [wbe{n}]}}" for n in range(25))

    found = [one.line for one in examine(read_inventory(written(tmp_path, f"cis:\n{rows}")))]

    assert sum("did you mean" in line for line in found) == 20
    assert sum("mend the name" in line for line in found) == 5


def test_a_file_is_an_inventory_by_its_first_key(tmp_path: Path) -> None:
    texts = ["# us\ncis: []", "services: []", "rules: []", "- cis", "", "cis", "a: &b [", "\x00"]

    told = [is_inventory(written(tmp_path, text)) for text in texts]

    assert told == [True, True, False, False, False, True, False, False]
    assert not is_inventory(tmp_path / "none")


def test_the_example_is_good_and_shows_every_key() -> None:
    example = ROOT / "config" / "inventory.yaml"
    written = read_inventory(example)

    assert list(examine(written)) == []
    text = example.read_text()
    for kind in (Service, Ci, Dependency):
        for key in kind.__struct_fields__:
            assert f"{key}:" in text, (kind, key)


def test_a_good_inventory_is_checked_from_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "  - {name: lab}\n")

    done = CliRunner().invoke(main, ["check", str(path)])

    assert done.exit_code == 0
    assert "1 service, 4 CIs, version " in done.output
    assert "cis[3]: lab is of no service" in done.output


def test_a_doubtful_inventory_is_bad_from_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, "cis:\n  - {name: a, depends_on: [b]}")

    done = CliRunner().invoke(main, ["check", str(path)])

    assert done.exit_code == 1
    assert f'{path}:2: cis[0].depends_on[0]: nothing is called "b"' in done.output
