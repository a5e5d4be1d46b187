"""How a file may be read: names alone, for the settings and for the worker, which starts fast."""

from __future__ import annotations

from typing import Literal

Frames = Literal["first", "middle", "all"]
Intensity = Literal["auto", "display", "extremes", "percentile", "range"]
Resize = Literal["stretch", "pad", "crop"]
