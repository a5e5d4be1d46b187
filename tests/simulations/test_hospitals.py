"""The phantom hospitals, kept for several runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations import hospitals
from simulations.hospitals import kept_hospitals


def test_hospitals_are_written_once_a_seed_and_half_written_ones_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def write(root: Path, seed: int, _: object) -> None:
        assert not root.exists()
        root.mkdir(parents=True, exist_ok=True)
        written.append(seed)
        if len(written) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(hospitals, "write_hospitals", write)
    with pytest.raises(KeyboardInterrupt):
        kept_hospitals(tmp_path, 3)
    roots = [kept_hospitals(tmp_path, seed) for seed in (3, 3, 4)]
    assert written == [3, 3, 4]
    assert roots[0] == roots[1] != roots[2]
    assert all(root.is_dir() for root in roots)
