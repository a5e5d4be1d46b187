"""The disclosure log: what a site released, and whether the ledger covers it."""

from __future__ import annotations

import json
import time
from pathlib import Path


def log_release(folder: Path, run_id: str, server_round: int, released: str, covered: bool) -> None:
    """Append one line to the site's ``disclosure.jsonl``.

    Args:
        folder: the site's folder.
        run_id: whose run it is.
        server_round: the round that asked.
        released: what leaves, by name.
        covered: ``True`` where the ledger's ε bounds it, ``False`` where it is exact by the
            site's own choice.
    """
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "run_id": run_id,
        "round": server_round,
        "released": released,
        "covered_by": "ledger" if covered else "nothing: exact, by the site's choice",
    }
    with (folder / "disclosure.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
