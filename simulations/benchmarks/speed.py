"""A whole ``fedrounds simulate`` against a bare loop over the same images: seconds and ratio.

    python -m simulations.benchmarks.speed output_dir=runs/speed [rows=NAMES] [repeats=3]

By default on the phantom; ``experiment=ham10000 data.root=FOLDER rounds=4`` measures on real
images, and so does any other setting of ``fedrounds simulate``. The bare loop (``bare.py``) takes
as many steps of the same model and batch size over the pooled images, with as many threads as all
workers have together: of AdamW at a constant rate, whatever optimiser is set, and under privacy
with σ = 1, since seconds follow from neither. Both are whole processes, decoding included, and take
turns.

Under privacy the loop is Opacus's own. What our noise takes is measured apart, by itself: it comes
from ChaCha20, four numbers a coordinate, and Opacus's from ``torch.normal``, which can be foretold.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from client.privacy.entropy import SecretStream
from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.config import Experiment, Settings, TaskSettings
from common.data.labels import is_multi_label
from common.models import build_model
from common.schema import narrow
from simulations.benchmarks.command import cells_folder, run, take_count, take_word
from simulations.benchmarks.memory import cost_of
from simulations.benchmarks.timing import machine, spread
from simulations.hospitals import kept_hospitals
from simulations.markdown import markdown_table
from simulations.warm import sites_at_once

ROWS: Mapping[str, tuple[str, ...]] = {
    "plain": ("privacy=none",),
    "private": ("privacy.epsilon=8", "privacy.delta=1e-5"),
    "resnet18": (
        "privacy.epsilon=8",
        "privacy.delta=1e-5",
        "model=resnet18",
        "data.image_size=28",
        "rounds=1",
        "local_steps=2",
    ),
}
"""What is compared, and its settings."""
REPEATS = 3


def main(words: Sequence[str]) -> None:
    folder, words = cells_folder(words)
    names, words = take_word(words, "rows", ",".join(ROWS))
    repeats, words = take_count(words, "repeats", REPEATS)
    console = Console(soft_wrap=True)
    rows: list[dict[str, Any]] = []
    for name in names.split(","):
        rows.append(measure_row(folder / name, [*words, *ROWS[name]], repeats, console))
        rows[-1]["row"] = name
        facts = {**machine(), "torch": torch.__version__}
        write_json(folder / "speed.json", {"schema": 1, "machine": facts, "rows": rows})
        write_bytes(folder / "speed.md", table(rows).encode())
        console.print(table(rows[-1:]))


def measure_row(
    folder: Path, words: Sequence[str], repeats: int, console: Console
) -> dict[str, Any]:
    """Ours and the bare loop in turn, ``repeats`` times."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = load_settings(words)
    if settings.data.phantom and settings.data.root is None:
        words = [*words, f"data.root={kept_hospitals(folder.parent, settings.seed)}"]
        settings = load_settings(words)
    experiment = shared(settings)
    (folder / "experiment.yaml").write_text(experiment.to_yaml(), encoding="utf-8")
    threads = sites_at_once(settings) * settings.threads
    ours, bare = list[float](), list[float]()
    phases: dict[str, float] = {}
    for repeat in range(repeats):
        run = folder / f"run-{time.strftime('%Y%m%d%H%M%S')}-{repeat}"
        ours.append(cost_of("-m", "fedrounds", "simulate", *words, f"output_dir={run}").seconds)
        arguments = [str(run), str(folder / "experiment.yaml"), str(threads)]
        loop = cost_of(
            "-m", "simulations.benchmarks.bare", *arguments, str(settings.evaluate_every)
        )
        bare.append(loop.seconds)
        phases = json.loads(loop.said)
        console.print(f"ours {ours[-1]:.1f} s, bare {bare[-1]:.1f} s", highlight=False)
    sites = len(list(run.glob("sites/*/site.yaml")))
    noise = noise_seconds(experiment) * sites * experiment.total_steps
    return {
        "words": list(words),
        "sites": sites,
        "steps": sites * experiment.total_steps,
        "threads": threads,
        "ours": ours,
        "bare": bare,
        "bare_phases": phases,
        "noise": noise / threads * settings.threads if experiment.privacy.enabled else 0.0,
        "result": json.loads((run / "result.json").read_text(encoding="utf-8"))["seconds"],
    }


def shared(settings: Settings) -> Experiment:
    """The experiment that the sites will be sent; the data's classes have to be listed."""
    data = settings.data
    return settings.shared(narrow(TaskSettings, data, multi_label=is_multi_label(data, data)))


def noise_seconds(experiment: Experiment) -> float:
    """Seconds of one step's noise on one core."""
    count = sum(p.numel() for p in build_model(experiment).parameters())
    torch.set_num_threads(1)
    stream, seconds = SecretStream(), list[float]()
    for _ in range(3):
        started = time.perf_counter()
        stream.noise(count)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: medians, with the least and the most; the ratio is of medians."""
    heading = ["Row", "Sites, steps", "simulate, s", "bare loop, s", "Ratio", "of it noise, s"]
    lines = []
    for row in rows:
        ours, bare = statistics.median(row["ours"]), statistics.median(row["bare"])
        noise = f"{row['noise']:.1f}" if row["noise"] else "none"
        counts, both = f"{row['sites']}, {row['steps']}", (row["ours"], row["bare"])
        lines.append([row["row"], counts, *map(spread, both), f"{ours / bare:.2f}", noise])
    return markdown_table(heading, lines)


if __name__ == "__main__":
    run(main)
