"""A site's policy: what it may be asked. The server can ask for less, never for more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.config import (
    BurnedInAnnotation,
    Experiment,
    LabelConflicts,
    MissingPatient,
    ReleaseMetrics,
)
from common.errors import PolicyError
from common.evaluation import Grouping, check_grouping


@dataclass(frozen=True)
class Policy:
    """The part of ``site.yaml`` that decides; ``release_metrics`` alone has no default."""

    release_metrics: ReleaseMetrics
    """``exact`` counts leave uncovered by any ε and are listed in ``disclosure.jsonl``;
    ``noised`` ones are paid for by the test patients; ``none`` leave."""
    public_patients: int | None = None
    """Public count of the patients that train here, declared once; not computed from the data."""
    epsilon_max: float | None = None
    """Cap on what this site's ledger composes to over its life, at ``delta``."""
    delta: float | None = None
    """The largest δ that may be asked for, and the one at which the cap is checked."""
    min_noise_multiplier: float = 0.0
    """The least σ that may be asked for; a σ planned for an ε is raised to it."""
    max_grad_norm: float | None = None
    """The largest C that may be asked for."""
    models: tuple[str, ...] = ()
    """Names of the models that may be trained; an empty list allows every one."""
    classes: tuple[str, ...] = ()
    """The public list of classes that may be asked for. Without it, whether a list fits the
    site's labels can be found out by asking; an empty list allows every one."""
    train_without_privacy: bool = False
    """Whether training that no ε bounds is allowed; never beside a ledger."""
    min_count: int = 10
    """Classes with fewer patients in a part are withheld whole from an ``exact`` release."""
    subgroups: Mapping[str, Grouping] = field(default_factory=dict)
    """Columns of metadata by which ``exact`` test counts leave as well, each with its groups. A
    column that is divided in another way is not answered: two divisions could be subtracted."""
    evaluation_epsilon: float | None = None
    """ε of one ``noised`` release at ``delta``, for each patient of the part."""
    evaluation_releases: int = 1
    """How many ``noised`` releases there may be over the ledger's life."""
    missing_patient: MissingPatient = "refuse"
    """``refuse`` to train and evaluate while an image has no patient id, where the site tells
    patients apart; or ``exclude`` those images. ``common/data/identity.py`` says why no more."""
    burned_in_annotation: BurnedInAnnotation = "refuse"
    """``refuse`` each DICOM image whose BurnedInAnnotation (0028,0301) is YES; or ``allow``."""
    label_conflicts: LabelConflicts = "report"
    """``report`` pixel-identical images whose labels contradict each other, at the site alone; or
    ``refuse`` to train until ``data.exclude`` or the table settles them."""

    def problems(self) -> list[str]:
        """What the policy holds against itself, a line each."""
        lines = []
        if self.delta is not None and not 0 < self.delta < 1:
            lines.append(f"policy.delta: expected between 0 and 1, got {self.delta}")
        for name in ("epsilon_max", "max_grad_norm", "evaluation_epsilon"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                lines.append(f"policy.{name}: expected above 0, got {value}")
        for name in ("min_noise_multiplier", "min_count", "evaluation_releases"):
            if getattr(self, name) < 0:
                lines.append(f"policy.{name}: expected at least 0, got {getattr(self, name)}")
        patients = self.public_patients
        if patients is not None and patients < 1:
            lines.append(f"policy.public_patients: expected at least 1, got {patients}")
        elif self.delta is not None and patients is not None and self.delta > 1 / (10 * patients):
            lines.append(
                f"policy.delta: expected at most 1 / (10 × public_patients) = "
                f"{1 / (10 * patients):g}, got {self.delta:g}"
            )
        for column, grouping in self.subgroups.items():
            lines += check_grouping(f"policy.subgroups.{column}", grouping)
        if self.subgroups and self.release_metrics != "exact":
            lines.append(
                f"policy.subgroups with release_metrics: {self.release_metrics}: only exact counts "
                "are told by group; leave policy.subgroups empty, or release exact ones"
            )
        noised = self.release_metrics == "noised"
        if self.delta is None and (self.epsilon_max is not None or noised):
            lines.append("policy.delta must be given: an ε means nothing without its δ")
        if patients is None and noised:
            lines.append("policy.public_patients must be given: δ is held against it")
        if noised and self.evaluation_epsilon is None:
            lines.append("policy.evaluation_epsilon must be given with release_metrics: noised")
        return lines

    def check(self, experiment: Experiment) -> None:
        """Refuse what the site does not allow.

        Raises:
            PolicyError: naming everything at once: what came, and the most that is allowed.
        """
        asked, lines = experiment.privacy, []
        if self.models and experiment.model.name not in self.models:
            lines.append(f"model '{experiment.model.name}': allowed are {', '.join(self.models)}")
        if not asked.enabled:
            if self.epsilon_max is not None or not self.train_without_privacy:
                lines.append("training without privacy: no ε bounds what it gives")
        else:
            if self.delta is not None and asked.delta is not None and asked.delta > self.delta:
                lines.append(f"δ={asked.delta:g}: at most {self.delta:g} is allowed")
            if self.max_grad_norm is not None and asked.max_grad_norm > self.max_grad_norm:
                lines.append(
                    f"C={asked.max_grad_norm:g}: at most {self.max_grad_norm:g} is allowed"
                )
            sigma = asked.noise_multiplier
            if sigma is not None and sigma < self.min_noise_multiplier:
                lines.append(f"σ={sigma:g}: at least {self.min_noise_multiplier:g} is asked for")
        if lines:
            raise PolicyError("the site's policy refuses " + "; ".join(lines))
