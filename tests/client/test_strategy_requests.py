"""What a strategy sends beside the model is asked for, checked, and part of what is charged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from client.entries import Intent, Plan
from client.site import Site
from common.config import Experiment
from common.wire import to_bytes
from tests.client.asking import held, personal_request, refusal, request, send


def test_what_a_strategy_sends_has_to_come(site: Site, experiment: Experiment) -> None:
    asked = replace(personal_request(experiment), personal=None)
    assert refusal(send("train", asked.pack(), site)) == "message"
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    strategy = replace(experiment.strategy, name="scaffold", **plain)  # type: ignore[arg-type]
    scaffold = request(replace(experiment, strategy=strategy))
    assert refusal(send("train", scaffold.pack(), site)) == "message"
    wrong = replace(scaffold, correction={"w": np.zeros(3, np.float32)})
    assert refusal(send("train", wrong.pack(), site)) == "model"
    assert not held(site, Plan)


def test_a_correction_is_part_of_what_was_asked(site: Site, experiment: Experiment) -> None:
    """An answer that is stored is sent again for the very same correction alone."""
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    strategy = replace(experiment.strategy, name="scaffold", **plain)  # type: ignore[arg-type]
    asked = request(replace(experiment, strategy=strategy))
    zero = replace(asked, correction={k: np.zeros_like(v) for k, v in asked.arrays.items()})
    one = replace(asked, correction={k: np.ones_like(v) for k, v in asked.arrays.items()})
    assert zero.digest != one.digest
    first = send("train", zero.pack(), site)
    assert to_bytes(send("train", zero.pack(), site)) == to_bytes(first)
    assert len(held(site, Intent)) == 1
    assert to_bytes(send("train", one.pack(), site)) != to_bytes(first)
    assert len(held(site, Intent)) == 2
