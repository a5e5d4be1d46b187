"""The secret stream: right distributions, never shared, stored or seeded."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import warnings

import numpy as np
import pytest
from scipy.stats import kstest

from client.privacy.entropy import SecretStream
from common.errors import PrivacyError


def test_uniforms_and_normals_have_their_distributions() -> None:
    stream = SecretStream()
    assert kstest(stream.uniform(200_000), "uniform").pvalue > 1e-6
    assert kstest(stream.normal(200_001), "norm").pvalue > 1e-6
    assert kstest(stream.noise(200_000), "norm").pvalue > 1e-6


def test_uniforms_never_reach_one_and_use_every_bit() -> None:
    words = (SecretStream().uniform(100_000) * 2**53).astype(np.uint64)
    assert words.max() < 2**53
    for bit in range(53):
        share = float(((words >> np.uint64(bit)) & np.uint64(1)).mean())
        assert abs(share - 0.5) < 0.01


def test_no_two_streams_and_no_two_draws_share_a_number() -> None:
    one, two = SecretStream(), SecretStream()
    draws = np.concatenate([one.uniform(1000), one.uniform(1000), two.uniform(1000)])
    assert len(set(draws.tolist())) == 3000


def test_a_stream_is_never_pickled_or_copied() -> None:
    for store in (pickle.dumps, copy.deepcopy):
        with pytest.raises(PrivacyError, match="never stored"):
            store(SecretStream())


def test_a_forked_child_cannot_repeat_its_parents_noise() -> None:
    stream = SecretStream()
    child = os.fork()
    if child == 0:
        try:
            stream.uniform(1)
        except PrivacyError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def draws(_: int) -> list[float]:
    return SecretStream().uniform(1000).tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_share_no_noise(method: str) -> None:
    """Each worker draws its own key, however it was started."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking where there are threads
        pool = multiprocessing.get_context(method).Pool(2)
    with pool:
        batches = [*pool.map(draws, range(4), chunksize=1), draws(0)]
    assert len({number for batch in batches for number in batch}) == 5000
