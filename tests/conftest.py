"""For every test: hypothesis plays the same examples on every machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("eventd", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("eventd")
