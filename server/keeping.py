"""Which round's models a run ends with: by a rule that its settings name, and never by chance.

``last``: those of the last round. ``best_validation``: those with the highest macro AUROC over the
sites' validation patients, who are neither trained nor tested on. Under privacy that choice would
rest on figures that no ε covers, so it is refused there (``common/checks.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.strategies import Models


@dataclass(frozen=True)
class Kept:
    """The best round so far.

    Attributes:
        server_round: its number.
        auroc: pooled macro AUROC on the validation part.
        models: what the sites scored.
    """

    server_round: int
    auroc: float
    models: Models


def better(kept: Kept | None, line: Mapping[str, Any], models: Models) -> Kept | None:
    """The best round, once a further one has been scored; of equal ones the first.

    Args:
        kept: the best before.
        line: the round's, as ``rounds.jsonl`` gets it; a round may have no figure.
        models: the round's.
    """
    pooled = (line["validation"] or {}).get("pooled") or {}
    auroc = pooled.get("auroc_macro")
    if auroc is None or (kept is not None and auroc <= kept.auroc):
        return kept
    return Kept(line["round"], auroc, models)
