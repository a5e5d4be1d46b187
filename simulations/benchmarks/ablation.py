"""What each part is worth under privacy: a recipe with one part changed, at equal ε.

    python -m simulations.benchmarks.ablation output_dir=runs/ablation data.root=HAM10000_FOLDER

Two recipes are taken apart. ``scatter`` is ``recipe=private``, whose head alone is trained.
``cnn`` trains every weight, over fewer steps than a real run, so that it is taken apart in
minutes. A row changes the one thing that it names; σ follows, so that ε stays. The rows with
pretraining begin with a model that was trained on the phantom without privacy, with no patient's
image. Nothing is tuned for a row. Further words are settings as of ``fedrounds simulate``;
``rows=scatter,cnn`` chooses.

Each cell is a whole run in ``output_dir/RECIPE-ROW-SEED``: one that has ended is read, one that was
cut off goes on. ``ablation.md`` and ``ablation.json`` are the table of those that there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.errors import SettingsError
from common.metrics.text import figure_text
from simulations.benchmarks.command import cells_folder, run, take_word
from simulations.benchmarks.timing import machine
from simulations.cells import run_cell
from simulations.markdown import markdown_table

BASE = ("experiment=ham10000", "privacy=patient", "privacy.epsilon=8", "evaluate_every=1000")
RECIPES = {
    "scatter": ("recipe=private",),
    "cnn": (
        "model=cnn", "loss=logit_adjusted", "keep=average", "rounds=20", "local_steps=10",
        "strategy.learning_rate=3e-3", "privacy.max_grad_norm=0.3",
    ),
}  # fmt: skip
PRETRAINED = "model.pretrained="
"""Is followed by the folder of the pretraining run, which only the call knows."""
WHOLE = "as it is"
ROWS: dict[str, dict[str, tuple[str, ...]]] = {
    "scatter": {
        WHOLE: (),
        "the last round in place of the average": ("keep=last",),
        "batches a fifth as large": ("privacy.sample_rate=0.05",),
        "no centre": ("model.centred=false",),
        "cross entropy": ("loss=cross_entropy",),
        "a cnn pretrained on the phantom for the wavelets": (
            "model=cnn", PRETRAINED, "model.trainable=head", "model.centred=true",
        ),
    },
    "cnn": {
        WHOLE: (),
        "the last round in place of the average": ("keep=last",),
        "batches three times as large": ("strategy.batch_size=192",),
        "four augmented views": ("privacy.augmentations=4",),
        "automatic clip": ("privacy.clip=automatic",),
        "wsnet: standardised weights for GroupNorm": ("model=wsnet",),
        "cross entropy": ("loss=cross_entropy",),
        "pretrained on the phantom": (PRETRAINED,),
        "pretrained, head only": (PRETRAINED, "model.trainable=head"),
        "pretrained, head only, centred": (
            PRETRAINED, "model.trainable=head", "model.centred=true",
        ),
    },
}  # fmt: skip
PRETRAINING = ("experiment=phantom", "privacy=none", "model=cnn", "rounds=40")


def main(words: Sequence[str]) -> None:
    folder, rest = cells_folder(words)
    chosen, overrides = take_word(rest, "rows", ",".join(ROWS))
    unknown = sorted(set(chosen.split(",")) - set(ROWS))
    if unknown:
        raise SettingsError(f"rows={chosen}: expected some of {', '.join(ROWS)}")
    console, cells = Console(soft_wrap=True), []
    for recipe in chosen.split(","):
        for row, changes in ROWS[recipe].items():
            given = [_with_weights(word, folder, overrides, console) for word in changes]
            settings = load_settings([*BASE, *RECIPES[recipe], *given, *overrides])
            place = list(ROWS[recipe]).index(row)
            result = run_cell(folder / f"{recipe}-{place}-{settings.seed}", settings, console)
            cells.append(cell(recipe, row, changes, result))
            found = {"schema": 1, "machine": machine(), "rows": cells}
            write_json(folder / "ablation.json", found)
            write_bytes(folder / "ablation.md", table(cells).encode())


def _with_weights(word: str, folder: Path, overrides: Sequence[str], console: Console) -> str:
    """The word, with the pretraining run where it asks for one."""
    if word != PRETRAINED:
        return word
    sizes = [o for o in overrides if o.split("=")[0] in ("model.width", "data.image_size")]
    output = folder / "pretraining"
    run_cell(output, load_settings([*PRETRAINING, *sizes]), console)
    return f"{PRETRAINED}{output}"


def cell(
    recipe: str, row: str, changes: Sequence[str], result: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "row": row,
        "changes": list(changes),
        "seed": result["seed"],
        "auroc_macro": result["metrics"]["auroc_macro"],
        "balanced_accuracy": result["metrics"]["balanced_accuracy"],
        "epsilon_run": max(site["privacy"]["epsilon_run"] for site in result["sites"]),
        "seconds": result["seconds"]["total"],
        "versions": result["versions"],
    }


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Markdown; a difference is to the recipe as it is, at the same seed."""
    whole = {c["recipe"]: c["auroc_macro"]["value"] for c in cells if c["row"] == WHOLE}
    heading = ["Recipe", "Changed", "Macro AUROC", "Difference", "Balanced accuracy", "ε, s"]
    rows = [
        (
            c["recipe"],
            c["row"],
            figure_text(c["auroc_macro"]),
            "" if c["row"] == WHOLE else f"{c['auroc_macro']['value'] - whole[c['recipe']]:+.3f}",
            figure_text(c["balanced_accuracy"]),
            f"{c['epsilon_run']:.2f}, {c['seconds']:.0f}",
        )
        for c in cells
    ]
    return markdown_table(heading, rows)


if __name__ == "__main__":
    run(main)
