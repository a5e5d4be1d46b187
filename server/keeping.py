"""Which round's models a run ends with: by a rule that its settings name, and never by chance.

``last``: those of the last round. ``best_validation``: those with the highest macro AUROC over the
sites' validation patients, who are neither trained nor tested on. Under privacy that choice would
rest on figures that no ε covers, so it is refused there (``common/checks.py``). ``average``: the
exponential moving average of the applied rounds' models, which forgets what a single round's noise
added. It is made of models that were released before, so it costs no privacy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.job import Job
from server.strategies import Models


@dataclass(frozen=True)
class Kept:
    """What the run would end with now.

    Attributes:
        server_round: the best round so far, or the last that is in the average.
        auroc: pooled macro AUROC on the validation part; ``None`` where nothing was chosen by it.
        models: those of that round, or their average.
    """

    server_round: int
    auroc: float | None
    models: Models


def kept_after(job: Job, kept: Kept | None, line: Mapping[str, Any], models: Models) -> Kept | None:
    """What the run would end with, by the job's rule, once a further round is over."""
    if job.keep == "best_validation":
        return better(kept, line, models)
    if job.keep == "average" and line["applied"]:
        return averaged(kept, line["round"], models, job.average_decay)
    return kept


def better(kept: Kept | None, line: Mapping[str, Any], models: Models) -> Kept | None:
    """The best round, once a further one has been scored; of equal ones the first.

    Args:
        kept: the best before.
        line: the round's, as ``rounds.jsonl`` gets it; a round may have no figure.
        models: the round's.
    """
    pooled = (line["validation"] or {}).get("pooled") or {}
    auroc = pooled.get("auroc_macro")
    best = None if kept is None else kept.auroc
    if auroc is None or (best is not None and auroc <= best):
        return kept
    return Kept(line["round"], auroc, models)


def averaged(kept: Kept | None, number: int, models: Models, decay: float) -> Kept:
    """w̄ ← β w̄ + (1 − β) w with β = min(decay, (1 + t) / (10 + t)) (De et al. 2022, appendix C.1).

    The average begins as round 1's models; t is ``number``, so that early rounds, which are far
    from where training ends, are soon forgotten.

    Args:
        kept: the average before.
        number: the round.
        models: the round's; the same names as before.
        decay: the greatest β, at least 0 and below 1.
    """
    if kept is None:
        return Kept(number, None, models)
    beta = min(decay, (1 + number) / (10 + number))
    mean: Models = {
        owner: {
            name: (
                beta * kept.models[owner][name].astype(np.float64)
                + (1 - beta) * value.astype(np.float64)
            ).astype(value.dtype)
            for name, value in arrays.items()
        }
        for owner, arrays in models.items()
    }
    return Kept(number, None, mean)
