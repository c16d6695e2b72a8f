"""The configuration: what is wrong is told, what is shown is true, no secret is ever said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tests.builders import T0
from tests.certificates import certificate

from eventd.config import Config, Environment, File, Mqtt, Tls, Topic, load
from eventd.errors import ConfigError
from eventd.keyring import BasicFile, CredentialFiles

SHOWN = Path(__file__).parents[2] / "config" / "eventd.yaml"
TOKEN = "0123456789abcdef0123456789abcdef"
BROKER = "sources:\n  mqtt:\n    - name: a\n      host: h\n"

# What stands in the file, and the whole line that an operator reads behind the file's name.
WRONG = [
    ("lisen: 127.0.0.1:9095", "1: lisen: unknown key 'lisen' (did you mean 'listen'?)"),
    ("\nlisten: 9095", '2: listen: expected a text, got 9095 (put it in quotes: "9095")'),
    ("listen: here", '1: listen: expected HOST:PORT, got "here" (such as 127.0.0.1:9095)'),
    (
        "listen: 0.0.0.0:9095",
        "1: listen: 0.0.0.0 can be reached from other machines, which needs token_file, "
        "metrics_token_file and tls or behind_proxy: true (or listen on 127.0.0.1)",
    ),
    (
        "log:\n  level: loud",
        '2: log.level: expected one of debug, info, warning, error, got "loud" (such as debug)',
    ),
    (
        "log:\n  level: warn",
        '2: log.level: expected one of debug, info, warning, error, got "warn" '
        "(did you mean 'warning'?)",
    ),
    (
        "limits:\n  max_body: 8 apples",
        '2: limits.max_body: expected a size such as "8MiB", got "8 apples" '
        "(number and unit: B KiB MiB GiB)",
    ),
    (
        "incidents:\n  resolve_after: 5",
        '2: incidents.resolve_after: expected a duration such as "5m", got 5 '
        "(number and unit: ms s m h d w)",
    ),
    (
        f"{BROKER}      topics:\n        - filter: a/#/b",
        "6: sources.mqtt[0].topics[0].filter: # stands for the end of a filter and alone, not so "
        'in "a/#/b" (such as plant/+/alarm)',
    ),
    (
        "sources:\n  webhooks:\n    grafana: {decoder: grafana}",
        '3: sources.webhooks.grafana.decoder: no decoder is called "grafana" '
        "(known: alertmanager, native)",
    ),
    (
        f"{BROKER}      session_expiry: 1h\n      topics: [{{filter: a}}]",
        "5: sources.mqtt[0].session_expiry: expected at least 24h "
        "(the broker keeps what comes while eventd is away)",
    ),
    (
        "sources:\n  mqtt:\n    - name: a\n      host: a..b\n      topics: [{filter: a}]",
        '4: sources.mqtt[0].host: expected a host name or address, got "a..b" (without a port)',
    ),
    (
        f"{BROKER}      status_topic: a/#\n      topics: [{{filter: a}}]",
        '5: sources.mqtt[0].status_topic: expected a topic, got "a/#" (+ and # are for filters)',
    ),
    (
        f"{BROKER}      keepalive: 99d\n      topics: [{{filter: a}}]",
        "5: sources.mqtt[0].keepalive: expected 1s to 18h "
        "(a silent broker is given up within 1.5 times it)",
    ),
    (
        f"{BROKER}      client_id: {'c' * 70_000}\n      topics: [{{filter: a}}]",
        "5: sources.mqtt[0].client_id: expected at most 65535 bytes, got more (shorten it)",
    ),
    (
        f"{BROKER}      topics:\n        - filter: {'f' * 70_000}",
        "6: sources.mqtt[0].topics[0].filter: expected at most 65535 bytes, got more "
        "(such as plant/+/alarm)",
    ),
    ("log: &a {}\nalerts: *a", "1: anchors and aliases are refused (write it out)"),
    ("state: a\nstate: b", "2: state: stands twice (remove one)"),
    (BROKER, "3: sources.mqtt[0]: the key 'topics' is missing (needed: name, host, topics)"),
    (
        f"{BROKER}      version: 5\n      topics: [{{filter: a}}]",
        '5: sources.mqtt[0].version: expected one of 5, 3.1.1, got 5 (put it in quotes: "5")',
    ),
    (
        f"{BROKER}      port: 70000\n      topics: [{{filter: a}}]",
        "5: sources.mqtt[0].port: expected a whole number of at most 65535, got 70000 (1 to 65535)",
    ),
    (
        f"{BROKER}      topics: []",
        "5: sources.mqtt[0].topics: expected a list that is not empty, got an empty list "
        "(add an entry)",
    ),
    (
        "sources:\n  mqtt: {name: a}",
        "2: sources.mqtt: expected a list, got a mapping (begin each entry with a dash)",
    ),
    (
        "sources:\n  webhooks:\n    good: {}\n    a: {decodr: native}",
        "4: sources.webhooks.a.decodr: unknown key 'decodr' (did you mean 'decoder'?)",
    ),
    (
        "sources:\n  webhooks:\n    good: {}\n    Not Good: {}",
        "4: sources.webhooks.Not Good: expected a name of 1 to 64 small letters, digits and "
        '_ . -, got "Not Good" (such as plant-2)',
    ),
    (
        "sources:\n  events:\n    volatile: pod",
        '3: sources.events.volatile: expected a list, got "pod" (write ["pod"])',
    ),
    ("log: info", '1: log: expected a mapping, got "info" (keys: level, format)'),
    (
        "limits:",
        "1: limits: expected a mapping, got nothing (keys: max_body, inbox, commit_within, "
        "connections, connections_per_peer)",
    ),
    (
        'behind_proxy: "true"',
        '1: behind_proxy: expected true or false, got "true" (without quotes)',
    ),
    (
        "alerts:\n  max_alerts: 1.5",
        "2: alerts.max_alerts: expected a whole number, got 1.5 (1000 to 10000000)",
    ),
    (
        "alerts:\n  max_alerts: true",
        "2: alerts.max_alerts: expected a whole number, got true (1000 to 10000000)",
    ),
    (
        "listen: [\n",
        "2: is no YAML: did not find expected node content (look at what is before it)",
    ),
    (
        "log:\n\tlevel: info",
        "2: is no YAML: found character that cannot start any token (indent with spaces, not tabs)",
    ),
]


def written(folder: Path, text: str) -> Path:
    file = folder / "eventd.yaml"
    file.write_text(text)
    return file


def secret(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def opened(config: Config) -> list[bool]:
    """Whether TOKEN opens the API, and whether it does read backwards."""
    shown = ({"Authorization": f"Bearer {token}"} for token in (TOKEN, TOKEN[::-1]))
    return [config.secrets.api.allows(headers, T0) for headers in shown]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_a_wrong_configuration_is_answered_with_file_line_expectation_and_hint(
    tmp_path: Path, text: str, says: str
) -> None:
    file = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load(file, Environment())

    assert caught.value.problems == [f"{file}:{says}"]


def test_the_shown_configuration_is_the_default_one() -> None:
    assert load(SHOWN, Environment()).file == File()


def test_it_shows_every_key_with_its_default(tmp_path: Path) -> None:
    text = SHOWN.read_text()
    before, begins, example = text.partition("  #   - name: plant\n")
    lines = (begins + example).replace("  mqtt: []\n", "").splitlines(keepends=True)
    uncommented = "".join(line.replace("# ", "", 1) for line in lines)
    file = written(tmp_path, f"{before}  mqtt:\n{uncommented}")

    def keys_of(value: object, data: object) -> None:
        """Every key of the value's structs is in the data."""
        if isinstance(value, dict):
            value, data = tuple(value.values()), list(data.values())  # type: ignore[attr-defined]
        if isinstance(value, tuple):
            assert isinstance(data, list)
            for one, shown in zip(value, data, strict=True):
                keys_of(one, shown)
        for name in getattr(value, "__struct_fields__", ()):
            assert isinstance(data, dict)
            assert name in data, name
            keys_of(getattr(value, name), data[name])

    shown = load(file, Environment()).file
    assert shown.sources.mqtt == (Mqtt("plant", "broker.example", (Topic("plant/+/alarm"),)),)
    keys_of(shown, yaml.safe_load(file.read_text()))
    for optional in (Tls, CredentialFiles, BasicFile):  # null there
        assert set(optional.__struct_fields__) <= set(re.findall(r"\w+", text))


def test_every_shown_key_says_why_in_a_comment() -> None:
    lines = SHOWN.read_text().splitlines()

    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line.strip().partition(":")[2].strip() and not line.lstrip().startswith(("#", "-"))
        if not before.lstrip().startswith("#") and not before.rstrip().endswith(":")
    ]

    # the decoder of /v1/events is what the comment above its source speaks of
    assert bare == []


def test_without_a_file_everything_is_at_its_default() -> None:
    config = load(None, Environment(home="/home/ann"))

    assert config.file == File()
    assert (config.host, config.port) == ("127.0.0.1", 9095)
    assert config.state == Path("/home/ann/.local/state/eventd")


@pytest.mark.parametrize(
    ("variables", "state"),
    [
        ({"STATE_DIRECTORY": "/s:/t", "HOME": "/h"}, "/s"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/eventd"),
        ({"HOME": "/h"}, "/h/.local/state/eventd"),
    ],
)
def test_state_goes_where_the_supervisor_or_the_desktop_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], state: str
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, variables.get(name, ""))

    assert Environment.read().default_state() == Path(state)


def test_options_override_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "listen: 127.0.0.1:1\nstate: here\nrules: there\n")

    config = load(file, Environment(), listen="127.0.0.1:2", state=Path("/s"), rules=Path("/r"))

    assert (config.port, config.state, config.rules) == (2, Path("/s"), Path("/r"))


def test_the_inventory_is_the_one_named_else_the_one_beside_the_file(tmp_path: Path) -> None:
    plain, named = written(tmp_path, "{}"), tmp_path / "named.yaml"
    named.write_text("inventory: there.yaml")

    none = load(plain, Environment()).inventory
    for name in ("inventory.yaml", "there.yaml"):
        (tmp_path / name).touch()
    told = [
        load(None, Environment()).inventory,
        load(plain, Environment()).inventory,
        load(named, Environment()).inventory,
        load(named, Environment(), inventory=Path("/i")).inventory,
    ]

    beside = tmp_path / "inventory.yaml"
    assert none is None
    assert told == [None, beside, tmp_path / "there.yaml", Path("/i")]


@pytest.mark.parametrize("value", ["abc", "-1", "1.5"])
def test_a_watchdog_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", value)

    with pytest.raises(ConfigError, match=r"^WATCHDOG_USEC: expected a number"):
        load(None, Environment.read())


def test_a_wrong_option_is_told_as_an_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, Environment(), listen="9095")

    assert caught.value.problems == [
        '--listen: expected HOST:PORT, got "9095" (such as 127.0.0.1:9095)'
    ]


def test_every_problem_that_can_be_told_is_told_at_once(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "listen: here\ntoken_file: absent\nrules: /none\ninventory: nope.yaml\nsources:\n  mqtt:\n"
        "    - {name: a, host: h, topics: [{filter: a+, decoder: natif}]}\n"
        "    - {name: a, host: h, topics: [{filter: a}], password_file: gone}\n",
    )

    with pytest.raises(ConfigError) as caught:
        load(file, Environment())

    assert caught.value.problems == [
        f'{file}:1: listen: expected HOST:PORT, got "here" (such as 127.0.0.1:9095)',
        f'{file}:7: sources.mqtt[0].topics[0].filter: + stands for one whole level, not so in "a+" '
        "(such as plant/+/alarm)",
        f'{file}:8: sources.mqtt[1].name: two brokers are called "a" (rename one)',
        f'{file}:7: sources.mqtt[0].topics[0].decoder: no decoder is called "natif" '
        "(did you mean 'native'?)",
        f"{file}:3: rules: /none cannot be read (names begin at the folder of this file)",
        f"{file}:4: inventory: {tmp_path}/nope.yaml cannot be read "
        "(names begin at the folder of this file)",
        f"{tmp_path}/absent: cannot be read: No such file or directory",
        f"{tmp_path}/gone: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("$share/x", 'expected $share/GROUP/FILTER, got "$share/x"'),
        ("$share/+/x", 'expected $share/GROUP/FILTER, got "$share/+/x"'),
        ("", 'expected a topic filter, got ""'),
        ("a#", '# stands for the end of a filter and alone, not so in "a#"'),
    ],
)
def test_a_topic_filter_is_one_that_a_broker_accepts(tmp_path: Path, name: str, says: str) -> None:
    file = written(tmp_path, f"{BROKER}      topics: [{{filter: '{name}'}}]")

    with pytest.raises(ConfigError) as caught:
        load(file, Environment())

    where = f"{file}:5: sources.mqtt[0].topics[0].filter"
    assert caught.value.problems == [f"{where}: {says} (such as plant/+/alarm)"]


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "monitor.example"])
def test_a_door_to_other_machines_needs_a_token_and_tls(tmp_path: Path, host: str) -> None:
    secret(tmp_path, "token", TOKEN)
    missing = []

    tokens = "token_file: token\nmetrics_token_file: token\n"
    for more in ("", "behind_proxy: true\n", "token_file: token\n", tokens):
        file = written(tmp_path, f"listen: '{host}:9095'\n{more}")
        with pytest.raises(ConfigError) as caught:
            load(file, Environment())
        (problem,) = caught.value.problems
        missing.append(problem.partition("which needs ")[2].partition(" (")[0])

    assert missing == [
        "token_file, metrics_token_file and tls or behind_proxy: true",
        "token_file and metrics_token_file",
        "metrics_token_file and tls or behind_proxy: true",
        "tls or behind_proxy: true",
    ]


@pytest.mark.parametrize(
    "more", ["behind_proxy: true", "tls: {certificate: cert.pem, key: key.pem}"]
)
def test_with_all_of_it_the_door_opens(tmp_path: Path, more: str) -> None:
    secret(tmp_path, "token", f"{TOKEN}\n")
    certificate(tmp_path)
    tokens = "token_file: token\nmetrics_token_file: token"
    file = written(tmp_path, f"listen: '[::]:9095'\n{more}\n{tokens}\nstate: here\n")

    config = load(file, Environment())

    assert (config.host, config.port, config.state) == ("::", 9095, tmp_path / "here")
    assert opened(config) == [True, False]
    assert (config.secrets.tls is None) == more.startswith("behind")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost"])
def test_loopback_stands_open(tmp_path: Path, host: str) -> None:
    assert load(written(tmp_path, f"listen: '{host}:0'"), Environment()).port == 0


def test_two_tokens_are_for_rotation_and_short_ones_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "token_file: token")
    secret(tmp_path, "token", f"{TOKEN}\n{TOKEN[::-1]}\n")
    both = load(file, Environment())
    refused = []

    for text in ("short", f"{TOKEN}\nshort", f"{TOKEN} {TOKEN} {TOKEN}", ""):
        secret(tmp_path, "token", text)
        with pytest.raises(ConfigError) as caught:
            load(file, Environment())
        refused += caught.value.problems

    assert opened(both) == [True, True]
    wanted = "expected one token, or two while rotating, of at least 32 characters, one a line"
    assert refused == [f"token: {wanted}"] * 4


def test_secrets_come_from_systemd_credentials_where_there_are_any(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    secret(credentials, "token", TOKEN)
    secret(tmp_path, "token", TOKEN[::-1])
    secret(tmp_path, "password", "beside the file")
    file = written(
        tmp_path,
        f"token_file: token\n{BROKER}      password_file: password\n"
        "      topics: [{filter: '$share/g/a/+', source: b}]\n",
    )

    config = load(file, Environment(credentials_directory=str(credentials)))

    assert opened(config) == [True, False]
    assert config.secrets.passwords["a"].reveal() == "beside the file"


def test_no_secret_stands_in_what_is_printed_of_a_configuration(tmp_path: Path) -> None:
    secret(tmp_path, "token", TOKEN)
    secret(tmp_path, "password", "hunter2")
    file = written(
        tmp_path,
        f"token_file: token\n{BROKER}      password_file: password\n      topics: [{{filter: a}}]",
    )

    config = load(file, Environment())

    for text in (repr(config), str(config), f"{config}"):
        assert TOKEN not in text
        assert "hunter2" not in text


def test_a_secret_written_where_none_belongs_is_not_repeated(tmp_path: Path) -> None:
    file = written(tmp_path, f"{BROKER}      password: hunter2\n      topics: [{{filter: a}}]")

    with pytest.raises(ConfigError) as caught:
        load(file, Environment())

    (problem,) = caught.value.problems
    assert "unknown key 'password' (did you mean 'password_file'?)" in problem
    assert "hunter2" not in problem
