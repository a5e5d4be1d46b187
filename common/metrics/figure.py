"""One figure, as the result holds it."""

from __future__ import annotations

import math
from typing import Any

Figure = dict[str, Any]
"""``{"value": float or None, "low": …, "high": …, "support": …}``."""


def figure(value: float, low: float, high: float, support: Any) -> Figure:
    """A figure with its 95% interval, ready for JSON; NaN, which is unknown, becomes ``None``."""
    known = {"value": value, "low": low, "high": high}
    return {k: None if math.isnan(v) else float(v) for k, v in known.items()} | {"support": support}
