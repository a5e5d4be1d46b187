"""Metadata from a site's table reach the model in training, under privacy, and in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.cohort import Cohort
from client.entries import Charge
from client.evaluation import evaluate
from client.privacy.training import train_private
from client.site import Site
from client.training import train_plain
from common.config import Experiment
from common.metrics import figures
from common.model_settings import MetadataEncoding, ModelSettings
from common.models import build_model
from tests.conftest import changed, train_ids

PATIENTS, STEPS = 24, 15
FUSED = {"sign": MetadataEncoding(values=("A", "B")), "age": MetadataEncoding(mean=60, scale=15)}
HARDLY_ANY_NOISE = Charge("patient", 1.0, 1e-3, 1.0, STEPS)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Patients whose label stands in the column ``sign``, but for one, and whose age is unknown."""
    made = make_site(dict.fromkeys(train_ids(PATIENTS), 1), public_patients=PATIENTS)
    table = Path(str(made.settings.data.root)) / "metadata.csv"
    header, *rows = table.read_text().splitlines()
    signed = [f"{row},{row.split(',')[1]}," for row in rows[1:]]
    lines = [f"{header},sign,age", f"{rows[0]},,", *signed]
    table.write_text("\n".join(lines) + "\n")
    return changed(made, data={"metadata_columns": ["sign", "age"]})


def asking(experiment: Experiment) -> Experiment:
    strategy = replace(experiment.strategy, batch_size=PATIENTS, learning_rate=0.1)
    model = ModelSettings("cnn", 4, metadata=FUSED)
    return replace(experiment, rounds=1, local_steps=STEPS, model=model, strategy=strategy)


def auroc(model_trained: Callable[[Cohort], object], cohort: Cohort, asked: Experiment) -> float:
    """Of a model that can tell patients by their metadata alone: every image is black."""
    alike = replace(cohort, images=np.zeros_like(cohort.images))
    released = evaluate(model_trained(alike), alike, asked)
    assert released is not None
    return float(figures(released.counts, asked.classes)["auroc_macro"]["value"])


@pytest.mark.parametrize("private", [False, True])
def test_a_model_learns_what_only_the_metadata_say(
    site: Site, experiment: Experiment, private: bool
) -> None:
    asked = asking(experiment)

    def trained(cohort: Cohort) -> object:
        model = build_model(asked, seed=0)
        if private:
            train_private(model, cohort, asked, HARDLY_ANY_NOISE, float(PATIENTS), 1)
        else:
            train_plain(model, cohort, asked, site.name, 1)
        return model

    cohort = Cohort.load(site, asked, "train")
    assert cohort.metadata is not None
    assert cohort.metadata.shape == (PATIENTS, 5)
    assert cohort.metadata[:, 2].sum() == 1  # one has no sign
    assert auroc(trained, cohort, asked) > 0.95
    unseen = replace(cohort, metadata=np.tile(cohort.metadata[:1], (PATIENTS, 1)))
    assert auroc(trained, unseen, asked) == pytest.approx(0.5)


def test_a_site_gives_the_columns_that_it_lists_and_no_other(
    site: Site, experiment: Experiment
) -> None:
    silent = changed(site, data={"metadata_columns": []})
    metadata = Cohort.load(silent, asking(experiment), "train").metadata
    assert metadata is not None
    np.testing.assert_array_equal(metadata, np.tile([0, 0, 1, 0, 1], (PATIENTS, 1)))
