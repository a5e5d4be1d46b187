"""A noised release of evaluation, paid for by the test patients' own budget."""

from __future__ import annotations

from torch import nn

from client.budget import next_release
from client.cohort import Cohort
from client.disclosure import TEST_BUDGET, log_error, log_release
from client.evaluation import add_noise, patient_histograms, released_names
from client.privacy.entropy import SecretStream
from client.site import Site
from common.errors import BudgetError
from common.histograms import Histograms
from common.messages import EvaluateRequest


def noised_release(site: Site, request: EvaluateRequest, model: nn.Module) -> Histograms | None:
    """Histograms of the test patients' scores under Gaussian noise; charged before any is scored.

    The training patients' ε does not add: no patient is in both parts, since the split follows a
    key that the ledger holds for the site's life.

    Returns:
        ``None`` where the policy's releases are spent.
    """
    experiment = request.experiment
    cohort = Cohort.load(site, experiment, request.part)
    try:
        with site.ledger().transaction() as book:
            release = next_release(
                book.entries,
                request.run_id,
                request.server_round,
                request.digest,
                site.own_unit,
                site.settings.policy,
            )
            book.append(release)
    except BudgetError as error:
        log_error(site.folder, "evaluate", error)
        return None
    exact = patient_histograms(model, cohort, experiment)
    noised = add_noise(exact, release.noise_multiplier, SecretStream())
    names = released_names(noised, experiment.classes)
    log_release(site.folder, request, names, TEST_BUDGET)
    return noised
