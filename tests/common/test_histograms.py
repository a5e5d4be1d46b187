"""Histograms of patients: their AUROC against scikit-learn's, and what its interval covers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from common.errors import MessageError
from common.histograms import (
    EDGES,
    PATIENT_BINS,
    Histograms,
    count_patients,
    estimate_auroc,
    histogram_figures,
    patient_bins,
)

AUROC_OF_ONE_SD = 0.760250
"""Φ(1 / √2): of two normal scores one standard deviation apart."""


def scored(
    n: int, rng: np.random.Generator, prevalence: float = 0.3, num_classes: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Calibrated log-odds, whose AUROC is Φ(1 / √2), and labels: (n, K) each."""
    labels = (rng.random((n, num_classes)) < prevalence).astype(np.float32)
    middle = math.log(prevalence / (1 - prevalence))
    return rng.normal(middle - 0.5 + labels, 1.0), labels


def noised(h: Histograms, noise_std: float, rng: np.random.Generator) -> Histograms:
    p, n = (cells + rng.normal(0, noise_std, cells.shape) for cells in (h.positives, h.negatives))
    return Histograms(p, n, noise_std)


def test_bins_hold_their_lower_edge_and_nan_falls_into_the_lowest() -> None:
    scores = np.array([np.nan, -np.inf, -16.0, *EDGES, np.nextafter(4.0, 0.0), 16.0, np.inf])
    assert patient_bins(scores).tolist() == [0, 0, 0, *range(1, 10), 8, 9, 9]
    assert PATIENT_BINS == 10


def test_each_known_label_is_counted_once() -> None:
    labels = np.array([[1, np.nan], [0, 1], [np.nan, 0], [1, np.nan]], np.float32)
    h = count_patients(np.array([[0.5, 0.0], [-9.0, 3.0], [0.0, 9.0], [0.5, 1.0]]), labels)
    assert h.positives.sum(axis=1).tolist() == [2, 1]
    assert h.negatives.sum(axis=1).tolist() == [1, 1]
    assert (h.positives[0, 6], h.negatives[0, 0], h.positives[1, 8], h.negatives[1, 9]) == (
        2,
        1,
        1,
        1,
    )
    assert h.noise_std == 0.0


def test_sites_add_up_and_so_do_their_variances() -> None:
    rng = np.random.default_rng(0)
    sites = [
        noised(count_patients(*scored(50, rng, num_classes=3)), s, rng) for s in (3.0, 0.0, 4.0)
    ]
    total = sum(sites, Histograms.zero(3))
    assert total.noise_std == 5.0
    np.testing.assert_allclose(total.positives, sum(s.positives for s in sites))
    np.testing.assert_allclose(total.negatives, sum(s.negatives for s in sites))


def test_exact_auroc_is_scikit_learns_within_the_bins_error() -> None:
    log_odds, labels = scored(500, np.random.default_rng(1), num_classes=3)
    values = histogram_figures(count_patients(log_odds, labels), ("a", "b", "c"))
    exact = [roc_auc_score(labels[:, k], log_odds[:, k]) for k in range(3)]
    errors = []
    for k, name in enumerate("abc"):
        one = values["auroc"][name]
        assert abs(one["value"] - exact[k]) < values["bin_error"] < 0.13
        assert one["low"] < exact[k] < one["high"]
        positives = int(labels[:, k].sum())
        assert one["support"] == {"positives": positives, "negatives": 500 - positives}
        errors.append(one["value"] - exact[k])
    assert np.abs(errors).max() < 0.03  # the bound is far from reached
    assert values["auroc_macro"]["value"] == pytest.approx(np.mean(exact) + np.mean(errors))
    assert values["auroc_macro"]["support"] == {"classes": ["a", "b", "c"]}
    assert (values["left_out"], values["noise_std"]) == ([], 0.0)
    json.dumps(values, allow_nan=False)


def test_perfect_reversed_and_tied_scores() -> None:
    low, high = np.zeros(PATIENT_BINS), np.zeros(PATIENT_BINS)
    low[2], high[5] = 5, 7
    assert estimate_auroc(high, low, 0.0).value == 1.0
    assert estimate_auroc(low, high, 0.0).value == 0.0
    tied = estimate_auroc(low, low, 0.0)
    assert (tied.value, tied.bin_error) == (0.5, 0.5)


@pytest.mark.parametrize(("noise_std", "n"), [(0.85, 100), (5.3, 400)])
def test_the_noise_adds_the_variance_that_is_stated_and_no_bias(noise_std: float, n: int) -> None:
    """σ of ε = 8 and of ε = 1 for two classes; one fixed set of patients, 1,000 draws of noise."""
    rng = np.random.default_rng(2)
    h = count_patients(*scored(n, rng))
    exact = estimate_auroc(h.positives[0], h.negatives[0], 0.0).value
    draws = [noised(h, noise_std, rng) for _ in range(1000)]
    estimates = [estimate_auroc(d.positives[0], d.negatives[0], noise_std) for d in draws]
    values = np.array([e.value for e in estimates])
    stated = math.sqrt(np.mean([e.noise for e in estimates]))
    assert np.std(values) == pytest.approx(stated, rel=0.12)
    assert abs(values.mean() - exact) < 0.015


def test_the_stated_variance_of_the_noise_is_that_of_the_bilinear_form() -> None:
    """pᵀQn under noise on p and n, where its second order is a tenth of it: 400,000 draws."""
    rng = np.random.default_rng(9)
    p = np.array([0.0, 0, 1, 1, 2, 3, 3, 1, 1, 0])
    n = np.array([1.0, 2, 3, 3, 2, 1, 0, 0, 0, 0])
    e = estimate_auroc(p, n, 1.2)
    q = np.sign(np.subtract.outer(np.arange(10), np.arange(10))) / 2 + 0.5 - e.value
    draws_p, draws_n = (rng.normal(cells, 1.2, (400_000, 10)) for cells in (p, n))
    forms = ((draws_p @ q) * draws_n).sum(axis=1) / (p.sum() * n.sum())
    assert abs(forms.mean()) < 5 * forms.std() / math.sqrt(400_000)
    assert e.noise == pytest.approx(forms.var(), rel=0.015)


@pytest.mark.parametrize("noise_multiplier", [0.6, 1.0])
@pytest.mark.parametrize(("n", "num_classes"), [(100, 2), (400, 7)])
def test_the_interval_covers(noise_multiplier: float, n: int, num_classes: int) -> None:
    """Of each class and of the mean, over 200 draws of patients and noise; σ = 0.6 is ε = 8."""
    rng = np.random.default_rng(3)
    names = tuple(f"class {k}" for k in range(num_classes))
    inside, macro_inside = [], []
    for _ in range(200):
        h = count_patients(*scored(n, rng, num_classes=num_classes))
        noise_std = noise_multiplier * math.sqrt(num_classes)
        values = histogram_figures(noised(h, noise_std, rng), names)
        intervals = [f for f in values["auroc"].values() if f["value"] is not None]
        inside += [f["low"] <= AUROC_OF_ONE_SD <= f["high"] for f in intervals]
        macro = values["auroc_macro"]
        macro_inside.append(macro["low"] <= AUROC_OF_ONE_SD <= macro["high"])
    assert len(inside) > 0.9 * 200 * num_classes
    assert np.mean(inside) >= 0.9
    assert np.mean(macro_inside) >= 0.9


@pytest.mark.parametrize("noise_multiplier", [0.6, 1.0])
def test_the_interval_covers_without_the_bins_error_too(noise_multiplier: float) -> None:
    """Against the AUROC of the binned scores, so that the bound on the bins cannot hide a lack."""
    rng = np.random.default_rng(4)
    many = count_patients(*scored(1_000_000, rng))
    binned = estimate_auroc(many.positives[0], many.negatives[0], 0.0).value
    inside = []
    for _ in range(200):
        noise_std = noise_multiplier * math.sqrt(2)
        h = noised(count_patients(*scored(100, rng)), noise_std, rng)
        e = estimate_auroc(h.positives[0], h.negatives[0], noise_std)
        inside.append(abs(e.value - binned) <= 1.96 * math.sqrt(e.sampling + e.noise))
    assert np.mean(inside) >= 0.9


def test_the_macro_figure_averages_the_noise_of_its_classes() -> None:
    rng = np.random.default_rng(5)
    h = count_patients(*scored(100_000, rng, num_classes=4))
    noised_ones = noised(h, 500.0, rng)
    values = histogram_figures(noised_ones, tuple("abcd"))
    width = [f["high"] - f["value"] for f in values["auroc"].values()]
    p, n = noised_ones.positives, noised_ones.negatives
    bins = np.mean([estimate_auroc(p[k], n[k], 500.0).bin_error for k in range(4)])
    macro = values["auroc_macro"]["high"] - values["auroc_macro"]["value"]
    assert macro - bins == pytest.approx((np.mean(width) - bins) / 2, rel=0.1)


def test_a_class_that_the_noise_hides_is_left_out_by_name() -> None:
    """Three standard deviations of ten cells' noise are 19 patients here, and it has 18."""
    rng = np.random.default_rng(6)
    h = count_patients(*scored(300, rng, num_classes=2))
    h.positives[1] = 1.8
    h = Histograms(h.positives, h.negatives, 2.0)
    assert estimate_auroc(h.positives[1] * 19 / 18, h.negatives[1], 2.0).value > 0
    values = histogram_figures(h, ("a", "rare"))
    assert values["left_out"] == ["rare"]
    assert values["auroc"]["rare"]["value"] is None
    assert values["auroc"]["rare"]["low"] is None
    assert values["auroc"]["rare"]["support"]["positives"] == 18
    assert values["auroc_macro"]["support"] == {"classes": ["a"]}
    assert values["auroc_macro"]["value"] == values["auroc"]["a"]["value"]
    assert values["noise_std"] == 2.0


def test_nothing_at_all_is_null_everywhere() -> None:
    for h in (Histograms.zero(2), noised(Histograms.zero(2), 1.0, np.random.default_rng(7))):
        values = histogram_figures(h, ("a", "b"))
        assert values["auroc_macro"]["value"] is None
        assert values["bin_error"] is None
        assert values["left_out"] == ["a", "b"]
        json.dumps(values, allow_nan=False)


def test_cells_that_no_site_has_still_give_a_figure_or_none() -> None:
    for cell in (1e-300, -1e9, 1e9):
        h = Histograms(np.full((1, PATIENT_BINS), cell), np.full((1, PATIENT_BINS), 1e9), 0.0)
        json.dumps(histogram_figures(h, ("a",)), allow_nan=False)
    swing = np.array([[1e9, -1e9] * 5])
    swing[0, 0] += 1
    json.dumps(histogram_figures(Histograms(swing, -swing[:, ::-1] + 1, 0.0), ("a",)))


def test_one_positive_has_a_value_and_no_interval() -> None:
    low, high = np.zeros((1, PATIENT_BINS)), np.zeros((1, PATIENT_BINS))
    high[0, 7], low[0, 2] = 1, 20
    one = histogram_figures(Histograms(high, low, 0.0), ("a",))["auroc"]["a"]
    assert (one["value"], one["low"], one["high"]) == (1.0, None, None)


def good() -> dict[str, NDArray[np.float64]]:
    return noised(Histograms.zero(3), 2.0, np.random.default_rng(8)).to_arrays()


def test_histograms_cross_the_wire_unchanged_with_their_negative_cells() -> None:
    arrays = good()
    assert (arrays["positives"] < 0).any()
    back = Histograms.from_arrays(arrays, 3)
    np.testing.assert_array_equal(back.positives, arrays["positives"])
    np.testing.assert_array_equal(back.negatives, arrays["negatives"])
    assert back.noise_std == 2.0


@pytest.mark.parametrize("name", ["positives", "negatives", "noise_std"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e10])
def test_values_off_the_wire_are_checked(name: str, wrong: float) -> None:
    arrays = good()
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] = wrong
    with pytest.raises(MessageError, match=name):
        Histograms.from_arrays(arrays, 3)


@pytest.mark.parametrize("name", ["positives", "negatives", "noise_std"])
def test_shapes_and_dtypes_off_the_wire_are_checked(name: str) -> None:
    arrays = good()
    for bad in (arrays[name][:-1], arrays[name][None], arrays[name].astype(np.float32)):
        with pytest.raises(MessageError, match=name):
            Histograms.from_arrays({**arrays, name: bad}, 3)
    with pytest.raises(MessageError, match="expected"):
        Histograms.from_arrays({k: v for k, v in arrays.items() if k != name}, 3)
    with pytest.raises(MessageError, match="extra"):
        Histograms.from_arrays({**arrays, "extra": arrays[name]}, 3)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(MessageError, match=r"positives.*\(4, 10\)"):
        Histograms.from_arrays(good(), 4)


def test_a_negative_noise_level_is_refused() -> None:
    with pytest.raises(MessageError, match="at least 0"):
        Histograms.from_arrays({**good(), "noise_std": np.array([-1.0])}, 3)
