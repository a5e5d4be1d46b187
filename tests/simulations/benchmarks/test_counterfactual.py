"""What a lesion changes in a map: by hand, and on pairs that the phantom draws."""

from __future__ import annotations

import pytest
import torch

from common.errors import SettingsError
from simulations.benchmarks.counterfactual import change, drawn_pairs, main, touched


@pytest.mark.parametrize("number", [0, 1])
def test_pairs_are_equal_but_for_the_lesion(number: int) -> None:
    for pair in drawn_pairs(number, 6, 64):
        added = (pair[0] - pair[1])[0]
        assert added.max() > 0.1
        assert added.min() >= 0  # nothing was made darker, as by other levels
        assert (added > 0).float().mean() < 0.5


def test_a_map_that_looks_at_the_lesion_alone_has_all_of_its_change_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def local(_: object, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 4)  # (2, 1, 16, 16)

    def spread(_: object, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3), keepdim=True).expand(2, 1, 16, 16)

    found = []
    for way in (local, spread):
        monkeypatch.setattr("simulations.benchmarks.counterfactual.evidence_map", way)
        found.append(change(torch.nn.Identity(), 0, drawn_pairs(0, 4, 64)))
    assert found[0].logit == pytest.approx(found[1].logit, rel=1e-4)
    assert found[0].near == pytest.approx(found[0].logit, rel=0.05)  # but for what is too faint
    assert found[1].near == pytest.approx(found[1].logit * found[1].area, rel=0.3)
    assert found[1].area < 0.4


def test_a_place_is_widened_by_eight_pixels() -> None:
    different = torch.zeros(1, 64, 64, dtype=torch.bool)
    different[0, 32, 16] = True
    assert touched(different, 64).sum() == 17 * 17
    assert touched(different, 8).nonzero().tolist() == [
        [row, column] for row in (3, 4, 5) for column in (1, 2, 3)
    ]


def test_without_a_model_it_says_how_to_make_one(tmp_path: object) -> None:
    with pytest.raises(SettingsError, match="no model with an evidence head there"):
        main([f"output_dir={tmp_path}"])
