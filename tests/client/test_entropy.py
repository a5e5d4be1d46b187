"""Secret generators: keyed by the whole state, and still uniform."""

from __future__ import annotations

import numpy as np
import torch

from client.privacy.entropy import secret_generator


def test_two_generators_share_nothing() -> None:
    one, two = (torch.rand(1000, generator=secret_generator()) for _ in range(2))
    assert not torch.isclose(one, two, atol=1e-7).any()


def test_the_whole_state_is_drawn_and_not_32_bits_of_it() -> None:
    states = np.stack([secret_generator().get_state().numpy() for _ in range(64)])
    varying = (states != states[0]).any(axis=0).sum()
    assert varying >= 4 * 624  # a seed of 32 bits gives as many bytes, but then all follow from it
    for generator in (secret_generator() for _ in range(8)):
        words = generator.get_state().numpy()[24 : 24 + 8 * 624].view("<u8")
        first = int(words[0])
        seeded = torch.Generator().manual_seed(first).get_state().numpy()[24 : 24 + 8 * 624]
        assert not (seeded.view("<u8")[1:] == words[1:]).any()  # MT19937's first word is its seed


def test_the_stream_is_uniform_and_normal() -> None:
    generator = secret_generator()
    uniform = torch.rand(200_000, generator=generator)
    assert abs(float(uniform.mean()) - 0.5) < 0.004
    normal = torch.randn(200_000, generator=generator)
    assert abs(float(normal.std()) - 1) < 0.01
