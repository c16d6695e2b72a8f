"""Operators' files: what is wrong with rules, YAML and secrets is told with file, line and hint."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventd.config import Environment, load
from eventd.core.rules import KINDS
from eventd.document import parse_yaml, read
from eventd.errors import ConfigError
from eventd.files import Secret, load_rules, secret
from eventd.inventory import is_inventory
from eventd.keyring import Keyring

GOOD = "name: a, by: [service], within: 5m"
MATCH = "group: {match: 'x=\"1\"'}"

# A rule, and the whole line that an operator reads behind the file's name and the rule's place.
WRONG = [
    (
        f"{{{GOOD}, {MATCH}, whithin: 3m}}",
        ".whithin: unknown key 'whithin' (did you mean 'within'?)",
    ),
    (
        f"{{{GOOD}, {MATCH}, colour: red}}",
        ".colour: unknown key 'colour' "
        f"(known: name, description, within, during, by, incident, alert, {', '.join(KINDS)})",
    ),
    (
        f"{{{GOOD}, group: {{mtach: 'x=\"1\"'}}}}",
        ".group.mtach: unknown key 'mtach' (did you mean 'match'?)",
    ),
    (
        f"{{{GOOD}, groop: {{match: 'x=1'}}}}",
        ".groop: unknown key 'groop' (did you mean 'group'?)",
    ),
    (
        f"{{{GOOD}, incident: {{title: '{{disc.ci}}'}}, "
        "all: [{as: disk, match: x=1}, {as: net, match: x=2}]}",
        ".incident.title: nothing in the rule is called 'disc' (write {disk.ci} or {net.ci})",
    ),
    (f"{{{GOOD}}}", f": expected exactly one kind, got none (one of: {', '.join(KINDS)})"),
    (
        f"{{{GOOD}, sequence: [{{match: 'x=1'}}, {{match: 'x=2', cuont: 3}}]}}",
        ".sequence[1].cuont: unknown key 'cuont' (did you mean 'count'?)",
    ),
    (
        f"{{{GOOD}, all: [{{match: 'x=1'}}]}}",
        ".all: expected a list of at least 2 entries, got 1 (add some)",
    ),
    (
        f"{{{GOOD}, pair: {{opens: 'x=1', closes: 'x='}}}}",
        ".pair.closes: expected label, operator, quoted value at character 1 of 'x=' "
        "(operators are =~ !~ != <= >= = < >)",
    ),
    (
        f"{{{GOOD}, absence: {{match: 'x=1', severity: bad}}}}",
        '.absence.severity: expected one of info, warning, minor, major, critical, got "bad" '
        "(such as info)",
    ),
    (
        f"{{{GOOD}, settle: {{match: 'x=1'}}}}",
        ".by: unknown key 'by' (known: name, description, within, during, settle)",
    ),
    (
        f"{{{GOOD}, {MATCH}, threshold: {{}}}}",
        f": expected exactly one kind, got group and threshold (one of: {', '.join(KINDS)})",
    ),
    (
        f"{{name: storm, by: [service], within: 5m, {MATCH}}}",
        '.name: "storm" is a rule of eventd\'s own (choose another name)',
    ),
    ("text", ": expected a rule, got 'text' (a mapping with name, by, within, …)"),
    (
        f"{{name: a, within: 5m, {MATCH}}}",
        ": the key 'by' is missing (needed: name, within, by)",
    ),
    (
        f"{{name: a, by: service, within: 5m, {MATCH}}}",
        '.by: expected a list, got "service" (write ["service"])',
    ),
    (
        f"{{name: a, by: [a, b, c, d, e, f, g, h, i], within: 5m, {MATCH}}}",
        ".by: expected a list of at most 8 entries, got 9 (shorten it)",
    ),
    (
        f"{{name: '', by: [service], within: 5m, {MATCH}}}",
        '.name: expected a text that is not empty, got "" (write it out)',
    ),
    (
        f"{{{GOOD}, {MATCH}, description: {'x' * 1001}}}",
        ".description: expected a text of at most 1000 characters, got 1001 (shorten it)",
    ),
    (
        f"{{name: a, by: [service], within: 5, {MATCH}}}",
        '.within: expected a duration such as "5m", got 5 (number and unit: ms s m h d w)',
    ),
    (
        f"{{name: a, by: [service], within: 999d, {MATCH}}}",
        ".within: expected a duration from 1ms to 366d, got '999d' (number and unit: ms s m h d w)",
    ),
    (
        f"{{{GOOD}, group: {{match: 'service=~\"(a\"'}}}}",
        ".group.match: '(a' is no RE2 pattern: missing ): (a "
        "(RE2 has no look-around and no back-reference)",
    ),
    (
        f"{{{GOOD}, group: {{match: ['x=\"1\"', service]}}}}",
        ".group.match[1]: expected label, operator, quoted value at character 1 of 'service' "
        "(operators are =~ !~ != <= >= = < >)",
    ),
    (
        f'{{{GOOD}, group: {{match: \'a="1" b="2"\'}}}}',
        '.group.match: expected a comma at character 7 of \'a="1" b="2"\' '
        '(write name="x", service="y")',
    ),
    (
        f"{{{GOOD}, group: {{match: []}}}}",
        ".group.match: expected at least one selector, got none (such as 'service!=\"\"')",
    ),
    (
        f"{{{GOOD}, group: {{match: 'severity>=loud'}}}}",
        ".group.match: 'loud' is no severity (one of ok info warning minor major critical)",
    ),
    (
        f"{{{GOOD}, group: {{match: 'site>\"a\"'}}}}",
        ".group.match: > is for severity and value, not for 'site' (use = != =~ !~)",
    ),
    (
        f"{{{GOOD}, threshold: {{match: 'x=\"1\"'}}}}",
        ".threshold: the key 'count' is missing (needed: match, count)",
    ),
    (
        f"{{{GOOD}, threshold: {{match: 'x=\"1\"', count: 1}}}}",
        ".threshold.count: expected a whole number of at least 2, got 1 (2 to 10000)",
    ),
    (
        f"{{{GOOD}, threshold: {{match: 'x=\"1\"', count: '3'}}}}",
        '.threshold.count: expected a whole number, got "3" (without quotes)',
    ),
    (
        f"{{{GOOD}, threshold: {{match: 'x=\"1\"', count: 3, of: event}}}}",
        ".threshold.of: expected one of alerts, events, got \"event\" (did you mean 'events'?)",
    ),
    (
        f"{{{GOOD}, {MATCH}, incident: {{impact: high}}}}",
        '.incident.impact: expected a whole number or nothing, got "high" (1 to 3)',
    ),
    (
        f"{{{GOOD}, {MATCH}, incident: {{assign: }}}}",
        ".incident.assign: expected a text, got nothing (write a text)",
    ),
    (
        f"{{{GOOD}, {MATCH}, incident: {{title: {{name}}}}}}",
        ".incident.title: expected a text, got a mapping (put it in quotes)",
    ),
    (
        f"{{{GOOD}, {MATCH}, incident: {{title: '{{a b}}'}}}}",
        ".incident.title: {a b} is no label (write {service}; nothing else is evaluated)",
    ),
]


@pytest.mark.parametrize(("rule", "says"), WRONG)
def test_a_wrong_rule_is_answered_with_file_line_expectation_and_hint(
    tmp_path: Path, rule: str, says: str
) -> None:
    file = tmp_path / "rules.yaml"
    good = "{name: fine, by: [ci], within: 1m, group: {match: 'ci!=\"\"'}}"
    file.write_text(f"rules:\n  - {good}\n  - {rule}\n")

    with pytest.raises(ConfigError) as caught:
        load_rules(file)

    assert caught.value.problems == [f"{file}:3: rules[1]{says}"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_rule_of_any_kind_is_answered_with_file_and_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(f"rules:\n  - name: x\n    {kind}: {{nonsense: 1}}\n    other: 2\n")

    with pytest.raises(ConfigError) as raised:
        load_rules(file)

    assert all("rules.yaml:" in problem for problem in raised.value.problems)


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(f"rules:\n  - {{{GOOD}, {MATCH}}}\n")
    (tmp_path / "c.yaml").write_text("rulez: []\n")
    (tmp_path / "d.yaml").write_text("rules: [\n")
    (tmp_path / "e.yaml").write_text("rules: {}\n")

    with pytest.raises(ConfigError) as caught:
        load_rules(tmp_path)

    said = [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert said == [
        f"b.yaml:2: rules[0].name: rule 'a' stands at {tmp_path}/a.yaml:2 already (rename one)",
        "c.yaml:1: rulez: unknown key 'rulez' "
        "(a rules file is a list, and may have a second: rules: [...], tests: [...])",
        "d.yaml:2: is no YAML: did not find expected node content (look at what is before it)",
        "e.yaml:1: rules: expected a list under 'rules' "
        "(a rules file is a list, and may have a second: rules: [...], tests: [...])",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "\na: !!python/object/apply:os.system [ls]",
            "2: a: the tag tag:yaml.org,2002:python/object/apply:os.system is refused "
            "(leave it out)",
        ),
        ("\na: !secret b", "2: a: the tag !secret is refused (leave it out)"),
        ("\n1: a", "2: expected a text as key (put it in quotes)"),
        ("a:\n  yes: a", "2: a: expected a text as key (put it in quotes)"),
        ("a: 1\n\na: 2", "3: a: stands twice (remove one)"),
        ("a:\n- b: 0x_", '2: a[0].b: cannot read "0x_" (put it in quotes)'),
        ("b: &a 1", "1: anchors and aliases are refused (write it out)"),
        ("a: [" + "[" * 40 + "]" * 41, "1: is nested more than 32 deep (write it flatter)"),
        (
            "a: b\nc: d: e",
            "2: is no YAML: mapping values are not allowed in this context "
            "(look at what is before it)",
        ),
        ("a: b\n---\nc: d", "2: is no YAML: a second document begins (make two files of it)"),
        ("é: é\nb: \a", "2: is no YAML: control characters are not allowed (remove it)"),
    ],
)
def test_what_is_not_read_as_yaml_is_answered_with_line_and_hint(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml("x.yaml", text)

    assert caught.value.problems == [f"x.yaml:{says}"]


def test_a_file_in_another_encoding_a_missing_one_and_a_large_one_are_refused(
    tmp_path: Path,
) -> None:
    latin, large = tmp_path / "latin", tmp_path / "large"
    latin.write_bytes("a: b\nc: é".encode("latin-1"))
    large.write_text("#" * 101)
    said = []

    for path in (latin, tmp_path / "none", large):
        with pytest.raises(ConfigError) as caught:
            read(path, 100)
        said += caught.value.problems

    assert said == [
        f"{latin}:2: is not UTF-8 (save it as UTF-8)",
        f"{tmp_path}/none: cannot be read: No such file or directory",
        f"{large}: expected at most 100 bytes, got 101 (split it)",
    ]


@pytest.mark.parametrize("kind", ["FIFO", "device", "socket", "folder"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.yaml"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path.mkdir()
    key = tmp_path / "key"
    key.touch(0o600)
    config = tmp_path / "eventd.yaml"
    broker = {"name": "plant", "host": "h", "ca_file": path.name, "topics": [{"filter": "t"}]}
    config.write_text(json.dumps({"sources": {"mqtt": [broker]}}))
    told: list[str] = []

    for reading in (
        lambda: read(path, 100),
        lambda: secret(path),
        lambda: load(config, Environment()),
    ):
        with pytest.raises(ConfigError) as caught:
            reading()
        told += caught.value.problems
    assert Keyring(tmp_path, "", told).tls(path.name, key.name) is None

    said = f"{path}: is no regular file"
    place = f"{config}:1: sources.mqtt[0].ca_file: {path} is no regular file"
    assert told == [said, said, place, said]
    assert not is_inventory(path)


def test_no_more_is_read_of_a_file_than_it_may_have_whatever_it_says_of_its_size(
    tmp_path: Path,
) -> None:
    large = tmp_path / "large"
    large.touch(0o600)
    large.write_text("x" * 65537)

    with pytest.raises(ConfigError, match="expected at most 100 bytes, got 101"):
        read(Path("/proc/self/status"), 100)
    with pytest.raises(ConfigError, match="expected at most 65536 bytes, got more"):
        secret(large)


def test_a_directory_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_rules(tmp_path)

    assert caught.value.problems == [f"{tmp_path}: holds no rules (expected *.yaml)"]


def test_a_secret_others_may_read_is_refused_and_none_is_ever_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    file.chmod(0o644)

    with pytest.raises(ConfigError) as caught:
        secret(file)
    file.chmod(0o600)
    read_back = secret(file)

    assert caught.value.problems == [f"{file}: others may read this secret (chmod 600 {file})"]
    assert read_back.reveal() == "0123456789abcdef0123456789abcdef"
    assert repr(read_back) == "***"
    assert read_back == Secret("0123456789abcdef0123456789abcdef")
    assert len({read_back, Secret("0123456789abcdef0123456789abcdef")}) == 1


FIRES = "within: 5m, by: [service], alert: {}"


def test_alerts_of_rules_that_come_back_are_refused_with_the_way_around(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "rules:\n"
        f"  - {{name: own, group: {{match: 'service=~\"s.*\"'}}, {FIRES}}}\n"
        f"  - {{name: first, group: {{match: 'name=\"third\"'}}, {FIRES}}}\n"
        f"  - {{name: second, group: {{match: 'name=\"first\"'}}, {FIRES}}}\n"
    )
    (tmp_path / "b.yaml").write_text(
        f"rules:\n  - {{name: third, threshold: {{match: 'name=~\"sec.*\"', count: 2}}, {FIRES}}}\n"
    )

    with pytest.raises(ConfigError) as caught:
        load_rules(tmp_path)

    hint = 'match source!="eventd" too, or give the alert another name'
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    around = f"second ({a}:4) -> third ({b}:2) -> first ({a}:3)"
    assert f"{a}:2: rules[0].alert: its alert comes back to it: own -> own ({a}:2) ({hint})" in (
        caught.value.problems
    )
    assert f"{a}:3: rules[1].alert: its alert comes back to it: first -> {around} ({hint})" in (
        caught.value.problems
    )


def test_a_chain_of_alerts_that_is_too_long_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    rules = [
        f"  - {{name: r{n}, group: {{match: 'name=\"r{n - 1}\"'}}, {FIRES}}}" for n in range(17)
    ]
    file.write_text("\n".join(["rules:", *rules[:16]]))
    assert len(load_rules(file).rules) == 16
    file.write_text("\n".join(["rules:", *rules]))

    with pytest.raises(ConfigError) as caught:
        load_rules(file)

    (told,) = caught.value.problems
    says = "more than 16 alerts of rules that make one another: r0 -> r1"
    assert told.startswith(f"{file}:2: rules[0].alert: {says}")
    assert told.endswith("(match what made them instead)")


def test_a_folder_that_cannot_be_listed_is_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shut(_: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", shut)

    with pytest.raises(ConfigError) as refused:
        load_rules(tmp_path)

    assert refused.value.problems == [f"{tmp_path}: cannot be read: Permission denied"]
