"""Time zones as tables, and what people read of one that there is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from eventd import zones
from eventd.errors import ConfigError, RuleError
from eventd.files import load_rules
from eventd.zones import shifts_of

RULE = """rules:
  - name: known
    calendar: {{match: 'name="a"', starts: "0 2 * * *", lasts: 1h, zone: {zone}}}
  - name: others
    group: {{match: 'name="b"'}}
    by: [ci]
    within: 5m
    during: {{starts: "0 2 * * *", lasts: 1h, zone: {other}}}
"""


def test_a_table_says_what_the_clocks_say() -> None:
    for name in ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Tokyo"):
        table, zone = shifts_of(name, ""), ZoneInfo(name)
        for at, offset in table[1:]:
            before = datetime.fromtimestamp(at - 1, UTC).astimezone(zone).utcoffset()
            after = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
            assert before != after
            assert after is not None
            assert after.total_seconds() == offset
    assert len(shifts_of("Asia/Tokyo", "")) == 1


def test_zones_come_with_the_rules_and_are_part_of_their_version(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE.format(zone="Europe/Berlin", other="UTC"))
    loaded = load_rules(file)

    assert loaded.zones == {"Europe/Berlin": shifts_of("Europe/Berlin", "")}
    file.write_text(RULE.format(zone="UTC", other="UTC"))
    assert load_rules(file).zones == {}
    assert load_rules(file).version != loaded.version


def test_a_zone_that_there_is_not_is_answered_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE.format(zone="Europe/Berln", other="x"))

    with pytest.raises(ConfigError) as raised:
        load_rules(file)

    assert raised.value.problems == [
        f"{file}:3: rules[0].calendar.zone: 'Europe/Berln' is no time zone "
        "(did you mean 'Europe/Berlin'?)",
        f"{file}:8: rules[1].during.zone: 'x' is no time zone (such as Europe/Berlin)",
    ]


def test_without_any_zones_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "available_timezones", set)

    with pytest.raises(RuleError, match="install the package tzdata"):
        shifts_of("../etc/passwd", "zone")


def test_a_wrong_time_is_answered_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE.format(zone="UTC", other="UTC").replace("0 2 * * *", "0 25 * * *"))

    with pytest.raises(ConfigError) as raised:
        load_rules(file)

    assert [one.split(":", 2)[1] for one in raised.value.problems] == ["3", "8"]
    assert "calendar.starts: '25' is no hour from 0 to 23" in raised.value.problems[0]


def test_what_a_calendar_cannot_have_is_answered_with_what_it_can(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE.format(zone="UTC", other="UTC").replace("1h, zone", "5, zone", 1))

    with pytest.raises(ConfigError) as raised:
        load_rules(file)

    assert raised.value.problems == [
        f'{file}:3: rules[0].calendar.lasts: expected a duration such as "5m", got 5 '
        "(number and unit: ms s m h d w)"
    ]
