"""The configuration: one frozen value, read strictly, once. The environment is read here alone."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from eventd.complaints import Shape, likely, shown
from eventd.core.model import Settings, SourcePolicy
from eventd.core.rules.rule import Span, parse_span
from eventd.document import Document, parse_yaml, read
from eventd.errors import ConfigError
from eventd.files import SPAN_HINT, Secret, convert, default_rules
from eventd.keyring import CredentialFiles, Keyring, Secrets

MAX_FILE = 1 << 20  # bytes
MAX_MQTT_TEXT = 65_535  # bytes; MQTT 5.0, 1.5.4
MAX_KEEPALIVE = 18 * 3_600  # s; MQTT 5.0, 3.1.2.10 has two bytes for it
MIN_SESSION = 24 * 3600.0  # s; DESIGN §7: a broker must keep the session through a bad night
DECODERS = ("alertmanager", "native")

_SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Size(int):
    """Bytes, written as "8MiB"."""

    __slots__ = ()


Port = Annotated[int, Meta(ge=1, le=65_535)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        description="a name of 1 to 64 small letters, digits and _ . -",
        examples=["plant-2"],
    ),
]


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """Certificate chain and key, PEM."""

    certificate: str
    key: str


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What is let in at once."""

    max_body: Size = Size(8 << 20)
    inbox: Size = Size(64 << 20)
    commit_within: Span = Span(10)
    connections: Annotated[int, Meta(ge=16, le=1_000_000)] = 4_096
    connections_per_peer: Annotated[int, Meta(ge=16, le=1_000_000)] = 3_072


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept on disk."""

    journal_for: Span = Span(30 * 86_400)
    raw_for: Span = Span(7 * 86_400)
    max_size: Size = Size(8 << 30)


class Incidents(Struct, frozen=True, forbid_unknown_fields=True):
    """When incidents resolve and reopen by themselves, and how many there may be."""

    resolve_after: Span = Span(60)
    reopen_within: Span = Span(600)
    max_incidents: Annotated[int, Meta(ge=100, le=1_000_000)] = 20_000


class Alerts(Struct, frozen=True, forbid_unknown_fields=True):
    """How long alerts are remembered."""

    forget_after: Span = Span(86_400)
    start_grace: Span = Span(300)
    late_within: Span = Span(60)
    max_alerts: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 100_000
    storm_above: Annotated[int, Meta(ge=100, le=10_000_000)] = 60_000


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """What the log says, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator knows of a source."""

    decoder: str = "native"
    quiet_for: Span | None = None
    repeats_every: Span | None = None
    volatile: tuple[str, ...] = ()
    credentials: CredentialFiles | None = None


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """A topic filter and how what comes under it is read."""

    filter: str
    source: Name | None = None
    decoder: str = "native"
    quiet_for: Span | None = None
    repeats_every: Span | None = None
    volatile: tuple[str, ...] = ()


class Mqtt(Struct, frozen=True, forbid_unknown_fields=True):
    """A broker and what to subscribe to."""

    name: Name
    host: str
    topics: Annotated[tuple[Topic, ...], Meta(min_length=1)]
    port: Port = 1883
    version: Literal["5", "3.1.1"] = "5"
    client_id: str = ""
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    keepalive: Span = Span(60)
    session_expiry: Span = Span(7 * 86_400)
    status_topic: str = ""


class Sources(Struct, frozen=True, forbid_unknown_fields=True):
    """Where events come from."""

    events: Source = Source()
    webhooks: dict[Name, Source] = msgspec.field(
        default_factory=lambda: {"alertmanager": Source("alertmanager")}
    )
    mqtt: tuple[Mqtt, ...] = ()


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written."""

    listen: str = "127.0.0.1:9095"
    behind_proxy: bool = False
    tls: Tls | None = None
    token_file: str = ""
    metrics_token_file: str = ""
    state: str = ""
    rules: str = ""
    inventory: str = ""
    limits: Limits = Limits()
    retention: Retention = Retention()
    incidents: Incidents = Incidents()
    alerts: Alerts = Alerts()
    log: Log = Log()
    sources: Sources = Sources()


class Environment(Struct, frozen=True):
    """What the process was started with."""

    state_directory: str = ""
    credentials_directory: str = ""
    xdg_state_home: str = ""
    home: str = ""
    notify_socket: str = ""
    watchdog_usec: int = 0  # -1 where it is no number: `load` tells

    @classmethod
    def read(cls) -> Environment:
        """The present one."""
        env = os.environ
        watchdog = env.get("WATCHDOG_USEC") or "0"
        return cls(
            state_directory=env.get("STATE_DIRECTORY", "").split(":")[0],
            credentials_directory=env.get("CREDENTIALS_DIRECTORY", ""),
            xdg_state_home=env.get("XDG_STATE_HOME", ""),
            home=env.get("HOME", ""),
            notify_socket=env.get("NOTIFY_SOCKET", ""),
            watchdog_usec=int(watchdog) if watchdog.isdecimal() else -1,
        )

    def default_state(self) -> Path:
        """Where state goes unless told otherwise."""
        if self.state_directory:
            return Path(self.state_directory)
        base = Path(self.xdg_state_home) if self.xdg_state_home else Path(self.home, ".local/state")
        return base / "eventd"


class Config(Struct, frozen=True):
    """Everything the daemon needs to know, checked."""

    file: File
    host: str
    port: int
    state: Path
    rules: Path
    secrets: Secrets
    inventory: Path | None = None
    folder: Path = Path()  # where relative names of secrets begin
    credentials: str = ""  # systemd's directory of them, "" where there is none

    def secrets_now(self) -> Secrets:
        """What the files of secrets say by now. Raises ConfigError with every problem."""
        problems: list[str] = []
        found = _secrets(self.file, Keyring(self.folder, self.credentials, problems))
        if problems:
            raise ConfigError(problems)
        return found

    def settings(self) -> Settings:
        """What the engine is told at its start."""
        return Settings(
            resolve_after=float(self.file.incidents.resolve_after),
            reopen_within=float(self.file.incidents.reopen_within),
            start_grace=float(self.file.alerts.start_grace),
            late_within=float(self.file.alerts.late_within),
            forget_after=float(self.file.alerts.forget_after),
            max_alerts=self.file.alerts.max_alerts,
            storm_above=self.file.alerts.storm_above,
            max_incidents=self.file.incidents.max_incidents,
        )

    def policies(self) -> dict[str, SourcePolicy]:
        """What is known of the sources behind HTTP, by name."""
        return {name: policy_of(name, source) for name, source in _named(self.file).items()}


def policy_of(name: str, source: Source | Topic) -> SourcePolicy:
    """The policy that is stamped on the source's deliveries."""
    return SourcePolicy(
        name=name,
        decoder=source.decoder,
        quiet_for=float(source.quiet_for or 0),
        repeats_every=float(source.repeats_every or 0),
        volatile=source.volatile,
    )


def _inventory_beside(path: Path | None) -> Path | None:
    """The one that lies beside the configuration, if any: it is no less the operator's."""
    beside = path.parent / "inventory.yaml" if path else None
    return beside if beside is not None and beside.is_file() else None


def load(
    path: Path | None,
    environment: Environment,
    *,
    listen: str = "",
    state: Path | None = None,
    rules: Path | None = None,
    inventory: Path | None = None,
) -> Config:
    """The configuration of a file, or the default one; the rest overrides it.

    Raises ConfigError with every problem, one line each.
    """
    document = read(path, MAX_FILE) if path else parse_yaml("default configuration", "{}")
    file = convert(document, _SHAPE, File)
    problems: list[str] = []
    where = listen or file.listen
    try:
        host, port = address(where)
    except ValueError as error:
        host, port = "127.0.0.1", 0
        problems.append(_of_door(document, listen, str(error), "such as 127.0.0.1:9095"))
    if environment.watchdog_usec < 0:
        problems.append("WATCHDOG_USEC: expected a number of microseconds (leave it to systemd)")
    folder = path.parent if path else Path()
    credentials = environment.credentials_directory
    _check_sources(document, file, problems)
    if lacks := _lacks(file, host):
        message = f"{host} can be reached from other machines, which needs {lacks}"
        problems.append(_of_door(document, listen, message, "or listen on 127.0.0.1"))
    for key, name, other in (
        ("rules", file.rules, rules),
        ("inventory", file.inventory, inventory),
    ):
        if name and other is None and not os.access(folder / name, os.R_OK):
            hint = "names begin at the folder of this file"
            problems.append(document.complain(key, f"{folder / name} cannot be read", hint))
    for index, broker in enumerate(file.sources.mqtt):
        ca = folder / broker.ca_file
        if broker.ca_file and os.access(ca, os.F_OK) and not ca.is_file():
            place = f"sources.mqtt[{index}].ca_file"
            problems.append(document.complain(place, f"{ca} is no regular file"))
    secrets = _secrets(file, Keyring(folder, credentials, problems))
    if problems:
        raise ConfigError(problems)
    return Config(
        file=file,
        host=host,
        port=port,
        state=state or (folder / file.state if file.state else environment.default_state()),
        rules=rules or (folder / file.rules if file.rules else default_rules()),
        secrets=secrets,
        folder=folder,
        credentials=credentials,
        inventory=inventory
        or (folder / file.inventory if file.inventory else _inventory_beside(path)),
    )


def _decode(kind: type, value: object) -> object:
    if kind is Span:
        return parse_span(value)
    if kind is Size:
        number = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB)?", str(value))
        if number is None or isinstance(value, bool):
            raise ValueError(f'expected a size such as "8MiB", got {shown(value)}')
        return Size(int(number[1]) * _SIZES[number[2] or ""])
    raise msgspec.ValidationError(f"cannot read {kind}")


_SHAPE = Shape(File, _decode, {Span: SPAN_HINT, Size: "number and unit: B KiB MiB GiB"})


def address(text: str) -> tuple[str, int]:
    """Host, without brackets, and port of "HOST:PORT". Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - ports
        raise ValueError(f"expected HOST:PORT, got {shown(text)}")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _of_door(document: Document, listen: str, message: str, hint: str) -> str:
    """A complaint of where to listen: the option's, if it was given, else the file's."""
    return f"--listen: {message} ({hint})" if listen else document.complain("listen", message, hint)


def _lacks(file: File, host: str) -> str:
    """What is needed to listen there, "" where nothing lacks."""
    if is_loopback(host):
        return ""
    missing = [name for name in ("token_file", "metrics_token_file") if not getattr(file, name)]
    if file.tls is None and not file.behind_proxy:
        missing.append("tls or behind_proxy: true")
    return " and ".join(filter(None, (", ".join(missing[:-1]), *missing[-1:])))


def _named(file: File) -> dict[str, Source]:
    """The sources behind HTTP."""
    return {"events": file.sources.events, **file.sources.webhooks}


def _secrets(file: File, keyring: Keyring) -> Secrets:
    api = keyring.tokens(file.token_file)
    return Secrets(
        api=api,
        metrics=keyring.tokens(file.metrics_token_file) if file.metrics_token_file else api,
        sources={
            name: keyring.credentials(source.credentials)
            for name, source in _named(file).items()
            if source.credentials is not None
        },
        passwords={
            one.name: keyring.read(one.password_file) if one.password_file else Secret("")
            for one in file.sources.mqtt
        },
        tls=keyring.tls(file.tls.certificate, file.tls.key) if file.tls is not None else None,
    )


def _check_sources(document: Document, file: File, problems: list[str]) -> None:
    named: list[tuple[str, Source | Topic]] = [("sources.events", file.sources.events)]
    named += [(f"sources.webhooks.{n}", one) for n, one in file.sources.webhooks.items()]
    seen: dict[str, None] = {}
    for index, broker in enumerate(file.sources.mqtt):
        path = f"sources.mqtt[{index}]"
        if broker.name in seen:
            message = f"two brokers are called {shown(broker.name)}"
            problems.append(document.complain(f"{path}.name", message, "rename one"))
        seen[broker.name] = None
        if broker.session_expiry < MIN_SESSION:
            message = "expected at least 24h"
            hint = "the broker keeps what comes while eventd is away"
            problems.append(document.complain(f"{path}.session_expiry", message, hint))
        for field, message, hint in _wrong_with(broker):
            problems.append(document.complain(f"{path}.{field}", message, hint))
        for position, topic in enumerate(broker.topics):
            inner = f"{path}.topics[{position}]"
            named.append((inner, topic))
            if wrong := _wrong_filter(topic.filter):
                problems.append(
                    document.complain(f"{inner}.filter", wrong, "such as plant/+/alarm")
                )
    for path, source in named:
        if isinstance(source, Source) and source.credentials == CredentialFiles():
            message = "expected a way to show who one is, got none"
            hint = f"one or more of {', '.join(CredentialFiles.__struct_fields__)}"
            problems.append(document.complain(f"{path}.credentials", message, hint))
        if source.decoder not in DECODERS:
            message = f"no decoder is called {shown(source.decoder)}"
            hint = likely(source.decoder, list(DECODERS))
            problems.append(document.complain(f"{path}.decoder", message, hint))


def _wrong_with(broker: Mqtt) -> Iterator[tuple[str, str, str]]:
    """What no broker can be asked with: the field, what is wrong, what to do."""
    if not _is_host(broker.host):
        yield "host", f"expected a host name or address, got {shown(broker.host)}", "without a port"
    for field in ("client_id", "username", "status_topic"):
        if len(getattr(broker, field).encode()) > MAX_MQTT_TEXT:
            yield field, f"expected at most {MAX_MQTT_TEXT} bytes, got more", "shorten it"
    if set("+#\0") & set(broker.status_topic):
        message = f"expected a topic, got {shown(broker.status_topic)}"
        yield "status_topic", message, "+ and # are for filters"
    if not 1 <= broker.keepalive <= MAX_KEEPALIVE:
        yield "keepalive", "expected 1s to 18h", "a silent broker is given up within 1.5 times it"


def _is_host(text: str) -> bool:
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def _wrong_filter(text: str) -> str:
    """What is wrong with a topic filter (MQTT 5.0, 4.7), or ""."""
    if len(text.encode()) > MAX_MQTT_TEXT:
        return f"expected at most {MAX_MQTT_TEXT} bytes, got more"
    parts = text.split("/")
    if parts[0] == "$share":
        if len(parts) < 3 or not parts[1] or set("+#") & set(parts[1]):  # noqa: PLR2004 - $share/g/x
            return f"expected $share/GROUP/FILTER, got {shown(text)}"
        parts = parts[2:]
    if not text or "\0" in text or not "/".join(parts):
        return f"expected a topic filter, got {shown(text)}"
    for position, part in enumerate(parts):
        if "#" in part and (part != "#" or position != len(parts) - 1):
            return f"# stands for the end of a filter and alone, not so in {shown(text)}"
        if "+" in part and part != "+":
            return f"+ stands for one whole level, not so in {shown(text)}"
    return ""
