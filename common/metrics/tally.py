"""From scores to counts, at the site: once as they are, and once for each bootstrap replicate.

What each image adds is worked out once. The counts are its sum over images; a replicate's are the
sum weighted by how often the replicate drew the image's patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics.counts import RELIABILITY_BINS, TEMPERATURES, Counts
from common.metrics.grid import BINS, score_bins
from common.metrics.ranking import pairs_in_one_bin, precision_sum, wins
from common.metrics.scores import log_odds, log_sigmoid, log_softmax

BLOCK = 2_000_000
"""Labels, over some replicates, that are counted at once: bounds what that needs of memory."""


@dataclass(frozen=True)
class Scored:
    """Scored images of one site.

    Attributes:
        logits: float64 (n, K), as the model gives them.
        labels: float32 (n, K) of 0 and 1; NaN where unknown, or not to be counted. In a
            single-label task each image has its 1.
        multi_label: which kind of task it is.
        temperature: what the logits are divided by in the second half of the losses.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.float32]
    multi_label: bool
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Scored:
        """Some of the images, in the order given."""
        return replace(self, logits=self.logits[rows], labels=self.labels[rows])

    @property
    def truth(self) -> NDArray[np.int64]:
        """int64 (n,), the class of each image of a single-label task."""
        return np.asarray(np.nan_to_num(self.labels).argmax(axis=1))


def count(scored: Scored) -> Counts:
    """The counts of one site's scored images."""
    once = next(_weighted(scored, np.ones((1, len(scored)), np.int64)))
    summed = np.array([_losses(scored, t)[:, 0].sum() for t in TEMPERATURES])
    whole = {name: value[0] for name, value in once.to_arrays().items()}
    return Counts(**whole | {"temperatures": summed})


def count_replicates(scored: Scored, weights: NDArray[np.int64]) -> Counts:
    """The same for bootstrap replicates.

    Args:
        scored: n images.
        weights: int64 (B, n), how often each replicate drew each image's patient.
    """
    blocks = list(_weighted(scored, weights))
    if len(blocks) == 1:
        return blocks[0]
    names = blocks[0].to_arrays()
    return Counts(**{n: np.concatenate([getattr(block, n) for block in blocks]) for n in names})


def _weighted(scored: Scored, weights: NDArray[np.int64]) -> Iterator[Counts]:
    """Counts of images that are there ``weights`` times each, some rows of them at once."""
    odds, labels = log_odds(scored.logits, scored.multi_label), scored.labels
    cells, sums = _cells(scored, odds), _sums(scored)
    block = max(1, BLOCK // max(1, labels.size))
    for start in range(0, len(weights), block):
        rows = weights[start : start + block]
        filled = Counts.zero(labels.shape[1], scored.multi_label, len(rows)).to_arrays()
        for name, (places, images) in cells.items():
            flat = filled[name].reshape(len(rows), -1)
            _add(flat, places, rows[:, images])
        for name, added in sums.items():
            filled[name] = np.tensordot(rows.astype(np.float64), added, axes=1)
        for k in range(labels.shape[1]):
            _order(filled, k, odds[:, k], labels[:, k], rows)
        _order(filled, -1, odds.ravel(), labels.ravel(), rows.repeat(labels.shape[1], axis=1))
        filled["sites"] += 1
        yield Counts(**filled)


def _add(totals: NDArray[np.int64], places: NDArray[np.int64], weights: NDArray[np.int64]) -> None:
    """Add int64 ``weights`` (b, m) to ``totals`` (b, …) at m places of the last axis."""
    if len(places):
        order = np.argsort(places, kind="stable")
        occupied, starts = np.unique(places[order], return_index=True)
        totals[:, occupied] += np.add.reduceat(weights[:, order], starts, axis=1)


def _order(
    filled: dict[str, NDArray[Any]],
    k: int,
    odds: NDArray[np.float64],
    labels: NDArray[np.float32],
    weights: NDArray[np.int64],
) -> None:
    """Fill in what the grid cannot say of scores that are of one site."""
    known = ~np.isnan(labels)
    odds, truth, weights = odds[known], labels[known] == 1, weights[:, known]
    odds = np.where(np.isnan(odds), -np.inf, odds)
    exact, binned = (_sides(at, truth, weights) for at in (odds, score_bins(odds)))
    pairs = pairs_in_one_bin(*binned)
    across = wins(*binned) - pairs / 2
    filled["in_one_bin"][:, k, 0] = pairs
    filled["in_one_bin"][:, k, 1] = np.rint(2 * (wins(*exact) - across))
    filled["precision"][:, k] = precision_sum(*exact)


def _sides(
    scores: NDArray[Any], truth: NDArray[np.bool_], weights: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positives and negatives (b, d) at each of d distinct scores, rising."""
    distinct, place = np.unique(scores, return_inverse=True)
    positives, negatives = np.zeros((2, len(weights), len(distinct)), np.int64)
    _add(positives, place[truth], weights[:, truth])
    _add(negatives, place[~truth], weights[:, ~truth])
    return positives, negatives


def _cells(
    scored: Scored, odds: NDArray[np.float64]
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each whole-number field: flat indices of cells that get one more, and by which image."""
    labels, binned, num_classes = scored.labels, score_bins(odds), scored.labels.shape[1]
    cells = {}
    for name, side in (("positives", 1), ("negatives", 0)):
        images, classes = np.nonzero(labels == side)
        cells[name] = (classes * BINS + binned[images, classes], images)
    if scored.multi_label:
        images, classes = np.nonzero(~np.isnan(labels))
        truth, certainty = labels[images, classes].astype(np.int64), odds[images, classes]
        decided = (certainty >= 0).astype(np.int64)
        place, certainty = classes * 4 + truth * 2 + decided, np.abs(certainty)
    else:
        images, truth, decided = np.arange(len(scored)), scored.truth, odds.argmax(axis=1)
        place, certainty = truth * num_classes + decided, odds.max(axis=1, initial=-np.inf)
    cells["confusion"] = (place, images)
    right = np.equal(truth, decided).astype(np.int64)
    cells["confidence"] = (right * BINS + score_bins(certainty), images)
    return cells


def _sums(scored: Scored) -> dict[str, NDArray[np.float64]]:
    """For each field of real numbers, what each image adds to it: float64 (n, …)."""
    reliability = np.zeros((len(scored), 2, RELIABILITY_BINS, 3))
    both = (1.0, scored.temperature)
    for i, temperature in enumerate(both):
        images, probability, came_true = _forecasts(scored, temperature)
        place = np.minimum((probability * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
        added = np.stack([np.ones(len(images)), probability, came_true], axis=1)
        np.add.at(reliability[:, i], (images, place), added)
    losses = np.stack([_losses(scored, temperature) for temperature in both], axis=1)
    return {"losses": losses, "reliability": reliability}


def _forecasts(
    scored: Scored, temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Image, probability and whether it came true, of each class decided for or known label."""
    logits = scored.logits / temperature
    if scored.multi_label:
        images, classes = np.nonzero(~np.isnan(scored.labels))
        probability = np.exp(log_sigmoid(logits[images, classes]))
        return images, probability, scored.labels[images, classes] == 1
    decided = logits.argmax(axis=1)
    probability = np.exp(log_softmax(logits)).max(axis=1, initial=0.0)
    return np.arange(len(scored)), probability, decided == scored.truth


def _losses(scored: Scored, temperature: float) -> NDArray[np.float64]:
    """Each image's −log(probability) of what was observed, and its Brier score: float64 (n, 2).

    Brier's score is Σ (pₖ − yₖ)² over the classes of an image; multi-label over its known labels.
    """
    logits, observed = scored.logits / temperature, np.nan_to_num(scored.labels)
    if scored.multi_label:
        known = ~np.isnan(scored.labels)
        log_p = log_sigmoid((2 * observed - 1) * logits)
        off = np.exp(log_sigmoid(logits)) - observed
        return np.stack([-log_p.sum(axis=1, where=known), (off**2).sum(axis=1, where=known)], 1)
    log_p = log_softmax(logits)
    off = np.exp(log_p) - observed
    return np.stack([-log_p[np.arange(len(scored)), scored.truth], (off**2).sum(axis=1)], axis=1)
