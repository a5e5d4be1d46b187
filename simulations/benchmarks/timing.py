"""Wall time of a call: median and spread over repeats, and how it is told."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over ``repeats`` calls."""

    name: str
    median: float
    least: float
    most: float
    repeats: int
    note: str = ""
    """What the call gave, where that matters to its time."""


def measure(
    name: str,
    call: Callable[[int], object],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time ``call(n)`` for n = 0 to ``repeats`` − 1; what the last one returns is the note.

    Args:
        name: what is timed.
        call: is given the number of the repeat.
        repeats: 1 or more.
        clock: wall time, or ``time.process_time``, which a busy machine lengthens less.
    """
    seconds: list[float] = []
    result: object = None
    for number in range(repeats):
        started = clock()
        result = call(number)
        seconds.append(clock() - started)
    note = "" if result is None else str(result)
    return Timing(name, statistics.median(seconds), min(seconds), max(seconds), repeats, note)


def spread(seconds: Sequence[float]) -> str:
    """The median, and the least and the most where there are several."""
    middle = f"{statistics.median(seconds):.1f}"
    return middle if len(seconds) == 1 else f"{middle} ({min(seconds):.1f} to {max(seconds):.1f})"


def machine() -> dict[str, Any]:
    """What the seconds depend on: cores, how busy they were, and the interpreter."""
    return {
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def tell(title: str, timings: Sequence[Timing], as_json: bool, **facts: Any) -> None:
    """Print a table, or one JSON text and nothing else."""
    about: Mapping[str, Any] = {**machine(), **facts}
    if as_json:
        rows = [asdict(timing) for timing in timings]
        print(json.dumps({"benchmark": title, **about, "seconds": rows}, indent=1))
        return
    table = Table("what", "median, s", "least", "most", "repeats", "gave", title=title)
    for t in timings:
        figures = (f"{value:.4f}" for value in (t.median, t.least, t.most))
        table.add_row(t.name, *figures, str(t.repeats), t.note)
    console = Console(soft_wrap=True, width=140)
    console.print(table)
    console.print(", ".join(f"{k} {v}" for k, v in about.items()), highlight=False)
