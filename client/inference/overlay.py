"""An image with each method's map over it, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

INCHES, DPI = 3.2, 120
STRONGEST = 0.65
"""Opacity of the highest place of a map; where it is zero the image is seen as it is."""


@dataclass(frozen=True)
class Panel:
    """One map, and what stands above it."""

    title: str
    map: NDArray[np.float32]


def draw_overlay(image: NDArray[np.uint8], heading: str, panels: Sequence[Panel]) -> bytes:
    """The image, and beside it the image under each map.

    Args:
        image: uint8 (C, H, W), at whatever size it is to be seen.
        heading: what the maps are about.
        panels: float32 (h, w) each; what speaks against the class is not drawn.

    Returns:
        The bytes of a PNG.
    """
    figure = Figure(figsize=(INCHES * (1 + len(panels)), INCHES + 0.9), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(heading, fontsize=11)
    shown = np.moveaxis(np.repeat(image, 3, axis=0) if len(image) == 1 else image, 0, -1)
    extent = (0, shown.shape[1], shown.shape[0], 0)
    for number, panel in enumerate([None, *panels], start=1):
        axes = figure.add_subplot(1, 1 + len(panels), number)
        axes.set_axis_off()
        axes.imshow(shown, extent=extent)
        if panel is None:
            axes.set_title("image", fontsize=9)
            continue
        nothing = "" if panel.map.max() > 0 else "\nno place speaks for the class"
        axes.set_title(f"{panel.title}{nothing}", fontsize=9)
        strength: NDArray[np.float32] = np.clip(panel.map, 0, None)
        strength /= float(strength.max()) or 1.0
        alpha = STRONGEST * strength
        axes.imshow(strength, extent=extent, cmap="inferno", vmin=0, vmax=1, alpha=alpha)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.78, wspace=0.04)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
