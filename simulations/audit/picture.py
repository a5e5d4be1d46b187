"""The picture of a gradient inversion."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from common.checkpoint import write_bytes
from simulations.audit.claim import Claim
from simulations.audit.inversion import Inversion


def write_picture(path: Path, found: Inversion, claim: Claim) -> None:
    """A PNG of three panels: the image, and what its update gives without and with privacy."""
    figure = Figure(figsize=(9, 3.4), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    panels = [
        ("phantom image", found.original),
        (f"from a plain update (r = {found.correlation_plain:.3f})", found.plain),
        (f"from a private update (r = {found.correlation_private:.3f})", found.private),
    ]
    for axes, (title, image) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.imshow(image, cmap="gray", interpolation="nearest")  # each on its own range
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.suptitle(
        f"one update of a first layer, inverted: σ = {claim.noise_multiplier:g}, "
        f"C = {claim.max_grad_norm:g}",
        fontsize=10,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
