"""Where in an image a classifier's answer comes from, and how well a map says so.

A map has a number a pixel: positive speaks for the class. Three methods make one. What a map is
worth is measured by taking away, and by giving back, the pixels that it ranks highest (Petsiuk et
al. 2018, "RISE", section 4.3): a good map makes the class's probability fall at once, and rise at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from common.data.transforms import MEAN, STD
from common.errors import SettingsError
from common.extras import require_extra
from common.models.classifier import Classifier
from common.models.evidence import EvidenceClassifier, evidence_map

MethodName = Literal["evidence", "gradcam", "integrated_gradients"]
Score = Callable[[Tensor], Tensor]
"""Normalised images float32 (B, C, H, W) to one class's probability (B,)."""

BLACK = (0.0 - MEAN) / STD
GREY = (0.5 - MEAN) / STD
INTEGRATION_STEPS = 64
CURVE_STEPS = 32


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the class's probability against the share of pixels, 0 to 1.

    Attributes:
        deletion: as the highest pixels become grey; the lower the better.
        insertion: as they come back into a blurred image; the higher the better.
    """

    deletion: float
    insertion: float


def choose_methods(named: str | None, model: Classifier) -> list[MethodName]:
    """The methods to use: the one that is named, or all that the model has.

    Raises:
        SettingsError: where the model has no such method, or captum is not installed.
    """
    has_evidence = isinstance(model, EvidenceClassifier)
    there = [name for name in get_args(MethodName) if has_evidence or name != "evidence"]
    chosen = there if named is None else [name for name in there if name == named]
    if not chosen:
        reason = (
            "" if has_evidence else " (evidence needs a model trained with model.head=evidence)"
        )
        raise SettingsError(f"--method {named}: expected one of {', '.join(there)}{reason}")
    if chosen != ["evidence"]:
        require_extra("every method but evidence", "explain", "captum")
    return chosen


def saliency(name: MethodName, model: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """A map for one class of each image.

    Args:
        name: the method.
        model: in evaluation mode, on the CPU.
        images: normalised, float32 (B, C, H, W).
        classes: int64 (B,).

    Returns:
        float32 (B, H, W), without gradient.
    """
    return _METHODS[name](model, images, classes).detach()


def _evidence(model: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """The head's own map, exact: its mean is the logit. Only brought to the image's size."""
    maps = evidence_map(model, images)[torch.arange(len(images)), classes]
    return _to_size(maps[:, None], images)


def _grad_cam(model: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """Selvaraju et al. 2017, eq. 1 and 2, at the backbone's feature map.

    Without the ReLU of eq. 2, which would rank all that does not speak for the class alike.
    """
    from captum.attr import LayerGradCam

    cam = LayerGradCam(model, model.backbone)
    return _to_size(cam.attribute(images.clone().requires_grad_(), classes), images)


def _integrated_gradients(model: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """Sundararajan et al. 2017, eq. 1, from a black image; summed over channels."""
    from captum.attr import IntegratedGradients

    black = torch.full_like(images, BLACK)
    found: Tensor = IntegratedGradients(model).attribute(
        images.clone().requires_grad_(), black, classes, n_steps=INTEGRATION_STEPS
    )
    return found.sum(dim=1).float()


_METHODS: Mapping[MethodName, Callable[[Classifier, Tensor, Tensor], Tensor]] = {
    "evidence": _evidence,
    "gradcam": _grad_cam,
    "integrated_gradients": _integrated_gradients,
}


def _to_size(maps: Tensor, images: Tensor) -> Tensor:
    """(B, 1, h, w) to (B, H, W), bilinear."""
    size = images.shape[-2:]
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[:, 0]


def faithfulness(score: Score, image: Tensor, ranking: Tensor) -> Faithfulness:
    """Deletion and insertion of one map.

    Args:
        score: the class's probability.
        image: normalised, float32 (C, H, W).
        ranking: float32 (H, W); pixels go from the highest to the lowest.
    """
    masks = highest_first(ranking)[:, None]  # (steps + 1, 1, H, W)
    grey = torch.full_like(image, GREY)
    with torch.no_grad():
        falling = score(torch.where(masks, grey, image))
        rising = score(torch.where(masks, image, blurred(image)))
    return Faithfulness(_area(falling), _area(rising))


def highest_first(ranking: Tensor) -> Tensor:
    """The pixels that are taken after each step.

    Args:
        ranking: float32 (H, W).

    Returns:
        bool (steps + 1, H, W): none first, all at last, in equal steps.
    """
    order = ranking.flatten().argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    taken = torch.linspace(0, len(order), CURVE_STEPS + 1).round()
    return (place[None] < taken[:, None]).view(-1, *ranking.shape)


def blurred(image: Tensor) -> Tensor:
    """An image without its details: a Gaussian of a tenth of the side, float32 (C, H, W)."""
    sigma = image.shape[-1] / 10
    kernel = 2 * min(round(2 * sigma), (image.shape[-1] - 1) // 2) + 1
    result: Tensor = gaussian_blur(image, [kernel, kernel], [sigma, sigma])
    return result


def _area(curve: Tensor) -> float:
    """By the trapezoidal rule, over a share of 0 to 1."""
    return float(torch.trapezoid(curve.double(), dx=1 / CURVE_STEPS))
