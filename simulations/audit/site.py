"""An audit on a site's own patients: priced in its ledger like any training, and kept there."""

from __future__ import annotations

import uuid
from dataclasses import replace

from client.charging import charge_round
from client.cohort import Cohort
from client.site import Site
from common.config import Experiment, PrivacyTarget, TaskSettings
from common.data.labels import derive_classes, is_multi_label
from common.data.layouts import read_records
from common.errors import PrivacyError
from common.messages import TrainRequest
from common.model_settings import ModelSettings
from simulations.audit.claim import Claim
from simulations.audit.phantom import PIXELS
from simulations.audit.probe import probe_experiment


def site_experiment(site: Site, claim: Claim) -> Experiment:
    """What the site is asked for: a model called ``audit``, trained once under the claim.

    The classes are the site's own labels, since nothing of them leaves.
    """
    source = site.settings.data
    rows = [record.cells for record in read_records(source)]
    task = TaskSettings(image_size=PIXELS, channels=1)
    task = replace(task, multi_label=is_multi_label(source, task))
    task = replace(task, classes=derive_classes(rows, source, task))
    privacy = PrivacyTarget(
        unit="image" if site.own_unit == "image" else "patient",
        delta=claim.delta,
        noise_multiplier=claim.noise_multiplier,
        max_grad_norm=claim.max_grad_norm,
        sample_rate=claim.sample_rate,
    )
    probe = probe_experiment(PIXELS, claim, learning_rate=1.0)
    return replace(probe, data=task, model=ModelSettings(name="audit"), privacy=privacy)


def charged_patients(site: Site, experiment: Experiment, claim: Claim) -> Cohort:
    """Charge one audit to the site's ledger, then give its training patients.

    Raises:
        PolicyError: where the site's policy or its cap refuses the training.
        LedgerError: where the charge could not be written; no image is used then.
    """
    request = TrainRequest(f"audit-{uuid.uuid4().hex}", 1, experiment, {})
    cohort = Cohort.load(site, experiment, "train")
    charge, _ = charge_round(site, request)
    if charge.segment != claim.segment:
        raise PrivacyError("the site's ledger was charged another training than is claimed")
    return cohort
