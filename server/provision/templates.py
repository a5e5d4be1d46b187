"""The generated files: texts under ``templates/`` with ``{{name}}`` to fill in."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "templates"
_BLANK = re.compile(r"\{\{(\w+)\}\}")


def render(template: str, /, **values: str | int) -> str:
    """Fill in one template.

    Raises:
        KeyError: where a blank has no value; a fault of the caller's, not of any input.
    """
    text = (FOLDER / template).read_text(encoding="utf-8")
    return _BLANK.sub(lambda blank: str(values[blank[1]]), text)


def unit(template: str, /, **values: str) -> str:
    """Fill in a systemd unit, with what both units may not do."""
    return render(template, hardening=render("hardening.service"), **values)
