"""`python -m eventd`."""

from eventd.cli import main

main(prog_name="eventd")
