"""config/eventd.yaml shows every key with its default."""

from __future__ import annotations

from pathlib import Path

import yaml

from eventd.config import Environment, File, load

SHOWN = Path(__file__).parents[2] / "config" / "eventd.yaml"


def test_the_shown_configuration_is_the_default_one() -> None:
    assert load(SHOWN, Environment()).file == File()


def test_it_shows_every_key() -> None:
    shown = yaml.safe_load(SHOWN.read_text())

    def keys_of(value: object, data: object) -> None:
        for name in getattr(value, "__struct_fields__", ()):
            assert isinstance(data, dict)
            assert name in data, name
            keys_of(getattr(value, name), data[name])

    keys_of(File(), shown)
