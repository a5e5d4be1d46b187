"""Generators keyed from the operating system.

Whoever could reproduce the noise could remove it, and whoever could reproduce the sampling could
undo its amplification (ε = 24 where 8 is claimed). So neither follows the experiment's seed: each
generator is keyed afresh, in the process that trains, and its key is never stored.
"""

from __future__ import annotations

import os
import secrets

import numpy as np
import torch

_STATE_WORDS = 624
_STATE_OFFSET = 24
"""Where PyTorch keeps the words of MT19937 in a CPU generator's state, eight bytes each."""


def secret_generator(device: torch.device | None = None) -> torch.Generator:
    """A generator under a key that nobody knows.

    A seed alone would not do on the CPU: PyTorch uses its low 32 bits, which can be searched. The
    whole state of MT19937 (19,937 bits) is drawn instead. A GPU's generator takes a 64-bit seed.
    """
    if device is not None and device.type != "cpu":
        return torch.Generator(device=device).manual_seed(secrets.randbits(63))
    generator = torch.Generator().manual_seed(secrets.randbits(32))
    state = generator.get_state().numpy().copy()
    words = state[_STATE_OFFSET : _STATE_OFFSET + 8 * _STATE_WORDS].view("<u8")
    words[:] = np.frombuffer(os.urandom(4 * _STATE_WORDS), dtype="<u4")
    generator.set_state(torch.from_numpy(state))
    return generator
