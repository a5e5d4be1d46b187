"""Milliseconds an image of each way to per-image gradients, model by model.

    python -m simulations.benchmarks.gradient_modes output_dir=runs/gradient_modes [repeats=5]

``ours``: Opacus's hooks with the samplers of ``client/privacy/samplers.py``, channels last, as
training has them, and the way back skips the batch's own gradient of the weights; the others have
channels first, as Opacus's own sampler needs them. ``hooks``: with
Opacus's own samplers alone, and functorch where it has none. ``functorch``: for every layer.
``ew``: PyTorch's expanded weights. One thread; processor time of forward and backward, the modes in
turn, medians. A mode that cannot do a model says why.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleExpandedWeights
from opacus.grad_sample.conv import compute_conv_grad_sample
from rich.console import Console
from torch import Tensor, nn

from client.privacy.gradients import patient_gradients
from common.checkpoint import write_bytes, write_json
from common.compose import load_settings
from common.models import build_model
from common.models.batch_norm import Affine
from common.models.wsnet import WSConv2d
from simulations.benchmarks.command import cells_folder, no_more, run, take_count
from simulations.benchmarks.speed import shared
from simulations.benchmarks.timing import machine
from simulations.markdown import markdown_table

MODELS = {
    "cnn": (64, 32),
    "wsnet": (64, 32),
    "resnet18": (28, 8),
    "mobilenet": (64, 8),
    "densenet121": (32, 4),
}
"""Each model's image size and batch, of three channels and seven classes."""
REPEATS = 5

Cost = float | str
"""Milliseconds an image, or why a mode cannot do it."""


@contextmanager
def opacus_alone() -> Iterator[None]:
    """Opacus's samplers as if ours had never been registered."""
    known: dict[type, Any] = GradSampleModule.GRAD_SAMPLERS
    before = dict(known)
    known[nn.Conv2d] = compute_conv_grad_sample
    for ours in (WSConv2d, Affine):
        del known[ours]
    try:
        yield
    finally:
        known.clear()
        known.update(before)


def hooked(model: nn.Module) -> nn.Module:
    wrapped: nn.Module = GradSampleModule(model, loss_reduction="sum")
    return wrapped


def functorch(model: nn.Module) -> nn.Module:
    wrapped: nn.Module = GradSampleModule(model, loss_reduction="sum", force_functorch=True)
    return wrapped


def expanded_weights(model: nn.Module) -> nn.Module:
    wrapped: nn.Module = GradSampleModuleExpandedWeights(model, loss_reduction="sum")
    return wrapped


OURS = "ours"
WRAPPERS: Mapping[str, Callable[[nn.Module], nn.Module]] = {
    "hooks": hooked,
    "functorch": functorch,
    "ew": expanded_weights,
}
MODES = (OURS, *WRAPPERS)


def main(words: Sequence[str]) -> None:
    folder, words = cells_folder(words)
    repeats, words = take_count(words, "repeats", REPEATS)
    no_more(words, "output_dir=PATH", "repeats=N")
    torch.set_num_threads(1)
    costs: dict[str, dict[str, Cost]] = {}
    warnings.simplefilter("ignore")  # PyTorch's and Opacus's, of hooks and expanded weights
    for name, (size, batch) in MODELS.items():
        costs[name] = measure(name, size, batch, repeats)
        facts = {**machine(), "torch": torch.__version__}
        write_json(folder / "gradient_modes.json", {"schema": 1, "machine": facts, "costs": costs})
        write_bytes(folder / "gradient_modes.md", table(costs).encode())
    Console(soft_wrap=True).print(table(costs))


def measure(name: str, size: int, batch: int, repeats: int) -> dict[str, Cost]:
    """Each mode's cost for one model."""
    words = ["data=ham10000", "privacy=none", "data.root=.", f"model={name}"]
    experiment = shared(load_settings([*words, f"data.image_size={size}"]))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator)
    labels = torch.randint(len(experiment.classes), (batch,), generator=generator)
    milliseconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    failed: dict[str, str] = {}
    for _ in range(1 + repeats):
        for mode in [mode for mode in MODES if mode not in failed]:
            layout = torch.channels_last if mode == OURS else torch.contiguous_format
            model = build_model(experiment).to(memory_format=layout).train()
            try:
                seconds = gradients(mode, model, images.contiguous(memory_format=layout), labels)
            except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
                failed[mode] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
                continue
            milliseconds[mode].append(1000 * seconds / batch)
    return {
        mode: failed.get(mode) or statistics.median(found[1:])  # the first warms up
        for mode, found in milliseconds.items()
    }


def gradients(mode: str, model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Seconds of one batch's gradients by a mode."""
    if mode == OURS:
        loss = partial(nn.functional.cross_entropy, reduction="none")
        with patient_gradients(model, loss) as fill:
            started = time.process_time()
            fill((images,), labels, 1)
            return time.process_time() - started
    with opacus_alone() if mode == "hooks" else nullcontext():
        wrapped = WRAPPERS[mode](model)
        started = time.process_time()
        total = nn.functional.cross_entropy(wrapped(images), labels, reduction="sum")
        total.backward()  # type: ignore[no-untyped-call]
        return time.process_time() - started


def table(costs: Mapping[str, Mapping[str, Cost]]) -> str:
    """Markdown."""
    rows = []
    for name, found in costs.items():
        cells = [f"{c:.1f}" if isinstance(c, float) else f"not: {c}" for c in found.values()]
        rows.append([f"{name}, {MODELS[name][0]}", *cells])
    return markdown_table(["Model, pixels", *MODES], rows)


if __name__ == "__main__":
    run(main)
