"""What a site let out, and what it kept to itself: ``disclosure.jsonl`` and ``errors.jsonl``."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from common.errors import FedroundsError
from common.journal import append_line
from common.messages import Request

LEDGER = "ledger"
"""The ledger's ε bounds it."""
TEST_BUDGET = "ledger: the test patients' own budget"
EXACT = "nothing: exact, by the site's choice"


def log_release(
    folder: Path,
    request: Request,
    released: Sequence[str],
    covered_by: str,
    withheld: Sequence[str] = (),
) -> None:
    """Append one line to the site's ``disclosure.jsonl``.

    Args:
        folder: the site's folder.
        request: what asked.
        released: every figure that leaves, by name.
        covered_by: :data:`LEDGER`, :data:`TEST_BUDGET` or :data:`EXACT`.
        withheld: classes that were left out whole, of all patients or of a group.
    """
    line = {
        "run_id": request.run_id,
        "round": request.server_round,
        "released": list(released),
        "covered_by": covered_by,
    }
    if withheld:
        line["withheld"] = list(withheld)
    append_line(folder / "disclosure.jsonl", line)


def log_error(folder: Path, asked: str, error: Exception) -> None:
    """Keep an error's text at the site: across the wire goes its code alone."""
    line = {
        "asked": asked,
        "code": error.code if isinstance(error, FedroundsError) else FedroundsError.code,
        "text": str(error),
        "traceback": traceback.format_exception(error),
    }
    with suppress(OSError):
        append_line(folder / "errors.jsonl", line)
