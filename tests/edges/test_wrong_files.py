"""Ten wrong configurations and ten wrong rules: file, line, what was expected, and a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventd.config import Environment, load
from eventd.errors import ConfigError
from eventd.files import Secret, load_rules, secret

CONFIGURATIONS = [
    ("lisen: 127.0.0.1:9095", "1: lisen: unknown key 'lisen' (did you mean 'listen'?)"),
    ("\nlisten: 9095", "2: listen: expected `str`, got `int`"),
    ("listen: here", "1: listen: expected HOST:PORT, got 'here' (such as 127.0.0.1:9095)"),
    (
        "listen: 0.0.0.0:9095",
        "1: listen: 0.0.0.0 can be reached from other machines, which needs token_file and tls or "
        "behind_proxy: true (or listen on 127.0.0.1)",
    ),
    (
        "limits:\n  max_body: 8 apples",
        "2: limits.max_body: expected a size such as \"8MiB\", got '8 apples'",
    ),
    (
        "incidents:\n  resolve_after: 5",
        '2: incidents.resolve_after: expected a duration such as "5m", got 5',
    ),
    (
        "sources:\n  mqtt:\n    - name: a\n      host: h\n      topics:\n        - filter: a/#/b",
        "6: sources.mqtt[0].topics[0].filter: # stands for the end of a filter and alone, not so "
        "in 'a/#/b' (such as plant/+/alarm)",
    ),
    (
        "sources:\n  webhooks:\n    grafana: {decoder: grafanna}",
        "3: sources.webhooks.grafana.decoder: no decoder is called 'grafanna' "
        "(one of: alertmanager, native)",
    ),
    ("log: &a {}\nalerts: *a", "1: anchors and aliases are refused (write it out)"),
    ("state: a\nstate: b", "2: state: stands twice (remove one)"),
    (
        "sources:\n  mqtt:\n    - name: a\n      host: h\n      session_expiry: 1h\n"
        "      topics: [{filter: a}]",
        "5: sources.mqtt[0].session_expiry: expected at least 24h "
        "(the broker keeps what comes while eventd is away)",
    ),
]

GOOD = "name: a, by: [service], within: 5m"
RULES = [
    (f"{{{GOOD}, group: {{match: 'x=\"1\"'}}, whithin: 3m}}", "unknown key 'whithin'"),
    (f"{{{GOOD}}}", "expected exactly one kind, got none (one of: group, threshold)"),
    (
        "{name: a, by: [service], within: 5, group: {match: 'x=\"1\"'}}",
        'within: expected a duration such as "5m", got 5',
    ),
    (
        f"{{{GOOD}, group: {{match: 'service=~\"(a\"'}}}}",
        "group.match: '(a' is no RE2 pattern: missing ): (a "
        "(RE2 has no look-around and no back-reference)",
    ),
    (
        f"{{{GOOD}, group: {{match: 'service'}}}}",
        "group.match: expected label, operator, quoted value at character 1 of 'service' "
        "(operators are =~ !~ != <= >= = < >)",
    ),
    (
        f"{{{GOOD}, group: {{match: 'severity>=loud'}}}}",
        "group.match: 'loud' is no severity (one of ok info warning minor major critical)",
    ),
    (
        f"{{{GOOD}, group: {{match: 'site>\"a\"'}}}}",
        "group.match: > is for severity and value, not for 'site' (use = != =~ !~)",
    ),
    (
        f"{{{GOOD}, threshold: {{match: 'x=\"1\"', count: 1}}}}",
        "threshold.count: expected `int` >= 2",
    ),
    (
        f"{{{GOOD}, group: {{match: 'x=\"1\"'}}, incident: {{impact: 4}}}}",
        "incident.impact: expected `int` <= 3",
    ),
    (
        f"{{{GOOD}, group: {{match: 'x=\"1\"'}}, incident: {{title: '{{a b}}'}}}}",
        "incident.title: {a b} is no label (write {service}; nothing else is evaluated)",
    ),
]


@pytest.mark.parametrize(("text", "says"), CONFIGURATIONS)
def test_a_wrong_configuration_is_answered_with_file_line_and_hint(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "eventd.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(file, Environment())

    assert caught.value.problems == [f"{file}:{says}"]


@pytest.mark.parametrize(("rule", "says"), RULES)
def test_a_wrong_rule_is_answered_with_file_line_and_hint(
    tmp_path: Path, rule: str, says: str
) -> None:
    file = tmp_path / "rules.yaml"
    good = "{name: fine, by: [ci], within: 1m, group: {match: 'ci!=\"\"'}}"
    file.write_text(f"rules:\n  - {good}\n  - {rule}\n")

    with pytest.raises(ConfigError) as caught:
        load_rules(file)

    (problem,) = caught.value.problems
    assert problem.startswith(f"{file}:3: rules[1]")
    assert problem.partition("rules[1]")[2].lstrip(".: ").endswith(says.split(": ", 1)[-1])
    assert says.split(": ", 1)[-1] in problem


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(f"rules:\n  - {{{GOOD}, group: {{match: 'ci=\"1\"'}}}}\n")
    (tmp_path / "c.yaml").write_text("rulez: []\n")
    (tmp_path / "d.yaml").write_text("rules: [\n")

    with pytest.raises(ConfigError) as caught:
        load_rules(tmp_path)

    said = [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert said == [
        f"b.yaml:2: rules[0].name: rule 'a' stands at {tmp_path}/a.yaml:2 already (rename one)",
        "c.yaml:1: rulez: unknown key 'rulez' (a rules file is: rules: [...])",
        "d.yaml:2: is no YAML: did not find expected node content",
    ]


def test_a_directory_without_rules_a_missing_file_and_a_large_one_are_refused(
    tmp_path: Path,
) -> None:
    large = tmp_path / "large.yaml"
    large.write_text("#" * (1 << 20) + "\n#")

    for path, says in (
        (tmp_path / "none", "cannot be read: No such file or directory"),
        (large, "expected at most 1048576 bytes"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_rules(path)
    large.unlink()
    with pytest.raises(ConfigError, match="holds no rules"):
        load_rules(tmp_path)


def test_tags_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text, says in (
        ("rules: !!python/object/apply:os.system [ls]", "is refused"),
        ("rules: " + "[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("1: a", "expected a text as key"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=says):
            load_rules(file)


def test_a_secret_others_may_read_is_refused_and_none_is_ever_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    file.chmod(0o644)

    with pytest.raises(ConfigError, match="others may read this secret"):
        secret(file)
    file.chmod(0o600)
    read = secret(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        secret(tmp_path / "gone")

    assert read.reveal() == "0123456789abcdef0123456789abcdef"
    assert repr(read) == "***"
    assert read == Secret("0123456789abcdef0123456789abcdef")
    assert len({read, Secret("0123456789abcdef0123456789abcdef")}) == 1


def test_a_door_to_other_machines_opens_with_a_token_behind_a_proxy(tmp_path: Path) -> None:
    file = tmp_path / "eventd.yaml"
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "token").chmod(0o600)
    file.write_text("listen: '[::]:9095'\nbehind_proxy: true\ntoken_file: token\nstate: here\n")

    config = load(file, Environment())

    assert (config.host, config.port, config.state) == ("::", 9095, tmp_path / "here")
    assert [token.reveal() for token in config.tokens] == ["0123456789abcdef0123456789abcdef"]


def test_secrets_come_from_systemd_credentials_where_there_are_any(tmp_path: Path) -> None:
    for name in ("token", "password"):
        (tmp_path / name).write_text("x" * 40)
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "eventd.yaml"
    file.write_text(
        "token_file: token\nsources:\n  mqtt:\n    - {name: a, host: h, password_file: password,"
        " topics: [{filter: '$share/g/a/+', source: b}]}\n"
    )
    environment = Environment(credentials_directory=str(tmp_path), state_directory="/s:/t")

    config = load(file, environment)

    assert config.brokers[0].password.reveal() == "x" * 40
    assert environment.default_state() == Path("/s:/t")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("token_file: short", "expected one token, or two while rotating"),
        ("token_file: absent", "absent: cannot be read"),
        (
            "sources:\n  mqtt:\n    - {name: a, host: h, password_file: absent,"
            " topics: [{filter: a}]}\n    - {name: a, host: h, topics: [{filter: a+}]}",
            "two brokers are called 'a'",
        ),
        (
            "sources: {mqtt: [{name: a, host: h, topics: [{filter: $share/x}]}]}",
            "expected \\$share/GROUP/FILTER",
        ),
        ("sources: {mqtt: [{name: a, host: h, topics: [{filter: ''}]}]}", "expected a topic"),
        ("\xff", "is not UTF-8|is no YAML|expected"),
    ],
)
def test_more_that_is_wrong_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "short").write_text("short")
    (tmp_path / "short").chmod(0o600)
    file = tmp_path / "eventd.yaml"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigError, match=says):
        load(file, Environment())
