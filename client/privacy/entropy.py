"""Randomness that nobody else can reproduce: ChaCha20 keyed from the operating system.

Whoever could reproduce the noise could remove it, and whoever could reproduce the sampling could
undo its amplification (ε = 24 where 8 is claimed). So neither follows the experiment's seed. Each
stream is keyed afresh in the process that trains; its key is never stored, pickled or shared with
a forked child.
"""

from __future__ import annotations

import os
from typing import NoReturn

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

from common.errors import PrivacyError

KEY_BYTES = 2**36
"""Bytes of one key: ChaCha20 counts 2³² blocks of 64 bytes, and none may come twice."""

AT_ONCE = 2**14
"""Numbers of noise that are made together: what fits a processor's cache."""


class SecretStream:
    """A ChaCha20 keystream (RFC 8439) as uniform and normal numbers, in float64."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._draw_key()

    def _draw_key(self) -> None:
        nonce = bytes(4) + os.urandom(12)  # the block counter starts at 0
        self._keystream = Cipher(ChaCha20(os.urandom(32), nonce), mode=None).encryptor()
        self._left = KEY_BYTES

    def uniform(self, count: int) -> NDArray[np.float64]:
        """``count`` numbers in [0, 1) on a grid of 2⁻⁵³."""
        if os.getpid() != self._process:
            raise PrivacyError("a stream of noise crossed a fork; make one in the child")
        self._left -= 8 * count
        if self._left < 0:
            self._draw_key()
        words = np.frombuffer(self._keystream.update(bytes(8 * count)), dtype="<u8")
        high = (words >> np.uint64(11)).view(np.int64)  # signed: quicker to convert
        return np.asarray(high * 2.0**-53, dtype=np.float64)

    def normal(self, count: int) -> NDArray[np.float64]:
        """``count`` standard normals by Box and Muller (1958)."""
        half = (count + 1) // 2
        radius = torch.from_numpy(self.uniform(half)).neg_().log1p_().mul_(-2.0).sqrt_()
        angle = torch.from_numpy(self.uniform(half)).mul_(2.0 * np.pi)
        pairs = torch.cat([radius * angle.cos(), radius * angle.sin()])  # vectorised in PyTorch
        return pairs[:count].numpy()

    def noise(self, count: int) -> NDArray[np.float64]:
        """``count`` standard normals, each a sum of four others.

        Which floating-point numbers one draw can reach gives its inputs away (Mironov 2012). The
        sum of four makes that search costly (Holohan and Braghin 2021); it does not prove it away.
        """
        noise = np.empty(count)
        for start in range(0, count, AT_ONCE):
            part = noise[start : start + AT_ONCE]
            part[:] = self.normal(4 * len(part)).reshape(4, -1).sum(axis=0) / 2.0
        return noise

    def __reduce__(self) -> NoReturn:
        raise PrivacyError("a stream of noise is never stored or sent")
