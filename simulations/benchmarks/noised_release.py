"""What the noise on a release of evaluation costs: the macro AUROC with it against that without.

    python -m simulations.benchmarks.noised_release [--json] [draws=300]

Patients of one site, each of one of K equally frequent classes, with calibrated binormal scores of
AUROC 0.8 for every class; patients and scores follow from the number of the draw, the noise from
the operating system, as at a site. A draw's shift is that of the same bins. A class is hidden where
the noise drowns its size; the shift is over draws with a class that is not.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from client.budget import release_noise_multiplier
from client.privacy.entropy import SecretStream
from client.release import add_noise
from common.histograms import Histograms, count_patients, histogram_figures
from simulations.benchmarks.command import no_more, run, take_count, take_json

DELTA = 1e-5
SEPARATION = math.sqrt(2) * statistics.NormalDist().inv_cdf(0.8)
"""Of the two kinds' means, in standard deviations: AUROC = Φ(d / √2) of binormal scores."""
CASES = [(k, n, epsilon) for k in (2, 7) for n in (100, 400) for epsilon in (1.0, 8.0)]
"""Classes, test patients, ε."""


@dataclass(frozen=True)
class Cost:
    """Of one release.

    Attributes:
        classes, patients, epsilon: of the site and its policy.
        mean, deviation: of the shift of macro AUROC; ``None`` where fewer than two draws have one.
        hidden: share of the classes that are hidden.
    """

    classes: int
    patients: int
    epsilon: float
    mean: float | None
    deviation: float | None
    hidden: float


def main(words: Sequence[str]) -> None:
    as_json, words = take_json(words)
    draws, words = take_count(words, "draws", 300)
    no_more(words, "draws=N", "--json")
    costs = [cost(*case, draws) for case in CASES]
    if as_json:
        rows = [asdict(each) for each in costs]
        print(json.dumps({"delta": DELTA, "draws": draws, "rows": rows}, indent=1))
        return
    print(f"δ = {DELTA:g}, {draws} draws")
    for each in costs:
        shift = "no shift: hidden"
        if each.mean is not None:
            shift = f"shift {each.mean:+.3f} ± {each.deviation:.3f}"
        print(
            f"{each.classes} classes, {each.patients} patients, ε={each.epsilon:g}: "
            f"{shift}, {each.hidden:.0%} of classes hidden"
        )


def cost(classes: int, patients: int, epsilon: float, draws: int) -> Cost:
    """The shift over ``draws`` draws of patients and of noise."""
    sigma = release_noise_multiplier(epsilon, DELTA)
    names = tuple(f"class {k}" for k in range(classes))
    stream, shifts, hidden = SecretStream(), list[float](), 0
    for number in range(draws):
        exact = draw(classes, patients, number)
        noised = histogram_figures(add_noise(exact, sigma, stream), names)
        hidden += len(noised["left_out"])
        value = noised["auroc_macro"]["value"]
        if value is not None:
            shifts.append(value - histogram_figures(exact, names)["auroc_macro"]["value"])
    known = len(shifts) > 1
    return Cost(
        classes,
        patients,
        epsilon,
        statistics.mean(shifts) if known else None,
        statistics.stdev(shifts) if known else None,
        hidden / (draws * classes),
    )


def draw(classes: int, patients: int, seed: int) -> Histograms:
    """Exact histograms of a site's patients."""
    rng = np.random.default_rng([classes, patients, seed])
    labels = np.eye(classes, dtype=np.float32)[np.arange(patients) % classes]
    scores = rng.normal(size=labels.shape) + SEPARATION * (labels - 0.5)
    prior = math.log(1 / (classes - 1))
    return count_patients(SEPARATION * scores + prior, labels)


if __name__ == "__main__":
    run(main)
