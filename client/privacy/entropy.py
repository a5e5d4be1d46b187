"""Generators keyed from the operating system.

Whoever could reproduce the noise could remove it, and whoever could reproduce the sampling could
undo its amplification (ε = 24 where 8 is claimed). So neither follows the experiment's seed: each
generator is keyed afresh, in the process that trains, and its key is never stored.
"""

from __future__ import annotations

import secrets

import torch


def secret_generator() -> torch.Generator:
    """A CPU generator under a key that nobody knows."""
    generator = torch.Generator()
    generator.manual_seed(secrets.randbits(63))
    return generator
