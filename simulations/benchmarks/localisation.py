"""How well a map finds what is known to be there: two figures an image, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.metrics.bootstrap import draw_patients, interval
from common.metrics.figure import Figure, figure

REPLICATES = 1000


@dataclass(frozen=True)
class Localised:
    """One figure an image, in [0, 1], float64 (N,), of images of known patients.

    Attributes:
        patients: whose each image is.
        hit: 1 where the map is highest inside the lesion: the pointing game (Zhang et al. 2018,
            "Top-down neural attention by excitation backprop", section 4.2), without tolerance.
        energy: the share of what is positive in the map that lies inside (Wang et al. 2020,
            "Score-CAM", section 4.3); 0 where nothing is positive.
        area: the lesion's share of the image: what a map that knows nothing has of both.
    """

    patients: NDArray[np.str_]
    hit: NDArray[np.float64]
    energy: NDArray[np.float64]
    area: NDArray[np.float64]

    @staticmethod
    def of(
        maps: NDArray[np.float32], masks: NDArray[np.bool_], patients: NDArray[np.str_]
    ) -> Localised:
        """Score maps (N, H, W) by masks (N, H, W), none of which is empty."""
        flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
        positive = np.clip(flat.astype(np.float64), 0, None)
        total = positive.sum(axis=1)
        within = (positive * inside).sum(axis=1)
        energy = np.divide(within, total, out=np.zeros_like(total), where=total > 0)
        hit = inside[np.arange(len(flat)), flat.argmax(axis=1)].astype(np.float64)
        return Localised(patients, hit, energy, inside.mean(axis=1))

    def figures(self, key: str) -> dict[str, Figure]:
        """The mean of each over all images, with an interval by a bootstrap of patients.

        Args:
            key: what the draws follow from; maps of the same images are compared on the same.
        """
        names, whose = np.unique(self.patients, return_inverse=True)
        drawn = draw_patients(key, "localisation", len(names), REPLICATES)[:, whose]  # (B, N)
        found = {}
        for name in ("hit", "energy", "area"):
            values = getattr(self, name)
            replicates = (drawn @ values) / np.maximum(drawn.sum(axis=1), 1)
            low, high = interval(float(values.mean()), replicates, "share", len(names))
            found[name] = figure(float(values.mean()), low, high, len(values))
        return found


def shrunk(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """A mask (H, W) at a model's size: where a pixel is covered at least half as well as the best.

    A lesion that covers whole pixels keeps those it covers by half, and a smaller one never
    vanishes.
    """
    grey = Image.fromarray(mask.astype(np.float32))
    cover = np.asarray(grey.resize((size, size), Image.Resampling.BOX))
    return np.asarray((cover >= cover.max() / 2) & (cover > 0))
