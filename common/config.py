"""Every setting, typed and frozen; one YAML string is the whole shared experiment.

Two readers meet here. A *simulation* composes :class:`Settings` with Hydra. An *experiment*
(:class:`Experiment`) is the part that every hospital must agree on: it is resolved, written as
one YAML string, and sent to every site. What is a site's own (paths, column names, policy) never
enters it: see ``client/site.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import yaml

from common.data.decoding.choices import Frames, Intensity, Resize
from common.data.pool import PartitionSettings
from common.errors import SettingsError
from common.evaluation import EvaluationSettings
from common.model_settings import InitialModel, ModelSettings
from common.schema import narrow, to_plain

SITE_NAME = re.compile(r"(?!(?:shared|personal)$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SITE_NAME_RULE = (
    "at most 64 letters, digits, '.', '_' and '-', a letter or digit first, and not 'shared' or "
    "'personal'"
)
"""A site's name becomes a file name at the server, so what may stand in it is fixed.

The two words name sets of figures in a result, beside which a site's name may stand.
"""

Augmentation = Literal["none", "flip", "dihedral", "chest", "ultrasound"]
Design = Literal["none", "cross_site", "leave_one_site_out"]
Layout = Literal["table", "folder", "medmnist", "dicom"]
Clip = Literal["flat", "automatic"]
Wire = Literal["float32", "float16"]
Precision = Literal["float32", "bfloat16"]
PrivacyUnit = Literal["none", "patient", "image"]
ReleaseMetrics = Literal["none", "noised", "exact"]
MissingPatient = Literal["refuse", "exclude"]
KeepRule = Literal["last", "best_validation", "average"]
TrackerName = Literal["none", "mlflow", "tensorboard"]
BurnedInAnnotation = Literal["refuse", "allow"]
LabelConflicts = Literal["report", "refuse"]


@dataclass(frozen=True)
class TaskSettings:
    """What is learnt: shared by all sites."""

    classes: tuple[str, ...] | None = None
    """Public, ordered list of classes; ``None`` is for a simulation alone, which derives it."""
    negative_label: str | None = None
    """In a multi-label list, the label that means "none of them"."""
    multi_label: bool | None = None
    """Several labels an image; ``None``: where ``label_separator`` or ``label_columns`` is set."""
    image_size: int = 64
    """Height and width that every image is resized to, in pixels."""
    resize: Resize = "stretch"
    """``stretch`` changes the aspect; ``pad`` keeps it between black bars, ``crop`` cuts the longer
    sides."""
    channels: int = 1
    """1 (grey) or 3 (RGB)."""
    augmentation: Augmentation = "none"
    """``flip``: left-right. ``dihedral``: the eight symmetries of the square. ``chest`` and
    ``ultrasound``: what another patient's position or another device's gain would do."""


@dataclass(frozen=True)
class SourceSettings:
    """Where a site's images are: the site's own, never sent."""

    layout: Layout = "table"
    """``table``: CSV beside a folder; ``folder``: what the paths say; ``medmnist``: one ``.npz``;
    ``dicom``: what the headers say. Every layout gives rows with columns; see
    ``common/data/layouts.py``."""
    root: str | None = None
    """Folder that holds the table and the images."""
    table: str = "metadata.csv"
    """The CSV table or the ``.npz`` under ``root``; with ``*`` in its folders, all that fit, and
    each table's paths start at its own folder."""
    join_tables: tuple[str, ...] = ()
    """Further CSV tables under ``root``, each joined on the columns that both have."""
    image_column: str | None = None
    """Column with a path under ``root``; in a listing (``dicom``), the name of that column."""
    image_pattern: str | None = None
    """Path under ``root`` with columns in braces, as ``images/{image_id}.jpg``: columns give the
    path, or a path that is known gives columns."""
    label_column: str = "label"
    label_separator: str | None = None
    label_columns: tuple[str, ...] = ()
    """Instead of ``label_column``: one column a label, of 1, 0, -1 (uncertain) or blank."""
    uncertain_labels: Literal["refuse", "zeros", "ones", "ignore"] = "refuse"
    """What -1 in ``label_columns`` is taken for; ``ignore``: unknown, and masked."""
    blank_labels: Literal["refuse", "zeros", "ignore"] = "refuse"
    """What a blank cell is taken for, where an image may have several labels."""
    patient_column: str | None = None
    site_column: str | None = None
    """Column that names a row's site, where one table serves several."""
    site_value: str | None = None
    """The rows of this site are those with this value in ``site_column``."""
    metadata_columns: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    """The site's own label to the shared class."""
    intensity: Intensity = "auto"
    """Which levels of a grey image become black and white: ``data/decoding/intensity.py``."""
    intensity_bounds: tuple[float, ...] = ()
    """Two constants: levels for ``range``; percents for ``percentile``, by default 1 and 99."""
    frames: Frames = "middle"
    """Of a DICOM file that has several frames: the first, the middle one, or all, each an image of
    the file's patient. Of a TIFF's pages the first, or all."""
    view: int = 0
    """Which of several windows or VOI tables of a DICOM file, from 0."""
    exclude: tuple[str, ...] = ()
    """Images left out, by their path under ``root``; fixed before the first training."""
    unit_name: str = "patient"
    """What the id column identifies; printed beside every ε."""
    split_key: str = "fedrounds"
    """Key of the hash that places each patient in train, validation or test."""
    test_fraction: float = 0.2
    """Share of patients in test; with the key fixed for the site's life. At 1 the site only
    evaluates."""
    validation_fraction: float = 0.1


@dataclass(frozen=True)
class DataSettings(SourceSettings, TaskSettings):
    """A simulation knows both halves: it writes the site's half into each ``site.yaml``."""

    phantom: bool = False
    """Where no ``root`` is given, write the phantom hospitals from the seed and use those."""
    download: bool = False
    """Fetch ``table`` into ``root`` with the ``medmnist`` package, where it is not there yet."""


@dataclass(frozen=True)
class StrategySettings:
    """Local optimisation (FedOpt's ClientOpt) and aggregation."""

    name: str = "fedavg"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    """Of the learning rate over the run's ``rounds × local_steps`` steps."""
    momentum: float = 0.9
    """Of SGD; AdamW has its usual betas."""
    weight_decay: float = 0.01
    batch_size: int = 64
    """Images a step; under privacy the expected number of patients a step."""
    proximal: float = 0.0
    """How strongly a model is held to the shared one: FedProx's μ, Ditto's λ."""
    server_learning_rate: float = 1.0
    """η of FedAvgM, FedAdam and FedYogi."""
    server_momentum: float = 0.9
    """β of FedAvgM, β₁ of FedAdam and FedYogi."""
    second_momentum: float = 0.99
    """β₂ of FedAdam and FedYogi."""
    adaptivity: float = 1e-3
    """τ of FedAdam and FedYogi: the smaller, the more alike every weight's step."""
    byzantine: int = 1
    """f: as many sites may answer anything, and a robust strategy still bounds what they do."""
    precision: Precision = "float32"
    """Of the forward and backward pass while training on a GPU; the clip and the noise are always
    in float32 or better."""
    wire: Wire = "float32"
    """In which precision models travel, both ways; ``float16`` halves the bytes of a round."""

    @property
    def trains_personal(self) -> bool:
        """Whether a site trains a second model in each round, its own."""
        return self.name == "ditto"

    @property
    def sends_correction(self) -> bool:
        """Whether a site is sent what to add to its gradients."""
        return self.name == "scaffold"


@dataclass(frozen=True)
class LossSettings:
    """What a classifier is trained to keep small; ``client/loss.py`` has the formulas."""

    name: Literal["cross_entropy", "focal", "class_balanced", "logit_adjusted"] = "cross_entropy"
    gamma: float = 2.0
    """γ of ``focal``: how little an image counts that is classified well already."""
    beta: float = 0.999
    """β of ``class_balanced``: a class counts as at most 1 / (1 − β) images."""
    tau: float = 1.0
    """τ of ``logit_adjusted``: 1 makes every class as dear as any other."""
    priors: Mapping[str, float] | None = None
    """Public share of the images that each class has; never computed from private data. ``None``:
    without privacy each site goes by its own training images."""
    prior_images: int | None = None
    """How many images the shares are of; ``class_balanced`` needs it beside ``priors``."""


@dataclass(frozen=True)
class PrivacyTarget:
    """What each site is asked to keep, from public constants alone."""

    unit: PrivacyUnit = "patient"
    epsilon: float | None = None
    """Budget of this run; σ is planned for it unless ``noise_multiplier`` is given."""
    epsilon_life: float | None = None
    """Budget of this run with all that the site's ledger holds; σ is raised until it is kept."""
    delta: float | None = None
    noise_multiplier: float | None = None
    """σ: the noise's standard deviation is σ × ``max_grad_norm``."""
    max_grad_norm: float = 1.0
    """C: the L2 norm that one unit's gradient is clipped to."""
    sample_rate: float | None = None
    """q; ``None`` means ``batch_size`` / the site's public count."""
    augmentations: int = 1
    """Views of a patient's image in a step, each augmented by its own draw. The mean of their
    gradients is clipped, so that more views cost time and no privacy."""
    clip: Clip = "flat"
    """``flat``: a gradient above C is scaled down to C. ``automatic``: every gradient is scaled to
    just below C, and C is no longer a choice that matters: see ``client/privacy/optimizer.py``."""
    accountant: Literal["prv", "rdp"] = "prv"

    @property
    def enabled(self) -> bool:
        return self.unit != "none"


@dataclass(frozen=True)
class PrivacySettings(PrivacyTarget):
    """A simulation also plays the sites, so it holds the counts that they would declare."""

    public_patients: int | Mapping[str, int] | None = None
    """Public count of each site's training patients: one number, or one a site."""
    epsilon_max: float | None = None
    """Cap of each site's policy over its ledger's life; ``None`` caps nothing."""
    release_metrics: ReleaseMetrics = "exact"
    """What each site's policy lets out of its evaluation."""
    min_count: int = 0
    """Classes with fewer patients at a site are withheld from its exact release."""
    subgroups: tuple[str, ...] = ()
    """Columns of ``evaluation.subgroups`` that each site's policy lets it count by."""
    evaluation_epsilon: float | None = None
    """ε of a ``noised`` release, for each test patient."""
    missing_patient: MissingPatient = "refuse"
    """What each site does with images that have no patient id: see ``client/policy.py``."""
    burned_in_annotation: BurnedInAnnotation = "refuse"
    """Whether each site trains on images that say they show text."""
    label_conflicts: LabelConflicts = "report"
    """What each site does where equal images have labels that contradict each other."""


@dataclass(frozen=True)
class EngineSettings:
    """How a simulation runs its sites."""

    name: Literal["inprocess", "ray"] = "inprocess"
    workers: int | None = None
    """Sites trained at once; ``None``: as many as cores, or more, below twice as many, where that
    leaves fewer cores idle (``simulations/inprocess.py``, ``balanced_workers``)."""
    gpus_per_site: float = 0.0
    """Share of a GPU that Ray gives each site."""


@dataclass(frozen=True)
class Experiment:
    """The shared experiment: the same text at the server and at every site."""

    name: str
    seed: int
    rounds: int
    local_steps: int
    threads: int
    data: TaskSettings
    model: ModelSettings
    strategy: StrategySettings
    privacy: PrivacyTarget
    loss: LossSettings = field(default_factory=LossSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)

    @property
    def classes(self) -> tuple[str, ...]:
        """The ordered classes (they are always set in an experiment that was checked)."""
        if self.data.classes is None:
            raise SettingsError("data.classes: the shared experiment needs its list of classes")
        return self.data.classes

    @property
    def multi_label(self) -> bool:
        return bool(self.data.multi_label)

    @property
    def total_steps(self) -> int:
        """Steps of one model over the run."""
        return self.rounds * self.local_steps

    @property
    def round_steps(self) -> int:
        """Steps that a site takes in a round, over all the models that it trains: the price."""
        return self.local_steps * (2 if self.strategy.trains_personal else 1)

    def to_yaml(self) -> str:
        """The one string that is the whole experiment."""
        return self._yaml

    @cached_property
    def _yaml(self) -> str:
        return yaml.safe_dump(to_plain(self), sort_keys=False)

    def digest(self) -> str:
        """SHA-256 of :meth:`to_yaml`, in hexadecimal."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()


@dataclass(frozen=True)
class Settings:
    """Everything that a simulation on one machine, or a server, can be told."""

    experiment: str = "phantom"
    design: Design = "none"
    """What the run is compared with: ``cross_site``, each site alone and all images pooled;
    ``leave_one_site_out``, each site alone, and the federation without it."""
    seed: int = 0
    """Sets initialisation, batches without privacy, and partition; never noise or sampling."""
    rounds: int = 10
    local_steps: int = 10
    """Optimiser steps a site takes in a round with each model that it trains."""
    threads: int = 1
    """CPU threads a site computes with; results are bit-equal only for equal threads."""
    evaluate_every: int = 1
    """Rounds between two evaluations on the validation part."""
    quorum: int | None = None
    """Least number of answers for a round to be applied; ``None`` means more than half."""
    deadline_seconds: float = 600.0
    """Seconds a server waits for the sites' answers in a round; a simulation waits for all."""
    keep: KeepRule = "last"
    """Which round's model the run ends with: the last, the one with the highest macro AUROC on the
    validation part, which training without privacy alone may choose by, or the moving average."""
    average_decay: float = 0.9
    """β of ``keep=average``: how much of the average a round leaves as it was."""
    tracker: TrackerName = "none"
    """Where else a run's figures go, from the coordinator's side: see ``server/tracking``."""
    output_dir: str | None = None
    ledger_dir: str | None = None
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: InitialModel = field(default_factory=InitialModel)
    loss: LossSettings = field(default_factory=LossSettings)
    strategy: StrategySettings = field(default_factory=StrategySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)

    def shared(self, task: TaskSettings) -> Experiment:
        """The part that every site must agree on.

        Args:
            task: the data's half of it, with its classes set.
        """
        return Experiment(
            name=self.experiment,
            seed=self.seed,
            rounds=self.rounds,
            local_steps=self.local_steps,
            threads=self.threads,
            data=task,
            model=narrow(ModelSettings, self.model),
            strategy=self.strategy,
            privacy=narrow(PrivacyTarget, self.privacy),
            loss=self.loss,
            evaluation=self.evaluation,
        )
