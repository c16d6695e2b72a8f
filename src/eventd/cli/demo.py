"""`eventd demo`: a bank's bad afternoon at a real daemon."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eventd.cli.incidents import line as in_one_line
from eventd.cli.lines import say, say_json
from eventd.cli.playback import Player, beats, inventory, pages, recording
from eventd.config import Environment, address
from eventd.errors import EventdError

WATCHED_SPEED, QUICK_SPEED = 3.0, 25.0  # times the story's own: a minute, and some seconds
START_WITHIN = 30.0  # s
STOP_WITHIN = 20.0  # s
POLL = 0.05  # s
# What belongs together is an incident 20 to 40 s after its first alert: also the end of the story.
# So is a gateway that is silent for 20 s more than three and a half of its beats.
GATHERED = 55.0  # s
_WAITING = (
    "Waiting {:.0f} s: up to 40 until what belongs to the last of it is one incident, "
    "up to 45 until a gateway is silent and not just late."
)

# The shipped profile without the parts a demo has no use for: what is acknowledged is saved.
_BROKER = """listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
user {user}
log_dest none
"""


@click.command()
@click.option("--speed", type=click.FloatRange(0.1, 1000), help="Times the story's own speed.")
@click.option("--exit", "leave", is_flag=True, help="Leave after the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--state", type=click.Path(path_type=Path), help="State directory to use and keep.")
@click.option("--listen", default="127.0.0.1:9095", show_default=True, metavar="HOST:PORT")
def demo(
    speed: float | None, state: Path | None, listen: str, *, leave: bool, as_json: bool
) -> None:
    """Play three minutes of a bank's monitoring at a real daemon, over real MQTT and HTTP.

    Stays up until Ctrl-C, and keeps what it saw for the next time; with --exit it forgets.
    """
    try:
        address(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    console = Console(stderr=as_json, highlight=False)
    pace = speed or (QUICK_SPEED if leave else WATCHED_SPEED)
    with tempfile.TemporaryDirectory(prefix="eventd-demo-") as scratch:
        kept = state or (Path(scratch, "state") if leave else _demo_state())
        try:
            asyncio.run(_demo(Path(scratch), kept, listen, pace, console, (leave, as_json)))
        except EventdError as error:
            say(*f"eventd demo: {error}".split("\n"), err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            console.print(f"Stopped. What it saw is kept in {kept}.")


def _demo_state() -> Path:
    """Where a watched demo keeps its state from one time to the next."""
    return Environment.read().default_state().with_name("eventd-demo")


async def _demo(
    scratch: Path, state: Path, listen: str, pace: float, console: Console, mode: tuple[bool, bool]
) -> None:
    leave, as_json = mode
    host, _, wanted = listen.rpartition(":")
    port = int(wanted) if _is_free(host, int(wanted)) else _free_port()
    url = f"http://{host}:{port}"
    with _broker(scratch, console) as mqtt_port, _daemon(scratch, state, host, port, mqtt_port):
        await _ready(url, scratch)
        _say_where(console, url, state, mqtt_port)
        lines = recording()
        over = await _closed(url)
        with Progress(
            TextColumn("a bank's bad afternoon"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        ) as progress:
            task = progress.add_task("", total=len(lines))
            player = Player(url, mqtt_port, pace)
            await player.play(lines, lambda: progress.advance(task))
        events = await _events(url)
        console.print(_WAITING.format(GATHERED), soft_wrap=True)
        async with asyncio.TaskGroup() as tasks:
            going_on = player.play(beats(lines, GATHERED * pace), lambda: None)
            tasks.create_task(going_on, name="heartbeats")
            tasks.create_task(asyncio.sleep(GATHERED), name="wait")
        summary = await _summary(url, over, events)
        say_json(json.dumps(summary)) if as_json else _print(summary, url)
        if not leave:
            await _until_interrupted(console)


async def _until_interrupted(console: Console) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    console.print("Ctrl-C stops it; start it again, and everything is still there.")
    await stop.wait()
    raise KeyboardInterrupt


@contextmanager
def _broker(scratch: Path, console: Console) -> Iterator[int | None]:
    """A mosquitto of the demo's own; its port, or None where none is installed."""
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        console.print("No mosquitto is installed: everything is played over HTTP.")
        yield None
        return
    port, folder = _free_port(), scratch / "broker"
    folder.mkdir()
    conf = folder / "mosquitto.conf"
    conf.write_text(_BROKER.format(port=port, folder=folder, user=folder.owner()))
    process = subprocess.Popen([binary, "-c", str(conf)], stderr=subprocess.DEVNULL)  # noqa: S603 - our own
    try:
        yield port
    finally:
        _stop(process)


@contextmanager
def _daemon(
    scratch: Path, state: Path, host: str, port: int, mqtt_port: int | None
) -> Iterator[None]:
    """`eventd run` as anybody would run it."""
    config: dict[str, Any] = {
        "listen": f"{host}:{port}",
        "state": str(state.absolute()),
        "inventory": "inventory.yaml",
        "incidents": {"resolve_after": "5s"},
        "log": {"format": "json"},
    }
    if mqtt_port is not None:
        topics = [{"filter": "bank/#", "decoder": "native"}]
        config["sources"] = {
            "mqtt": [{"name": "bank", "host": "127.0.0.1", "port": mqtt_port, "topics": topics}]
        }
    path = scratch / "eventd.yaml"
    path.write_text(json.dumps(config))
    (scratch / "inventory.yaml").write_bytes(inventory())
    command = [sys.executable, "-m", "eventd", "run", "--config", str(path)]
    with (scratch / "eventd.log").open("wb") as log:
        # a session of its own: Ctrl-C is ours to handle, then we tell it
        process = subprocess.Popen(command, stderr=log, start_new_session=True)  # noqa: S603 - our own
    try:
        yield
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _ready(url: str, scratch: Path) -> None:
    try:
        async with asyncio.timeout(START_WITHIN), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"{url}/-/ready") as answer:
                        if answer.ok:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(POLL)
    except TimeoutError:
        tail = (scratch / "eventd.log").read_text(errors="replace")[-2_000:]
        raise EventdError(f"the daemon does not become ready:\n{tail}") from None


def _say_where(console: Console, url: str, state: Path, mqtt_port: int | None) -> None:
    console.print(f"eventd runs at {url}, its state is in {state}", soft_wrap=True)
    if mqtt_port is not None:
        console.print(f"mosquitto runs at 127.0.0.1:{mqtt_port}, topics bank/#")


async def _closed(url: str) -> list[str]:
    """Incidents that are over before the play begins: the summary leaves them out."""
    async with aiohttp.ClientSession() as http:
        found = [one async for one in pages(http, f"{url}/api/v1/incidents")]
    return [one["id"] for one in found if one["state"] == "closed"]


async def _events(url: str) -> float:
    """How many it received since it started."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        page = await answer.text()
    return sum(
        float(row.rpartition(" ")[2])
        for row in page.splitlines()
        if row.startswith("eventd_events_received_total{")
    )


async def _summary(url: str, over: list[str], events: float) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http:
        alerts = [one async for one in pages(http, f"{url}/api/v1/alerts")]
        listed = [one async for one in pages(http, f"{url}/api/v1/incidents")]
        incidents = []
        for one in reversed(listed):
            if one["id"] in over:
                continue
            async with http.get(f"{url}/api/v1/incidents/{one['id']}") as answer:
                detail = await answer.json()
            known = [member for member in detail["alerts"] if member["alert"] is not None]
            members = sorted((each["alert"]["name"], each["alert"]["ci"]) for each in known)
            last = max(known, key=lambda each: (each["joined_at"], each["fingerprint"]))
            said = last["alert"]["summary"]
            incidents.append(
                {**one, "members": list(dict.fromkeys(members)), "last": _said(last), "said": said}
            )
    return {
        "events": int(events),
        "alerts": len(alerts),
        "alone": sum(1 for one in alerts if one["incident"] is None),
        "incidents": incidents,
        "noise_reduction": round(1 - len(incidents) / max(1.0, events), 4),
    }


def _print(summary: dict[str, Any], url: str) -> None:
    found = summary["incidents"]
    say(
        "",
        f"{summary['events']} events were {summary['alerts']} alerts, and are "
        f"{len(found)} incidents: {summary['noise_reduction']:.1%} less to read. "
        f"{summary['alone']} alerts are in none: maintenance covers them, or they are waited for.",
        "",
    )
    for one in sorted(found, key=lambda one: (one["priority"], one["id"])):
        say(in_one_line(one), *(f"      {line}" for line in _because(one)))
    worst = min(found, key=lambda one: (one["priority"], one["id"]))["id"] if found else ""
    say(
        "",
        "Look closer:",
        f"  {url}/api/v1/incidents",
        f"  {url}/api/v1/incidents/{worst}",
        f"  {url}/metrics",
        f"  eventd incidents show {worst} --why --url {url}",
        "",
    )


def _because(one: dict[str, Any]) -> Iterator[str]:
    """What speaks for an incident's priority, its roots, and the alert that came last."""
    yield f"impact: {one['impact_because']}; urgency: {one['urgency_because']}"
    for rank, root in enumerate(one["roots"], 1):
        if rank == 1 or root["explains"] > 1:
            yield f"root {rank}: {root['text']}"
    count = one["alert_count"]
    if count > 1:
        yield f"the last of its {count} alerts: {one['last']}"
    else:
        yield f"its alert says: {one['said']}"


def _said(member: dict[str, Any]) -> str:
    """An alert of an incident, and why it is in it."""
    alert = member["alert"]
    return f"{alert['name']} on {alert['ci']}: {member['because']['text']}"


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
