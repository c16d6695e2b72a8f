"""eventd: a monitoring event correlation daemon."""

__version__ = "0.1.0"
